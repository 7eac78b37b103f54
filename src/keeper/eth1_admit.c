/*
 * May this be signed for the execution layer? On the intake thread: who asks, what the bytes are
 * (read again here, whatever the front called them), what policies say, and whether its line can be
 * written. What is judged here is what gets hashed.
 */
#include "keeper/keeper_internal.h"

#include <sys/stat.h>
#include <unistd.h>

/* Of the time that the front waits: the rest is for the way there and back. */
#define PATIENCE_PERCENT 90
#define PATIENCE_MS_MAX 60000

typedef struct question {
    hf_keeper *keeper;
    const hf_msg_eth1_sign *frame;
    hf_eth1_work *work;
    hf_key *key;
    hf_bytes bytes; /* what came */
    hf_bytes inner; /* of a message, what it says */
    hf_transaction tx;
    hf_typed_message typed;
    hf_error *err;
} question;

static hf_reason refuse(const question *q, hf_reason reason, const char *sentence)
{
    (void)hf_error_set(q->err, HF_DENIED, "%s", sentence);
    return reason;
}

static hf_scope scope_of(uint32_t kind)
{
    static const hf_scope scopes[HF_ETH1_KIND_COUNT] = {
        [HF_ETH1_TRANSACTION] = HF_SCOPE_ETH1_TRANSACTION,
        [HF_ETH1_MESSAGE] = HF_SCOPE_ETH1_MESSAGE,
        [HF_ETH1_TYPED_DATA] = HF_SCOPE_ETH1_TYPED_DATA,
        [HF_ETH1_DATA] = HF_SCOPE_ETH1_DATA,
    };
    return scopes[kind];
}

/* ---- the bytes --------------------------------------------------------------------------------
 */

/* A copy: what is in the memfd may change while it is read, and not afterwards. */
static hf_reason read_memory(const question *q, int fd, uint8_t *ret, size_t len)
{
    struct stat info;
    bool is_file = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    size_t done = 0;
    while (is_file && done < len) {
        ssize_t n = pread(fd, ret + done, len - done, (off_t)done);
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    return done == len ? HF_REASON_OK
                       : refuse(q, HF_REASON_MALFORMED, "the bytes to sign did not come along");
}

/* take_memory: NULL, or to be freed. */
static hf_reason read_bytes(question *q, int fd, uint8_t **take_memory)
{
    size_t len = q->frame->data_len;
    q->bytes = hf_bytes_from(q->frame->data, len);
    if (len <= HF_ETH1_INLINE_BYTES) {
        return HF_REASON_OK;
    }
    if (len > HF_ETH1_DATA_MAX) {
        return refuse(q, HF_REASON_TOO_LARGE, "more than 131072 bytes are to be signed");
    }
    *take_memory = malloc(len);
    if (*take_memory == NULL) {
        return HF_REASON_INTERNAL;
    }
    q->bytes.ptr = *take_memory;
    return read_memory(q, fd, *take_memory, len);
}

/* ---- what they are ----------------------------------------------------------------------------
 */

/*
 * Of a hash nobody can tell what it says: with the prefix of a message it may be a duty of an Aztec
 * validator, whose node asks for it in just this way. Where duties are protected they go their own
 * way, with their lock.
 */
static hf_reason judge_message(const question *q)
{
    const hf_msg_keeper_config *config = &q->keeper->config;
    bool is_protected = config->duty_node_id[0] != '\0';
    bool is_refused = config->eth1.hashes == HF_ETH1_HASHES_REFUSE ||
                      (config->eth1.hashes == HF_ETH1_HASHES_AUTO && is_protected);
    if (q->inner.len != HF_KECCAK_BYTES || !is_refused) {
        return HF_REASON_OK;
    }
    return refuse(q, HF_REASON_FORBIDDEN,
                  "a message of 32 bytes may be a duty: POST /api/v1/duty/sign protects it, or "
                  "eth1.hashes: allow signs it without");
}

static hf_reason admit_message(question *q)
{
    hf_reason reason = judge_message(q);
    if (reason == HF_REASON_OK && hf_failed(hf_eth1_hash_message(q->inner, q->work->digest))) {
        reason = HF_REASON_INTERNAL;
    }
    return reason;
}

static hf_reason admit_transaction(question *q)
{
    if (hf_failed(hf_tx_decode(q->bytes, &q->tx, q->err))) {
        return HF_REASON_MALFORMED;
    }
    hf_keccak256(q->bytes.ptr, q->bytes.len, q->work->digest);
    return HF_REASON_OK;
}

static hf_reason admit_typed_data(question *q)
{
    if (q->bytes.len != sizeof q->typed) {
        return refuse(q, HF_REASON_MALFORMED, "typed data of another length");
    }
    memcpy(&q->typed, q->bytes.ptr, sizeof q->typed);
    hf_status st = hf_typed_digest(&q->typed, q->work->digest, q->err);
    if (hf_failed(st)) {
        return st.code == HF_DENIED ? HF_REASON_FORBIDDEN : HF_REASON_MALFORMED;
    }
    return HF_REASON_OK;
}

static hf_reason admit_kind(question *q)
{
    switch ((hf_eth1_kind)q->work->kind) {
    case HF_ETH1_TRANSACTION:
        return admit_transaction(q);
    case HF_ETH1_MESSAGE:
        return admit_message(q);
    case HF_ETH1_TYPED_DATA:
        return admit_typed_data(q);
    case HF_ETH1_DATA:
        hf_keccak256(q->bytes.ptr, q->bytes.len, q->work->digest);
        return HF_REASON_OK;
    case HF_ETH1_KIND_COUNT:
        break;
    }
    return refuse(q, HF_REASON_MALFORMED, "kind: unknown");
}

static hf_reason ask_gate(const question *q, bool is_part)
{
    const hf_gate_question asked = {.scope = scope_of(q->work->kind),
                                    .operation = HF_OP_COUNT,
                                    .key = q->key,
                                    .is_part = is_part};
    hf_reason reason =
        hf_gate_check(q->keeper, q->work->answer.peer, &q->frame->caller, &asked, &q->work->pass);
    return reason == HF_REASON_OK ? reason : refuse(q, reason, q->work->pass.detail);
}

/*
 * Bytes that somebody calls data are judged as what they are: a transaction by the policies of
 * transactions, and whoever asks needs the right to both.
 */
static hf_reason see_through(question *q)
{
    hf_eth1_kind kind;
    if (q->keeper->config.eth1.sign_data == 0) {
        return refuse(q, HF_REASON_FORBIDDEN,
                      "eth1.sign_data is off: the JSON-RPC methods say what they sign");
    }
    if (hf_failed(hf_eth1_classify(q->bytes, &kind, &q->inner, q->err))) {
        return HF_REASON_FORBIDDEN;
    }
    if (kind == HF_ETH1_DATA) {
        return HF_REASON_OK;
    }
    if (kind == HF_ETH1_TYPED_DATA) {
        return refuse(q, HF_REASON_FORBIDDEN,
                      "data: the hashes of typed data; eth_signTypedData says what it signs");
    }
    q->work->kind = kind;
    return ask_gate(q, true);
}

/* ---- admission --------------------------------------------------------------------------------
 */

static void set_deadline(const question *q)
{
    uint64_t patience_ms =
        q->frame->timeout_ms < PATIENCE_MS_MAX ? q->frame->timeout_ms : PATIENCE_MS_MAX;
    q->work->deadline_ns =
        q->work->received_ns + patience_ms * HF_NS_PER_MS / 100 * PATIENCE_PERCENT;
}

/* Before any byte is looked at: who asks, and for which key. */
static hf_reason admit_caller(const question *q)
{
    hf_keeper *keeper = q->keeper;
    const hf_policy_key named = hf_policy_key_from(q->frame->address, HF_ADDRESS_BYTES);
    char detail[HF_DETAIL_LEN];
    hf_reason reason = ask_gate(q, false);
    if (reason != HF_REASON_OK) {
        hf_policies_note_refused(keeper, &named, HF_OP_COUNT, &q->work->pass);
        return reason;
    }
    if (keeper->stopping) {
        return HF_REASON_SHUTTING_DOWN;
    }
    reason = hf_policies_judge_canary(keeper, &named, HF_OP_COUNT, &q->work->pass, detail);
    if (reason != HF_REASON_OK) {
        return refuse(q, reason, detail);
    }
    bool held_back = keeper->config.require_all_keys && !keeper->loading.first_done;
    if (q->key == NULL || held_back) {
        hf_meter_add(&keeper->meter.now.missing_keys, 1);
        return hf_seal_reason_of_absence(keeper);
    }
    return q->frame->kind < HF_ETH1_KIND_COUNT ? HF_REASON_OK
                                               : refuse(q, HF_REASON_MALFORMED, "kind: unknown");
}

/* What the limits of the key say; *ret_counts: the value has to be kept. */
static hf_reason judge_limits(const question *q, bool *ret_counts)
{
    char detail[HF_DETAIL_LEN];
    hf_eth1_question asked = {.kind = (hf_eth1_kind)q->work->kind,
                              .tx = q->work->kind == HF_ETH1_TRANSACTION ? &q->tx : NULL,
                              .typed = q->work->kind == HF_ETH1_TYPED_DATA ? &q->typed : NULL};
    hf_reason reason =
        hf_policies_judge_eth1(q->keeper, q->key, &asked, &q->work->pass, ret_counts, detail);
    return reason == HF_REASON_OK ? reason : refuse(q, reason, detail);
}

/* The last steps: its line, and what it costs. A vote goes to the room of duties instead. */
static hf_reason take(const question *q, bool counts)
{
    hf_eth1_work *work = q->work;
    if (work->kind == HF_ETH1_TYPED_DATA && hf_typed_is_duty(&q->typed)) {
        hf_reason reason = hf_duties_take_vote(q->keeper, work, q->frame, &q->typed, q->err);
        work->is_taken = reason == HF_REASON_OK;
        return reason;
    }
    (void)atomic_fetch_add(&q->key->refs, 1);
    work->key = q->key;
    work->look = hf_look_want(q->keeper, q->key);
    if (!hf_auditor_admit_eth1(q->keeper, work)) {
        return HF_REASON_AUDIT_UNAVAILABLE;
    }
    return !counts || hf_spending_note(q->keeper, q->key->address, &q->tx.value,
                                       &work->spending_ticket)
               ? HF_REASON_OK
               : refuse(q, HF_REASON_STORE_UNAVAILABLE, "what was spent cannot be kept");
}

hf_reason hf_eth1_admit(hf_keeper *keeper, const hf_msg_eth1_sign *frame, int fd,
                        hf_eth1_work *work, hf_error *err)
{
    uint8_t *memory = NULL;
    question q = {.keeper = keeper,
                  .frame = frame,
                  .work = work,
                  .key = hf_keyring_find_address(&keeper->ring, frame->address),
                  .err = err};
    set_deadline(&q);
    hf_reason reason = admit_caller(&q);
    if (reason == HF_REASON_OK) {
        reason = read_bytes(&q, fd, &memory);
    }
    q.inner = q.bytes;
    if (reason == HF_REASON_OK && work->kind == HF_ETH1_DATA) {
        reason = see_through(&q);
    }
    if (reason == HF_REASON_OK) {
        reason = admit_kind(&q);
    }
    bool counts = false;
    if (reason == HF_REASON_OK) {
        reason = judge_limits(&q, &counts);
    }
    if (reason == HF_REASON_OK) {
        reason = take(&q, counts);
    }
    free(memory); /* the transaction's views go into it */
    return reason;
}
