/* The slashing rules once more, as directly as EIP-3076 says them. */
#include "reference.h"

void ref_init(ref_store *ref)
{
    *ref = (ref_store){.high_slot = -1, .high_target = -1};
    for (int v = 0; v < REF_VALIDATORS; v++) {
        ref->validators[v].floor_slot = -1;
        ref->validators[v].floor_source = -1;
        ref->validators[v].floor_target = -1;
    }
}

static ref_validator *validator_of(ref_store *ref, const hf_message *message)
{
    return &ref->validators[message->pubkey[0] - 1];
}

static hf_verdict decide_block(const ref_store *ref, ref_validator *known, int slot, uint8_t root)
{
    if (ref->high_slot >= 0 && slot >= ref->high_slot) {
        return HF_VERDICT_ABOVE_HIGH_WATERMARK;
    }
    if (known->blocks[slot] != 0) {
        return known->blocks[slot] == root ? HF_VERDICT_REPEAT : HF_VERDICT_DOUBLE_BLOCK;
    }
    if (slot <= known->floor_slot) {
        return HF_VERDICT_BELOW_WATERMARK;
    }
    known->blocks[slot] = root;
    known->floor_slot = known->floor_slot < 0 ? slot : known->floor_slot;
    return HF_VERDICT_ALLOW;
}

/* How many votes are there with this target; how many of them surround, are surrounded. */
static void count_votes(const ref_validator *known, int source, int target, int *same,
                        int *surrounded, int *surrounding)
{
    for (int s = 0; s < REF_NUMBERS; s++) {
        for (int t = 0; t < REF_NUMBERS; t++) {
            if (known->votes[s][t] != 0) {
                *same += t == target;
                *surrounded += s < source && t > target;
                *surrounding += s > source && t < target;
            }
        }
    }
}

static hf_verdict decide_vote(const ref_store *ref, ref_validator *known, int source, int target,
                              uint8_t root)
{
    int same = 0;
    int surrounded = 0;
    int surrounding = 0;
    if (source > target) {
        return HF_VERDICT_SOURCE_AFTER_TARGET;
    }
    if (ref->high_target >= 0 && target >= ref->high_target) {
        return HF_VERDICT_ABOVE_HIGH_WATERMARK;
    }
    count_votes(known, source, target, &same, &surrounded, &surrounding);
    bool identical = same == 1 && known->votes[source][target] == root;
    if (same > 0 && !identical) {
        return HF_VERDICT_DOUBLE_VOTE;
    }
    if (source < known->floor_source || (!identical && target <= known->floor_target)) {
        return HF_VERDICT_BELOW_WATERMARK;
    }
    if (surrounding > 0) {
        return HF_VERDICT_SURROUNDING_VOTE;
    }
    if (surrounded > 0) {
        return HF_VERDICT_SURROUNDED_VOTE;
    }
    if (identical) {
        return HF_VERDICT_REPEAT;
    }
    known->votes[source][target] = root;
    if (known->floor_target < 0) {
        known->floor_source = source;
        known->floor_target = target;
    }
    return HF_VERDICT_ALLOW;
}

hf_verdict ref_decide(ref_store *ref, const hf_message *message)
{
    ref_validator *known = validator_of(ref, message);
    return message->kind == HF_MESSAGE_BLOCK
               ? decide_block(ref, known, (int)message->slot, message->signing_root[0])
               : decide_vote(ref, known, (int)message->source, (int)message->target,
                             message->signing_root[0]);
}

/* A record that is new under a floor comes in without root. */
static void merge(uint8_t *record, const hf_message *message, bool is_under)
{
    uint8_t root = message->has_root ? message->signing_root[0] : REF_UNKNOWN;
    if (*record == 0) {
        *record = is_under ? REF_UNKNOWN : root;
    } else {
        *record = *record == root ? root : REF_UNKNOWN;
    }
}

static int least(int a, uint64_t b)
{
    return a < 0 || (int)b < a ? (int)b : a;
}

void ref_import(ref_store *ref, const hf_message *messages, size_t n)
{
    /* The least of this import; it counts where there was no floor. */
    ref_store floors;
    ref_init(&floors);
    for (size_t i = 0; i < n; i++) {
        ref_validator *known = validator_of(ref, &messages[i]);
        ref_validator *floor = validator_of(&floors, &messages[i]);
        if (messages[i].kind == HF_MESSAGE_BLOCK) {
            merge(&known->blocks[messages[i].slot], &messages[i],
                  (int)messages[i].slot <= known->floor_slot);
            floor->floor_slot = least(floor->floor_slot, messages[i].slot);
        } else {
            merge(&known->votes[messages[i].source][messages[i].target], &messages[i],
                  (int)messages[i].target <= known->floor_target ||
                      (int)messages[i].source < known->floor_source);
            floor->floor_source = least(floor->floor_source, messages[i].source);
            floor->floor_target = least(floor->floor_target, messages[i].target);
        }
    }
    for (int v = 0; v < REF_VALIDATORS; v++) {
        ref_validator *known = &ref->validators[v];
        const ref_validator *floor = &floors.validators[v];
        if (known->floor_slot < 0) {
            known->floor_slot = floor->floor_slot;
        }
        if (known->floor_target < 0) {
            known->floor_source = floor->floor_source;
            known->floor_target = floor->floor_target;
        }
    }
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static void prune_validator(ref_validator *known, int keep_epochs, int slots_per_epoch)
{
    int newest_slot = -1;
    int newest_target = -1;
    for (int i = 0; i < REF_NUMBERS; i++) {
        newest_slot = known->blocks[i] != 0 ? i : newest_slot;
        for (int s = 0; s < REF_NUMBERS; s++) {
            newest_target = known->votes[s][i] != 0 ? i : newest_target;
        }
    }
    for (int slot = 0; slot < newest_slot - keep_epochs * slots_per_epoch; slot++) {
        if (known->blocks[slot] != 0) {
            known->blocks[slot] = 0;
            known->floor_slot = larger(known->floor_slot, slot);
        }
    }
    for (int t = 0; t < newest_target - keep_epochs; t++) {
        for (int s = 0; s < REF_NUMBERS; s++) {
            if (known->votes[s][t] != 0) {
                known->votes[s][t] = 0;
                known->floor_source = larger(known->floor_source, s);
                known->floor_target = larger(known->floor_target, t);
            }
        }
    }
}

void ref_prune(ref_store *ref, int keep_epochs, int slots_per_epoch)
{
    for (int v = 0; v < REF_VALIDATORS; v++) {
        prune_validator(&ref->validators[v], keep_epochs, slots_per_epoch);
    }
}

static bool is_known(const ref_validator *validator)
{
    return validator->floor_slot >= 0 || validator->floor_target >= 0;
}

void ref_raise(ref_store *ref, const hf_watermark *low)
{
    for (int v = 0; v < REF_VALIDATORS; v++) {
        ref_validator *known = &ref->validators[v];
        if (!is_known(known)) {
            continue;
        }
        if (low->has_slot) {
            known->floor_slot = larger(known->floor_slot, (int)low->slot);
        }
        if (low->has_epochs) {
            known->floor_source = larger(known->floor_source, (int)low->source);
            known->floor_target = larger(known->floor_target, (int)low->target);
        }
    }
}

bool ref_sign(ref_store *signed_by_us, const hf_message *message)
{
    ref_validator *known = &signed_by_us->validators[message->pubkey[0] - 1];
    uint8_t root = message->signing_root[0];
    if (message->kind == HF_MESSAGE_BLOCK) {
        uint8_t earlier = known->blocks[message->slot];
        known->blocks[message->slot] = root;
        return earlier == 0 || earlier == root;
    }
    bool good = true;
    for (uint64_t s = 0; s < REF_NUMBERS; s++) {
        for (uint64_t t = 0; t < REF_NUMBERS; t++) {
            if (known->votes[s][t] != 0) {
                bool same = s == message->source && t == message->target;
                good = good && !(t == message->target && !(same && known->votes[s][t] == root)) &&
                       !(s < message->source && t > message->target) &&
                       !(s > message->source && t < message->target);
            }
        }
    }
    known->votes[message->source][message->target] = root;
    return good;
}
