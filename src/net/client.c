/* HTTPS requests: a multi handle that keeps its connections, easy handles used over and over. */
#include <curl/curl.h>
#include <openssl/ssl.h>

#include "net/net_internal.h"

#define CONNECT_TIMEOUT_MS 1000
#define HEADER_LEN 9216 /* a session token and its name */
/* Idle connections kept: one for each exchange that may be under way. */
#define CONNECTIONS_KEPT ((long)HF_NET_PARALLEL_MAX)

typedef struct slot {
    CURL *easy; /* made when first needed */
    struct curl_slist *headers;
    hf_net_exchange *exchange; /* NULL: free */
    char error[CURL_ERROR_SIZE];
} slot;

struct hf_net {
    hf_net_config config;
    CURLM *multi;
    slot slots[HF_NET_PARALLEL_MAX];
};

/* ---- one exchange ------------------------------------------------------------------------- */

static size_t take_answer(char *bytes, size_t size, size_t count, void *context)
{
    hf_net_exchange *exchange = context;
    if (hf_failed(hf_buf_put(exchange->answer, bytes, size * count))) {
        return 0; /* ends the transfer: CURLE_WRITE_ERROR */
    }
    return size * count;
}

static bool add_header(slot *at, const char *header)
{
    struct curl_slist *longer = curl_slist_append(at->headers, header);
    if (longer == NULL) {
        return false;
    }
    at->headers = longer;
    return true;
}

static void wipe_headers(slot *at)
{
    for (struct curl_slist *item = at->headers; item != NULL; item = item->next) {
        hf_wipe(item->data, strlen(item->data));
    }
    curl_slist_free_all(at->headers);
    at->headers = NULL;
}

static bool set_headers(slot *at, const hf_net_exchange *exchange)
{
    /* No header is taken away here ("Expect:"): libcurl would sign it as if it were there. */
    bool ok = true;
    for (size_t i = 0; i < HF_NET_HEADERS_MAX && exchange->headers[i] != NULL && ok; i++) {
        ok = add_header(at, exchange->headers[i]);
    }
    const hf_net_signing *signing = exchange->signing;
    if (ok && signing != NULL && signing->credentials->session_token[0] != '\0') {
        char header[HEADER_LEN];
        ok = !hf_failed(hf_str_format(header, sizeof header, "X-Amz-Security-Token: %s",
                                      signing->credentials->session_token)) &&
             add_header(at, header);
        hf_wipe(header, sizeof header);
    }
    return ok && curl_easy_setopt(at->easy, CURLOPT_HTTPHEADER, at->headers) == CURLE_OK;
}

static bool set_signing(slot *at, const hf_net_signing *signing)
{
    char scope[192];
    return !hf_failed(hf_str_format(scope, sizeof scope, "aws:amz:%s:%s", signing->region,
                                    signing->service)) &&
           curl_easy_setopt(at->easy, CURLOPT_AWS_SIGV4, scope) == CURLE_OK &&
           curl_easy_setopt(at->easy, CURLOPT_USERNAME, signing->credentials->access_key_id) ==
               CURLE_OK &&
           curl_easy_setopt(at->easy, CURLOPT_PASSWORD, signing->credentials->secret_access_key) ==
               CURLE_OK;
}

static bool set_body(slot *at, const hf_net_exchange *exchange)
{
    CURL *easy = at->easy;
    if (strcmp(exchange->method, "GET") == 0) {
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    }
    /* PUT goes as a POST by another name: both carry the whole body at once. */
    return curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body.len) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                            exchange->body.len > 0 ? (const char *)exchange->body.ptr : "") ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, exchange->method) == CURLE_OK;
}

static bool set_client_certificate(const hf_net *net, CURL *easy)
{
    const hf_net_config *config = &net->config;
    return config->client_cert_file[0] == '\0' ||
           (curl_easy_setopt(easy, CURLOPT_SSLCERT, config->client_cert_file) == CURLE_OK &&
            curl_easy_setopt(easy, CURLOPT_SSLKEY, config->client_key_file) == CURLE_OK);
}

static int verify_known(X509_STORE_CTX *store, void *context)
{
    const hf_net *net = context;
    const X509 *shown = X509_STORE_CTX_get0_cert(store);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (shown != NULL && X509_digest(shown, EVP_sha256(), digest, &len) == 1 &&
        len == sizeof net->config.known_certificate &&
        hf_bytes_equal(digest, net->config.known_certificate, len)) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    return X509_verify_cert(store);
}

static CURLcode prepare_known(CURL *easy, void *context, void *net)
{
    (void)easy;
    SSL_CTX_set_cert_verify_callback(context, verify_known, net);
    return CURLE_OK;
}

static bool set_known_certificate(hf_net *net, CURL *easy)
{
    return !net->config.has_known_certificate ||
           (curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, prepare_known) == CURLE_OK &&
            curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, net) == CURLE_OK);
}

/* What is the same for all requests. */
static bool set_common(hf_net *net, slot *at)
{
    CURL *easy = at->easy;
    const char *ca = net->config.ca_file;
    uint32_t connect_ms = net->config.connect_timeout_ms;
    return set_client_certificate(net, easy) && set_known_certificate(net, easy) &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, at->error) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, at) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           (ca[0] == '\0' || (curl_easy_setopt(easy, CURLOPT_CAINFO, ca) == CURLE_OK &&
                              curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK)) &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                            (long)(connect_ms != 0 ? connect_ms : CONNECT_TIMEOUT_MS)) == CURLE_OK;
}

static bool start(hf_net *net, slot *at, hf_net_exchange *exchange)
{
    if (at->easy == NULL) {
        at->easy = curl_easy_init();
    } else {
        curl_easy_reset(at->easy);
    }
    exchange->answer = hf_buf_new(exchange->max_answer_bytes);
    at->error[0] = '\0';
    return at->easy != NULL && exchange->answer != NULL && set_common(net, at) &&
           curl_easy_setopt(at->easy, CURLOPT_URL, exchange->url) == CURLE_OK &&
           set_body(at, exchange) && set_headers(at, exchange) &&
           (exchange->signing == NULL || set_signing(at, exchange->signing)) &&
           curl_easy_setopt(at->easy, CURLOPT_WRITEFUNCTION, take_answer) == CURLE_OK &&
           curl_easy_setopt(at->easy, CURLOPT_WRITEDATA, exchange) == CURLE_OK &&
           curl_multi_add_handle(net->multi, at->easy) == CURLM_OK;
}

static void fail(hf_net_exchange *exchange, hf_code code, bool maybe_acted, const char *why)
{
    exchange->result = (hf_status){code};
    exchange->maybe_acted = maybe_acted;
    hf_str_sanitize(exchange->detail, sizeof exchange->detail, why);
}

/* Before the request was on its way the other side cannot have acted on it. */
static bool is_before_sending(CURLcode code)
{
    return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
           code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
           code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION ||
           code == CURLE_SSL_CACERT_BADFILE || code == CURLE_OUT_OF_MEMORY;
}

static void release(slot *at)
{
    /* Nothing of a request stays in a handle that waits for the next one. */
    curl_easy_reset(at->easy);
    wipe_headers(at);
    at->exchange = NULL;
}

/* One that is longer than any of ours is as good as none. */
static void note_location(slot *at)
{
    const char *url = NULL;
    if (curl_easy_getinfo(at->easy, CURLINFO_REDIRECT_URL, &url) == CURLE_OK && url != NULL &&
        strlen(url) < sizeof at->exchange->location) {
        hf_str_cut(at->exchange->location, sizeof at->exchange->location, url);
    }
}

static void finish(hf_net *net, slot *at, CURLcode code)
{
    hf_net_exchange *exchange = at->exchange;
    const char *why = at->error[0] != '\0' ? at->error : curl_easy_strerror(code);
    (void)curl_multi_remove_handle(net->multi, at->easy);
    if (code == CURLE_OK) {
        exchange->result = hf_ok();
        (void)curl_easy_getinfo(at->easy, CURLINFO_RESPONSE_CODE, &exchange->http_status);
        note_location(at);
    } else if (code == CURLE_WRITE_ERROR) {
        fail(exchange, HF_LIMIT, true, "the answer is longer than it may be");
    } else if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
        fail(exchange, HF_CRYPTO, false, why);
    } else {
        fail(exchange, HF_UNAVAILABLE, !is_before_sending(code), why);
    }
    release(at);
}

/* ---- many --------------------------------------------------------------------------------- */

typedef struct run {
    hf_net_exchange *exchanges;
    size_t count;
    size_t next;
    size_t active;
} run;

static void fill_slots(hf_net *net, run *all)
{
    for (size_t i = 0; i < HF_NET_PARALLEL_MAX && all->next < all->count; i++) {
        slot *at = &net->slots[i];
        if (at->exchange != NULL) {
            continue;
        }
        hf_net_exchange *exchange = &all->exchanges[all->next++];
        at->exchange = exchange;
        exchange->result = (hf_status){HF_UNAVAILABLE};
        exchange->maybe_acted = false;
        exchange->http_status = 0;
        exchange->detail[0] = '\0';
        exchange->location[0] = '\0';
        if (start(net, at, exchange)) {
            all->active++;
        } else {
            fail(exchange, HF_NOMEM, false, "out of memory");
            wipe_headers(at);
            at->exchange = NULL;
        }
    }
}

static void reap(hf_net *net, run *all)
{
    int left;
    for (CURLMsg *message = curl_multi_info_read(net->multi, &left); message != NULL;
         message = curl_multi_info_read(net->multi, &left)) {
        if (message->msg == CURLMSG_DONE) {
            slot *at = NULL;
            (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &at);
            finish(net, at, message->data.result);
            all->active--;
        }
    }
}

/* What has no answer by now gets none; its connection is closed. */
static void give_up(hf_net *net, run *all)
{
    for (size_t i = 0; i < HF_NET_PARALLEL_MAX; i++) {
        slot *at = &net->slots[i];
        if (at->exchange != NULL) {
            (void)curl_multi_remove_handle(net->multi, at->easy);
            fail(at->exchange, HF_UNAVAILABLE, true, "no answer in time");
            release(at);
        }
    }
    while (all->next < all->count) {
        fail(&all->exchanges[all->next++], HF_UNAVAILABLE, false, "not sent in time");
    }
    all->active = 0;
}

static int wait_ms(uint64_t deadline_ns, uint64_t now_ns)
{
    uint64_t left_ms = (deadline_ns - now_ns) / HF_NS_PER_MS + 1;
    return left_ms > 1000 ? 1000 : (int)left_ms;
}

void hf_net_run(hf_net *net, hf_net_exchange *exchanges, size_t n, uint64_t deadline_ns)
{
    run all = {exchanges, n, 0, 0};
    fill_slots(net, &all);
    while (all.active > 0 || all.next < all.count) {
        int running;
        CURLMcode rc = curl_multi_perform(net->multi, &running);
        reap(net, &all);
        fill_slots(net, &all);
        uint64_t now_ns = hf_time_mono_ns();
        if (rc != CURLM_OK || now_ns >= deadline_ns) {
            give_up(net, &all);
            return;
        }
        if (all.active > 0 &&
            curl_multi_poll(net->multi, NULL, 0, wait_ms(deadline_ns, now_ns), NULL) != CURLM_OK) {
            give_up(net, &all);
            return;
        }
    }
}

void hf_net_exchange_done(hf_net_exchange *exchange)
{
    hf_buf_free(exchange->answer);
    exchange->answer = NULL;
}

/* ---- life --------------------------------------------------------------------------------- */

static hf_status check_ca_file(const char *path, hf_error *err)
{
    hf_buf *text = NULL;
    if (path[0] == '\0') {
        return hf_ok();
    }
    hf_status st = hf_file_read(path, 4U << 20, &text, err);
    hf_buf_free(text);
    return hf_failed(st) ? hf_error_wrap(err, (hf_status){HF_DENIED}, "certificate authorities")
                         : st;
}

static hf_status check_client_key(const hf_net_config *config, hf_error *err)
{
    if (config->client_cert_file[0] == '\0') {
        return hf_ok();
    }
    hf_status st = hf_file_check_private(config->client_key_file, err);
    return hf_failed(st) ? hf_error_wrap(err, (hf_status){HF_DENIED}, "the client's key") : st;
}

hf_status hf_net_new(const hf_net_config *config, hf_net **ret_net, hf_error *err)
{
    hf_status st = check_ca_file(config->ca_file, err);
    if (!hf_failed(st)) {
        st = check_client_key(config, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return hf_fail(err, HF_INTERNAL, "libcurl does not start");
    }
    hf_net *net = calloc(1, sizeof *net);
    if (net == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    net->config = *config;
    net->multi = curl_multi_init();
    if (net->multi == NULL ||
        curl_multi_setopt(net->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT) != CURLM_OK) {
        hf_net_free(net);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    *ret_net = net;
    return hf_ok();
}

void hf_net_free(hf_net *net)
{
    if (net == NULL) {
        return;
    }
    for (size_t i = 0; i < HF_NET_PARALLEL_MAX; i++) {
        if (net->slots[i].easy != NULL) {
            curl_easy_cleanup(net->slots[i].easy);
        }
    }
    if (net->multi != NULL) {
        (void)curl_multi_cleanup(net->multi);
    }
    free(net);
    curl_global_cleanup();
}
