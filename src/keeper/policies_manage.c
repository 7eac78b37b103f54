/* Policies as tokens and managers meet them: what a token may, and listing, showing, applying. */
#include "keeper/keeper_internal.h"

#include <sys/stat.h>

/* ---- what a token may --------------------------------------------------------------------- */

void hf_policies_settle(hf_keeper *keeper)
{
    hf_policies *policies = &keeper->policies;
    hf_policy_set *old = NULL;
    if (!atomic_load(&policies->has_news)) {
        return;
    }
    (void)pthread_mutex_lock(&policies->lock);
    old = policies->stored;
    policies->stored = policies->fresh;
    policies->fresh = NULL;
    atomic_store(&policies->has_news, false);
    (void)pthread_mutex_unlock(&policies->lock);
    policies->stamp++;
    hf_policy_set_free(old);
}

/* The file's, where both have one. */
static const hf_policy *find(const hf_keeper *keeper, const char *name)
{
    const hf_policy *policy = hf_book_find_policy(keeper->policies.book, name);
    return policy != NULL ? policy : hf_policy_set_find(keeper->policies.stored, name);
}

/* Names of both kinds, by commas, as many as there is room for. */
static void list_names(const hf_keeper *keeper, char *out, size_t size)
{
    const hf_policies *policies = &keeper->policies;
    size_t len = strlen(out);
    size_t at = 0;
    for (;; at++) {
        const hf_policy *policy =
            at < policies->book->policy_count
                ? policies->book->policies[at]
                : hf_policy_set_at(policies->stored, at - policies->book->policy_count);
        if (policy == NULL) {
            break;
        }
        if (len + strlen(policy->name) + sizeof ", ..." >= size) {
            (void)snprintf(out + len, size - len, ", ...");
            return;
        }
        len += (size_t)snprintf(out + len, size - len, "%s%s", at > 0 ? ", " : " ", policy->name);
    }
    if (at == 0) {
        (void)snprintf(out + len, size - len, " none");
    }
}

hf_reason hf_policies_know(hf_keeper *keeper, const hf_token_terms *terms,
                           char ret_detail[HF_DETAIL_LEN])
{
    hf_policies *policies = &keeper->policies;
    hf_policies_settle(keeper);
    for (uint32_t i = 0; i < terms->policy_count && i < HF_AUTH_POLICIES_MAX; i++) {
        const char *name = terms->policies[i];
        if (!hf_auth_policy_name_is_sane(name, HF_AUTH_POLICY_NAME_LEN)) {
            return HF_REASON_OK; /* who makes the token says what is wrong with it */
        }
        if (find(keeper, name) != NULL) {
            continue;
        }
        if (policies->stored == NULL || policies->is_awaited) {
            hf_str_cut(ret_detail, HF_DETAIL_LEN, "the policies could not be read yet");
            return HF_REASON_STORE_UNAVAILABLE;
        }
        (void)snprintf(ret_detail, HF_DETAIL_LEN, "policy %s does not exist; there are:", name);
        list_names(keeper, ret_detail, HF_DETAIL_LEN);
        return HF_REASON_MALFORMED;
    }
    return HF_REASON_OK;
}

static uint64_t ttl_of(const hf_token *token)
{
    int64_t ttl_ms = token->terms.expires_unix_ms - token->created_unix_ms;
    return token->terms.expires_unix_ms == 0 ? 0 : ttl_ms < 1000 ? 1 : (uint64_t)ttl_ms / 1000;
}

static hf_reason take_rate(hf_keeper *keeper, const hf_policy_answer *answer,
                           const hf_policy_question *question, hf_pass *pass)
{
    static const hf_policy_key no_key = {.len = HF_BLS_PUBKEY_BYTES};
    uint32_t operation = question->scope == HF_SCOPE_SIGN ? question->operation
                                                          : HF_OP_COUNT + (uint32_t)question->scope;
    if (answer->rate.count == 0 ||
        hf_rates_take(keeper->policies.rates, &answer->rate, hf_rates_setter(answer),
                      question->key == NULL ? &no_key : question->key, operation,
                      hf_time_mono_ns())) {
        return HF_REASON_OK;
    }
    (void)snprintf(pass->detail, sizeof pass->detail,
                   "the rate of rule %zu of policy %s is used up", answer->rule,
                   answer->policy->name);
    return HF_REASON_RATE_LIMITED;
}

/* A question and what the policies of a token say to it. */
typedef struct judgement {
    hf_policy_question question;
    hf_policy_key key;
    hf_policy_answer answer;
} judgement;

/* FORBIDDEN, with a sentence, when one of the policies is not there. */
static hf_reason judge_all(hf_keeper *keeper, const hf_token *token, const hf_gate_question *asked,
                           hf_pass *pass, judgement *ret)
{
    const hf_policy *policies[HF_AUTH_POLICIES_MAX];
    size_t count = 0;
    hf_policies_settle(keeper);
    for (uint32_t i = 0; i < token->terms.policy_count && i < HF_AUTH_POLICIES_MAX; i++) {
        policies[count] = find(keeper, token->terms.policies[i]);
        if (policies[count++] == NULL) { /* it might have denied this */
            (void)snprintf(pass->detail, sizeof pass->detail,
                           "the token's policy %.47s does not exist", token->terms.policies[i]);
            return HF_REASON_FORBIDDEN;
        }
    }
    const hf_source_tags *tags =
        asked->name.len > 0 ? hf_policies_tags_of_source(keeper, keeper->config.sealed_source)
                            : hf_policies_tags_of(keeper, asked->key);
    ret->question = (hf_policy_question){.scope = asked->scope,
                                         .operation = asked->operation,
                                         .tags = tags->tags,
                                         .tag_count = tags->count,
                                         .network = keeper->config.network.name,
                                         .address = pass->address,
                                         .certificate = pass->certificate,
                                         .token_ttl_seconds = ttl_of(token)};
    if (asked->name.len > 0) {
        ret->key = asked->name;
        ret->question.key = &ret->key;
    } else if (asked->key != NULL) {
        ret->key = hf_policies_key_of(asked->key);
        ret->question.key = &ret->key;
    }
    hf_policy_evaluate(policies, count, &ret->question, &ret->answer);
    return HF_REASON_OK;
}

hf_reason hf_policies_allow(hf_keeper *keeper, const hf_token *token, const hf_gate_question *asked,
                            hf_pass *pass)
{
    judgement j;
    hf_reason reason = judge_all(keeper, token, asked, pass, &j);
    if (reason != HF_REASON_OK) {
        return reason;
    }
    if (!j.answer.allowed) {
        hf_policy_explain(&j.answer, &j.question, pass->detail, sizeof pass->detail);
        return HF_REASON_FORBIDDEN;
    }
    return asked->is_part ? HF_REASON_OK : take_rate(keeper, &j.answer, &j.question, pass);
}

bool hf_policies_deny(hf_keeper *keeper, const hf_token *token, const hf_gate_question *asked,
                      hf_pass *pass)
{
    judgement j;
    if (token->terms.policy_count == 0) {
        return false;
    }
    if (judge_all(keeper, token, asked, pass, &j) != HF_REASON_OK) {
        return true;
    }
    bool is_denied = !j.answer.allowed && j.answer.policy != NULL; /* a rule spoke */
    if (is_denied) {
        hf_policy_explain(&j.answer, &j.question, pass->detail, sizeof pass->detail);
    }
    return is_denied;
}

static bool may_see(hf_keeper *keeper, const hf_gate_question *asked)
{
    judgement j;
    if (keeper->seer == NULL) {
        return true; /* everybody else may list all */
    }
    hf_pass pass = keeper->asker;
    return judge_all(keeper, keeper->seer, asked, &pass, &j) == HF_REASON_OK && j.answer.allowed;
}

bool hf_policies_may_list(hf_keeper *keeper, hf_scope scope, const hf_key *listed)
{
    const hf_gate_question asked = {.scope = scope, .operation = HF_OP_COUNT, .key = listed};
    return may_see(keeper, &asked);
}

bool hf_policies_may_list_sealed(hf_keeper *keeper, hf_scope scope, const hf_policy_key *listed)
{
    const hf_gate_question asked = {.scope = scope, .operation = HF_OP_COUNT, .name = *listed};
    return may_see(keeper, &asked);
}

/* ---- listing and showing ------------------------------------------------------------------ */

/* The i-th of all: the file's first, then those applied that the file does not hide. */
static const hf_policy *policy_at(const hf_keeper *keeper, size_t i, hf_policy_origin *ret_origin)
{
    const hf_policies *policies = &keeper->policies;
    *ret_origin = HF_POLICY_OF_FILE;
    if (i < policies->book->policy_count) {
        return policies->book->policies[i];
    }
    *ret_origin = HF_POLICY_OF_STORE;
    i -= policies->book->policy_count;
    const hf_policy *policy = NULL;
    for (size_t at = 0; (policy = hf_policy_set_at(policies->stored, at)) != NULL; at++) {
        if (hf_book_find_policy(policies->book, policy->name) == NULL && i-- == 0) {
            return policy;
        }
    }
    return NULL;
}

static void list(hf_keeper *keeper, hf_peer *peer, const hf_msg_policy_ask *ask)
{
    static hf_msg_policy_page page; /* intake thread only */
    hf_policy_origin origin;
    const hf_policy *policy = NULL;
    memset(&page, 0, sizeof page);
    hf_frame_init(&page, HF_MSG_POLICY_PAGE, ask->header.request_id);
    page.stamp = keeper->policies.stamp;
    for (size_t i = 0; (policy = policy_at(keeper, i, &origin)) != NULL; i++) {
        page.total++;
        if (i >= ask->offset && page.count < HF_POLICIES_PAGE) {
            hf_policy_entry *entry = &page.policies[page.count++];
            hf_str_cut(entry->name, sizeof entry->name, policy->name);
            entry->origin = origin;
            entry->rules = (uint32_t)policy->rule_count;
        }
    }
    hf_peer_send(keeper, peer, &page);
}

static void fill_part(const hf_keeper *keeper, const hf_msg_policy_ask *ask,
                      hf_msg_policy_part *part)
{
    const hf_policy *policy = find(keeper, ask->name);
    hf_buf *bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
    part->stamp = keeper->policies.stamp;
    if (policy == NULL) {
        part->reason = HF_REASON_NOT_FOUND;
    } else if (bytes == NULL || hf_failed(hf_policy_encode(policy, bytes)) ||
               ask->offset > hf_buf_len(bytes)) {
        part->reason = HF_REASON_MALFORMED;
    } else {
        size_t left = hf_buf_len(bytes) - ask->offset;
        bool is_files = hf_book_find_policy(keeper->policies.book, ask->name) != NULL;
        part->origin = is_files ? HF_POLICY_OF_FILE : HF_POLICY_OF_STORE;
        part->total = (uint32_t)hf_buf_len(bytes);
        part->len = (uint32_t)(left < HF_POLICY_PART_BYTES ? left : HF_POLICY_PART_BYTES);
        memcpy(part->bytes, hf_buf_peek(bytes) + ask->offset, part->len);
    }
    hf_buf_free(bytes);
}

/* ---- applying and deleting ---------------------------------------------------------------- */

/* The encoding behind the question, both in one job. */
static bool push_put(hf_keeper *keeper, hf_peer *peer, const hf_msg_policy_ask *ask,
                     const uint8_t *bytes)
{
    hf_job *job = calloc(1, sizeof *job + sizeof *ask + ask->len);
    if (job == NULL) {
        return false;
    }
    job->kind = HF_JOB_CALL;
    job->peer = peer;
    job->call = hf_policies_put;
    job->asker = keeper->asker;
    job->frame_len = sizeof *ask + ask->len;
    memcpy(job->messages, ask, sizeof *ask);
    memcpy((uint8_t *)job->messages + sizeof *ask, bytes, ask->len);
    return hf_jobs_push(keeper, job);
}

/* What came with the question is a policy of that name, in its one form. */
static hf_status read_put(const hf_msg_policy_ask *ask, int fd, hf_buf **ret_bytes, hf_error *err)
{
    hf_buf *bytes = NULL;
    hf_policy *policy = NULL;
    struct stat info;
    /* A pipe would let whoever sent it hold up the thread that reads. */
    bool is_file = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    hf_status st = !is_file ? hf_fail(err, HF_INVALID_INPUT, "no policy came with the question")
                            : hf_file_read_fd(fd, "policy", HF_POLICY_MAX_BYTES, &bytes, err);
    if (!hf_failed(st) && hf_buf_len(bytes) != ask->len) {
        st = hf_fail(err, HF_INVALID_INPUT, "it has another length than announced");
    }
    if (!hf_failed(st)) {
        st = hf_policy_decode(hf_bytes_from(hf_buf_peek(bytes), ask->len), &policy, err);
    }
    if (!hf_failed(st) && strcmp(policy->name, ask->name) != 0) {
        st = hf_fail(err, HF_INVALID_INPUT, "the policy has another name");
    }
    hf_policy_free(policy);
    if (hf_failed(st)) {
        hf_buf_free(bytes);
        return st;
    }
    *ret_bytes = bytes;
    return st;
}

static void put(hf_keeper *keeper, hf_peer *peer, const hf_msg_policy_ask *ask, int fd)
{
    hf_error err = {.code = HF_OK};
    hf_buf *bytes = NULL;
    if (hf_failed(read_put(ask, fd, &bytes, &err))) {
        hf_peer_send_result(keeper, peer, ask->header.request_id, HF_REASON_MALFORMED, 0, err.msg);
        return;
    }
    if (!push_put(keeper, peer, ask, hf_buf_peek(bytes))) {
        hf_peer_send_result(keeper, peer, ask->header.request_id, HF_REASON_OVERLOADED, 0, "");
    }
    hf_buf_free(bytes);
}

void hf_policies_manage(hf_keeper *keeper, hf_peer *peer, const hf_msg_policy_ask *frame, int fd)
{
    static hf_msg_policy_part part; /* intake thread only */
    hf_msg_policy_ask ask = *frame;
    uint64_t request_id = ask.header.request_id;
    memset(&ask.caller, 0, sizeof ask.caller); /* the job knows who asks */
    hf_policies_settle(keeper);
    if (ask.header.type == HF_MSG_POLICY_LIST) {
        list(keeper, peer, &ask);
        return;
    }
    if (memchr(ask.name, '\0', sizeof ask.name) == NULL || !hf_policy_name_is_valid(ask.name)) {
        hf_peer_send_result(keeper, peer, request_id, HF_REASON_MALFORMED, 0,
                            "a policy's name has 1 to 47 letters, digits, _ and -");
        return;
    }
    if (ask.header.type == HF_MSG_POLICY_GET) {
        memset(&part, 0, sizeof part);
        hf_frame_init(&part, HF_MSG_POLICY_PART, request_id);
        fill_part(keeper, &ask, &part);
        hf_peer_send(keeper, peer, &part);
        return;
    }
    if (hf_book_find_policy(keeper->policies.book, ask.name) != NULL) {
        hf_peer_send_result(keeper, peer, request_id, HF_REASON_BUSY, 0,
                            "the configuration file has this policy: change it there, or take "
                            "another name");
        return;
    }
    if (ask.header.type == HF_MSG_POLICY_PUT) {
        put(keeper, peer, &ask, fd);
    } else {
        (void)hf_jobs_call(keeper, hf_policies_delete, peer, &ask);
    }
}
