/* What the tests of the AWS back ends share: the double of tests/peers/aws_double.py, a visitor
 * that remembers. */
#ifndef HF_TEST_AWS_RIG_H
#define HF_TEST_AWS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "custody/hsm.h"
#include "net/net.h"

#define RIG_KEYS_MAX 600
#define RIG_PATIENCE (60 * HF_NS_PER_SECOND)

#define assert_code(status, expected) assert_int_equal((status).code, (expected))

typedef struct rig_list {
    hf_custody_key keys[RIG_KEYS_MAX];
    size_t count;
    char failed[16][512]; /* "name: why" */
    size_t failed_count;
} rig_list;

static inline uint64_t rig_deadline(uint64_t ns)
{
    return hf_time_mono_ns() + ns;
}

/* The double's answer to GET path. */
static inline void rig_ask(const char *path, char *ret_answer, size_t len)
{
    char url[600];
    const hf_net_config config = {0};
    hf_net *net = NULL;
    assert_code(hf_net_new(&config, &net, NULL), HF_OK);
    assert_code(hf_str_format(url, sizeof url, "%s%s", getenv("HF_TEST_AWS"), path), HF_OK);
    hf_net_exchange exchange = {.method = "GET", .url = url, .max_answer_bytes = 4096};
    hf_net_run(net, &exchange, 1, rig_deadline(RIG_PATIENCE));
    assert_code(exchange.result, HF_OK);
    assert_code(hf_str_copy(ret_answer, len, hf_buf_text(exchange.answer)), HF_OK);
    hf_net_exchange_done(&exchange);
    hf_net_free(net);
}

static inline void rig_tell(const char *path)
{
    char answer[4097];
    rig_ask(path, answer, sizeof answer);
    assert_string_equal(answer, "ok");
}

static inline uint64_t rig_number(const char *path)
{
    char answer[4097];
    uint64_t number = 0;
    rig_ask(path, answer, sizeof answer);
    assert_code(hf_num_parse_u64(answer, strlen(answer), &number), HF_OK);
    return number;
}

/* The double found nothing wrong with what it was asked. */
static inline void rig_expect_no_problems(void)
{
    char answer[4097];
    rig_ask("/problems", answer, sizeof answer);
    assert_string_equal(answer, "");
}

static inline hf_status rig_take(void *context, const hf_custody_key *key)
{
    rig_list *list = context;
    assert_true(list->count < RIG_KEYS_MAX);
    list->keys[list->count++] = *key;
    return hf_ok();
}

static inline void rig_refuse(void *context, const char *name, const char *why)
{
    rig_list *list = context;
    assert_true(list->failed_count < HF_ARRAY_LEN(list->failed));
    assert_code(hf_str_format(list->failed[list->failed_count++], sizeof list->failed[0], "%s: %s",
                              name, why),
                HF_OK);
}

static inline hf_status rig_list_within(hf_custody *custody, rig_list *list, uint64_t ns,
                                        hf_error *err)
{
    const hf_custody_visitor visitor = {list, rig_take, rig_refuse};
    memset(list, 0, sizeof *list);
    return custody->ops->list(custody, &visitor, rig_deadline(ns), err);
}

static inline void rig_list_all(hf_custody *custody, rig_list *list)
{
    hf_error err = {0};
    if (hf_failed(rig_list_within(custody, list, RIG_PATIENCE, &err))) {
        fail_msg("%s", err.msg);
    }
}

static inline void rig_expect_words(const char *text, const char *words)
{
    if (strstr(text, words) == NULL) {
        fail_msg("says \"%s\" and not \"%s\"", text, words);
    }
}

#endif
