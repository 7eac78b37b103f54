/*
 * The slashing rules once more, as directly as EIP-3076 says them: all that was ever known about a
 * few validators in two small tables, searched from end to end.
 */
#ifndef HF_TEST_PROTECT_REFERENCE_H
#define HF_TEST_PROTECT_REFERENCE_H

#include "protect/protect.h"

#define REF_VALIDATORS 4
#define REF_NUMBERS 24  /* slots and epochs are below this */
#define REF_UNKNOWN 255 /* a record without root */

typedef struct ref_validator {
    uint8_t blocks[REF_NUMBERS];             /* by slot: 0 for none, else the root */
    uint8_t votes[REF_NUMBERS][REF_NUMBERS]; /* by source and target */
    int floor_slot;                          /* -1: none */
    int floor_source;
    int floor_target;
} ref_validator;

typedef struct ref_store {
    ref_validator validators[REF_VALIDATORS];
    int high_slot; /* -1: none */
    int high_target;
} ref_store;

void ref_init(ref_store *ref);
/* Decides and records; message->pubkey is all bytes validator + 1, its root has one byte that
 * counts. */
hf_verdict ref_decide(ref_store *ref, const hf_message *message);
void ref_import(ref_store *ref, const hf_message *messages, size_t n);
void ref_prune(ref_store *ref, int keep_epochs, int slots_per_epoch);
void ref_raise(ref_store *ref, const hf_watermark *low);

/*
 * A signature over the message leaves. False when it is slashable together with an earlier one in
 * signed_by_us, which holds all that left, whatever was pruned since.
 */
bool ref_sign(ref_store *signed_by_us, const hf_message *message);

#endif
