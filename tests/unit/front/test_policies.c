/* Policies and approvals over HTTP: exchanges. */
#include "exchange.h"

#include <unistd.h>

#define POLICIES "/api/v1/policies"
#define VOTES POLICIES "/votes"
#define APPROVE "/api/v1/exits/0x" KEY_HEX "/approve"
#define RULE                                                                                       \
    "{\"effect\":\"allow\",\"scopes\":[\"sign\"],\"operations\":[\"ATTESTATION\"],\"keys\":[\"*"   \
    "\"]}"
#define POLICY "{\"name\":\"votes\",\"rules\":[" RULE "]}"

static const hf_msg_policy_ask *question(uint16_t type)
{
    assert_int_equal(asked(), type);
    return x.ask;
}

static void expect_body(const char *text)
{
    hf_bytes body = hf_front_body(&x);
    assert_int_equal(x.status, 200);
    assert_int_equal(body.len, strlen(text));
    assert_memory_equal(body.ptr, text, body.len);
}

/* ---- apply ---------------------------------------------------------------------------------- */

static void hands_a_policy_over_in_its_encoding(void **state)
{
    static uint8_t bytes[HF_POLICY_MAX_BYTES];
    hf_policy *policy = NULL;
    (void)state;
    assert_int_equal(authorised(HF_METHOD_PUT, VOTES, POLICY), HF_NEXT_ASK);
    const hf_msg_policy_ask *ask = question(HF_MSG_POLICY_PUT);
    assert_string_equal(ask->name, "votes");
    assert_string_equal(ask->caller.token, "0123456789abcdef");
    assert_true(x.ask_fd >= 0);
    assert_int_equal(read(x.ask_fd, bytes, sizeof bytes), ask->len);
    assert_false(hf_failed(hf_policy_decode(hf_bytes_from(bytes, ask->len), &policy, NULL)));
    assert_string_equal(policy->name, "votes");
    assert_int_equal(policy->rule_count, 1);
    assert_int_equal(policy->rules[0].scopes, 1U << HF_SCOPE_SIGN);
    assert_int_equal(policy->rules[0].operations, 1ULL << HF_OP_ATTESTATION);
    assert_true(policy->rules[0].keys.all);
    hf_policy_free(policy);
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ANSWER);
    assert_int_equal(x.ask_fd, -1);
    expect_body("{\"applied\":\"votes\"}");
}

static void passes_on_why_a_policy_is_not_applied(void **state)
{
    (void)state;
    assert_int_equal(authorised(HF_METHOD_PUT, VOTES, "{\"rules\":[]}"), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_BUSY, 0, "the configuration file has this policy"),
                     HF_NEXT_ANSWER);
    expect_error(409, "BUSY");
    assert_int_equal(start(HF_METHOD_PUT, VOTES, POLICY), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_UNAUTHORIZED, 0, ""), HF_NEXT_ANSWER);
    expect_error(401, "UNAUTHORIZED");
}

static void names_what_is_wrong_with_a_policy(void **state)
{
    static const struct {
        const char *body;
        const char *sentence;
    } cases[] = {
        {"{", "the body is not JSON"},
        {"[]", "the body must be an object"},
        {"{}", "the body must be an object"},
        {"{\"rules\":{}}", "the body must be an object"},
        {"{\"rules\":[],\"more\":1}", "the body must be an object"},
        {"{\"rules\":[],\"rules\":[]}", "the body is not JSON"},
        {"{\"name\":\"other\",\"rules\":[]}", "name: is another"},
        {"{\"name\":7,\"rules\":[]}", "name: is another"},
        {"{\"rules\":[7]}", "rules[0]: a rule is an object"},
        {"{\"rules\":[{}]}", "rules[0]: the rule has no effect"},
        {"{\"rules\":[" RULE ",{\"effect\":\"maybe\"}]}",
         "rules[1]: effect: \"maybe\" is no effect"},
        {"{\"rules\":[{\"effect\":[\"allow\"]}]}", "rules[0]: effect: one string"},
        {"{\"rules\":[{\"effect\":\"allow\"}]}", "rules[0]: the rule has no scopes"},
        {"{\"rules\":[{\"colour\":\"red\"}]}", "rules[0]: colour: unknown member"},
        {"{\"rules\":[{\"scopes\":[]}]}", "rules[0]: scopes: an empty list"},
        {"{\"rules\":[{\"scopes\":[\"status\",1]}]}", "rules[0]: scopes: a string is wanted"},
        {"{\"rules\":[{\"scopes\":null}]}", "rules[0]: scopes: a string is wanted"},
        {"{\"rules\":[{\"scopes\":\"fly\"}]}", "rules[0]: scopes: \"fly\" is no scope"},
        {"{\"rules\":[{\"keys\":[\"0x12\"]}]}", "rules[0]: keys: "},
        {"{\"rules\":[{\"rate\":\"often\"}]}", "rules[0]: rate: "},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        assert_int_equal(authorised(HF_METHOD_PUT, VOTES, cases[i].body), HF_NEXT_ANSWER);
        expect_error(400, "MALFORMED");
        json_t *root = body_json();
        const char *sentence = json_string_value(json_object_get(root, "error"));
        if (strncmp(sentence, cases[i].sentence, strlen(cases[i].sentence)) != 0) {
            fail_msg("%s: %s", cases[i].body, sentence);
        }
        json_decref(root);
    }
}

static void refuses_a_policy_that_is_too_long(void **state)
{
    (void)state;
    json_t *root = json_pack("{s:[]}", "rules");
    for (int rule = 0; rule < 2; rule++) {
        json_t *keys = json_array();
        for (int i = 0; i <= HF_POLICY_KEYS_MAX / 2; i++) {
            char key[2 + 96 + 1];
            (void)snprintf(key, sizeof key, "0x%096d", i);
            json_array_append_new(keys, json_string(key));
        }
        json_array_append_new(json_object_get(root, "rules"),
                              json_pack("{s:s,s:o}", "effect", "deny", "keys", keys));
    }
    char *body = json_dumps(root, 0);
    json_decref(root);
    assert_int_equal(authorised(HF_METHOD_PUT, VOTES, body), HF_NEXT_ANSWER);
    free(body);
    expect_error(400, "MALFORMED");
}

static void refuses_names_that_are_none(void **state)
{
    static const char *const paths[] = {
        POLICIES "/a.b", POLICIES "/a%20b",
        POLICIES "/012345678901234567890123456789012345678901234567",
        POLICIES "/0123456789012345678901234567890123456789012345678901234567890123456789"};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(paths); i++) {
        assert_int_equal(start(HF_METHOD_GET, paths[i], ""), HF_NEXT_ANSWER);
        expect_error(400, "MALFORMED");
        assert_int_equal(start(HF_METHOD_DELETE, paths[i], ""), HF_NEXT_ANSWER);
        expect_error(400, "MALFORMED");
        assert_int_equal(authorised(HF_METHOD_PUT, paths[i], POLICY), HF_NEXT_ANSWER);
        expect_error(400, "MALFORMED");
    }
}

static void tells_what_was_deleted(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_DELETE, VOTES, ""), HF_NEXT_ASK);
    assert_string_equal(question(HF_MSG_POLICY_DELETE)->name, "votes");
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ANSWER);
    expect_body("{\"deleted\":\"votes\"}");
    assert_int_equal(start(HF_METHOD_DELETE, VOTES, ""), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_NOT_FOUND, 0, "no applied policy has this name"),
                     HF_NEXT_ANSWER);
    expect_error(404, "NOT_FOUND");
}

/* ---- list and show -------------------------------------------------------------------------- */

static hf_next reply_page(uint64_t stamp, uint32_t total, uint32_t count)
{
    static hf_msg_policy_page page;
    memset(&page, 0, sizeof page);
    hf_frame_init(&page, HF_MSG_POLICY_PAGE, 0);
    page.stamp = stamp;
    page.total = total;
    page.count = count;
    for (uint32_t i = 0; i < count && i < HF_POLICIES_PAGE; i++) {
        (void)snprintf(page.policies[i].name, sizeof page.policies[i].name, "p%u", i);
        page.policies[i].origin = i == 0 ? HF_POLICY_OF_FILE : HF_POLICY_OF_STORE;
        page.policies[i].rules = 3;
    }
    return hf_front_reply(&x, &page);
}

static void lists_policies_page_by_page(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_GET, POLICIES, ""), HF_NEXT_ASK);
    assert_int_equal(question(HF_MSG_POLICY_LIST)->offset, 0);
    assert_int_equal(reply_page(5, 66, HF_POLICIES_PAGE), HF_NEXT_ASK);
    assert_int_equal(question(HF_MSG_POLICY_LIST)->offset, 64);
    assert_int_equal(reply_page(5, 66, 2), HF_NEXT_ANSWER);
    json_t *root = body_json();
    const json_t *list = json_object_get(root, "policies");
    assert_int_equal(json_array_size(list), 66);
    const json_t *last = json_array_get(list, 65);
    assert_string_equal(json_string_value(json_object_get(last, "name")), "p1");
    assert_string_equal(json_string_value(json_object_get(last, "origin")), "applied");
    assert_int_equal(json_integer_value(json_object_get(last, "rules")), 3);
    json_decref(root);
    assert_int_equal(start(HF_METHOD_GET, POLICIES, ""), HF_NEXT_ASK);
    assert_int_equal(reply_page(5, 0, 0), HF_NEXT_ANSWER);
    expect_body("{\"policies\":[]}");
}

static void mixes_no_two_states(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_GET, POLICIES, ""), HF_NEXT_ASK);
    assert_int_equal(reply_page(5, 66, HF_POLICIES_PAGE), HF_NEXT_ASK);
    assert_int_equal(reply_page(6, 66, 2), HF_NEXT_ANSWER);
    expect_error(409, "BUSY");
}

static hf_next reply_part(hf_reason reason, uint64_t stamp, const hf_buf *bytes, uint32_t offset,
                          uint32_t len)
{
    static hf_msg_policy_part part;
    memset(&part, 0, sizeof part);
    hf_frame_init(&part, HF_MSG_POLICY_PART, 0);
    part.reason = reason;
    part.stamp = stamp;
    part.len = len;
    if (bytes != NULL) {
        part.total = (uint32_t)hf_buf_len(bytes);
        memcpy(part.bytes, hf_buf_peek(bytes) + offset, len);
    }
    return hf_front_reply(&x, &part);
}

static void shows_a_policy_of_several_parts(void **state)
{
    hf_policy *policy = NULL;
    hf_policy_rule *rule = NULL;
    hf_buf *bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
    (void)state;
    assert_false(hf_failed(hf_policy_new("votes", &policy, NULL)));
    assert_false(hf_failed(hf_policy_add_rule(policy, &rule, NULL)));
    assert_false(hf_failed(hf_policy_rule_put(rule, "effect", "allow", NULL)));
    assert_false(hf_failed(hf_policy_rule_put(rule, "scopes", "status", NULL)));
    assert_false(hf_failed(hf_policy_rule_finish(rule, NULL)));
    assert_false(hf_failed(hf_policy_encode(policy, bytes)));
    hf_policy_free(policy);
    uint32_t rest = (uint32_t)hf_buf_len(bytes) - 10;
    assert_int_equal(start(HF_METHOD_GET, VOTES, ""), HF_NEXT_ASK);
    assert_string_equal(question(HF_MSG_POLICY_GET)->name, "votes");
    assert_int_equal(reply_part(HF_REASON_OK, 3, bytes, 0, 10), HF_NEXT_ASK);
    assert_int_equal(question(HF_MSG_POLICY_GET)->offset, 10);
    assert_int_equal(reply_part(HF_REASON_OK, 3, bytes, 10, rest), HF_NEXT_ANSWER);
    expect_body("{\"name\":\"votes\",\"rules\":[{\"effect\":\"allow\",\"scopes\":[\"status\"]}]}");
    assert_int_equal(start(HF_METHOD_GET, VOTES, ""), HF_NEXT_ASK);
    assert_int_equal(reply_part(HF_REASON_OK, 3, bytes, 0, 10), HF_NEXT_ASK);
    assert_int_equal(reply_part(HF_REASON_OK, 4, bytes, 10, rest), HF_NEXT_ANSWER);
    expect_error(409, "BUSY");
    assert_int_equal(start(HF_METHOD_GET, VOTES, ""), HF_NEXT_ASK);
    assert_int_equal(reply_part(HF_REASON_OK, 3, bytes, 0, 10), HF_NEXT_ASK);
    assert_int_equal(reply_part(HF_REASON_NOT_FOUND, 4, NULL, 0, 0), HF_NEXT_ANSWER);
    expect_error(409, "BUSY");
    hf_buf_free(bytes);
}

static void knows_no_other_policy(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_GET, VOTES, ""), HF_NEXT_ASK);
    assert_int_equal(reply_part(HF_REASON_NOT_FOUND, 3, NULL, 0, 0), HF_NEXT_ANSWER);
    expect_error(404, "NOT_FOUND");
}

/* ---- approvals ------------------------------------------------------------------------------ */

static void asks_for_an_approval(void **state)
{
    (void)state;
    assert_int_equal(authorised(HF_METHOD_POST, APPROVE, "{\"minutes\":30}"), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_EXIT_APPROVE);
    const hf_msg_exit_approve *ask = x.ask;
    assert_int_equal(ask->minutes, 30);
    assert_int_equal(ask->pubkey[0], 0x8f);
    assert_string_equal(ask->caller.token, "0123456789abcdef");
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ANSWER);
    expect_body("{\"pubkey\":\"0x" KEY_HEX "\",\"minutes\":30}");
    assert_int_equal(authorised(HF_METHOD_POST, APPROVE, "{\"minutes\":0}"), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_UNKNOWN_KEY, 0, ""), HF_NEXT_ANSWER);
    expect_error(404, "UNKNOWN_KEY");
}

static void approves_nothing_that_is_not_said(void **state)
{
    static const char *const bodies[] = {"",
                                         "{}",
                                         "[]",
                                         "30",
                                         "{\"minutes\":\"30\"}",
                                         "{\"minutes\":1.5}",
                                         "{\"minutes\":-1}",
                                         "{\"minutes\":1441}",
                                         "{\"minutes\":4294967326}",
                                         "{\"minutes\":30,\"more\":1}"};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(bodies); i++) {
        assert_int_equal(authorised(HF_METHOD_POST, APPROVE, bodies[i]), HF_NEXT_ANSWER);
        expect_error(400, "MALFORMED");
    }
    assert_int_equal(authorised(HF_METHOD_POST, "/api/v1/exits/0x12/approve", "{\"minutes\":30}"),
                     HF_NEXT_ANSWER);
    expect_error(400, "MALFORMED");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hands_a_policy_over_in_its_encoding),
        CASE(passes_on_why_a_policy_is_not_applied),
        CASE(names_what_is_wrong_with_a_policy),
        CASE(refuses_a_policy_that_is_too_long),
        CASE(refuses_names_that_are_none),
        CASE(tells_what_was_deleted),
        CASE(lists_policies_page_by_page),
        CASE(mixes_no_two_states),
        CASE(shows_a_policy_of_several_parts),
        CASE(knows_no_other_policy),
        CASE(asks_for_an_approval),
        CASE(approves_nothing_that_is_not_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
