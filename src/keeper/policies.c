/*
 * What the configuration and the records say about who may sign what, as the intake thread uses it:
 * one book, replaced as a whole. Limits and canaries are judged here, after the gate and before any
 * key is touched.
 */
#include "keeper/keeper_internal.h"

#include <unistd.h>

#define BUCKETS_A_KEY 8
#define CANARY_COMMAND_GAP_NS (60 * HF_NS_PER_SECOND)

hf_status hf_policies_init(hf_keeper *keeper)
{
    hf_policies *policies = &keeper->policies;
    uint8_t seed[16];
    hf_random(seed, sizeof seed);
    (void)pthread_mutex_init(&policies->lock, NULL);
    policies->rates = hf_rates_new((size_t)keeper->config.max_keys * BUCKETS_A_KEY, seed);
    policies->book = hf_book_new();
    policies->is_awaited = keeper->config.has_book == 1;
    return policies->rates == NULL || policies->book == NULL ? (hf_status){HF_NOMEM} : hf_ok();
}

void hf_policies_done(hf_keeper *keeper)
{
    hf_rates_free(keeper->policies.rates);
    hf_book_free(keeper->policies.book);
    hf_policy_set_free(keeper->policies.stored);
    hf_policy_set_free(keeper->policies.fresh);
    keeper->policies.stored = NULL;
    keeper->policies.fresh = NULL;
    keeper->policies.rates = NULL;
    keeper->policies.book = NULL;
}

/* ---- the book ----------------------------------------------------------------------------- */

void hf_policies_take_book(hf_keeper *keeper, const hf_msg_policy_book *frame, int fd)
{
    hf_policies *policies = &keeper->policies;
    hf_error err = {.code = HF_OK};
    hf_buf *bytes = NULL;
    hf_book *book = NULL;
    hf_status st = fd < 0 ? hf_fail(&err, HF_INVALID_INPUT, "no descriptor came with it")
                          : hf_file_read_fd(fd, "policies", HF_BOOK_MAX_BYTES, &bytes, &err);
    if (!hf_failed(st)) {
        st = hf_buf_len(bytes) == frame->len
                 ? hf_book_decode(hf_bytes_from(hf_buf_peek(bytes), frame->len), &book, &err)
                 : hf_fail(&err, HF_INVALID_INPUT, "it has another length than announced");
    }
    hf_buf_free(bytes);
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "policies_refused", "%s; %s", err.msg,
               policies->is_awaited ? "nothing is signed" : "the ones before stay");
        return;
    }
    hf_book_free(policies->book);
    policies->book = book;
    policies->is_awaited = false;
    policies->stamp++;
    memset(policies->canary_told_ns, 0, sizeof policies->canary_told_ns);
    const hf_pass of_file = {.accessor = "configuration"};
    hf_auditor_note(keeper, HF_AUDIT_POLICY, &of_file, "done",
                    "%zu policies, %zu limits, %zu canary keys were read", book->policy_count,
                    book->limit_count, book->canary_count);
    hf_log(HF_LOG_INFO, "policies_loaded", "%zu policies, %zu limits, %zu canary keys",
           book->policy_count, book->limit_count, book->canary_count);
}

static const hf_source_tags no_tags;

const hf_source_tags *hf_policies_tags_of_source(const hf_keeper *keeper, uint32_t source)
{
    return source >= HF_BOOK_SOURCES_MAX ? &no_tags : &keeper->policies.book->sources[source];
}

const hf_source_tags *hf_policies_tags_of(const hf_keeper *keeper, const hf_key *key)
{
    return key == NULL ? &no_tags : hf_policies_tags_of_source(keeper, key->source);
}

hf_policy_key hf_policies_key_of(const hf_key *key)
{
    return key->type == HF_KEY_TYPE_BLS ? hf_policy_key_from(key->pubkey, sizeof key->pubkey)
                                        : hf_policy_key_from(key->address, sizeof key->address);
}

/* ---- canaries ----------------------------------------------------------------------------- */

static void tell_supervisor(hf_keeper *keeper, const hf_canary *canary, uint32_t operation,
                            const hf_pass *pass, bool refused)
{
    hf_msg_canary frame;
    memset(&frame, 0, sizeof frame);
    hf_frame_init(&frame, HF_MSG_CANARY, 0);
    frame.action = canary->action;
    frame.operation = operation;
    frame.refused = refused;
    frame.key_len = canary->key.len;
    memcpy(frame.key, canary->key.bytes, sizeof frame.key);
    hf_str_cut(frame.accessor, sizeof frame.accessor, pass->accessor);
    memcpy(frame.address, pass->address, sizeof frame.address);
    hf_str_cut(frame.certificate, sizeof frame.certificate, pass->certificate);
    hf_peer_send(keeper, keeper->control, &frame);
}

static void alert(hf_keeper *keeper, const hf_canary *canary, uint32_t operation,
                  const hf_pass *pass, bool refused)
{
    hf_policies *policies = &keeper->policies;
    char key[2 * HF_BLS_PUBKEY_BYTES + 1];
    const char *name = hf_eth_operation_name((hf_operation)operation);
    uint64_t now_ns = hf_time_mono_ns();
    hf_meter_add(&keeper->meter.now.canaries, 1);
    hf_hex_encode(canary->key.bytes, canary->key.len, key);
    if (hf_refusal_may_be_logged(keeper)) {
        hf_log(HF_LOG_BROKEN, "canary", "0x%s was asked to sign (%s) by \"%s\"; action: %s%s", key,
               name == NULL ? "a duty" : name, pass->accessor,
               hf_canary_action_name(canary->action),
               refused ? ", and the caller was refused in any case" : "");
    }
    hf_auditor_note(keeper, HF_AUDIT_CANARY, pass,
                    refused || canary->action != HF_CANARY_ALERT ? "refused" : "done",
                    "canary key 0x%s was asked to sign (%s)", key, name == NULL ? "a duty" : name);
    /* The first use at once; then not as often as somebody asks. */
    size_t place = (size_t)(canary - policies->book->canaries);
    uint64_t last_ns = policies->canary_told_ns[place];
    if (last_ns == 0 || now_ns - last_ns >= CANARY_COMMAND_GAP_NS) {
        policies->canary_told_ns[place] = now_ns;
        tell_supervisor(keeper, canary, operation, pass, refused);
    }
}

static hf_reason judge_canary(hf_keeper *keeper, const hf_policy_key *key, uint32_t operation,
                              const hf_pass *pass, char ret_detail[HF_DETAIL_LEN])
{
    hf_policies *policies = &keeper->policies;
    if (policies->is_locked) {
        hf_str_cut(ret_detail, HF_DETAIL_LEN,
                   "a canary key was asked for: nothing is signed until the signer is restarted");
        return HF_REASON_CANARY;
    }
    const hf_canary *canary = hf_book_find_canary(policies->book, key);
    if (canary == NULL) {
        return HF_REASON_OK;
    }
    alert(keeper, canary, operation, pass, false);
    if (canary->action == HF_CANARY_SEAL) {
        policies->is_locked = true;
        hf_seal_shut_everywhere(keeper, "a canary key was asked for");
        hf_log(HF_LOG_BROKEN, "locked", "nothing is signed any more: a canary key was asked for");
    }
    return canary->action == HF_CANARY_ALERT ? HF_REASON_OK : HF_REASON_CANARY;
}

void hf_policies_note_refused(hf_keeper *keeper, const hf_policy_key *key, uint32_t operation,
                              const hf_pass *pass)
{
    const hf_canary *canary = hf_book_find_canary(keeper->policies.book, key);
    if (canary != NULL) {
        alert(keeper, canary, operation, pass, true);
    }
}

/* ---- judging ------------------------------------------------------------------------------ */

static hf_reason await(const hf_policies *policies, char ret_detail[HF_DETAIL_LEN])
{
    if (!policies->is_awaited) {
        return HF_REASON_OK;
    }
    hf_str_cut(ret_detail, HF_DETAIL_LEN, "the policies were not read yet");
    return HF_REASON_KEEPER_UNAVAILABLE;
}

hf_reason hf_policies_judge_canary(hf_keeper *keeper, const hf_policy_key *key, uint32_t operation,
                                   const hf_pass *pass, char ret_detail[HF_DETAIL_LEN])
{
    ret_detail[0] = '\0';
    hf_reason reason = await(&keeper->policies, ret_detail);
    return reason != HF_REASON_OK ? reason : judge_canary(keeper, key, operation, pass, ret_detail);
}

hf_reason hf_policies_judge(hf_keeper *keeper, const hf_key *key, const hf_eth_request *request,
                            const hf_pass *pass, char ret_detail[HF_DETAIL_LEN])
{
    hf_policies *policies = &keeper->policies;
    const hf_book *book = policies->book;
    ret_detail[0] = '\0';
    if (book->limit_count == 0) {
        return HF_REASON_OK;
    }
    int64_t unix_ms = hf_time_unix_ms();
    const hf_source_tags *tags = hf_policies_tags_of(keeper, key);
    const hf_limit_context context = {.network = &keeper->config.network,
                                      .tags = tags->tags,
                                      .tag_count = tags->count,
                                      .asker = pass->accessor,
                                      .now_unix_ms = unix_ms < 0 ? 0 : (uint64_t)unix_ms,
                                      .now_ns = hf_time_mono_ns(),
                                      .approvals = &policies->approvals,
                                      .rates = policies->rates};
    return hf_reason_from_limit(hf_limits_judge(book->limits, book->limit_count, &context, request,
                                                ret_detail, HF_DETAIL_LEN));
}

hf_reason hf_policies_judge_eth1(hf_keeper *keeper, const hf_key *key, hf_eth1_question *question,
                                 const hf_pass *pass, bool *ret_counts,
                                 char ret_detail[HF_DETAIL_LEN])
{
    HF_ASSERT(key != NULL);
    const hf_book *book = keeper->policies.book;
    int64_t unix_ms = hf_time_unix_ms();
    const hf_source_tags *tags = hf_policies_tags_of(keeper, key);
    const hf_limit_context context = {.network = &keeper->config.network,
                                      .tags = tags->tags,
                                      .tag_count = tags->count,
                                      .asker = pass->accessor,
                                      .now_unix_ms = unix_ms < 0 ? 0 : (uint64_t)unix_ms,
                                      .now_ns = hf_time_mono_ns(),
                                      .rates = keeper->policies.rates};
    ret_detail[0] = '\0';
    memcpy(question->address, key->address, sizeof question->address);
    question->spending = keeper->spending.spending;
    return hf_reason_from_limit(hf_limits_judge_eth1(book->limits, book->limit_count, &context,
                                                     question, ret_counts, ret_detail,
                                                     HF_DETAIL_LEN));
}

/* ---- approvals ---------------------------------------------------------------------------- */

void hf_policies_approve(hf_keeper *keeper, hf_peer *peer, const hf_msg_exit_approve *frame,
                         const hf_pass *pass)
{
    hf_policy_key key = hf_policy_key_from(frame->pubkey, sizeof frame->pubkey);
    char name[2 * HF_BLS_PUBKEY_BYTES + 1];
    uint64_t request_id = frame->header.request_id;
    int64_t unix_ms = hf_time_unix_ms();
    if (frame->minutes > HF_APPROVAL_MINUTES_MAX) {
        hf_peer_send_result(keeper, peer, request_id, HF_REASON_MALFORMED, 0,
                            "minutes: at most 1440");
        return;
    }
    if (hf_keyring_find(&keeper->ring, frame->pubkey) == NULL) {
        hf_peer_send_result(keeper, peer, request_id, HF_REASON_UNKNOWN_KEY, 0, "");
        return;
    }
    hf_status st = hf_approvals_give(&keeper->policies.approvals, &key, pass->accessor,
                                     frame->minutes, unix_ms < 0 ? 0 : (uint64_t)unix_ms);
    hf_hex_encode(frame->pubkey, sizeof frame->pubkey, name);
    hf_log(HF_LOG_UNUSUAL, "exit_approved", "0x%s by \"%s\" for %u minutes%s", name, pass->accessor,
           frame->minutes, hf_failed(st) ? ": refused, too many approvals" : "");
    hf_auditor_note_key(keeper, HF_AUDIT_POLICY, pass, frame->pubkey,
                        hf_failed(st) ? "refused" : "done", "an exit was approved");
    hf_peer_send_result(keeper, peer, request_id,
                        hf_failed(st) ? HF_REASON_OVERLOADED : HF_REASON_OK, 0,
                        hf_failed(st) ? "too many approvals" : "");
}
