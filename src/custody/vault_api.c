/* Vault's HTTP: how a request looks and what an answer means. */
#include "crypto/crypto.h"
#include "custody/secret_text.h"
#include "custody/vault_internal.h"

#define URL_MAX_BYTES 8192
#define REDIRECTS_MAX 2
#define SLICE_NS (900 * HF_NS_PER_MS)

/* ---- making one ----------------------------------------------------------------------------- */

void hf_vault_headers_set(const hf_vault *vault, const char *token, bool is_global,
                          hf_vault_headers *headers, hf_net_exchange *exchange)
{
    size_t n = 0;
    /* Listeners with require_request_header refuse requests without it. */
    exchange->headers[n++] = "X-Vault-Request: true";
    if (token != NULL) {
        (void)snprintf(headers->token, sizeof headers->token, "X-Vault-Token: %s", token);
        exchange->headers[n++] = headers->token;
    }
    if (!is_global && vault->config.vault_namespace[0] != '\0') {
        (void)snprintf(headers->vault_namespace, sizeof headers->vault_namespace,
                       "X-Vault-Namespace: %s", vault->config.vault_namespace);
        exchange->headers[n++] = headers->vault_namespace;
    }
    if (exchange->body.len > 0) {
        exchange->headers[n++] = "Content-Type: application/json";
    }
}

hf_status hf_vault_url(hf_vault *vault, const char *path, hf_buf *url)
{
    (void)pthread_mutex_lock(&vault->state_lock);
    hf_status st = hf_buf_putf(url, "%s/v1/%s", vault->base, path);
    (void)pthread_mutex_unlock(&vault->state_lock);
    return st;
}

/* ---- what an answer means ------------------------------------------------------------------- */

const char *hf_vault_text(json_t *json, const char *member, const char *inner)
{
    json_t *at = json_object_get(json, member);
    return json_string_value(inner != NULL ? json_object_get(at, inner) : at);
}

/* The first of "errors", which Vault keeps free of secrets. */
static void put_reason(json_t *json, long http_status, char ret_why[HF_VAULT_WHY_LEN])
{
    const char *first = json_string_value(json_array_get(json_object_get(json, "errors"), 0));
    char clean[HF_VAULT_WHY_LEN - 16];
    if (first != NULL && first[0] != '\0') {
        hf_str_sanitize(clean, sizeof clean, first);
        (void)snprintf(ret_why, HF_VAULT_WHY_LEN, "%s (%ld)", clean, http_status);
    } else {
        (void)snprintf(ret_why, HF_VAULT_WHY_LEN, "status %ld", http_status);
    }
}

static void set_base(hf_vault *vault, const char *base, size_t len)
{
    (void)pthread_mutex_lock(&vault->state_lock);
    if (len < sizeof vault->base) {
        memcpy(vault->base, base, len);
        vault->base[len] = '\0';
    }
    (void)pthread_mutex_unlock(&vault->state_lock);
}

/* A standby names the active node: the token goes there too, as Vault's own clients do, but never
 * from https to http. */
static void follow(hf_vault *vault, const char *location)
{
    const char *end = strstr(location, "/v1/");
    bool is_secure =
        strncmp(location, "https://", 8) == 0 || strncmp(vault->config.address, "https://", 8) != 0;
    if (end != NULL && is_secure && !hf_failed(hf_net_check_url(location, NULL))) {
        set_base(vault, location, (size_t)(end - location));
    }
}

static hf_status judge_status(long http_status)
{
    switch (http_status) {
    case 200:
    case 204:
        return hf_ok();
    case 400:
    case 403:
        return (hf_status){HF_DENIED};
    case 404:
        return (hf_status){HF_NOT_FOUND};
    case 405:
        return (hf_status){HF_USAGE};
    default:
        /* 307 412 429 472 473 500 501 502 503 504: another node or another time. */
        return (hf_status){HF_UNAVAILABLE};
    }
}

hf_status hf_vault_judge(hf_vault *vault, const hf_net_exchange *exchange,
                         char ret_why[HF_VAULT_WHY_LEN])
{
    if (hf_failed(exchange->result)) {
        hf_str_cut(ret_why, HF_VAULT_WHY_LEN, exchange->detail);
        /* A node that was redirected to may be gone: begin where the configuration says. */
        set_base(vault, vault->config.address, strlen(vault->config.address));
        return (hf_status){HF_UNAVAILABLE};
    }
    if (exchange->http_status == 307) {
        follow(vault, exchange->location);
    }
    hf_status st = judge_status(exchange->http_status);
    if (hf_failed(st)) {
        json_t *json = hf_secret_json_parse(exchange->answer);
        put_reason(json, exchange->http_status, ret_why);
        json_decref(json);
    }
    return st;
}

/* ---- one request ---------------------------------------------------------------------------- */

static hf_status ask_once(hf_vault *vault, hf_net *net, const hf_vault_call *call, hf_bytes body,
                          uint64_t deadline_ns, hf_vault_answer *answer)
{
    hf_vault_headers headers;
    hf_net_exchange exchange = {
        .method = call->method, .body = body, .max_answer_bytes = call->max_answer_bytes};
    hf_buf *url = hf_buf_new(URL_MAX_BYTES);
    hf_status st = url != NULL ? hf_vault_url(vault, call->path, url) : (hf_status){HF_NOMEM};
    if (!hf_failed(st)) {
        uint64_t latest_ns = hf_time_mono_ns() + HF_VAULT_REQUEST_NS;
        exchange.url = hf_buf_text(url);
        hf_vault_headers_set(vault, call->token, call->is_global, &headers, &exchange);
        hf_net_run(net, &exchange, 1, latest_ns < deadline_ns ? latest_ns : deadline_ns);
        hf_wipe(&headers, sizeof headers);
        st = hf_vault_judge(vault, &exchange, answer->why);
        answer->http_status = exchange.http_status;
        answer->json = hf_failed(exchange.result) ? NULL : hf_secret_json_parse(exchange.answer);
        hf_net_exchange_done(&exchange);
    }
    hf_buf_free(url);
    return st;
}

hf_status hf_vault_ask(hf_vault *vault, hf_net *net, const hf_vault_call *call,
                       uint64_t deadline_ns, hf_vault_answer *ret_answer, hf_error *err)
{
    hf_vault_answer answer = {.http_status = 0};
    char *text = call->body != NULL ? json_dumps(call->body, JSON_COMPACT) : NULL;
    hf_bytes body = hf_bytes_from(text, text != NULL ? strlen(text) : 0);
    if (call->body != NULL && text == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = ask_once(vault, net, call, body, deadline_ns, &answer);
    for (int i = 0; i < REDIRECTS_MAX && answer.http_status == 307; i++) {
        hf_vault_answer_done(&answer);
        st = ask_once(vault, net, call, body, deadline_ns, &answer);
    }
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "Vault at %.200s: %s", vault->config.address, answer.why);
    }
    if (text != NULL) {
        hf_wipe(text, strlen(text));
        free(text);
    }
    *ret_answer = answer;
    return st;
}

void hf_vault_answer_done(hf_vault_answer *answer)
{
    json_decref(answer->json);
    answer->json = NULL;
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* Doubles with each attempt; up to a quarter is taken off by chance, so that many do not come back
 * at the same moment. */
uint64_t hf_vault_wait_ns(unsigned attempt, uint64_t first_ns, uint64_t most_ns)
{
    uint16_t chance;
    uint64_t wait_ns = first_ns;
    for (unsigned i = 0; i < attempt && wait_ns < most_ns; i++) {
        wait_ns *= 2;
    }
    wait_ns = wait_ns < most_ns ? wait_ns : most_ns;
    hf_random(&chance, sizeof chance);
    return wait_ns - wait_ns / 4 * chance / UINT16_MAX;
}

void hf_vault_sleep(uint64_t ns)
{
    while (ns > 0) {
        uint64_t slice = ns < SLICE_NS ? ns : SLICE_NS;
        hf_time_sleep_ns(slice);
        ns -= slice;
    }
}
