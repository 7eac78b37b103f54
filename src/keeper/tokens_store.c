/*
 * The tokens' records: read, added, removed, and uses given out. The half of the thread that does
 * the jobs; it keeps all tokens as they are on record, and hands the intake thread a table of them
 * after each change.
 */
#include "keeper/keeper_internal.h"

#define READ_AGAIN_NS HF_NS_PER_SECOND
#define CATCH_UP_NS (300 * HF_NS_PER_MS)
#define TRIES 3 /* to change a record that others change too */

static void id_of(const char *accessor, uint8_t ret_id[HF_RECORD_ID_BYTES])
{
    memset(ret_id, 0, HF_RECORD_ID_BYTES);
    memcpy(ret_id, accessor, HF_AUTH_ACCESSOR_CHARS);
}

/* The place of this accessor in all, or where it belongs. */
static size_t place_of(const hf_tokens *tokens, const char *accessor)
{
    size_t low = 0;
    size_t high = tokens->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(tokens->all[middle].token.accessor, accessor) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static hf_token_entry *find(hf_tokens *tokens, const char *accessor)
{
    size_t i = place_of(tokens, accessor);
    bool is_there = i < tokens->count && strcmp(tokens->all[i].token.accessor, accessor) == 0;
    return is_there ? &tokens->all[i] : NULL;
}

static bool make_room(hf_tokens *tokens)
{
    if (tokens->count < tokens->room) {
        return true;
    }
    size_t room = tokens->room == 0 ? 16 : 2 * tokens->room;
    hf_token_entry *all = realloc(tokens->all, room * sizeof *all);
    if (all == NULL) {
        return false;
    }
    tokens->all = all;
    tokens->room = room;
    return true;
}

/* ---- for the protector ----------------------------------------------------------------------- */

/* With the lock held, if anybody else runs. */
static bool replace_known(hf_tokens *tokens)
{
    char(*known)[HF_AUTH_ACCESSOR_LEN] = calloc(tokens->count + 1, sizeof *known);
    if (known == NULL) {
        return false;
    }
    for (size_t i = 0; i < tokens->count; i++) {
        memcpy(known[i], tokens->all[i].token.accessor, sizeof known[i]);
    }
    free(tokens->known);
    tokens->known = known;
    tokens->known_count = tokens->count;
    return true;
}

static int compare_accessors(const void *a, const void *b)
{
    return strncmp(a, b, HF_AUTH_ACCESSOR_LEN);
}

bool hf_tokens_has(hf_keeper *keeper, const char accessor[HF_AUTH_ACCESSOR_LEN])
{
    hf_tokens *tokens = &keeper->tokens;
    (void)pthread_mutex_lock(&tokens->lock);
    bool has =
        tokens->known_count > 0 && bsearch(accessor, tokens->known, tokens->known_count,
                                           sizeof tokens->known[0], compare_accessors) != NULL;
    (void)pthread_mutex_unlock(&tokens->lock);
    return has;
}

static void ask_for_look(hf_keeper *keeper, uint64_t generation)
{
    hf_tokens *tokens = &keeper->tokens;
    if (generation > atomic_load(&tokens->seen)) {
        atomic_store(&tokens->seen, generation);
    }
    hf_jobs_look(keeper);
}

void hf_tokens_note_generation(hf_keeper *keeper, uint64_t generation)
{
    if (generation > atomic_load(&keeper->tokens.generation)) {
        ask_for_look(keeper, generation);
    }
}

bool hf_tokens_catch_up(hf_keeper *keeper, uint64_t generation)
{
    hf_tokens *tokens = &keeper->tokens;
    if (generation <= atomic_load(&tokens->generation)) {
        return true;
    }
    uint64_t until = hf_time_mono_ns() + CATCH_UP_NS;
    struct timespec when = {.tv_sec = (time_t)(until / HF_NS_PER_SECOND),
                            .tv_nsec = (long)(until % HF_NS_PER_SECOND)};
    ask_for_look(keeper, generation);
    (void)pthread_mutex_lock(&tokens->lock);
    int waited = 0;
    while (waited == 0 && generation > atomic_load(&tokens->generation)) {
        waited = pthread_cond_timedwait(&tokens->was_read, &tokens->lock, &when);
    }
    (void)pthread_mutex_unlock(&tokens->lock);
    return generation <= atomic_load(&tokens->generation);
}

static void note_read(hf_tokens *tokens, uint64_t generation)
{
    (void)pthread_mutex_lock(&tokens->lock);
    atomic_store(&tokens->generation, generation);
    (void)pthread_cond_broadcast(&tokens->was_read);
    (void)pthread_mutex_unlock(&tokens->lock);
}

/* ---- handing over -------------------------------------------------------------------------- */

static void publish(hf_keeper *keeper)
{
    hf_tokens *tokens = &keeper->tokens;
    hf_token_table *fresh = NULL;
    if (hf_failed(hf_token_table_new(tokens->all, tokens->count, &fresh))) {
        hf_log(HF_LOG_BROKEN, "tokens_not_updated", "not enough memory");
        tokens->is_read = false; /* again in a second */
        return;
    }
    (void)pthread_mutex_lock(&tokens->lock);
    hf_token_table *unseen = tokens->fresh;
    tokens->fresh = fresh;
    if (!replace_known(tokens)) {
        tokens->known_count = 0; /* those whom nobody knows sign nothing; again in a second */
        tokens->is_read = false;
    }
    atomic_store(&tokens->has_news, true);
    (void)pthread_mutex_unlock(&tokens->lock);
    hf_token_table_free(unseen);
    hf_intake_nudge(keeper);
}

static void publish_grant(hf_keeper *keeper, const hf_token_grant *grant)
{
    hf_tokens *tokens = &keeper->tokens;
    (void)pthread_mutex_lock(&tokens->lock);
    HF_ASSERT(tokens->grant_count <
              HF_TOKENS_PARKED_MAX); /* one for each token that is waited for */
    tokens->grants[tokens->grant_count++] = *grant;
    atomic_store(&tokens->has_news, true);
    (void)pthread_mutex_unlock(&tokens->lock);
    hf_intake_nudge(keeper);
}

/* ---- reading ------------------------------------------------------------------------------- */

static void refuse_returned(hf_keeper *keeper, const char *accessor)
{
    static const hf_pass by_itself = {.accessor = ""};
    hf_log(HF_LOG_BROKEN, "token_record_refused",
           "%s: it was revoked or had expired, and its record was put back", accessor);
    hf_auditor_note(keeper, HF_AUDIT_TOKEN, &by_itself, "refused",
                    "token %s was revoked or had expired, and its record was put back", accessor);
}

static hf_status read_one(void *context, const hf_record *record)
{
    hf_keeper *keeper = context;
    hf_tokens *tokens = &keeper->tokens;
    char accessor[HF_AUTH_ACCESSOR_LEN] = {0};
    hf_error err = {.code = HF_OK};
    hf_token token;
    memcpy(accessor, record->id, HF_AUTH_ACCESSOR_CHARS);
    hf_status st = hf_token_decode(&tokens->keys, accessor,
                                   hf_bytes_from(record->data, record->len), &token, &err);
    if (hf_failed(st)) {
        /* That one lets nobody in; the others do. */
        hf_log(HF_LOG_BROKEN, "token_record_refused", "%s: %s", accessor, err.msg);
        tokens->is_damaged = true;
        return hf_ok();
    }
    if (hf_tokens_is_gone(tokens, accessor)) {
        refuse_returned(keeper, accessor);
        return hf_ok();
    }
    if (tokens->count >= HF_AUTH_TOKENS_MAX || !make_room(tokens)) {
        return (hf_status){HF_LIMIT};
    }
    tokens->all[tokens->count++] =
        (hf_token_entry){.token = token, .record_version = record->version};
    return hf_ok();
}

static int by_accessor(const void *a, const void *b)
{
    const hf_token_entry *left = a;
    const hf_token_entry *right = b;
    return strcmp(left->token.accessor, right->token.accessor);
}

static void say_none(hf_keeper *keeper)
{
    hf_tokens *tokens = &keeper->tokens;
    if (tokens->count == 0 && !tokens->said_none && keeper->config.auth_mode == HF_AUTH_TOKENS) {
        tokens->said_none = true;
        hf_log(HF_LOG_UNUSUAL, "no_tokens",
               "auth.mode is tokens and there is none yet, so that nobody may ask for anything: "
               "holdfast token create --kind management --data-dir %s",
               keeper->config.data_dir);
    }
}

static hf_status read_all(hf_keeper *keeper, hf_store *store, hf_error *err)
{
    hf_tokens *tokens = &keeper->tokens;
    uint64_t generation = 0;
    tokens->count = 0;
    tokens->is_read = false;
    tokens->is_damaged = false;
    hf_status st = store->ops->records(store, HF_RECORD_TOKEN, read_one, keeper, &generation, err);
    if (hf_failed(st)) {
        return st;
    }
    if (tokens->count > 0) {
        qsort(tokens->all, tokens->count, sizeof tokens->all[0], by_accessor);
    }
    if (!tokens->is_damaged) { /* else one that is damaged would count as gone */
        hf_tokens_note_missing(tokens);
    }
    tokens->is_read = true;
    publish(keeper);
    note_read(tokens, generation);
    say_none(keeper);
    return hf_ok();
}

static void look(hf_keeper *keeper, hf_store *store)
{
    hf_tokens *tokens = &keeper->tokens;
    hf_error err = {.code = HF_OK};
    if ((tokens->is_read && store->ops->generation(store) == tokens->generation &&
         tokens->seen <= tokens->generation) ||
        (!tokens->is_read && hf_time_mono_ns() < tokens->retry_ns)) {
        return;
    }
    if (hf_failed(read_all(keeper, store, &err))) {
        tokens->retry_ns = hf_time_mono_ns() + READ_AGAIN_NS;
        if (!tokens->said_unread && keeper->config.auth_mode == HF_AUTH_TOKENS) {
            hf_log(HF_LOG_BROKEN, "tokens_not_read", "%s", err.msg);
        }
        tokens->said_unread = true;
        return;
    }
    tokens->said_unread = false;
}

void hf_tokens_look(hf_keeper *keeper, hf_store *store)
{
    look(keeper, store);
    hf_tokens_sweep(keeper, store);
    look(keeper, store);
}

/* ---- changing ------------------------------------------------------------------------------ */

/* Writes the token, or removes it (token NULL), from the version expected. */
static hf_status change(hf_keeper *keeper, hf_store *store, const char *accessor,
                        const hf_token *token, uint64_t expected, hf_error *err)
{
    hf_tokens *tokens = &keeper->tokens;
    uint8_t data[HF_TOKEN_RECORD_MAX];
    size_t len = 0;
    hf_record_change one = {.record = {.kind = HF_RECORD_TOKEN, .data = data},
                            .expected = expected,
                            .is_removal = token == NULL};
    id_of(accessor, one.record.id);
    if (token != NULL) {
        hf_token_encode(&tokens->keys, token, data, &len);
        one.record.len = (uint32_t)len;
    }
    uint64_t before = store->ops->generation(store);
    hf_status st = store->ops->change_records(store, &one, 1, err);
    hf_wipe(data, sizeof data);
    /* Ours is the one change since: no need to read all again. */
    if (!hf_failed(st) && before == tokens->generation &&
        store->ops->generation(store) == before + 1) {
        note_read(tokens, before + 1);
    }
    return st;
}

static void answer(hf_keeper *keeper, hf_peer *peer, uint64_t id, hf_status st, const hf_error *err)
{
    hf_reason reason = HF_REASON_STORE_UNAVAILABLE;
    if (!hf_failed(st)) {
        reason = HF_REASON_OK;
    } else if (st.code == HF_INVALID_INPUT) {
        reason = HF_REASON_MALFORMED;
    } else if (st.code == HF_NOT_FOUND) {
        reason = HF_REASON_NOT_FOUND;
    } else if (st.code == HF_LIMIT || st.code == HF_CONFLICT) {
        reason = HF_REASON_BUSY;
    }
    hf_peer_send_result(keeper, peer, id, reason, 0, hf_failed(st) ? err->msg : "");
}

/* ---- making -------------------------------------------------------------------------------- */

static hf_status terms_of(const hf_msg_token_create *frame, int64_t now, hf_token_terms *ret_terms,
                          hf_error *err)
{
    *ret_terms = frame->terms;
    if (frame->ttl_seconds > HF_AUTH_TTL_MAX_SECONDS || ret_terms->expires_unix_ms != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "ttl: at most ten years");
    }
    if (frame->ttl_seconds > 0) {
        ret_terms->expires_unix_ms = now + (int64_t)frame->ttl_seconds * 1000;
    }
    return hf_token_terms_check(ret_terms, err);
}

static hf_status add(hf_keeper *keeper, hf_store *store, const hf_token *token, hf_error *err)
{
    hf_tokens *tokens = &keeper->tokens;
    if (!tokens->is_read) {
        return hf_fail(err, HF_UNAVAILABLE, "the tokens could not be read yet");
    }
    if (tokens->count >= HF_AUTH_TOKENS_MAX) {
        return hf_fail(err, HF_LIMIT, "there are %d tokens already: revoke some",
                       HF_AUTH_TOKENS_MAX);
    }
    if (!make_room(tokens)) {
        return hf_fail(err, HF_NOMEM, "not enough memory");
    }
    hf_status st = change(keeper, store, token->accessor, token, 0, err);
    if (hf_failed(st)) {
        return st;
    }
    size_t i = place_of(tokens, token->accessor);
    memmove(&tokens->all[i + 1], &tokens->all[i], (tokens->count - i) * sizeof tokens->all[0]);
    tokens->all[i] = (hf_token_entry){.token = *token, .record_version = 1};
    tokens->count++;
    return st;
}

void hf_tokens_create(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame)
{
    const hf_msg_token_create *ask = frame;
    hf_error err = {.code = HF_OK};
    hf_token_terms terms;
    hf_token token;
    hf_msg_token_created reply = {.text = ""};
    int64_t now = hf_time_unix_ms();
    hf_status st = terms_of(ask, now, &terms, &err);
    if (!hf_failed(st)) {
        hf_token_make(&keeper->tokens.keys, &terms, now, &token, reply.text);
        st = add(keeper, store, &token, &err);
    }
    if (hf_failed(st)) {
        hf_wipe(&reply, sizeof reply);
        answer(keeper, peer, ask->header.request_id, st, &err);
        return;
    }
    publish(keeper);
    const hf_pass *pass = &keeper->jobs.asker;
    hf_log(HF_LOG_INFO, "token_created", "%s token %s (%s) by %s", hf_token_kind_name(terms.kind),
           token.accessor, terms.name, pass->accessor);
    hf_auditor_note(keeper, HF_AUDIT_TOKEN, pass, "done", "%s token %s was made: %s",
                    hf_token_kind_name(terms.kind), token.accessor, terms.name);
    hf_frame_init(&reply, HF_MSG_TOKEN_CREATED, ask->header.request_id);
    memcpy(reply.token.accessor, token.accessor, sizeof reply.token.accessor);
    reply.token.created_unix_ms = token.created_unix_ms;
    reply.token.terms = terms;
    hf_peer_send(keeper, peer, &reply);
    hf_wipe(&reply, sizeof reply);
}

/* ---- revoking ------------------------------------------------------------------------------ */

static hf_status drop(hf_keeper *keeper, hf_store *store, const char *accessor, hf_error *err)
{
    hf_tokens *tokens = &keeper->tokens;
    hf_status st = {HF_CONFLICT};
    for (int i = 0; i < TRIES && st.code == HF_CONFLICT; i++) {
        if ((i > 0 || !tokens->is_read) && hf_failed(st = read_all(keeper, store, err))) {
            return st;
        }
        const hf_token_entry *entry = find(tokens, accessor);
        if (entry == NULL) {
            return hf_fail(err, HF_NOT_FOUND, "no token has this accessor");
        }
        st = change(keeper, store, accessor, NULL, entry->record_version, err);
    }
    if (!hf_failed(st)) {
        size_t i = place_of(tokens, accessor);
        hf_tokens_note_gone(tokens, tokens->all[i].token.accessor);
        memmove(&tokens->all[i], &tokens->all[i + 1],
                (tokens->count - i - 1) * sizeof tokens->all[0]);
        tokens->count--;
    }
    return st;
}

void hf_tokens_revoke(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame)
{
    const hf_msg_token_revoke *ask = frame;
    hf_error err = {.code = HF_OK};
    hf_status st = hf_accessor_is_sane(ask->accessor)
                       ? drop(keeper, store, ask->accessor, &err)
                       : hf_fail(&err, HF_INVALID_INPUT, "an accessor is %d hex digits",
                                 HF_AUTH_ACCESSOR_CHARS);
    if (!hf_failed(st)) {
        publish(keeper); /* before the answer: the next question finds it gone */
        const hf_pass *pass = &keeper->jobs.asker;
        hf_log(HF_LOG_INFO, "token_revoked", "%s by %s", ask->accessor, pass->accessor);
        hf_auditor_note(keeper, HF_AUDIT_TOKEN, pass, "done", "token %s was revoked",
                        ask->accessor);
    }
    answer(keeper, peer, ask->header.request_id, st, &err);
}

/* ---- uses ---------------------------------------------------------------------------------- */

static hf_status give_out(hf_keeper *keeper, hf_store *store, hf_token_grant *grant, hf_error *err)
{
    hf_tokens *tokens = &keeper->tokens;
    hf_status st = {HF_CONFLICT};
    for (int i = 0; i < TRIES && st.code == HF_CONFLICT; i++) {
        if ((i > 0 || !tokens->is_read) && hf_failed(st = read_all(keeper, store, err))) {
            return st;
        }
        hf_token_entry *entry = find(tokens, grant->accessor);
        uint64_t step = entry != NULL ? hf_token_uses_to_reserve(&entry->token) : 0;
        if (step == 0) {
            return hf_fail(err, HF_NOT_FOUND, "no uses are left");
        }
        hf_token next = entry->token;
        next.uses_reserved += step;
        st = change(keeper, store, grant->accessor, &next, entry->record_version, err);
        if (!hf_failed(st)) {
            entry->token = next;
            entry->record_version++;
            grant->record_version = entry->record_version;
            grant->uses_reserved = next.uses_reserved;
            grant->granted = step;
        }
    }
    return st;
}

static void reserve(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame)
{
    const hf_msg_token_revoke *ask = frame; /* of ours: it names the token */
    hf_error err = {.code = HF_OK};
    hf_token_grant grant = {.granted = 0};
    (void)peer;
    memcpy(grant.accessor, ask->accessor, sizeof grant.accessor);
    hf_status st = give_out(keeper, store, &grant, &err);
    if (hf_failed(st) && st.code != HF_NOT_FOUND) {
        hf_log(HF_LOG_BROKEN, "token_uses_not_recorded", "%s: %s", grant.accessor, err.msg);
    }
    publish_grant(keeper, &grant);
}

bool hf_tokens_reserve(hf_keeper *keeper, const char accessor[HF_AUTH_ACCESSOR_LEN])
{
    hf_msg_token_revoke ask = {.accessor = ""};
    hf_frame_init(&ask, HF_MSG_TOKEN_REVOKE, 0);
    memcpy(ask.accessor, accessor, sizeof ask.accessor);
    return hf_jobs_call(keeper, reserve, NULL, &ask);
}

void hf_tokens_done(hf_keeper *keeper)
{
    hf_tokens *tokens = &keeper->tokens;
    hf_parked_free_list(keeper, tokens->parked);
    hf_token_table_free(tokens->table);
    hf_token_table_free(tokens->fresh);
    hf_auth_guesses_free(tokens->guesses);
    if (tokens->all != NULL) {
        hf_wipe(tokens->all, tokens->count * sizeof tokens->all[0]);
        free(tokens->all);
    }
    free(tokens->known);
    free(tokens->gone);
    hf_wipe(&tokens->keys, sizeof tokens->keys);
}
