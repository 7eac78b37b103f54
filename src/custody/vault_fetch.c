/* Many paths at once: in batches that shrink when the server says that it is too much. */
#include "custody/secret_text.h"
#include "custody/vault_internal.h"

#define BATCH_MOST 256
#define BATCH_LEAST 4
#define NEW_TOKENS_MAX 4
#define URL_MAX_BYTES 8192

typedef struct batch {
    hf_net_exchange exchanges[BATCH_MOST];
    hf_buf *urls[BATCH_MOST];
    size_t count;
} batch;

typedef struct work {
    hf_vault *vault;
    const hf_vault_fetch *fetch;
    uint64_t deadline_ns;
    size_t *todo; /* indices still to be asked for */
    size_t left;
    size_t size; /* of the next batch */
    unsigned idle_rounds;
    unsigned new_tokens;
    hf_vault_token token;
    char why[HF_VAULT_WHY_LEN]; /* of the last one that has to wait */
} work;

static void clear(batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        hf_net_exchange_done(&b->exchanges[i]);
        hf_buf_free(b->urls[i]);
    }
    b->count = 0;
}

static hf_status add(work *w, batch *b, const char *path, hf_vault_headers *headers)
{
    hf_buf *url = hf_buf_new(URL_MAX_BYTES);
    hf_status st =
        url != NULL ? hf_vault_url(w->vault, w->fetch->prefix, url) : (hf_status){HF_NOMEM};
    if (!hf_failed(st)) {
        st = hf_url_put_escaped(url, path, true);
    }
    if (!hf_failed(st)) {
        st = hf_buf_putf(url, "%s", w->fetch->suffix);
    }
    if (hf_failed(st)) {
        hf_buf_free(url);
        return st;
    }
    hf_net_exchange *exchange = &b->exchanges[b->count];
    *exchange = (hf_net_exchange){
        .method = "GET", .url = hf_buf_text(url), .max_answer_bytes = w->fetch->max_answer_bytes};
    hf_vault_headers_set(w->vault, w->token.text, false, headers, exchange);
    b->urls[b->count++] = url;
    return hf_ok();
}

static hf_status ask(work *w, batch *b)
{
    hf_vault_headers headers;
    hf_status st = hf_ok();
    size_t n = w->left < w->size ? w->left : w->size;
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = add(w, b, w->fetch->paths[w->todo[i]], &headers);
    }
    if (!hf_failed(st)) {
        uint64_t latest_ns = hf_time_mono_ns() + HF_VAULT_REQUEST_NS;
        hf_net_run(w->vault->list_net, b->exchanges, b->count,
                   latest_ns < w->deadline_ns ? latest_ns : w->deadline_ns);
    }
    hf_wipe(&headers, sizeof headers);
    return st;
}

/* Is the token behind a refusal? Then all that it was refused is asked again with another one. */
static bool is_token_bad(work *w, int *known)
{
    if (*known < 0) {
        *known = w->new_tokens < NEW_TOKENS_MAX &&
                 hf_vault_token_refused(w->vault, w->token.serial, w->deadline_ns);
    }
    return *known == 1;
}

static hf_status take(work *w, size_t index, hf_net_exchange *exchange, hf_status st)
{
    json_t *json = hf_secret_json_parse(exchange->answer);
    hf_status result = w->fetch->answer(w->fetch->context, index, st, json, w->why);
    json_decref(json);
    return result;
}

/* Hands over what was answered; what has to be asked again stays in todo. */
static hf_status sort_out(work *w, batch *b, size_t *ret_answered)
{
    int known_bad = -1;
    size_t kept = 0;
    size_t answered = 0;
    hf_status st = hf_ok();
    for (size_t i = 0; i < b->count && !hf_failed(st); i++) {
        hf_net_exchange *exchange = &b->exchanges[i];
        size_t index = w->todo[i];
        hf_status came = hf_vault_judge(w->vault, exchange, w->why);
        if (came.code == HF_UNAVAILABLE ||
            (exchange->http_status == 403 && is_token_bad(w, &known_bad))) {
            w->todo[kept++] = index;
            continue;
        }
        answered++;
        st = take(w, index, exchange, came);
    }
    memmove(w->todo + kept, w->todo + b->count, (w->left - b->count) * sizeof *w->todo);
    w->left -= b->count - kept;
    *ret_answered = answered;
    if (!hf_failed(st) && known_bad == 1) {
        w->new_tokens++;
        w->token.text[0] = '\0';
    }
    return st;
}

/* All answered: more at once. Some refused: half of it. None: wait. */
static hf_status adapt(work *w, size_t asked, size_t answered, hf_error *err)
{
    if (answered == asked) {
        w->size = w->size * 2 < BATCH_MOST ? w->size * 2 : BATCH_MOST;
        w->idle_rounds = 0;
        return hf_ok();
    }
    if (w->token.text[0] == '\0') {
        return hf_ok(); /* it was the token, and not too much */
    }
    w->size = w->size / 2 > BATCH_LEAST ? w->size / 2 : BATCH_LEAST;
    w->idle_rounds = answered > 0 ? 0 : w->idle_rounds + 1;
    uint64_t wait_ns =
        hf_vault_wait_ns(w->idle_rounds, HF_VAULT_IDLE_FIRST_NS, HF_VAULT_IDLE_MOST_NS);
    if (w->idle_rounds >= HF_VAULT_IDLE_ROUNDS || hf_time_mono_ns() + wait_ns >= w->deadline_ns) {
        return hf_fail(err, HF_UNAVAILABLE, "Vault at %.200s: %s", w->vault->config.address,
                       w->why);
    }
    hf_vault_sleep(wait_ns);
    return hf_ok();
}

static hf_status round_trip(work *w, batch *b, hf_error *err)
{
    size_t answered = 0;
    hf_status st = hf_ok();
    if (w->token.text[0] == '\0') {
        st = hf_vault_token_get(w->vault, w->deadline_ns, &w->token, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    if (hf_failed(ask(w, b))) {
        return hf_fail(err, HF_NOMEM, "out of memory, or a path is too long");
    }
    size_t asked = b->count;
    st = sort_out(w, b, &answered);
    return hf_failed(st) ? st : adapt(w, asked, answered, err);
}

hf_status hf_vault_fetch_all(hf_vault *vault, const hf_vault_fetch *fetch, uint64_t deadline_ns,
                             hf_error *err)
{
    work w = {.vault = vault,
              .fetch = fetch,
              .deadline_ns = deadline_ns,
              .todo = calloc(fetch->count + 1, sizeof *w.todo),
              .left = fetch->count,
              .size = BATCH_MOST};
    batch *b = calloc(1, sizeof *b);
    hf_status st = w.todo != NULL && b != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
    for (size_t i = 0; !hf_failed(st) && i < fetch->count; i++) {
        w.todo[i] = i;
    }
    while (!hf_failed(st) && w.left > 0) {
        st = round_trip(&w, b, err);
        clear(b);
    }
    hf_wipe(&w.token, sizeof w.token);
    free(w.todo);
    free(b);
    return st;
}
