/* The decision of the start guard, from its evidence alone. */
#include "keeper/guard.h"

/* Clocks differ: whoever asked us may have been ahead by as much. */
#define SKEW_MS 2000
/* A clock may be set by so much without being called wrong. */
#define BACK_TOLERANCE_S 60
/* A signer that slept longer is likelier to have a broken clock. */
#define AHEAD_MAX_S (UINT64_C(5) * 365 * 86400)
/* Copying a log of some megabytes; and file systems round to their clock's ticks. */
#define COPYING_MAX_MS 3000
#define COPYING_ROUNDING_MS 20

static bool same_id(const uint8_t a[16], const uint8_t b[16])
{
    return hf_bytes_equal(a, b, 16);
}

static bool is_known(const uint8_t id[16])
{
    static const uint8_t unknown[16];
    return !same_id(id, unknown);
}

/* ---- evidence ------------------------------------------------------------------------------- */

static bool is_shared(const hf_guard_evidence *e)
{
    return e->here.backend != HF_STORE_SQLITE;
}

/* One witness's word on the store; CONTINUITY when it has nothing against it. */
static hf_guard_cause hear(const hf_guard_evidence *e, const hf_witness *witness)
{
    if (witness->backend == e->here.backend && is_shared(e) && !is_known(witness->lineage)) {
        return HF_GUARD_CONTINUITY; /* of a time when that store counted nothing */
    }
    if (witness->backend != e->here.backend || e->store.is_virgin ||
        !same_id(witness->lineage, e->store.lineage)) {
        return HF_GUARD_OTHER_STORE;
    }
    if (e->store.is_counted &&
        (witness->vote_id > e->store.vote_id || witness->block_id > e->store.block_id)) {
        return HF_GUARD_STORE_IS_BEHIND;
    }
    return HF_GUARD_CONTINUITY;
}

static hf_guard_cause hear_both(const hf_guard_evidence *e)
{
    hf_guard_cause cause = HF_GUARD_CONTINUITY;
    if (e->memory_state == HF_WITNESS_UNREADABLE || e->disk_state == HF_WITNESS_UNREADABLE) {
        return HF_GUARD_UNREADABLE;
    }
    if (e->memory_state == HF_WITNESS_PRESENT) {
        cause = hear(e, &e->memory);
    }
    if (cause == HF_GUARD_CONTINUITY && e->disk_state == HF_WITNESS_PRESENT) {
        cause = hear(e, &e->disk);
    }
    return cause;
}

/* The record is elsewhere, kept by others: it counts unless somebody speaks against it. */
static hf_guard_cause look_at_shared(const hf_guard_evidence *e)
{
    if (e->memory_state == HF_WITNESS_ABSENT && e->disk_state == HF_WITNESS_ABSENT) {
        return HF_GUARD_NODE_IS_NEW;
    }
    return hear_both(e);
}

/*
 * A database that was not closed is its file and its log together, and the log alone tells how far
 * it came: an older file under a newer log would lack what the log no longer holds. When the file
 * was last written tells it apart, but for a log that was just being copied into it.
 */
static bool is_same_file(const hf_guard_evidence *e)
{
    if (e->disk.device != e->here.device || e->disk.inode != e->here.inode) {
        return false;
    }
    if (!e->has_log || e->here.file_stamp == e->memory.file_stamp) {
        return true;
    }
    uint64_t stamp_ms = e->here.file_stamp / HF_NS_PER_MS;
    return e->copying_ms != 0 && stamp_ms + COPYING_ROUNDING_MS >= e->copying_ms &&
           stamp_ms <= e->copying_ms + COPYING_MAX_MS;
}

/* The record is a file on this machine: it counts only when both witnesses speak for it. */
static hf_guard_cause look_at_local(const hf_guard_evidence *e)
{
    bool has_memory = e->memory_state != HF_WITNESS_ABSENT;
    bool has_disk = e->disk_state != HF_WITNESS_ABSENT;
    if (!has_memory && !has_disk) {
        return e->store.is_virgin ? HF_GUARD_NEW_STORE : HF_GUARD_NO_WITNESS;
    }
    hf_guard_cause cause = hear_both(e);
    if (cause != HF_GUARD_CONTINUITY) {
        return cause;
    }
    if (!has_memory || !is_known(e->here.boot_id) || !same_id(e->memory.boot_id, e->here.boot_id)) {
        return HF_GUARD_MEMORY_LOST;
    }
    if (!has_disk) {
        return HF_GUARD_DISK_LOST;
    }
    if (!same_id(e->disk.boot_id, e->here.boot_id)) {
        return HF_GUARD_DISK_IS_FROM_BEFORE;
    }
    return is_same_file(e) ? HF_GUARD_CONTINUITY : HF_GUARD_OTHER_FILE;
}

static hf_guard_cause look(const hf_guard_evidence *e)
{
    switch (e->mode) {
    case HF_GUARD_OFF:
        return HF_GUARD_SWITCHED_OFF;
    case HF_GUARD_ALWAYS:
        return HF_GUARD_CONFIGURED;
    case HF_GUARD_AUTO:
    case HF_GUARD_MODE_COUNT:
        break;
    }
    return is_shared(e) ? look_at_shared(e) : look_at_local(e);
}

/* ---- floors --------------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Is the clock one to raise floors by? CONTINUITY when it is. */
static hf_guard_cause look_at_clock(const hf_guard_evidence *e, const hf_network *network)
{
    uint64_t newest_s = e->store.seen_unix_s;
    if (e->disk_state == HF_WITNESS_PRESENT) {
        newest_s = later(newest_s, e->disk.written_unix_s);
    }
    if (e->memory_state == HF_WITNESS_PRESENT) {
        newest_s = later(newest_s, e->memory.written_unix_s);
    }
    if (network->genesis_time == 0) {
        return HF_GUARD_NO_GENESIS_TIME;
    }
    if (e->now_unix_ms < 0 || (uint64_t)e->now_unix_ms / 1000 < network->genesis_time) {
        return HF_GUARD_BEFORE_GENESIS;
    }
    uint64_t now_s = (uint64_t)e->now_unix_ms / 1000;
    if (newest_s != 0 && now_s + BACK_TOLERANCE_S < newest_s) {
        return HF_GUARD_CLOCK_WENT_BACK;
    }
    if (newest_s != 0 && now_s > newest_s && now_s - newest_s > AHEAD_MAX_S) {
        return HF_GUARD_CLOCK_IS_AHEAD;
    }
    return HF_GUARD_CONTINUITY;
}

/*
 * Up to the present slot and epoch nothing new is signed. The source floor is the epoch too: a vote
 * from below it could surround one that was signed and is not on record.
 */
static hf_watermark present_floors(const hf_guard_evidence *e, const hf_network *network)
{
    uint64_t since_ms = (uint64_t)e->now_unix_ms + SKEW_MS - network->genesis_time * 1000;
    uint64_t slot = since_ms / network->slot_ms;
    uint64_t epoch = slot / network->slots_per_epoch;
    return (hf_watermark){
        .has_slot = 1, .has_epochs = 1, .slot = slot, .source = epoch, .target = epoch};
}

hf_guard_verdict hf_guard_judge(const hf_guard_evidence *evidence, const hf_network *network)
{
    hf_guard_cause cause = look(evidence);
    hf_guard_verdict verdict = {.state = HF_GUARD_PASSED, .cause = cause};
    if (cause == HF_GUARD_SWITCHED_OFF || cause == HF_GUARD_NEW_STORE ||
        cause == HF_GUARD_CONTINUITY || cause == HF_GUARD_NODE_IS_NEW) {
        return verdict;
    }
    hf_guard_cause clock = look_at_clock(evidence, network);
    if (clock != HF_GUARD_CONTINUITY) {
        verdict.state = HF_GUARD_REFUSED;
        verdict.cause = clock;
        return verdict;
    }
    verdict.state = HF_GUARD_RAISED;
    verdict.floors = present_floors(evidence, network);
    return verdict;
}
