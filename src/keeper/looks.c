/*
 * Signatures that the shared store does not decide on. A sealed key makes none before the store was
 * asked, after its request arrived, how far its records have come: what another node sealed or
 * changed by then counts here (docs/adr/0022-looks.md). One question answers for all that wait, and
 * where the protector decides anything at that moment its decision is that question.
 */
#include "keeper/keeper_internal.h"
#include "keeper/pulse.h"

/* The store's timeout, its way there and back, and a decision that was under way. */
#define PATIENCE_NS (2 * HF_NS_PER_SECOND)

bool hf_look_is_needed(const hf_keeper *keeper, const hf_key *key)
{
    return keeper->store_clients[HF_LANE_SIGNING] != NULL && key->backend == HF_BACKEND_SEALED;
}

/* ---- the protector's half ---------------------------------------------------------------------
 */

hf_request *hf_looks_split(hf_request **list, size_t *n)
{
    hf_request *others = NULL;
    hf_request **others_end = &others;
    for (hf_request **link = list; *link != NULL;) {
        hf_request *request = *link;
        if (request->is_slashable) {
            link = &request->next;
            continue;
        }
        *link = request->next;
        request->next = NULL;
        *others_end = request;
        others_end = &request->next;
        (*n)--;
    }
    return others;
}

static void settle(hf_keeper *keeper, bool is_seen)
{
    hf_protector *protector = &keeper->protector;
    hf_looks *looks = &protector->looks;
    (void)pthread_mutex_lock(&protector->lock);
    looks->done = looks->taken;
    if (is_seen) {
        looks->generation = protector->store->ops->generation(protector->store);
    } else {
        looks->failed = looks->taken;
    }
    (void)pthread_cond_broadcast(&looks->settled);
    (void)pthread_mutex_unlock(&protector->lock);
    if (is_seen) {
        hf_tokens_note_generation(keeper, looks->generation);
    }
    hf_token_looks_tell(keeper);
}

static bool ask(hf_keeper *keeper, const hf_request *list)
{
    hf_protector *protector = &keeper->protector;
    hf_error err = {.code = HF_OK};
    hf_protector_limit_wait(keeper, list);
    if (list != NULL) {
        hf_auditor_hurry(keeper, hf_protector_last_ticket(list));
    }
    hf_pulse_to_disk();
    hf_status st = protector->store->ops->look(protector->store, &err);
    hf_pulse_from_disk();
    if (hf_failed(st)) {
        protector->next_health_ns = 0; /* that is to be known */
    }
    return !hf_failed(st);
}

static void release(hf_keeper *keeper, hf_request *list, bool is_seen)
{
    hf_request *allowed = NULL;
    hf_request **allowed_end = &allowed;
    bool is_current = is_seen && hf_protector_has_tokens(keeper, list);
    for (hf_request *next; list != NULL; list = next) {
        next = list->next;
        list->next = NULL;
        hf_reason reason = is_seen ? hf_protector_may_still(keeper, list, is_current)
                                   : HF_REASON_STORE_UNAVAILABLE;
        if (reason == HF_REASON_OK) {
            *allowed_end = list;
            allowed_end = &list->next;
        } else {
            hf_protector_refuse(keeper, list, reason);
        }
    }
    if (allowed != NULL && hf_protector_is_logged(keeper, allowed)) {
        hf_signers_sign(keeper, allowed);
    }
}

/* Was the store asked for all of them, since each arrived? */
static bool are_looked(const hf_request *list)
{
    while (list != NULL && list->is_looked) {
        list = list->next;
    }
    return list == NULL;
}

void hf_looks_answer(hf_keeper *keeper, hf_request *others, bool is_seen)
{
    const hf_looks *looks = &keeper->protector.looks;
    bool is_wanted = looks->taken != looks->done;
    if (others == NULL && !is_wanted) {
        return;
    }
    is_seen = is_seen || (!is_wanted && are_looked(others)) || ask(keeper, others);
    settle(keeper, is_seen);
    release(keeper, others, is_seen);
}

/* ---- any thread's -----------------------------------------------------------------------------
 */

uint64_t hf_look_ask(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    (void)pthread_mutex_lock(&protector->lock);
    uint64_t look = ++protector->looks.wanted;
    (void)pthread_cond_signal(&protector->work);
    (void)pthread_mutex_unlock(&protector->lock);
    return look;
}

uint64_t hf_look_want(hf_keeper *keeper, const hf_key *key)
{
    if (!hf_look_is_needed(keeper, key)) {
        return 0;
    }
    return keeper->look != 0 ? keeper->look : hf_look_ask(keeper);
}

hf_reason hf_look_wait(hf_keeper *keeper, uint64_t look, const hf_key *key)
{
    hf_protector *protector = &keeper->protector;
    const hf_looks *looks = &protector->looks;
    if (look == 0) {
        return HF_REASON_OK;
    }
    uint64_t until = hf_time_mono_ns() + PATIENCE_NS;
    struct timespec when = {.tv_sec = (time_t)(until / HF_NS_PER_SECOND),
                            .tv_nsec = (long)(until % HF_NS_PER_SECOND)};
    (void)pthread_mutex_lock(&protector->lock);
    while (looks->done < look && protector->healthy &&
           pthread_cond_timedwait(&protector->looks.settled, &protector->lock, &when) == 0) {
    }
    bool is_seen = looks->done >= look && looks->failed < look;
    uint64_t generation = looks->generation;
    (void)pthread_mutex_unlock(&protector->lock);
    return is_seen ? hf_seal_catch_up(keeper, key, generation) : HF_REASON_STORE_UNAVAILABLE;
}
