/* Certificates: reading, checking, and the verification of clients. */
#include "front/tls.h"

#include <gnutls/x509.h>

#define PEM_MAX_BYTES (1U << 20)
#define KNOWN_CLIENTS_MAX 10000
/* Pairs of digits with colons between them. */
#define FINGERPRINT_TEXT_BYTES (3 * HF_FINGERPRINT_BYTES)

#define NAME_BYTES 256
/* Between two lines about refused clients. */
#define LOG_PAUSE_NS UINT64_C(1000000000)

/* GnuTLS calls the verification without a context of ours. */
static const hf_tls *verifier;

/* ---- known clients -------------------------------------------------------------------------- */

static bool parse_fingerprint(const char *text, size_t len, uint8_t out[HF_FINGERPRINT_BYTES])
{
    char digits[2 * HF_FINGERPRINT_BYTES];
    size_t n = 0;
    if (len >= FINGERPRINT_TEXT_BYTES) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ':') {
            continue;
        }
        if (n == sizeof digits) {
            return false;
        }
        digits[n++] = text[i];
    }
    return !hf_failed(hf_hex_decode(digits, n, out, HF_FINGERPRINT_BYTES));
}

static bool parse_line(const char *line, size_t len, hf_known_client *out)
{
    size_t name_end = 0;
    while (name_end < len && line[name_end] != ' ' && line[name_end] != '\t') {
        name_end++;
    }
    size_t print = name_end;
    while (print < len && (line[print] == ' ' || line[print] == '\t')) {
        print++;
    }
    if (name_end == 0 || name_end >= sizeof out->common_name || print == len) {
        return false;
    }
    memcpy(out->common_name, line, name_end);
    out->common_name[name_end] = '\0';
    return parse_fingerprint(line + print, len - print, out->fingerprint);
}

static size_t trimmed(const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r')) {
        len--;
    }
    return len;
}

hf_status hf_tls_parse_known_clients(const char *text, hf_known_client **ret_known,
                                     size_t *ret_count, hf_error *err)
{
    hf_known_client *known = NULL;
    size_t count = 0;
    size_t number = 0;
    hf_status st = hf_ok();
    while (*text != '\0') {
        size_t whole = strcspn(text, "\n");
        size_t blank = strspn(text, " \t");
        const char *line = text + (blank < whole ? blank : whole);
        size_t len = trimmed(line, whole - (size_t)(line - text));
        number++;
        text += whole + (text[whole] == '\n' ? 1 : 0);
        if (len == 0 || line[0] == '#') {
            continue;
        }
        hf_known_client *grown =
            count < KNOWN_CLIENTS_MAX ? reallocarray(known, count + 1, sizeof *known) : NULL;
        if (grown == NULL) {
            st = hf_fail(err, HF_LIMIT, "too many known clients");
            goto out;
        }
        known = grown;
        if (!parse_line(line, len, &known[count])) {
            st = hf_fail(err, HF_INVALID_INPUT,
                         "line %zu: must be a common name and a SHA-256 fingerprint", number);
            goto out;
        }
        count++;
    }
    *ret_known = known;
    *ret_count = count;
    known = NULL;
out:
    free(known);
    return st;
}

bool hf_tls_is_known(const hf_tls *tls, const char *common_name,
                     const uint8_t fingerprint[HF_FINGERPRINT_BYTES])
{
    for (size_t i = 0; i < tls->known_count; i++) {
        if (hf_bytes_equal(tls->known[i].fingerprint, fingerprint, HF_FINGERPRINT_BYTES) &&
            strcasecmp(tls->known[i].common_name, common_name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- files ---------------------------------------------------------------------------------- */

static gnutls_datum_t datum_of(const hf_buf *buf)
{
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)hf_buf_peek(buf),
                            (unsigned)hf_buf_len(buf)};
}

/* The library's server would only say "no": find out here which file is wrong, and how. */
static hf_status check_files(const hf_tls *tls, const hf_msg_front_config *config, hf_error *err)
{
    gnutls_certificate_credentials_t credentials = NULL;
    hf_status st = hf_ok();
    if (gnutls_certificate_allocate_credentials(&credentials) != GNUTLS_E_SUCCESS) {
        return hf_fail(err, HF_NOMEM, "no memory for TLS");
    }
    gnutls_datum_t cert = datum_of(tls->cert);
    gnutls_datum_t key = datum_of(tls->key);
    int rc = gnutls_certificate_set_x509_key_mem(credentials, &cert, &key, GNUTLS_X509_FMT_PEM);
    if (rc < 0) {
        st =
            hf_fail(err, HF_INVALID_INPUT, "tls: %s with %s: no certificate and its key in PEM: %s",
                    config->tls_cert, config->tls_key, gnutls_strerror(rc));
        goto out;
    }
    if (tls->client_ca != NULL) {
        gnutls_datum_t ca = datum_of(tls->client_ca);
        rc = gnutls_certificate_set_x509_trust_mem(credentials, &ca, GNUTLS_X509_FMT_PEM);
        if (rc <= 0) {
            st = hf_fail(err, HF_INVALID_INPUT, "tls: %s: %s", config->tls_client_ca,
                         rc == 0 ? "holds no certificate" : gnutls_strerror(rc));
        }
    }
out:
    gnutls_certificate_free_credentials(credentials);
    return st;
}

static hf_status read_known_clients(const char *path, hf_tls *tls, hf_error *err)
{
    hf_buf *text = NULL;
    hf_status st = hf_file_read(path, PEM_MAX_BYTES, &text, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_tls_parse_known_clients(hf_buf_text(text), &tls->known, &tls->known_count, err);
    if (hf_failed(st)) {
        st = hf_error_wrap(err, st, "%s", path);
    }
    tls->has_known_file = true;
    hf_buf_free(text);
    return st;
}

static hf_status read_files(const hf_msg_front_config *config, hf_tls *tls, hf_error *err)
{
    hf_status st = hf_file_check_private(config->tls_key, err);
    if (!hf_failed(st)) {
        st = hf_file_read(config->tls_cert, PEM_MAX_BYTES, &tls->cert, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_read(config->tls_key, PEM_MAX_BYTES, &tls->key, err);
    }
    if (!hf_failed(st) && config->tls_client_ca[0] != '\0') {
        st = hf_file_read(config->tls_client_ca, PEM_MAX_BYTES, &tls->client_ca, err);
    }
    if (!hf_failed(st) && config->tls_known_clients[0] != '\0') {
        st = read_known_clients(config->tls_known_clients, tls, err);
    }
    return hf_failed(st) ? st : check_files(tls, config, err);
}

hf_status hf_tls_load(const hf_msg_front_config *config, hf_tls **ret_tls, hf_error *err)
{
    if (config->tls_cert[0] == '\0') {
        *ret_tls = NULL;
        return hf_ok();
    }
    hf_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) {
        return hf_fail(err, HF_NOMEM, "no memory for TLS");
    }
    hf_status st = read_files(config, tls, err);
    if (hf_failed(st)) {
        hf_tls_free(tls);
        return st;
    }
    *ret_tls = tls;
    return hf_ok();
}

void hf_tls_free(hf_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    hf_buf_free(tls->cert);
    hf_buf_free(tls->key);
    hf_buf_free(tls->client_ca);
    free(tls->known);
    free(tls);
}

/* ---- clients -------------------------------------------------------------------------------- */

bool hf_tls_wants_clients(const hf_tls *tls)
{
    return tls->client_ca != NULL || tls->has_known_file;
}

typedef struct client {
    char name[NAME_BYTES]; /* the common name */
    uint8_t fingerprint[HF_FINGERPRINT_BYTES];
    bool is_current; /* neither expired nor not yet valid */
} client;

static bool read_certificate(gnutls_x509_crt_t cert, const gnutls_datum_t *der, client *out)
{
    size_t name_len = sizeof out->name;
    size_t print_len = sizeof out->fingerprint;
    if (gnutls_x509_crt_import(cert, der, GNUTLS_X509_FMT_DER) < 0 ||
        gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out->name,
                                      &name_len) < 0 ||
        gnutls_x509_crt_get_fingerprint(cert, GNUTLS_DIG_SHA256, out->fingerprint, &print_len) <
            0) {
        return false;
    }
    time_t now = time(NULL);
    out->is_current = gnutls_x509_crt_get_activation_time(cert) <= now &&
                      gnutls_x509_crt_get_expiration_time(cert) >= now;
    return true;
}

static bool read_client(gnutls_session_t session, client *out)
{
    unsigned count = 0;
    gnutls_x509_crt_t cert = NULL;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    if (chain == NULL || count == 0 || gnutls_x509_crt_init(&cert) < 0) {
        return false;
    }
    bool is_read = read_certificate(cert, &chain[0], out);
    gnutls_x509_crt_deinit(cert);
    return is_read;
}

void hf_tls_client_name(gnutls_session_t session, char ret_name[HF_CERTIFICATE_NAME_LEN])
{
    client who = {0};
    if (read_client(session, &who)) {
        hf_str_cut(ret_name, HF_CERTIFICATE_NAME_LEN, who.name);
    }
}

/* With what an operator needs to let the client in, or to know that it should not be. */
static void log_stranger(const client *who)
{
    static uint64_t last_ns;
    uint64_t now = hf_time_mono_ns();
    char print[2 * HF_FINGERPRINT_BYTES + 1];
    if (last_ns != 0 && now - last_ns < LOG_PAUSE_NS) {
        return; /* a stranger cannot fill the disk */
    }
    last_ns = now;
    hf_hex_encode(who->fingerprint, sizeof who->fingerprint, print);
    hf_log(HF_LOG_UNUSUAL, "tls_client_refused", "common name %s, SHA-256 fingerprint %s%s",
           who->name, print, who->is_current ? "" : ", expired or not yet valid");
}

/* Called in the handshake; anything but 0 ends it. */
static int verify_client(gnutls_session_t session)
{
    unsigned faults = 0;
    client who = {0};
    bool is_read = read_client(session, &who);
    if (is_read && verifier->has_known_file && who.is_current &&
        hf_tls_is_known(verifier, who.name, who.fingerprint)) {
        return 0;
    }
    if (verifier->client_ca != NULL && gnutls_certificate_verify_peers2(session, &faults) >= 0 &&
        faults == 0) {
        return 0;
    }
    if (is_read) {
        log_stranger(&who);
    }
    return GNUTLS_E_CERTIFICATE_ERROR;
}

void hf_tls_attach(const hf_tls *tls, gnutls_session_t session)
{
    if (!hf_tls_wants_clients(tls)) {
        return;
    }
    verifier = tls;
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_function(session, verify_client);
    if (tls->has_known_file) {
        /* Naming the authorities would make clients with a certificate of their own send none. */
        gnutls_certificate_send_x509_rdn_sequence(session, 1);
    }
}
