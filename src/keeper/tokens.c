/* Verifying who asks, uses of tokens, and questions about tokens. The intake thread's half. */
#include "keeper/keeper_internal.h"

#define KEY_TEXT_LEN (2 * HF_AUTH_KEY_BYTES)

/* ---- the key ------------------------------------------------------------------------------ */

static hf_status make_key(const char *path, hf_error *err)
{
    uint8_t key[HF_AUTH_KEY_BYTES];
    char text[KEY_TEXT_LEN + 2];
    hf_random(key, sizeof key);
    hf_hex_encode(key, sizeof key, text);
    text[KEY_TEXT_LEN] = '\n';
    hf_status st = hf_file_write_atomic(path, text, KEY_TEXT_LEN + 1, 0600, err);
    hf_wipe(key, sizeof key);
    hf_wipe(text, sizeof text);
    return st;
}

hf_status hf_tokens_init(hf_keeper *keeper, hf_error *err)
{
    hf_tokens *tokens = &keeper->tokens;
    const char *path = keeper->config.token_key_path;
    uint8_t key[HF_AUTH_KEY_BYTES];
    hf_buf *buf = NULL;
    pthread_condattr_t attr;
    (void)pthread_mutex_init(&tokens->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&tokens->was_read, &attr);
    (void)pthread_condattr_destroy(&attr);
    tokens->guesses = hf_auth_guesses_new();
    if (tokens->guesses == NULL) {
        return hf_fail(err, HF_NOMEM, "not enough memory to start");
    }
    hf_status st = hf_file_check_private(path, err);
    if (st.code == HF_NOT_FOUND) {
        st = make_key(path, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_read(path, KEY_TEXT_LEN + 2, &buf, err);
    }
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "auth.key_file");
    }
    size_t len = strcspn(hf_buf_text(buf), "\r\n");
    st = hf_hex_decode(hf_buf_text(buf), len, key, sizeof key);
    hf_buf_free(buf);
    if (hf_failed(st)) {
        return hf_fail(err, HF_USAGE, "auth.key_file: %s: not a key of 64 hex digits", path);
    }
    hf_auth_keys_derive(key, &tokens->keys);
    hf_wipe(key, sizeof key);
    return hf_ok();
}

/* ---- news from the jobs thread ------------------------------------------------------------- */

static void take_grants(hf_tokens *tokens, const hf_token_grant *grants, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hf_token_entry *entry = hf_token_table_find(tokens->table, grants[i].accessor);
        if (entry != NULL && grants[i].granted > 0) {
            entry->record_version = grants[i].record_version;
            entry->token.uses_reserved = grants[i].uses_reserved;
            entry->uses_at_hand += grants[i].granted;
        }
    }
}

static const hf_token_grant *grant_of(const char *accessor, const hf_token_grant *grants,
                                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(grants[i].accessor, accessor) == 0) {
            return &grants[i];
        }
    }
    return NULL;
}

static bool has_parked(const hf_tokens *tokens, const char *accessor)
{
    for (const hf_parked *parked = tokens->parked; parked != NULL; parked = parked->next) {
        if (strcmp(parked->pass.accessor, accessor) == 0) {
            return true;
        }
    }
    return false;
}

static void append(hf_tokens *tokens, hf_parked *parked)
{
    hf_parked **end = &tokens->parked;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    parked->next = NULL;
    *end = parked;
    tokens->parked_count++;
}

/* Uses were given out, they are gone again, and more can be had. */
static bool needs_more(const hf_tokens *tokens, const char *accessor, const hf_token_grant *grant)
{
    const hf_token_entry *entry = hf_token_table_find(tokens->table, accessor);
    return grant->granted > 0 && entry != NULL && entry->uses_at_hand == 0 &&
           entry->token.uses_reserved < entry->token.terms.max_uses;
}

/* Questions whose uses were decided on are asked again, or wait for the next step. */
static void wake_parked(hf_keeper *keeper, const hf_token_grant *grants, size_t count)
{
    hf_tokens *tokens = &keeper->tokens;
    hf_parked *list = tokens->parked;
    tokens->parked = NULL;
    tokens->parked_count = 0;
    while (list != NULL) {
        hf_parked *parked = list;
        list = list->next;
        const hf_token_grant *grant = grant_of(parked->pass.accessor, grants, count);
        /* Even for a channel that is gone: one job under way for each token that is waited for. */
        bool must_wait = grant == NULL;
        if (!must_wait && !parked->peer->is_gone &&
            needs_more(tokens, parked->pass.accessor, grant)) {
            must_wait = has_parked(tokens, parked->pass.accessor) ||
                        hf_tokens_reserve(keeper, parked->pass.accessor);
        }
        if (must_wait) {
            append(tokens, parked);
            continue;
        }
        if (!parked->peer->is_gone) {
            hf_intake_again(keeper, parked->peer, parked->frame, &parked->fd);
        }
        hf_parked_free(keeper, parked);
    }
}

static void settle(hf_keeper *keeper, hf_token_grant grants[HF_TOKENS_PARKED_MAX],
                   size_t *ret_count)
{
    hf_tokens *tokens = &keeper->tokens;
    (void)pthread_mutex_lock(&tokens->lock);
    atomic_store(&tokens->has_news, false);
    hf_token_table *fresh = tokens->fresh;
    tokens->fresh = NULL;
    *ret_count = tokens->grant_count;
    memcpy(grants, tokens->grants, tokens->grant_count * sizeof grants[0]);
    tokens->grant_count = 0;
    (void)pthread_mutex_unlock(&tokens->lock);
    if (fresh != NULL) {
        if (tokens->table != NULL) {
            hf_token_table_take_over(fresh, tokens->table);
            hf_token_table_free(tokens->table);
        }
        tokens->table = fresh;
    }
    if (tokens->table != NULL) {
        take_grants(tokens, grants, *ret_count);
    }
}

void hf_tokens_settle(hf_keeper *keeper)
{
    hf_token_grant grants[HF_TOKENS_PARKED_MAX];
    size_t count = 0;
    if (!atomic_load(&keeper->tokens.has_news)) {
        return;
    }
    settle(keeper, grants, &count);
    if (count > 0) {
        wake_parked(keeper, grants, count);
    }
}

/* ---- uses ---------------------------------------------------------------------------------- */

/* Behind those that wait already; the job is asked for with the first of a token. */
static bool park(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd,
                 const char accessor[HF_AUTH_ACCESSOR_LEN])
{
    hf_tokens *tokens = &keeper->tokens;
    bool fits = tokens->parked_count < HF_TOKENS_PARKED_MAX;
    if (!fits || (!has_parked(tokens, accessor) && !hf_tokens_reserve(keeper, accessor))) {
        return false;
    }
    hf_parked *parked = hf_parked_new(keeper, peer, frame, fd);
    if (parked == NULL) {
        return false;
    }
    hf_str_cut(parked->pass.accessor, sizeof parked->pass.accessor, accessor);
    append(tokens, parked);
    return true;
}

bool hf_tokens_make_wait(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    hf_tokens *tokens = &keeper->tokens;
    hf_token_entry *entry = NULL;
    const hf_msg_ask *ask = frame; /* every question begins so */
    hf_scope scope;
    hf_tokens_settle(keeper);
    if (peer->channel != HF_CHANNEL_FRONT || tokens->table == NULL ||
        !hf_gate_scope_of(ask->header.type, &scope) || ask->caller.token[0] == '\0' ||
        !hf_token_table_has_limited(tokens->table)) {
        return false;
    }
    hf_token_verdict verdict = hf_token_verify(&tokens->keys, tokens->table, ask->caller.token,
                                               ask->caller.address, hf_time_unix_ms(), &entry);
    return verdict == HF_TOKEN_NEEDS_USES && park(keeper, peer, frame, fd, entry->token.accessor);
}

/* ---- verifying ----------------------------------------------------------------------------- */

static void log_rejection(hf_keeper *keeper, const hf_caller *caller, hf_token_verdict verdict,
                          const hf_token_entry *entry)
{
    hf_cidr from = {.bits = 128};
    char text[HF_CIDR_TEXT_LEN];
    if (!hf_refusal_may_be_logged(keeper)) {
        return;
    }
    memcpy(from.address, caller->address, sizeof from.address);
    hf_cidr_format(&from, text);
    hf_log(HF_LOG_UNUSUAL, "token_refused", "%s, from %s%s%s", hf_token_verdict_name(verdict), text,
           entry != NULL ? ", token " : "", entry != NULL ? entry->token.accessor : "");
}

static hf_reason reject(hf_keeper *keeper, const hf_caller *caller, hf_token_verdict verdict,
                        const hf_token_entry *entry, hf_pass *pass)
{
    static const char *const sentences[HF_TOKEN_VERDICT_COUNT] = {
        [HF_TOKEN_MISSING] = "a token is needed: Authorization: Bearer TOKEN",
        [HF_TOKEN_UNKNOWN] = "the token is not valid",
        [HF_TOKEN_EXPIRED] = "the token has expired",
        [HF_TOKEN_WRONG_SOURCE] = "the token is not valid from this address",
        [HF_TOKEN_USED_UP] = "the token is used up",
    };
    hf_meter_add(&keeper->meter.now.token_rejections[verdict], 1);
    log_rejection(keeper, caller, verdict, entry);
    if (verdict == HF_TOKEN_UNKNOWN) {
        uint32_t wait =
            hf_auth_guesses_note(keeper->tokens.guesses, caller->address, hf_time_mono_ns());
        if (wait > 0) {
            (void)snprintf(pass->detail, sizeof pass->detail,
                           "too many tokens that are none came from this address: wait %u seconds",
                           wait);
            return HF_REASON_RATE_LIMITED;
        }
    }
    hf_str_cut(pass->detail, sizeof pass->detail, sentences[verdict]);
    return HF_REASON_UNAUTHORIZED;
}

hf_reason hf_tokens_recognise(hf_keeper *keeper, const hf_caller *caller, bool is_page,
                              hf_pass *pass, hf_token_entry **ret_entry)
{
    hf_tokens *tokens = &keeper->tokens;
    hf_token_entry *entry = NULL;
    if (tokens->table == NULL) {
        hf_str_cut(pass->detail, sizeof pass->detail, "the tokens could not be read yet");
        return HF_REASON_STORE_UNAVAILABLE;
    }
    hf_token_verdict verdict = hf_token_verify(&tokens->keys, tokens->table, caller->token,
                                               caller->address, hf_time_unix_ms(), &entry);
    if (entry != NULL) {
        hf_str_cut(pass->accessor, sizeof pass->accessor, entry->token.accessor);
    }
    if (verdict == HF_TOKEN_NEEDS_USES) {
        hf_str_cut(pass->detail, sizeof pass->detail, "uses of the token could not be recorded");
        return HF_REASON_STORE_UNAVAILABLE;
    }
    bool is_last_use = verdict == HF_TOKEN_USED_UP && is_page;
    if (verdict != HF_TOKEN_VALID && !is_last_use) {
        return reject(keeper, caller, verdict, entry, pass);
    }
    *ret_entry = entry;
    return HF_REASON_OK;
}

/* ---- questions about tokens ----------------------------------------------------------------- */

static void show(const hf_token *token, hf_token_view *ret_view)
{
    memcpy(ret_view->accessor, token->accessor, sizeof ret_view->accessor);
    ret_view->created_unix_ms = token->created_unix_ms;
    ret_view->uses_reserved = token->uses_reserved;
    ret_view->terms = token->terms;
}

void hf_tokens_list(hf_keeper *keeper, hf_peer *peer, const hf_msg_token_list *frame)
{
    static hf_msg_token_page page; /* intake thread only; 16 KiB */
    hf_token_table *table = keeper->tokens.table;
    char after[HF_AUTH_ACCESSOR_LEN] = {0};
    memcpy(after, frame->after, sizeof after - 1);
    if (table == NULL) {
        hf_peer_send_result(keeper, peer, frame->header.request_id, HF_REASON_STORE_UNAVAILABLE, 0,
                            "the tokens could not be read yet");
        return;
    }
    memset(&page, 0, sizeof page);
    hf_frame_init(&page, HF_MSG_TOKEN_PAGE, frame->header.request_id);
    size_t count = hf_token_table_count(table);
    size_t i = hf_token_table_after(table, after);
    for (; i < count && page.count < HF_TOKENS_PAGE; i++) {
        show(&hf_token_table_at(table, i)->token, &page.tokens[page.count++]);
    }
    page.done = i == count;
    hf_peer_send(keeper, peer, &page);
}

void hf_tokens_change(hf_keeper *keeper, hf_peer *peer, const void *frame)
{
    const hf_frame_header *header = frame;
    char detail[HF_DETAIL_LEN] = "";
    hf_reason reason =
        header->type == HF_MSG_TOKEN_CREATE
            ? hf_policies_know(keeper, &((const hf_msg_token_create *)frame)->terms, detail)
            : HF_REASON_OK;
    if (reason != HF_REASON_OK) {
        hf_peer_send_result(keeper, peer, header->request_id, reason, 0, detail);
        return;
    }
    (void)hf_jobs_call(keeper,
                       header->type == HF_MSG_TOKEN_CREATE ? hf_tokens_create : hf_tokens_revoke,
                       peer, frame);
}
