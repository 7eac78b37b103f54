/* What the model test shares with what is particular to each store. */
#ifndef HF_TEST_PROPERTY_MODEL_H
#define HF_TEST_PROPERTY_MODEL_H

#include "reference.h"
#include "support_postgres.h"

typedef struct world {
    test_store test;
    ref_store ref;
    ref_store signed_by_us; /* every message that was allowed, whatever was pruned since */
    const struct model_store *store;
    unsigned registered; /* bit pubkey[0]: the store was asked about this validator */
    bool lenient;        /* what was recorded while the answer was lost is a REPEAT of itself */
    uint64_t random;
    uint64_t requests;
    uint64_t allowed;
    uint64_t kills;
    uint64_t faults;
} world;

typedef struct model_store {
    uint64_t rounds; /* when nobody says how many */
    /* All that is on the disk, as another process sees it. */
    void (*read_disk)(world *w, ref_store *seen);
    void (*simplify)(ref_store *expected); /* to what read_disk can tell apart; may be NULL */
    void (*start_over)(world *w);          /* with an empty store */
    void (*first_fault)(world *w);
    void (*second_fault)(world *w);
    bool high_above_floors; /* the schema has it so */
    bool raises_all;        /* raise_floors reaches validators without records */
} model_store;

extern const model_store model_sqlite;
extern const model_store model_postgres;

uint32_t below(world *w, uint32_t bound);
hf_message random_message(world *w, bool may_lack_root);
/* Decides a random batch, and the reference too. */
void decide_random(world *w);

#endif
