/* What the files of protect share: the pure rules, and the parts of the SQLite store. */
#ifndef HF_PROTECT_INTERNAL_H
#define HF_PROTECT_INTERNAL_H

#include "protect/protect.h"

/* ---- rules.c: the pure core --------------------------------------------------------------- */

/* "None" in a bound. Numbers in the store are at most INT64_MAX, so that a bound needs no flag:
 * every real slot and epoch is above it. */
#define HF_NONE ((int64_t)-1)

/* The ends of one validator's history. */
typedef struct hf_bounds {
    int64_t floor_slot;
    int64_t floor_source;
    int64_t floor_target;
    int64_t max_slot; /* over the records that are kept; the floors are apart */
    int64_t max_source;
    int64_t max_target;
} hf_bounds;

extern const hf_bounds hf_bounds_none;

typedef enum hf_match {
    HF_MATCH_NONE = 0,  /* nothing on record there */
    HF_MATCH_IDENTICAL, /* exactly one record, and it is this message */
    HF_MATCH_OTHER      /* another message, or one whose root is not known */
} hf_match;

typedef enum hf_surround {
    HF_SURROUND_NONE = 0,
    HF_SURROUND_SURROUNDS, /* it would surround a record */
    HF_SURROUND_SURROUNDED /* a record would surround it */
} hf_surround;

/* Look-ups in one validator's history: asked only where the bounds leave a doubt. */
typedef struct hf_history_ops {
    hf_status (*block_at)(void *context, const hf_message *message, hf_match *ret_match,
                          hf_error *err);
    hf_status (*attestation_at)(void *context, const hf_message *message, hf_match *ret_match,
                                hf_error *err);
    hf_status (*surround)(void *context, const hf_message *message, hf_surround *ret_surround,
                          hf_error *err);
} hf_history_ops;

typedef struct hf_history {
    hf_bounds bounds;
    bool regular; /* no record surrounds another one */
    const hf_history_ops *ops;
    void *context;
} hf_history;

/* INVALID_INPUT unless the message can be decided: kind, flags, numbers, and a root. */
hf_status hf_rules_check(const hf_message *message, hf_error *err) HF_MUST_CHECK;
/* The same for a record of an import, which may lack its root. */
hf_status hf_rules_check_record(const hf_message *message, hf_error *err) HF_MUST_CHECK;

/* Decides a checked message. Fails only when a look-up does. */
hf_status hf_rules_decide(const hf_message *message, const hf_watermark *high,
                          const hf_history *history, hf_verdict *ret_verdict,
                          hf_error *err) HF_MUST_CHECK;

/* INVALID_INPUT unless these changes can be made together (records.h). */
hf_status hf_record_changes_check(const hf_record_change *changes, size_t n,
                                  hf_error *err) HF_MUST_CHECK;

/* What the bounds are once the message is on record. */
void hf_bounds_add(hf_bounds *bounds, const hf_message *message);

#endif
