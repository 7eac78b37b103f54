/* The YubiHSM back end: which keys there are, signatures, wrapped secrets. */
#include "custody/yubihsm.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <sodium.h>

#include "crypto/crypto.h"
#include "custody/wrapped_key.h"
#include "custody/yubihsm_internal.h"

#define TYPE_ASYMMETRIC 0x03
#define TYPE_WRAP 0x04
#define FILTER_TYPE 0x02
#define FILTER_DOMAINS 0x03
#define FILTER_LABEL 0x06
#define ALGORITHM_P256 12
#define ALGORITHM_K256 15
#define ALGORITHM_ED25519 46
#define CAPABILITY_SIGN_ECDSA 7
#define CAPABILITY_SIGN_EDDSA 8
#define ENTRY_BYTES 4 /* of a list: id (2), type, sequence */
#define LABEL_BYTES 40
/* Of an object's info: capabilities (8), id, length, domains (2 each), type, algorithm, sequence,
 * origin, label (40), capabilities that it may hand on (8). */
#define INFO_BYTES 66
#define INFO_ALGORITHM 15
#define INFO_LABEL 18
#define DIGEST_BYTES 32
#define CONTEXT_BYTES 32
#define WRAPPED_MORE 29 /* nonce (13) and MAC (16) */
#define SECRET_MAX 512
/* A handle: the object's number, how often that was used anew, and the key's type. */
#define HANDLE_SEQUENCE_SHIFT 16
#define HANDLE_TYPE_SHIFT 24

typedef struct hf_yubihsm {
    hf_custody custody; /* first: the ops */
    hf_yubihsm_config config;
    hf_yubi_link *link;
} hf_yubihsm;

/* ---- listing -------------------------------------------------------------------------------- */

static hf_status list_objects(hf_yubihsm *yubi, uint8_t type, uint64_t deadline_ns,
                              hf_yubi_message *ret_list, hf_error *err)
{
    uint16_t domains = yubi->config.domains;
    const uint8_t filter[] = {FILTER_TYPE, type, FILTER_DOMAINS, (uint8_t)(domains >> 8),
                              (uint8_t)domains};
    return hf_yubi_ask(yubi->link, HF_YUBI_LIST_OBJECTS,
                       hf_bytes_from(filter, domains != 0 ? sizeof filter : 2), deadline_ns,
                       ret_list, err);
}

static bool type_of(uint8_t algorithm, hf_custody_type *ret_type)
{
    switch (algorithm) {
    case ALGORITHM_P256:
        *ret_type = HF_CUSTODY_P256;
        return true;
    case ALGORITHM_K256:
        *ret_type = HF_CUSTODY_SECP256K1;
        return true;
    case ALGORITHM_ED25519:
        *ret_type = HF_CUSTODY_ED25519;
        return true;
    default:
        return false; /* RSA, other curves: nothing here signs with them */
    }
}

static bool may_sign(const uint8_t capabilities[8], hf_custody_type type)
{
    uint8_t bit = type == HF_CUSTODY_ED25519 ? CAPABILITY_SIGN_EDDSA : CAPABILITY_SIGN_ECDSA;
    return (capabilities[7 - bit / 8] & 1U << bit % 8) != 0;
}

static void name_key(const uint8_t *label, uint16_t id, char ret_name[HF_CUSTODY_NAME_LEN])
{
    char text[LABEL_BYTES + 1] = {0};
    char clean[4 * LABEL_BYTES + 1];
    memcpy(text, label, LABEL_BYTES);
    hf_str_sanitize(clean, sizeof clean, text);
    (void)snprintf(ret_name, HF_CUSTODY_NAME_LEN, "%s (0x%04x)", clean, id);
}

static bool is_wanted(const hf_yubihsm_config *config, const uint8_t *label)
{
    char text[LABEL_BYTES + 1] = {0};
    bool is_named = config->label_count == 0;
    memcpy(text, label, LABEL_BYTES);
    for (uint32_t i = 0; i < config->label_count && !is_named; i++) {
        is_named = strcmp(config->labels[i], text) == 0;
    }
    return is_named;
}

static hf_status take_public(hf_custody_key *key, const hf_yubi_message *answer, hf_error *err)
{
    bool is_ed25519 = key->type == HF_CUSTODY_ED25519;
    size_t len = is_ed25519 ? 32 : 64;
    size_t before = is_ed25519 ? 0 : 1; /* SEC1: uncompressed */
    if (answer->len != 1 + len) {
        return hf_fail(err, HF_CORRUPT, "a public key of %zu bytes", answer->len);
    }
    key->public_key[0] = 0x04;
    memcpy(key->public_key + before, answer->bytes + 1, len);
    key->public_len = (uint32_t)(before + len);
    (void)crypto_generichash(key->source_id, sizeof key->source_id, answer->bytes, answer->len,
                             (const uint8_t *)"yubihsm-key-source", 18);
    return hf_ok();
}

/* *ret_is_ours: a key of a type that signs here. */
static hf_status describe(hf_yubihsm *yubi, const uint8_t entry[ENTRY_BYTES], uint64_t deadline_ns,
                          hf_custody_key *key, bool *ret_is_ours, hf_error *err)
{
    const uint8_t object[] = {entry[0], entry[1], TYPE_ASYMMETRIC};
    uint16_t id = (uint16_t)(entry[0] << 8 | entry[1]);
    hf_yubi_message answer;
    *ret_is_ours = false;
    hf_status st = hf_yubi_ask(yubi->link, HF_YUBI_GET_OBJECT_INFO,
                               hf_bytes_from(object, sizeof object), deadline_ns, &answer, err);
    if (hf_failed(st)) {
        return st;
    }
    if (answer.len < INFO_BYTES) {
        return hf_fail(err, HF_CORRUPT, "an object's info of %zu bytes", answer.len);
    }
    name_key(answer.bytes + INFO_LABEL, id, key->name);
    if (!is_wanted(&yubi->config, answer.bytes + INFO_LABEL) ||
        !type_of(answer.bytes[INFO_ALGORITHM], &key->type)) {
        return hf_ok();
    }
    *ret_is_ours = true;
    if (!may_sign(answer.bytes, key->type)) {
        return hf_fail(err, HF_DENIED, "the key has not the capability to sign");
    }
    key->is_inside = true;
    key->handle =
        (uint64_t)key->type << HANDLE_TYPE_SHIFT | (uint64_t)entry[3] << HANDLE_SEQUENCE_SHIFT | id;
    st = hf_yubi_ask(yubi->link, HF_YUBI_GET_PUBLIC_KEY, hf_bytes_from(object, 2), deadline_ns,
                     &answer, err);
    return hf_failed(st) ? st : take_public(key, &answer, err);
}

static hf_status list(hf_custody *custody, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                      hf_error *err)
{
    hf_yubihsm *yubi = (hf_yubihsm *)custody;
    hf_yubi_message found;
    hf_status st = list_objects(yubi, TYPE_ASYMMETRIC, deadline_ns, &found, err);
    for (size_t at = 0; !hf_failed(st) && at + ENTRY_BYTES <= found.len; at += ENTRY_BYTES) {
        hf_custody_key key = {.is_inside = true};
        hf_error why = {.code = HF_OK};
        bool is_ours = false;
        (void)snprintf(key.name, sizeof key.name, "0x%02x%02x", found.bytes[at],
                       found.bytes[at + 1]);
        st = describe(yubi, found.bytes + at, deadline_ns, &key, &is_ours, &why);
        if (st.code == HF_UNAVAILABLE) {
            return hf_fail(err, HF_UNAVAILABLE, "%s", why.msg);
        }
        if (hf_failed(st)) {
            visitor->failed(visitor->context, key.name, why.msg);
            st = hf_ok();
        } else if (is_ours) {
            st = visitor->key(visitor->context, &key);
        }
    }
    if (!hf_failed(st) && yubi->config.blob_dir[0] != '\0') {
        st = hf_wrapped_keys_list(custody, yubi->config.blob_dir, yubi->config.wrap_key, visitor,
                                  deadline_ns, err);
    }
    return st;
}

/* ---- signing -------------------------------------------------------------------------------- */

/* r || s, 32 bytes each, of a signature in DER. */
static bool from_der(const hf_yubi_message *answer, uint8_t ret_signature[64])
{
    const unsigned char *at = answer->bytes;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)answer->len);
    bool ok = signature != NULL && at == answer->bytes + answer->len &&
              BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret_signature, 32) == 32 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret_signature + 32, 32) == 32;
    ECDSA_SIG_free(signature);
    return ok;
}

static hf_status sign_as(hf_yubihsm *yubi, hf_yubi_command command, uint16_t id, hf_bytes message,
                         uint64_t deadline_ns, hf_yubi_message *answer, hf_error *err)
{
    uint8_t data[2 + HF_YUBI_DATA_MAX];
    if (message.len > HF_YUBI_DATA_MAX - 2) {
        return hf_fail(err, HF_LIMIT, "a YubiHSM signs messages of up to %d bytes",
                       HF_YUBI_DATA_MAX - 2);
    }
    data[0] = (uint8_t)(id >> 8);
    data[1] = (uint8_t)id;
    memcpy(data + 2, message.ptr, message.len);
    return hf_yubi_ask(yubi->link, (uint8_t)command, hf_bytes_from(data, 2 + message.len),
                       deadline_ns, answer, err);
}

static hf_status sign(hf_custody *custody, uint64_t handle, hf_bytes message, uint64_t deadline_ns,
                      uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES], hf_error *err)
{
    hf_yubihsm *yubi = (hf_yubihsm *)custody;
    hf_yubi_message answer;
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    uint16_t id = (uint16_t)handle;
    /* Another key may lie at that place by now: the device says so, or whoever verifies. */
    hf_custody_type type = (hf_custody_type)(handle >> HANDLE_TYPE_SHIFT);
    bool is_ed25519 = type == HF_CUSTODY_ED25519;
    if (!is_ed25519 && message.len != DIGEST_BYTES) {
        return hf_fail(err, HF_INVALID_INPUT, "ECDSA signs a digest of %d bytes", DIGEST_BYTES);
    }
    hf_status st = sign_as(yubi, is_ed25519 ? HF_YUBI_SIGN_EDDSA : HF_YUBI_SIGN_ECDSA, id, message,
                           deadline_ns, &answer, err);
    if (hf_failed(st)) {
        return st;
    }
    if (is_ed25519 && answer.len == sizeof signature) {
        memcpy(signature, answer.bytes, sizeof signature);
    } else if (is_ed25519 || !from_der(&answer, signature)) {
        return hf_fail(err, HF_UNAVAILABLE, "the YubiHSM's answer is no signature");
    }
    memcpy(ret_signature, signature, sizeof signature);
    return hf_ok();
}

/* ---- wrapping ------------------------------------------------------------------------------- */

static hf_status find_wrap_key(hf_yubihsm *yubi, const char *reference, uint64_t deadline_ns,
                               uint16_t *ret_id, hf_error *err)
{
    uint8_t filter[3 + LABEL_BYTES] = {FILTER_TYPE, TYPE_WRAP, FILTER_LABEL};
    hf_yubi_message found;
    uint64_t id = 0;
    size_t len = strlen(reference);
    if (strncmp(reference, "id=", 3) == 0) {
        if (hf_failed(hf_num_parse_u64(reference + 3, len - 3, &id)) || id > UINT16_MAX) {
            return hf_fail(err, HF_USAGE, "behind id= comes a number up to %d", UINT16_MAX);
        }
        *ret_id = (uint16_t)id;
        return hf_ok();
    }
    if (len == 0 || len > LABEL_BYTES) {
        return hf_fail(err, HF_USAGE, "a label has 1 to %d bytes", LABEL_BYTES);
    }
    memcpy(filter + 3, reference, len);
    hf_status st = hf_yubi_ask(yubi->link, HF_YUBI_LIST_OBJECTS,
                               hf_bytes_from(filter, sizeof filter), deadline_ns, &found, err);
    if (hf_failed(st)) {
        return st;
    }
    if (found.len != ENTRY_BYTES) {
        return hf_fail(err, found.len == 0 ? HF_NOT_FOUND : HF_CONFLICT,
                       "the YubiHSM has %s wrap key of that label",
                       found.len == 0 ? "no" : "more than one");
    }
    *ret_id = (uint16_t)(found.bytes[0] << 8 | found.bytes[1]);
    return hf_ok();
}

static hf_status wrap(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes secret,
                      uint64_t deadline_ns, uint8_t *out, size_t *out_len, hf_error *err)
{
    hf_yubihsm *yubi = (hf_yubihsm *)custody;
    uint8_t data[2 + CONTEXT_BYTES + SECRET_MAX];
    hf_yubi_message answer;
    uint16_t id = 0;
    size_t len = CONTEXT_BYTES + secret.len;
    if (secret.len > SECRET_MAX || *out_len < len + WRAPPED_MORE) {
        return hf_fail(err, HF_LIMIT, "a secret of up to %d bytes is wrapped", SECRET_MAX);
    }
    hf_status st = find_wrap_key(yubi, reference, deadline_ns, &id, err);
    if (hf_failed(st)) {
        return st;
    }
    data[0] = (uint8_t)(id >> 8);
    data[1] = (uint8_t)id;
    hf_sha256(context.ptr, context.len, data + 2);
    memcpy(data + 2 + CONTEXT_BYTES, secret.ptr, secret.len);
    st = hf_yubi_ask(yubi->link, HF_YUBI_WRAP_DATA, hf_bytes_from(data, 2 + len), deadline_ns,
                     &answer, err);
    hf_wipe(data, sizeof data);
    if (!hf_failed(st) && answer.len != len + WRAPPED_MORE) {
        st = hf_fail(err, HF_UNAVAILABLE, "what the YubiHSM wrapped has a strange length");
    }
    if (!hf_failed(st)) {
        memcpy(out, answer.bytes, answer.len);
        *out_len = answer.len;
    }
    return st;
}

static hf_status unwrap(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes blob,
                        uint64_t deadline_ns, uint8_t *out, size_t *out_len, hf_error *err)
{
    hf_yubihsm *yubi = (hf_yubihsm *)custody;
    uint8_t data[2 + WRAPPED_MORE + CONTEXT_BYTES + SECRET_MAX];
    uint8_t digest[CONTEXT_BYTES];
    hf_yubi_message answer;
    uint16_t id = 0;
    if (blob.len < WRAPPED_MORE + CONTEXT_BYTES || blob.len > sizeof data - 2) {
        return hf_fail(err, HF_INVALID_INPUT, "%zu bytes are nothing that a YubiHSM wrapped here",
                       blob.len);
    }
    hf_status st = find_wrap_key(yubi, reference, deadline_ns, &id, err);
    if (hf_failed(st)) {
        return st;
    }
    data[0] = (uint8_t)(id >> 8);
    data[1] = (uint8_t)id;
    memcpy(data + 2, blob.ptr, blob.len);
    st = hf_yubi_ask(yubi->link, HF_YUBI_UNWRAP_DATA, hf_bytes_from(data, 2 + blob.len),
                     deadline_ns, &answer, err);
    hf_sha256(context.ptr, context.len, digest);
    if (!hf_failed(st) &&
        (answer.len < CONTEXT_BYTES || !hf_secret_equal(answer.bytes, digest, CONTEXT_BYTES))) {
        st = hf_fail(err, HF_DENIED, "what is wrapped belongs to another key");
    }
    if (!hf_failed(st) && answer.len - CONTEXT_BYTES > *out_len) {
        st = hf_fail(err, HF_LIMIT, "the secret is longer than it can be");
    }
    if (!hf_failed(st)) {
        *out_len = answer.len - CONTEXT_BYTES;
        memcpy(out, answer.bytes + CONTEXT_BYTES, *out_len);
    }
    hf_wipe(&answer, sizeof answer);
    return st;
}

/* ---- life ----------------------------------------------------------------------------------- */

static bool is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN])
{
    return hf_yubi_link_is_healthy(((hf_yubihsm *)custody)->link, ret_detail);
}

static void close_yubihsm(hf_custody *custody)
{
    hf_yubihsm *yubi = (hf_yubihsm *)custody;
    hf_yubi_link_free(yubi->link);
    free(yubi);
}

static const hf_custody_ops ops = {.list = list,
                                   .sign = sign,
                                   .wrap = wrap,
                                   .unwrap = unwrap,
                                   .is_healthy = is_healthy,
                                   .close = close_yubihsm};

hf_status hf_custody_yubihsm_open(const hf_yubihsm_config *config, hf_custody **ret_custody,
                                  hf_error *err)
{
    hf_yubihsm *yubi = calloc(1, sizeof *yubi);
    if (yubi == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    yubi->custody.ops = &ops;
    yubi->config = *config;
    hf_status st = hf_yubi_link_new(config, &yubi->link, err);
    if (hf_failed(st)) {
        free(yubi);
        return st;
    }
    *ret_custody = &yubi->custody;
    return hf_ok();
}
