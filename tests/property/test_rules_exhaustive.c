/*
 * The pure rules without a store: every history of up to three votes (and of two blocks) over five
 * epochs, every floor, every message, against the reference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protect/protect_internal.h"
#include "reference.h"

#define EPOCHS 5
#define CELLS (EPOCHS * EPOCHS)

static hf_status fake_block_at(void *context, const hf_message *message, hf_match *ret_match,
                               hf_error *err)
{
    const ref_validator *known = context;
    uint8_t record = known->blocks[message->slot];
    (void)err;
    *ret_match = record == 0                          ? HF_MATCH_NONE
                 : record == message->signing_root[0] ? HF_MATCH_IDENTICAL
                                                      : HF_MATCH_OTHER;
    return hf_ok();
}

static hf_status fake_attestation_at(void *context, const hf_message *message, hf_match *ret_match,
                                     hf_error *err)
{
    const ref_validator *known = context;
    int count = 0;
    (void)err;
    for (int s = 0; s < EPOCHS; s++) {
        count += known->votes[s][message->target] != 0;
    }
    bool same = known->votes[message->source][message->target] == message->signing_root[0];
    *ret_match = count == 0           ? HF_MATCH_NONE
                 : count == 1 && same ? HF_MATCH_IDENTICAL
                                      : HF_MATCH_OTHER;
    return hf_ok();
}

static hf_surround surround_of(const ref_validator *known, uint64_t source, uint64_t target)
{
    hf_surround found = HF_SURROUND_NONE;
    for (uint64_t s = 0; s < EPOCHS; s++) {
        for (uint64_t t = 0; t < EPOCHS; t++) {
            if (known->votes[s][t] != 0 && s > source && t < target) {
                return HF_SURROUND_SURROUNDS;
            }
            if (known->votes[s][t] != 0 && s < source && t > target) {
                found = HF_SURROUND_SURROUNDED;
            }
        }
    }
    return found;
}

static hf_status fake_surround(void *context, const hf_message *message, hf_surround *ret_surround,
                               hf_error *err)
{
    (void)err;
    *ret_surround = surround_of(context, message->source, message->target);
    return hf_ok();
}

static const hf_history_ops fake_ops = {fake_block_at, fake_attestation_at, fake_surround};

static hf_history history_of(ref_validator *known)
{
    hf_history history = {hf_bounds_none, true, &fake_ops, known};
    hf_bounds *bounds = &history.bounds;
    bounds->floor_slot = known->floor_slot;
    bounds->floor_source = known->floor_source;
    bounds->floor_target = known->floor_target;
    for (int s = 0; s < EPOCHS; s++) {
        bounds->max_slot = known->blocks[s] != 0 ? s : bounds->max_slot;
        for (int t = 0; t < EPOCHS; t++) {
            if (known->votes[s][t] != 0) {
                bounds->max_source = s;
                bounds->max_target = t > bounds->max_target ? t : bounds->max_target;
                if (surround_of(known, (uint64_t)s, (uint64_t)t) != HF_SURROUND_NONE) {
                    history.regular = false;
                }
            }
        }
    }
    return history;
}

static uint64_t compare(ref_store *ref, const hf_message *message)
{
    const hf_watermark high = {.has_slot = ref->high_slot >= 0,
                               .has_epochs = ref->high_target >= 0,
                               .slot = (uint64_t)ref->high_slot,
                               .target = (uint64_t)ref->high_target};
    ref_store copy = *ref;
    hf_verdict verdict;
    hf_history history = history_of(&ref->validators[0]);
    hf_status st = hf_rules_decide(message, &high, &history, &verdict, NULL);
    assert_int_equal(st.code, HF_OK);
    assert_string_equal(hf_verdict_name(verdict), hf_verdict_name(ref_decide(&copy, message)));
    return 1;
}

static uint64_t compare_all_votes(ref_store *ref)
{
    uint64_t compared = 0;
    for (uint64_t cell = 0; cell < CELLS; cell++) {
        for (uint8_t root = 1; root <= 2; root++) {
            hf_message message = {.kind = HF_MESSAGE_ATTESTATION,
                                  .has_root = 1,
                                  .source = cell / EPOCHS,
                                  .target = cell % EPOCHS};
            message.pubkey[0] = 1;
            message.signing_root[0] = root;
            compared += compare(ref, &message);
        }
    }
    return compared;
}

static void put_vote(ref_store *ref, int cell, uint8_t root)
{
    if (cell < CELLS) {
        ref->validators[0].votes[cell / EPOCHS][cell % EPOCHS] = root;
    }
}

/* Cells beyond the last stand for fewer votes; the third vote has no root on record. */
static void test_votes(void **state)
{
    uint64_t compared = 0;
    (void)state;
    for (int a = 0; a <= CELLS; a++) {
        for (int b = a; b <= CELLS; b++) {
            for (int c = b; c <= CELLS; c++) {
                for (int floor = -1; floor < EPOCHS; floor++) {
                    ref_store ref;
                    ref_init(&ref);
                    put_vote(&ref, c, REF_UNKNOWN);
                    put_vote(&ref, b, 2);
                    put_vote(&ref, a, 1);
                    ref.validators[0].floor_target = floor;
                    ref.validators[0].floor_source = floor > 0 ? floor - (a % 2) : floor;
                    ref.high_target = b % 3 == 0 ? -1 : EPOCHS - 1;
                    compared += compare_all_votes(&ref);
                }
            }
        }
    }
    print_message("%llu decisions\n", (unsigned long long)compared);
}

static void test_blocks(void **state)
{
    (void)state;
    for (int a = 0; a < EPOCHS; a++) {
        for (int b = 0; b < EPOCHS; b++) {
            for (int floor = -1; floor < EPOCHS; floor++) {
                for (int high = -1; high < EPOCHS; high++) {
                    ref_store ref;
                    ref_init(&ref);
                    ref.validators[0].blocks[b] = REF_UNKNOWN;
                    ref.validators[0].blocks[a] = 1;
                    ref.validators[0].floor_slot = floor;
                    ref.high_slot = high;
                    for (uint64_t slot = 0; slot < EPOCHS; slot++) {
                        hf_message message = {
                            .kind = HF_MESSAGE_BLOCK, .has_root = 1, .slot = slot};
                        message.pubkey[0] = 1;
                        message.signing_root[0] = (uint8_t)(1 + slot % 2);
                        (void)compare(&ref, &message);
                    }
                }
            }
        }
    }
}

/* The witness that the model tests call for each signature sees every way to be slashed. */
static void test_the_witness(void **state)
{
    (void)state;
    static const struct {
        uint64_t source, target;
        uint8_t root;
        bool good;
    } later[] = {{5, 9, 1, true},  {5, 9, 2, false}, {6, 9, 1, false}, {4, 10, 1, false},
                 {6, 8, 1, false}, {9, 10, 1, true}, {4, 5, 1, true}};
    for (size_t i = 0; i < HF_ARRAY_LEN(later); i++) {
        ref_store witness;
        ref_init(&witness);
        hf_message vote = {.kind = HF_MESSAGE_ATTESTATION, .source = 5, .target = 9};
        vote.pubkey[0] = 1;
        vote.signing_root[0] = 1;
        assert_true(ref_sign(&witness, &vote));
        vote.source = later[i].source;
        vote.target = later[i].target;
        vote.signing_root[0] = later[i].root;
        assert_int_equal(ref_sign(&witness, &vote), later[i].good);
        hf_message block = {.kind = HF_MESSAGE_BLOCK, .slot = 7};
        block.pubkey[0] = 2;
        block.signing_root[0] = 1;
        assert_true(ref_sign(&witness, &block));
        assert_true(ref_sign(&witness, &block));
        block.signing_root[0] = 2;
        assert_false(ref_sign(&witness, &block));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_votes), cmocka_unit_test(test_blocks),
                                       cmocka_unit_test(test_the_witness)};
    return cmocka_run_group_tests_name("rules, exhaustively", tests, NULL, NULL);
}
