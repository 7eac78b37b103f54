/*
 * Tokens that are no more. One that was here and went (revoked on some node, expired) does not come
 * back: accessors are made by chance and never twice, so a record that returns was put back by
 * whoever can write to the store. Remembered until the keeper ends. And those that expired a while
 * ago are taken out of the store. The thread that does the jobs.
 */
#include "keeper/keeper_internal.h"

/* How long an expired token is listed as such. */
#define EXPIRED_KEEP_MS (INT64_C(7) * 86400 * 1000)
#define SWEEP_INTERVAL_NS (UINT64_C(3600) * HF_NS_PER_SECOND)
/* The oldest of more are forgotten all at once. */
#define GONE_MAX HF_AUTH_TOKENS_MAX

/* The place of this accessor among those that went, or where it belongs. */
static size_t place_of(const hf_tokens *tokens, const char *accessor)
{
    size_t low = 0;
    size_t high = tokens->gone_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(tokens->gone[middle], accessor) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool hf_tokens_is_gone(const hf_tokens *tokens, const char *accessor)
{
    size_t i = place_of(tokens, accessor);
    return i < tokens->gone_count && strcmp(tokens->gone[i], accessor) == 0;
}

void hf_tokens_note_gone(hf_tokens *tokens, const char accessor[HF_AUTH_ACCESSOR_LEN])
{
    if (hf_tokens_is_gone(tokens, accessor)) {
        return;
    }
    if (tokens->gone_count == tokens->gone_room) {
        size_t room = tokens->gone_room == 0 ? 16 : 2 * tokens->gone_room;
        char(*gone)[HF_AUTH_ACCESSOR_LEN] =
            room <= 2 * GONE_MAX ? realloc(tokens->gone, room * sizeof *gone) : NULL;
        if (gone == NULL) {
            tokens->gone_count = 0;
        } else {
            tokens->gone = gone;
            tokens->gone_room = room;
        }
    }
    if (tokens->gone_room == 0) {
        return;
    }
    size_t i = place_of(tokens, accessor);
    memmove(&tokens->gone[i + 1], &tokens->gone[i],
            (tokens->gone_count - i) * sizeof tokens->gone[0]);
    memcpy(tokens->gone[i], accessor, sizeof tokens->gone[0]);
    tokens->gone_count++;
}

/* Both are sorted by accessor. */
void hf_tokens_note_missing(hf_tokens *tokens)
{
    size_t at = 0;
    for (size_t i = 0; i < tokens->known_count; i++) { /* this thread alone writes it */
        const char *accessor = tokens->known[i];
        while (at < tokens->count && strcmp(tokens->all[at].token.accessor, accessor) < 0) {
            at++;
        }
        if (at == tokens->count || strcmp(tokens->all[at].token.accessor, accessor) != 0) {
            hf_tokens_note_gone(tokens, accessor);
        }
    }
}

/* ---- expired ------------------------------------------------------------------------------- */

static bool is_long_expired(const hf_token *token, int64_t now_ms)
{
    int64_t expires_ms = token->terms.expires_unix_ms;
    return expires_ms != 0 && now_ms > expires_ms && now_ms - expires_ms > EXPIRED_KEEP_MS;
}

static size_t list_expired(const hf_tokens *tokens, hf_record_change changes[HF_RECORD_CHANGES_MAX])
{
    int64_t now_ms = hf_time_unix_ms();
    size_t n = 0;
    for (size_t i = 0; i < tokens->count && n < HF_RECORD_CHANGES_MAX; i++) {
        const hf_token_entry *entry = &tokens->all[i];
        if (is_long_expired(&entry->token, now_ms)) {
            changes[n] = (hf_record_change){.record = {.kind = HF_RECORD_TOKEN},
                                            .expected = entry->record_version,
                                            .is_removal = true};
            memcpy(changes[n++].record.id, entry->token.accessor, HF_AUTH_ACCESSOR_CHARS);
        }
    }
    return n;
}

void hf_tokens_sweep(hf_keeper *keeper, hf_store *store)
{
    static const hf_pass by_itself = {.accessor = ""};
    hf_tokens *tokens = &keeper->tokens;
    hf_record_change changes[HF_RECORD_CHANGES_MAX];
    hf_error err = {.code = HF_OK};
    uint64_t now_ns = hf_time_mono_ns();
    if (!tokens->is_read || now_ns < tokens->next_sweep_ns) {
        return;
    }
    tokens->next_sweep_ns = now_ns + SWEEP_INTERVAL_NS;
    size_t n = list_expired(tokens, changes);
    if (n == 0) {
        return;
    }
    if (n == HF_RECORD_CHANGES_MAX) {
        tokens->next_sweep_ns = now_ns; /* there are more */
    }
    hf_status st = store->ops->change_records(store, changes, n, &err);
    tokens->is_read = false; /* as they are now; another node may have been quicker */
    tokens->retry_ns = 0;
    if (hf_failed(st)) {
        tokens->next_sweep_ns = now_ns + SWEEP_INTERVAL_NS;
        return;
    }
    hf_log(HF_LOG_INFO, "tokens_dropped", "%zu tokens that expired a week ago or longer", n);
    hf_auditor_note(keeper, HF_AUDIT_TOKEN, &by_itself, "done",
                    "%zu tokens that expired a week ago or longer were dropped", n);
}
