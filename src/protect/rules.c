/*
 * The slashing rules as a pure function of a message and one validator's history.
 *
 * EIP-3076, "Conditions": 1 and 3 (nothing slashable against any record), 2, 4 and 5 (floors at
 * the minimum of what is known). The bounds answer the common case without a look-up: a vote with
 * source >= every source and target > every target can neither surround nor be surrounded.
 */
#include "protect/protect_internal.h"

const hf_bounds hf_bounds_none = {HF_NONE, HF_NONE, HF_NONE, HF_NONE, HF_NONE, HF_NONE};

static const char *const verdict_names[HF_VERDICT_COUNT] = {
    [HF_VERDICT_ALLOW] = "ALLOW",
    [HF_VERDICT_REPEAT] = "REPEAT",
    [HF_VERDICT_DOUBLE_BLOCK] = "DOUBLE_BLOCK",
    [HF_VERDICT_DOUBLE_VOTE] = "DOUBLE_VOTE",
    [HF_VERDICT_SURROUNDING_VOTE] = "SURROUNDING_VOTE",
    [HF_VERDICT_SURROUNDED_VOTE] = "SURROUNDED_VOTE",
    [HF_VERDICT_BELOW_WATERMARK] = "BELOW_WATERMARK",
    [HF_VERDICT_ABOVE_HIGH_WATERMARK] = "ABOVE_HIGH_WATERMARK",
    [HF_VERDICT_SOURCE_AFTER_TARGET] = "SOURCE_AFTER_TARGET",
    [HF_VERDICT_DISABLED] = "DISABLED",
    [HF_VERDICT_UNDECIDED] = "UNDECIDED",
};

static bool exceeds(const hf_message *message)
{
    return message->slot > HF_PROTECT_MAX_NUMBER || message->source > HF_PROTECT_MAX_NUMBER ||
           message->target > HF_PROTECT_MAX_NUMBER;
}

static hf_status decide_block(const hf_message *message, const hf_history *history,
                              hf_verdict *ret_verdict, hf_error *err)
{
    const hf_bounds *bounds = &history->bounds;
    int64_t slot = (int64_t)message->slot;
    if (slot > bounds->max_slot && slot > bounds->floor_slot) {
        *ret_verdict = HF_VERDICT_ALLOW;
        return hf_ok();
    }
    hf_match match = HF_MATCH_NONE;
    if (slot <= bounds->max_slot) {
        hf_status st = history->ops->block_at(history->context, message, &match, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    if (match == HF_MATCH_IDENTICAL) {
        *ret_verdict = HF_VERDICT_REPEAT;
    } else if (match == HF_MATCH_OTHER) {
        *ret_verdict = HF_VERDICT_DOUBLE_BLOCK;
    } else if (slot <= bounds->floor_slot) {
        *ret_verdict = HF_VERDICT_BELOW_WATERMARK;
    } else {
        *ret_verdict = HF_VERDICT_ALLOW;
    }
    return hf_ok();
}

/* Looks for records that surround the vote or are surrounded by it; otherwise: without any. */
static hf_status decide_surround(const hf_message *message, const hf_history *history,
                                 hf_verdict otherwise, hf_verdict *ret_verdict, hf_error *err)
{
    hf_surround surround = HF_SURROUND_NONE;
    hf_status st = history->ops->surround(history->context, message, &surround, err);
    if (hf_failed(st)) {
        return st;
    }
    switch (surround) {
    case HF_SURROUND_NONE:
        *ret_verdict = otherwise;
        break;
    case HF_SURROUND_SURROUNDS:
        *ret_verdict = HF_VERDICT_SURROUNDING_VOTE;
        break;
    case HF_SURROUND_SURROUNDED:
        *ret_verdict = HF_VERDICT_SURROUNDED_VOTE;
        break;
    }
    return hf_ok();
}

/* A new vote that no record shares its target with: floors, then both surrounds. */
static hf_status decide_new_target(const hf_message *message, const hf_history *history,
                                   hf_verdict *ret_verdict, hf_error *err)
{
    const hf_bounds *bounds = &history->bounds;
    int64_t source = (int64_t)message->source;
    int64_t target = (int64_t)message->target;
    if (source < bounds->floor_source || target <= bounds->floor_target) {
        *ret_verdict = HF_VERDICT_BELOW_WATERMARK;
        return hf_ok();
    }
    if (target > bounds->max_target) {
        /* The record with the highest source has a lower target. */
        *ret_verdict = source < bounds->max_source ? HF_VERDICT_SURROUNDING_VOTE : HF_VERDICT_ALLOW;
        return hf_ok();
    }
    return decide_surround(message, history, HF_VERDICT_ALLOW, ret_verdict, err);
}

static hf_status decide_attestation(const hf_message *message, const hf_history *history,
                                    hf_verdict *ret_verdict, hf_error *err)
{
    if ((int64_t)message->target > history->bounds.max_target) {
        return decide_new_target(message, history, ret_verdict, err);
    }
    hf_match match = HF_MATCH_NONE;
    hf_status st = history->ops->attestation_at(history->context, message, &match, err);
    if (hf_failed(st)) {
        return st;
    }
    switch (match) {
    case HF_MATCH_IDENTICAL:
        /* On record does not mean signed here: an import may have brought it beside a vote that
         * was signed here and that it surrounds, and that vote may be pruned since. */
        if ((int64_t)message->source < history->bounds.floor_source) {
            *ret_verdict = HF_VERDICT_BELOW_WATERMARK;
            return hf_ok();
        }
        if (history->regular) {
            *ret_verdict = HF_VERDICT_REPEAT;
            return hf_ok();
        }
        return decide_surround(message, history, HF_VERDICT_REPEAT, ret_verdict, err);
    case HF_MATCH_OTHER:
        *ret_verdict = HF_VERDICT_DOUBLE_VOTE;
        return hf_ok();
    case HF_MATCH_NONE:
        break;
    }
    return decide_new_target(message, history, ret_verdict, err);
}

/* ---- public ------------------------------------------------------------------------------- */

hf_status hf_rules_check_record(const hf_message *message, hf_error *err)
{
    if (message->kind != HF_MESSAGE_BLOCK && message->kind != HF_MESSAGE_ATTESTATION) {
        return hf_fail(err, HF_INVALID_INPUT, "a message that is neither block nor attestation");
    }
    if (message->has_root > 1) {
        return hf_fail(err, HF_INVALID_INPUT, "a message whose root flag is neither 0 nor 1");
    }
    if (exceeds(message)) {
        return hf_fail(err, HF_INVALID_INPUT, "a slot or epoch above 2^63 - 1");
    }
    return hf_ok();
}

hf_status hf_rules_check(const hf_message *message, hf_error *err)
{
    hf_status st = hf_rules_check_record(message, err);
    if (!hf_failed(st) && message->has_root == 0) {
        st = hf_fail(err, HF_INVALID_INPUT, "a message to be signed without signing root");
    }
    return st;
}

hf_status hf_rules_decide(const hf_message *message, const hf_watermark *high,
                          const hf_history *history, hf_verdict *ret_verdict, hf_error *err)
{
    if (message->kind == HF_MESSAGE_BLOCK) {
        if (high->has_slot && message->slot >= high->slot) {
            *ret_verdict = HF_VERDICT_ABOVE_HIGH_WATERMARK;
            return hf_ok();
        }
        return decide_block(message, history, ret_verdict, err);
    }
    if (message->source > message->target) {
        *ret_verdict = HF_VERDICT_SOURCE_AFTER_TARGET;
        return hf_ok();
    }
    if (high->has_epochs && message->target >= high->target) {
        *ret_verdict = HF_VERDICT_ABOVE_HIGH_WATERMARK;
        return hf_ok();
    }
    return decide_attestation(message, history, ret_verdict, err);
}

static int64_t larger(int64_t a, uint64_t b)
{
    return a > (int64_t)b ? a : (int64_t)b;
}

void hf_bounds_add(hf_bounds *bounds, const hf_message *message)
{
    if (message->kind == HF_MESSAGE_BLOCK) {
        bounds->max_slot = larger(bounds->max_slot, message->slot);
        if (bounds->floor_slot == HF_NONE) {
            bounds->floor_slot = (int64_t)message->slot;
        }
        return;
    }
    bounds->max_source = larger(bounds->max_source, message->source);
    bounds->max_target = larger(bounds->max_target, message->target);
    if (bounds->floor_target == HF_NONE) {
        bounds->floor_source = (int64_t)message->source;
        bounds->floor_target = (int64_t)message->target;
    }
}

const char *hf_verdict_name(hf_verdict verdict)
{
    return (unsigned)verdict < HF_VERDICT_COUNT ? verdict_names[verdict] : "UNKNOWN";
}
