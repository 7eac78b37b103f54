/*
 * Questions that come with a token which another node may have revoked, or whose policies it may
 * have changed. Each waits until the shared store was asked, after it arrived, how far its records
 * have come, and until tokens and policies were read that far; then it is taken up as if it came
 * now. One question to the store answers for all that wait (looks.c, docs/adr/0022-looks.md).
 * Blocks and attestations do not wait here: the decision about them is that question. A token that
 * cannot be confirmed is not believed.
 */
#include "keeper/keeper_internal.h"

/* The store's timeout, its way there and back, a decision under way, and the records' reading. */
#define PATIENCE_NS (2 * HF_NS_PER_SECOND)

/* What was let in by its first part needs no look of its own; whether a credential is one at all is
 * no such part. */
static bool is_later_part(const hf_gate_question *question)
{
    return question->is_part && question->scope != HF_GATE_ANYTHING;
}

/* The decision asks the store in any case. */
static bool is_decided_on(const hf_gate_question *question)
{
    return question->scope == HF_SCOPE_SIGN && question->key != NULL &&
           hf_operation_is_slashable(question->operation);
}

static bool hangs_on_shared_token(hf_keeper *keeper, const hf_peer *peer, const void *frame)
{
    const hf_tokens *tokens = &keeper->tokens;
    const hf_msg_ask *ask = frame; /* every question begins so */
    hf_gate_question question;
    hf_token_entry *entry = NULL;
    if (keeper->store_clients[HF_LANE_SIGNING] == NULL || peer->channel != HF_CHANNEL_FRONT ||
        tokens->table == NULL || !hf_dispatch_question(keeper, peer, frame, &question) ||
        is_later_part(&question) || is_decided_on(&question) ||
        !hf_gate_reads_token(keeper, peer, &ask->caller, &question)) {
        return false;
    }
    hf_token_verdict verdict = hf_token_verify(&tokens->keys, tokens->table, ask->caller.token,
                                               ask->caller.address, hf_time_unix_ms(), &entry);
    return verdict == HF_TOKEN_VALID || verdict == HF_TOKEN_NEEDS_USES;
}

static void append(hf_token_looks *looks, hf_parked *parked)
{
    parked->next = NULL;
    *(looks->head != NULL ? &looks->tail->next : &looks->head) = parked;
    looks->tail = parked;
    (void)atomic_fetch_add(&looks->count, 1);
}

bool hf_token_looks_make_wait(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    hf_tokens_settle(keeper);
    if (!hangs_on_shared_token(keeper, peer, frame)) {
        return false;
    }
    bool fits = atomic_load(&peer->refs) < peer->in_flight_max;
    hf_parked *parked = fits ? hf_parked_new(keeper, peer, frame, fd) : NULL;
    if (parked == NULL) {
        hf_meter_add(&keeper->meter.now.overload, 1);
        hf_intake_looked(keeper, peer, frame, fd, 0, HF_REASON_OVERLOADED);
        return true;
    }
    parked->until_ns = hf_time_mono_ns() + PATIENCE_NS;
    append(&keeper->token_looks, parked);
    parked->look = hf_look_ask(keeper); /* last: who answers it sees that somebody waits */
    return true;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

/* What is known of the looks at this moment. */
typedef struct news {
    uint64_t done;
    uint64_t failed;
    bool is_well; /* the store, as far as is known */
    bool is_read; /* tokens and policies, as far as the last look said */
} news;

static news hear(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    (void)pthread_mutex_lock(&protector->lock);
    news now = {.done = protector->looks.done,
                .failed = protector->looks.failed,
                .is_well = protector->healthy || !protector->is_looked_at};
    uint64_t generation = protector->looks.generation;
    (void)pthread_mutex_unlock(&protector->lock);
    now.is_read = atomic_load(&keeper->tokens.generation) >= generation &&
                  atomic_load(&keeper->policies.generation) >= generation;
    return now;
}

/* True: it waits no longer, with the reason to doubt, or none. */
static bool is_answered(const hf_parked *parked, const news *now, hf_reason *ret_doubt)
{
    bool is_done = now->done >= parked->look;
    bool is_seen = is_done && now->failed < parked->look;
    *ret_doubt = is_seen && now->is_read ? HF_REASON_OK : HF_REASON_STORE_UNAVAILABLE;
    return is_done ? *ret_doubt == HF_REASON_OK || !is_seen || hf_time_mono_ns() >= parked->until_ns
                   : !now->is_well || hf_time_mono_ns() >= parked->until_ns;
}

void hf_token_looks_turn(hf_keeper *keeper)
{
    hf_token_looks *looks = &keeper->token_looks;
    if (looks->head == NULL) {
        return;
    }
    news now = hear(keeper);
    hf_tokens_settle(keeper); /* after: what was read by then is what they are judged by */
    hf_parked *list = looks->head;
    looks->head = NULL;
    while (list != NULL) {
        hf_parked *parked = list;
        hf_reason doubt;
        list = list->next;
        (void)atomic_fetch_sub(&looks->count, 1);
        if (!is_answered(parked, &now, &doubt)) {
            append(looks, parked);
            continue;
        }
        hf_peer *peer = hf_parked_let_go(keeper, parked);
        if (!peer->is_gone) {
            hf_intake_looked(keeper, peer, parked->frame, &parked->fd, parked->look, doubt);
        }
        hf_parked_free(keeper, parked);
    }
}

void hf_token_looks_tell(hf_keeper *keeper)
{
    if (atomic_load(&keeper->token_looks.count) > 0) {
        hf_intake_nudge(keeper);
    }
}

void hf_token_looks_done(hf_keeper *keeper)
{
    hf_token_looks *looks = &keeper->token_looks;
    hf_parked_free_list(keeper, looks->head);
    looks->head = NULL;
    atomic_store(&looks->count, 0);
}
