/*
 * One validator's history on the disk. Votes are keyed by target, so that a look-up beside a vote
 * goes from one target that anybody voted for to the next.
 */
#include "protect/sqlite_internal.h"

/*
 * Targets that one look-up visits at most; beyond, the doubt is a refusal. The next vote of a
 * validator is one or two targets away, and with the usual pruning (250 epochs) there are fewer
 * targets than this.
 */
#define VISIT_MAX 320

static bool same_root(sqlite3_stmt *statement, int column, const hf_message *message)
{
    return sqlite3_column_bytes(statement, column) == HF_ROOT_BYTES &&
           hf_bytes_equal(sqlite3_column_blob(statement, column), message->signing_root,
                          HF_ROOT_BYTES);
}

static hf_status block_at(void *context, const hf_message *message, hf_match *ret_match,
                          hf_error *err)
{
    hf_lookup *look = context;
    bool row = false;
    sqlite3_stmt *statement = hf_sqlite_statement(look->store, HF_SQL_BLOCK_AT);
    hf_sqlite_bind(statement, 1, look->validator->id);
    hf_sqlite_bind(statement, 2, (int64_t)message->slot);
    hf_status st = hf_sqlite_step(look->store, statement, &row, err);
    if (!hf_failed(st)) {
        *ret_match = !row                               ? HF_MATCH_NONE
                     : same_root(statement, 0, message) ? HF_MATCH_IDENTICAL
                                                        : HF_MATCH_OTHER;
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status attestation_at(void *context, const hf_message *message, hf_match *ret_match,
                                hf_error *err)
{
    hf_lookup *look = context;
    hf_match match = HF_MATCH_NONE;
    bool row = false;
    sqlite3_stmt *statement = hf_sqlite_statement(look->store, HF_SQL_ATTESTATION_AT);
    hf_sqlite_bind(statement, 1, look->validator->id);
    hf_sqlite_bind(statement, 2, (int64_t)message->target);
    hf_status st = hf_sqlite_step(look->store, statement, &row, err);
    if (!hf_failed(st) && row) {
        bool same = sqlite3_column_int64(statement, 0) == (int64_t)message->source &&
                    same_root(statement, 1, message);
        match = same ? HF_MATCH_IDENTICAL : HF_MATCH_OTHER;
        /* A second vote for the target, which only an import can bring, contradicts the first. */
        st = hf_sqlite_step(look->store, statement, &row, err);
        match = row ? HF_MATCH_OTHER : match;
    }
    (void)sqlite3_reset(statement);
    if (!hf_failed(st)) {
        *ret_match = match;
    }
    return st;
}

/* ---- from target to target ---------------------------------------------------------------- */

/* Steps a statement that yields one row of up to two numbers, HF_NONE for NULL. */
static hf_status ask(hf_sqlite *store, hf_sql which, int64_t first, int64_t second,
                     int64_t *ret_first, int64_t *ret_second, hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(store, which);
    hf_sqlite_bind(statement, 1, first);
    if (ret_second != NULL) {
        hf_sqlite_bind(statement, 2, second);
    }
    hf_status st = hf_sqlite_step(store, statement, NULL, err);
    if (!hf_failed(st)) {
        *ret_first = hf_sqlite_column_bound(statement, 0);
        if (ret_second != NULL) {
            *ret_second = hf_sqlite_column_bound(statement, 1);
        }
    }
    (void)sqlite3_reset(statement);
    return st;
}

typedef struct neighbours {
    int64_t least; /* source among the votes on one side; HF_NONE when there is none */
    int64_t greatest;
    bool cut; /* the look-up ended before the history did */
} neighbours;

static void widen(neighbours *found, int64_t least, int64_t greatest)
{
    found->least = found->least == HF_NONE || least < found->least ? least : found->least;
    found->greatest = greatest > found->greatest ? greatest : found->greatest;
}

/*
 * The sources beside a target. In a regular history sources rise with targets, so that the nearest
 * vote has the extreme source of its whole side; in an irregular one every vote counts.
 */
static hf_status look_beside(const hf_lookup *look, hf_sql direction, int64_t target,
                             neighbours *ret_found, hf_error *err)
{
    neighbours found = {HF_NONE, HF_NONE, false};
    int64_t last = look->validator->now.max_target;
    for (int visits = 0;; visits++) {
        int64_t least;
        int64_t greatest;
        hf_status st = ask(look->store, direction, target, 0, &target, NULL, err);
        if (hf_failed(st)) {
            return st;
        }
        if (target == HF_NONE || target > last) {
            break;
        }
        if (visits == VISIT_MAX) {
            found.cut = true;
            break;
        }
        st = ask(look->store, HF_SQL_SOURCES_AT, look->validator->id, target, &least, &greatest,
                 err);
        if (hf_failed(st)) {
            return st;
        }
        if (least != HF_NONE) {
            widen(&found, least, greatest);
            if (!look->validator->irregular) {
                break;
            }
        }
    }
    *ret_found = found;
    return hf_ok();
}

static hf_status surround(void *context, const hf_message *message, hf_surround *ret_surround,
                          hf_error *err)
{
    hf_lookup *look = context;
    int64_t source = (int64_t)message->source;
    int64_t target = (int64_t)message->target;
    neighbours before;
    neighbours after;
    hf_status st = look_beside(look, HF_SQL_TARGET_BEFORE, target, &before, err);
    if (!hf_failed(st)) {
        st = look_beside(look, HF_SQL_TARGET_AFTER, target, &after, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (before.greatest > source) {
        *ret_surround = HF_SURROUND_SURROUNDS;
    } else if (after.least != HF_NONE && after.least < source) {
        *ret_surround = HF_SURROUND_SURROUNDED;
    } else if (before.cut) {
        *ret_surround = HF_SURROUND_SURROUNDS;
    } else {
        *ret_surround = after.cut ? HF_SURROUND_SURROUNDED : HF_SURROUND_NONE;
    }
    return hf_ok();
}

const hf_history_ops hf_sqlite_history = {block_at, attestation_at, surround};

hf_status hf_sqlite_sources_at(hf_sqlite *store, int64_t validator_id, int64_t target,
                               int64_t *ret_least, int64_t *ret_greatest, hf_error *err)
{
    return ask(store, HF_SQL_SOURCES_AT, validator_id, target, ret_least, ret_greatest, err);
}

hf_status hf_sqlite_last_vote(hf_sqlite *store, const hf_validator *validator, int64_t *ret_source,
                              int64_t *ret_target, hf_error *err)
{
    int64_t target = INT64_MAX;
    int64_t least = HF_NONE;
    int64_t greatest = HF_NONE;
    /* From the newest target down: for who votes each epoch, one or two visits. */
    hf_status st = ask(store, HF_SQL_SOURCES_AT, validator->id, target, &least, &greatest, err);
    while (!hf_failed(st) && greatest == HF_NONE && target != HF_NONE) {
        st = ask(store, HF_SQL_TARGET_BEFORE, target, 0, &target, NULL, err);
        if (!hf_failed(st) && target != HF_NONE) {
            st = ask(store, HF_SQL_SOURCES_AT, validator->id, target, &least, &greatest, err);
        }
    }
    if (!hf_failed(st) && greatest != HF_NONE) {
        *ret_source = greatest;
        *ret_target = target;
    }
    return st;
}
