/*
 * /api/v1/policies and the second approval of exits. A policy's words and their errors are those of
 * src/policy, as in the configuration; who may change what, the keeper decides.
 */
#include "front/front_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHANGED_MEANWHILE "the policies changed meanwhile: ask again"

/* ---- reading -------------------------------------------------------------------------------- */

static hf_status refuse(hf_error *err, const char *sentence)
{
    return hf_fail(err, HF_INVALID_INPUT, "%s", sentence);
}

static hf_status put_word(hf_policy_rule *rule, const char *member, const json_t *value,
                          hf_error *err)
{
    const char *text = json_string_value(value);
    return text == NULL ? refuse(err, "a string is wanted")
                        : hf_policy_rule_put(rule, member, text, err);
}

static hf_status read_member(hf_policy_rule *rule, const char *member, const json_t *value,
                             hf_error *err)
{
    hf_status st = hf_ok();
    if (!hf_policy_member_is_known(member)) {
        return refuse(err, "unknown member of a rule");
    }
    if (!json_is_array(value)) {
        return put_word(rule, member, value, err);
    }
    if (!hf_policy_member_is_list(member)) {
        return refuse(err, "one string is wanted");
    }
    if (json_array_size(value) == 0) {
        return refuse(err, "an empty list; leave it out, or \"*\"");
    }
    for (size_t i = 0; i < json_array_size(value) && !hf_failed(st); i++) {
        st = put_word(rule, member, json_array_get(value, i), err);
    }
    return st;
}

static hf_status read_rule(hf_policy *policy, const json_t *value, hf_error *err)
{
    hf_policy_rule *rule = NULL;
    if (!json_is_object(value)) {
        return refuse(err, "a rule is an object, such as {\"effect\":\"allow\",\"scopes\":"
                           "[\"status\"]}");
    }
    hf_status st = hf_policy_add_rule(policy, &rule, err);
    for (void *at = json_object_iter((json_t *)(uintptr_t)value); at != NULL && !hf_failed(st);
         at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
        const char *member = json_object_iter_key(at);
        st = read_member(rule, member, json_object_iter_value(at), err);
        if (hf_failed(st)) {
            st = hf_error_wrap(err, st, "%.32s", member);
        }
    }
    return hf_failed(st) ? st : hf_policy_rule_finish(rule, err);
}

/* {"name": NAME, "rules": [RULE...]}, as a policy is shown; the name may be left out. */
static hf_status read_policy(const json_t *root, hf_policy *policy, hf_error *err)
{
    const json_t *name = json_object_get(root, "name");
    const json_t *rules = json_object_get(root, "rules");
    hf_status st = hf_ok();
    if (!json_is_object(root) || json_object_size(root) != 1U + (name != NULL) ||
        !json_is_array(rules)) {
        return refuse(err, "the body must be an object with rules (an array) and, if it is to be "
                           "compared, name");
    }
    if (name != NULL &&
        (!json_is_string(name) || strcmp(json_string_value(name), policy->name) != 0)) {
        return refuse(err, "name: is another than in the path");
    }
    for (size_t i = 0; i < json_array_size(rules) && !hf_failed(st); i++) {
        st = read_rule(policy, json_array_get(rules, i), err);
        if (hf_failed(st)) {
            st = hf_error_wrap(err, st, "rules[%zu]", i);
        }
    }
    return st;
}

/* The encoding of the body's policy. */
static hf_status encode_body(const hf_exchange *x, const char *name, hf_buf *out, hf_error *err)
{
    hf_policy *policy = NULL;
    json_t *root = json_loadb((const char *)x->request.body.ptr, x->request.body.len,
                              JSON_REJECT_DUPLICATES, NULL);
    hf_status st = root == NULL ? refuse(err, "the body is not JSON") : hf_ok();
    if (!hf_failed(st)) {
        st = hf_policy_new(name, &policy, err);
    }
    if (!hf_failed(st)) {
        st = read_policy(root, policy, err);
    }
    if (!hf_failed(st)) {
        st = hf_policy_encode(policy, out);
        if (st.code == HF_LIMIT) {
            st = hf_fail(err, HF_LIMIT, "rules: too long: give keys a tag and name that");
        }
    }
    hf_policy_free(policy);
    json_decref(root);
    return st;
}

/* ---- asking --------------------------------------------------------------------------------- */

typedef struct policy_job {
    hf_msg_policy_ask ask;
    hf_buf *bytes; /* of the encoding, sent or received so far */
    hf_text text;  /* of the list */
    uint64_t stamp;
} policy_job;

static void free_job(void *pointer)
{
    policy_job *job = pointer;
    hf_buf_free(job->bytes);
    hf_wipe(job, sizeof *job);
    free(job);
}

/* NULL: refused. */
static policy_job *open_job(hf_exchange *x)
{
    policy_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        (void)hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
        return NULL;
    }
    x->job = job;
    x->job_free = free_job;
    job->bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
    if (job->bytes == NULL) {
        (void)hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
        return NULL;
    }
    return job;
}

/* The same, about the policy that the path names. */
static policy_job *open_named_job(hf_exchange *x)
{
    policy_job *job = open_job(x);
    if (job != NULL && x->path_pubkey.len < sizeof job->ask.name) {
        memcpy(job->ask.name, x->path_pubkey.ptr, x->path_pubkey.len);
    }
    if (job != NULL && !hf_policy_name_is_valid(job->ask.name)) {
        (void)hf_front_refuse(x, HF_REASON_MALFORMED,
                              "a policy's name has 1 to 47 letters, digits, _ and -");
        return NULL;
    }
    return job;
}

static hf_next ask_on(hf_exchange *x, hf_msg_type type, hf_msg_type expected,
                      hf_front_on_reply on_reply)
{
    policy_job *job = x->job;
    hf_frame_init(&job->ask, type, 0);
    return hf_front_ask(x, &job->ask, expected, on_reply);
}

/* Pages and parts belong together when the policies are still those of the first. */
static bool is_of_one_state(policy_job *job, uint64_t stamp)
{
    bool is_first = job->ask.offset == 0;
    job->stamp = is_first ? stamp : job->stamp;
    return job->stamp == stamp;
}

/* ---- list ----------------------------------------------------------------------------------- */

static hf_next page_came(hf_exchange *x, const void *frame)
{
    const hf_msg_policy_page *page = frame;
    policy_job *job = x->job;
    uint32_t count = page->count <= HF_POLICIES_PAGE ? page->count : HF_POLICIES_PAGE;
    if (!is_of_one_state(job, page->stamp)) {
        return hf_front_refuse(x, HF_REASON_BUSY, CHANGED_MEANWHILE);
    }
    for (uint32_t i = 0; i < count; i++) {
        const hf_policy_entry *entry = &page->policies[i];
        bool is_files = entry->origin == HF_POLICY_OF_FILE;
        hf_text_put(&job->text, "%s{\"name\":", job->ask.offset + i == 0 ? "" : ",");
        hf_text_put_json(&job->text, entry->name, strnlen(entry->name, sizeof entry->name));
        hf_text_put(&job->text, ",\"origin\":\"%s\",\"rules\":%" PRIu32 "}",
                    is_files ? "configuration" : "applied", entry->rules);
    }
    job->ask.offset += count;
    if (count > 0 && job->ask.offset < page->total && !hf_failed(job->text.st)) {
        return ask_on(x, HF_MSG_POLICY_LIST, HF_MSG_POLICY_PAGE, page_came);
    }
    hf_text_put(&job->text, "]}");
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &job->text);
}

hf_next hf_front_policies_list(hf_exchange *x)
{
    policy_job *job = open_job(x);
    if (job == NULL || !hf_front_open_text(x, &job->text)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&job->text, "{\"policies\":[");
    return ask_on(x, HF_MSG_POLICY_LIST, HF_MSG_POLICY_PAGE, page_came);
}

/* ---- show ----------------------------------------------------------------------------------- */

static hf_next show(hf_exchange *x)
{
    const policy_job *job = x->job;
    hf_policy *policy = NULL;
    hf_text out;
    hf_bytes bytes = hf_bytes_from(hf_buf_peek(job->bytes), hf_buf_len(job->bytes));
    if (hf_failed(hf_policy_decode(bytes, &policy, NULL))) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    if (hf_front_open_text(x, &out)) {
        out.st = hf_policy_print_json(policy, out.buf);
        (void)hf_front_answer_text(x, 200, HF_CONTENT_JSON, &out);
    }
    hf_policy_free(policy);
    return HF_NEXT_ANSWER;
}

static hf_next part_came(hf_exchange *x, const void *frame)
{
    const hf_msg_policy_part *part = frame;
    policy_job *job = x->job;
    if (part->reason != HF_REASON_OK) {
        bool is_unknown = part->reason == HF_REASON_NOT_FOUND && job->ask.offset == 0;
        return hf_front_refused_by_keeper(x, is_unknown ? HF_REASON_NOT_FOUND : HF_REASON_BUSY,
                                          is_unknown ? "no policy has this name"
                                                     : CHANGED_MEANWHILE);
    }
    if (!is_of_one_state(job, part->stamp)) {
        return hf_front_refuse(x, HF_REASON_BUSY, CHANGED_MEANWHILE);
    }
    if (part->len > HF_POLICY_PART_BYTES ||
        hf_failed(hf_buf_put(job->bytes, part->bytes, part->len))) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    job->ask.offset += part->len;
    return part->len > 0 && job->ask.offset < part->total
               ? ask_on(x, HF_MSG_POLICY_GET, HF_MSG_POLICY_PART, part_came)
               : show(x);
}

hf_next hf_front_policies_show(hf_exchange *x)
{
    return open_named_job(x) == NULL ? HF_NEXT_ANSWER
                                     : ask_on(x, HF_MSG_POLICY_GET, HF_MSG_POLICY_PART, part_came);
}

/* ---- apply and delete ----------------------------------------------------------------------- */

static hf_next changed(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    const policy_job *job = x->job;
    if (result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    bool is_removal = job->ask.header.type == HF_MSG_POLICY_DELETE;
    return hf_front_answer_small(x, 200, HF_CONTENT_JSON, "{\"%s\":\"%s\"}",
                                 is_removal ? "deleted" : "applied", job->ask.name);
}

/* -1 when there is no memory. */
static int pack(const hf_buf *bytes)
{
    int fd = memfd_create("policy", MFD_CLOEXEC);
    if (fd >= 0 && (hf_failed(hf_file_write_all(fd, hf_buf_peek(bytes), hf_buf_len(bytes))) ||
                    lseek(fd, 0, SEEK_SET) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

hf_next hf_front_policies_apply(hf_exchange *x)
{
    hf_error err = {.code = HF_OK};
    policy_job *job = open_named_job(x);
    if (job == NULL) {
        return HF_NEXT_ANSWER;
    }
    hf_status st = encode_body(x, job->ask.name, job->bytes, &err);
    if (hf_failed(st)) {
        bool is_theirs = st.code == HF_INVALID_INPUT || st.code == HF_LIMIT;
        return hf_front_refuse(x, is_theirs ? HF_REASON_MALFORMED : HF_REASON_INTERNAL, err.msg);
    }
    job->ask.len = (uint32_t)hf_buf_len(job->bytes);
    x->ask_fd = pack(job->bytes);
    if (x->ask_fd < 0) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, "no memory for a policy");
    }
    return ask_on(x, HF_MSG_POLICY_PUT, HF_MSG_RESULT, changed);
}

hf_next hf_front_policies_delete(hf_exchange *x)
{
    return open_named_job(x) == NULL ? HF_NEXT_ANSWER
                                     : ask_on(x, HF_MSG_POLICY_DELETE, HF_MSG_RESULT, changed);
}

/* ---- the second approval of an exit --------------------------------------------------------- */

static hf_next approved(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    const hf_msg_exit_approve *ask = &x->frame.exit_approve;
    char pubkey[2 * HF_BLS_PUBKEY_BYTES + 1];
    if (result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    hf_hex_encode(ask->pubkey, sizeof ask->pubkey, pubkey);
    return hf_front_answer_small(x, 200, HF_CONTENT_JSON,
                                 "{\"pubkey\":\"0x%s\",\"minutes\":%" PRIu32 "}", pubkey,
                                 ask->minutes);
}

static const char *read_minutes(const hf_exchange *x, uint32_t *ret_minutes)
{
    json_t *root = json_loadb((const char *)x->request.body.ptr, x->request.body.len,
                              JSON_REJECT_DUPLICATES, NULL);
    const json_t *minutes = json_object_get(root, "minutes");
    json_int_t number = json_integer_value(minutes);
    const char *wrong = NULL;
    if (root == NULL) {
        wrong = "the body is not JSON";
    } else if (minutes == NULL || json_object_size(root) != 1) {
        wrong = "the body must be an object with minutes";
    } else if (!json_is_integer(minutes) || number < 0 || number > HF_APPROVAL_MINUTES_MAX) {
        wrong = "minutes: must be a number from 0, which takes an approval back, to 1440";
    } else {
        *ret_minutes = (uint32_t)number;
    }
    json_decref(root);
    return wrong;
}

hf_next hf_front_exits_approve(hf_exchange *x)
{
    hf_msg_exit_approve *ask = &x->frame.exit_approve;
    memset(ask, 0, sizeof *ask);
    if (hf_failed(hf_hex_decode((const char *)x->path_pubkey.ptr, x->path_pubkey.len, ask->pubkey,
                                sizeof ask->pubkey))) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, "pubkey: must be 48 bytes of hex");
    }
    const char *wrong = read_minutes(x, &ask->minutes);
    if (wrong != NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, wrong);
    }
    hf_frame_init(ask, HF_MSG_EXIT_APPROVE, 0);
    return hf_front_ask(x, ask, HF_MSG_RESULT, approved);
}
