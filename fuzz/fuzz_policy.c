/*
 * Policies and books from bytes, as a record or a frame brings them. What decodes encodes to the
 * same bytes, can be shown, and answers every question.
 */
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge_answers(const hf_policy *policy)
{
    static const uint8_t address[16] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    static const hf_policy_tag tag = {"home"};
    const uint8_t bytes[HF_BLS_PUBKEY_BYTES] = {1};
    const hf_policy_key key = hf_policy_key_from(bytes, sizeof bytes);
    for (unsigned scope = 0; scope < HF_SCOPE_COUNT; scope++) {
        hf_policy_question question = {.scope = (hf_scope)scope,
                                       .operation = scope,
                                       .key = &key,
                                       .tags = &tag,
                                       .tag_count = 1,
                                       .network = "mainnet",
                                       .address = address,
                                       .certificate = ""};
        hf_policy_answer answer;
        char sentence[160];
        hf_policy_evaluate(&policy, 1, &question, &answer);
        HF_ASSERT(!answer.allowed || (answer.policy == policy && answer.rule > 0));
        HF_ASSERT(answer.rule <= policy->rule_count);
        hf_policy_explain(&answer, &question, sentence, sizeof sentence);
    }
}

static void judge_policy(hf_bytes in)
{
    hf_policy *policy = NULL;
    if (hf_failed(hf_policy_decode(in, &policy, NULL))) {
        return;
    }
    hf_buf *again = hf_buf_new(HF_POLICY_MAX_BYTES);
    hf_buf *json = hf_buf_new(HF_BOOK_MAX_BYTES);
    HF_ASSERT(again != NULL && json != NULL);
    HF_ASSERT(!hf_failed(hf_policy_encode(policy, again)));
    HF_ASSERT(hf_buf_len(again) == in.len && hf_bytes_equal(hf_buf_peek(again), in.ptr, in.len));
    HF_ASSERT(!hf_failed(hf_policy_print_json(policy, json)));
    judge_answers(policy);
    hf_buf_free(again);
    hf_buf_free(json);
    hf_policy_free(policy);
}

static void judge_book(hf_bytes in)
{
    hf_book *book = NULL;
    if (hf_failed(hf_book_decode(in, &book, NULL))) {
        return;
    }
    hf_buf *again = hf_buf_new(HF_BOOK_MAX_BYTES);
    HF_ASSERT(again != NULL && !hf_failed(hf_book_encode(book, again)));
    HF_ASSERT(hf_buf_len(again) == in.len && hf_bytes_equal(hf_buf_peek(again), in.ptr, in.len));
    hf_buf_free(again);
    hf_book_free(book);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0) {
        hf_bytes in = hf_bytes_from(data + 1, size - 1);
        if (data[0] % 2 == 0) {
            judge_policy(in);
        } else {
            judge_book(in);
        }
    }
    return 0;
}
