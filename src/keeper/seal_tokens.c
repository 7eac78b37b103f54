/*
 * Holders of the seal that are tokens or keys of a cloud: the keeper asks their back end of custody
 * to wrap a share when it is made, and to unwrap it when shares are wanted, again and again while
 * the back end is away. Intake thread, but for the answers, which come on the custody thread.
 *
 * What is stored of such a holder names a key and nothing else: which module is loaded, and who is
 * spoken to, is the configuration's business alone.
 */
#include "keeper/keeper_internal.h"

#define ANSWER_NS (20 * HF_NS_PER_SECOND)
/* Between tries while a back end is away: at first, and at most. */
#define AGAIN_FIRST_NS (HF_NS_PER_SECOND / 2)
#define AGAIN_MOST_NS (30 * HF_NS_PER_SECOND)

static hf_key_backend backend_of(unsigned kind)
{
    return kind == HF_HOLDER_PKCS11 ? HF_BACKEND_PKCS11 : HF_BACKEND_AWS_KMS;
}

bool hf_seal_kind_is_token(unsigned kind)
{
    return kind == HF_HOLDER_PKCS11 || kind == HF_HOLDER_AWS_KMS;
}

hf_status hf_seal_tokens_check(const hf_keeper *keeper, const hf_seal_config *config, hf_error *err)
{
    for (unsigned i = 0; i < config->holder_count; i++) {
        const hf_seal_holder *holder = &config->holders[i];
        uint32_t custody = 0;
        if (!hf_seal_kind_is_token(holder->kind)) {
            continue;
        }
        if (holder->reference[0] == '\0') {
            return hf_fail(err, HF_USAGE, "holder %u: which key? %s=NAME", i + 1,
                           hf_holder_kind_name(holder->kind));
        }
        if (!hf_custody_of_seal(keeper, backend_of(holder->kind), &custody)) {
            return hf_fail(err, HF_USAGE,
                           "holder %u: signing_keys has no entry with backend %s to reach it by",
                           i + 1, hf_key_backend_name(backend_of(holder->kind)));
        }
    }
    return hf_ok();
}

/* ---- questions and answers ------------------------------------------------------------------- */

/* On the custody thread, which alone has the token while it is out. */
static void answered(hf_keeper *keeper, void *context, hf_reason reason, hf_bytes data,
                     const char *detail)
{
    hf_seal_token *token = context;
    (void)keeper;
    bool fits = token->is_wrap ? data.len > 0 && data.len <= sizeof token->blob
                               : data.len == sizeof token->share->bytes;
    token->reason = reason == HF_REASON_OK && !fits ? HF_REASON_INTERNAL : reason;
    token->len = 0;
    hf_str_cut(token->detail, sizeof token->detail,
               reason == HF_REASON_OK && !fits ? "what came back has another length" : detail);
    if (token->reason == HF_REASON_OK && token->is_wrap) {
        memcpy(token->blob, data.ptr, data.len);
        token->len = (uint32_t)data.len;
    } else if (token->reason == HF_REASON_OK) {
        memcpy(token->share->bytes, data.ptr, data.len);
    }
    atomic_store(&token->phase, HF_SEAL_TOKEN_ANSWERED);
}

/* Seal, change of it, place and name: a share that was moved does not unwrap. */
static void bind(const hf_seal_config *config, unsigned i, hf_msg_custody_wrap *question)
{
    static const char purpose[] = "holdfast seal share 1";
    uint8_t *at = question->context;
    memcpy(at, purpose, sizeof purpose);
    at += sizeof purpose;
    memcpy(at, config->seal_id, sizeof config->seal_id);
    at += sizeof config->seal_id;
    hf_le64_put(at, config->generation);
    at += 8;
    *at++ = config->holders[i].index;
    memcpy(at, config->holders[i].name, sizeof config->holders[i].name);
    at += sizeof config->holders[i].name;
    question->context_len = (uint32_t)(at - question->context);
}

/* data is a share to wrap, or a blob to unwrap. False: not now. */
static bool ask(hf_keeper *keeper, const hf_seal_config *config, unsigned i, bool is_wrap,
                hf_bytes data)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_token *token = &room->tokens[i];
    uint32_t custody = 0;
    hf_msg_custody_wrap question = {.len = (uint32_t)data.len};
    if (atomic_load(&token->phase) != HF_SEAL_TOKEN_IDLE ||
        !hf_custody_of_seal(keeper, backend_of(config->holders[i].kind), &custody) ||
        data.len > sizeof question.data) {
        return false;
    }
    memcpy(question.data, data.ptr, data.len);
    memcpy(question.reference, config->holders[i].reference, sizeof config->holders[i].reference);
    bind(config, i, &question);
    token->is_wrap = is_wrap;
    token->serial = room->serial;
    atomic_store(&token->phase, HF_SEAL_TOKEN_OUT);
    bool is_taken =
        hf_custody_wrap(keeper, custody, is_wrap ? HF_MSG_CUSTODY_WRAP : HF_MSG_CUSTODY_UNWRAP,
                        &question, hf_time_mono_ns() + ANSWER_NS, answered, token);
    hf_wipe(&question, sizeof question);
    if (!is_taken) {
        atomic_store(&token->phase, HF_SEAL_TOKEN_IDLE);
    }
    return is_taken;
}

/* ---- shares that are made ---------------------------------------------------------------------
 */

unsigned hf_seal_tokens_unregistered(const hf_seal_room *room)
{
    unsigned count = 0;
    for (unsigned i = 0; i < room->next.holder_count; i++) {
        count += hf_seal_kind_is_token(room->next.holders[i].kind) &&
                 (room->next_registered >> i & 1U) == 0;
    }
    return count;
}

bool hf_seal_tokens_wrap(hf_keeper *keeper, hf_peer *peer, uint64_t request_id)
{
    hf_seal_room *room = &keeper->seal;
    for (unsigned i = 0; i < room->next.holder_count; i++) {
        const hf_seal_share *share = &room->secrets->next_shares[i];
        if (hf_seal_kind_is_token(room->next.holders[i].kind) &&
            !ask(keeper, &room->next, i, true, hf_bytes_from(share->bytes, sizeof share->bytes))) {
            return false;
        }
    }
    hf_peer_ref(peer);
    room->beginner = peer;
    room->beginner_id = request_id;
    room->beginner_serial = room->serial;
    return true;
}

/* Who began gets no other answer; the change is dropped. */
static void give_up(hf_keeper *keeper, hf_reason reason, const char *detail)
{
    hf_seal_room *room = &keeper->seal;
    hf_peer *peer = room->beginner;
    room->beginner = NULL;
    if (room->has_next && room->beginner_serial == room->serial) {
        hf_seal_state next = hf_seal_next(room->state, HF_SEAL_ON_CANCEL).next;
        hf_seal_drop_next(room);
        hf_seal_enter(keeper, next, "a holder's token did not wrap its share");
    }
    hf_peer_send_result(keeper, peer, room->beginner_id, reason, 0, detail);
    hf_peer_unref(keeper, peer);
}

static void take_wrapped(hf_keeper *keeper, unsigned i)
{
    hf_seal_room *room = &keeper->seal;
    const hf_seal_token *token = &room->tokens[i];
    hf_seal_holder *holder = &room->next.holders[i];
    char detail[HF_DETAIL_LEN];
    if (room->beginner == NULL) {
        return; /* given up, because of another */
    }
    if (token->reason != HF_REASON_OK) {
        (void)snprintf(detail, sizeof detail, "%.32s: %.110s", holder->name, token->detail);
        give_up(keeper, token->reason, detail);
        return;
    }
    memcpy(holder->blob, token->blob, token->len);
    holder->blob_len = (uint16_t)token->len;
    room->next_registered |= 1U << i;
    hf_log(HF_LOG_INFO, "seal_registered", "%s; %u missing", holder->name,
           hf_seal_unregistered(room));
    hf_auditor_note(keeper, HF_AUDIT_SHARE, NULL, "done", "%s has wrapped its share; %u missing",
                    holder->name, hf_seal_unregistered(room));
    if (hf_seal_tokens_unregistered(room) == 0) {
        hf_peer *peer = room->beginner;
        room->beginner = NULL;
        hf_seal_begun(keeper, peer, room->beginner_id);
        hf_peer_unref(keeper, peer);
    }
}

/* ---- shares that are wanted -------------------------------------------------------------------
 */

void hf_seal_tokens_ask(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    room->tokens_wanted = true;
    for (unsigned i = 0; i < HF_SEAL_HOLDERS_MAX; i++) {
        room->tokens[i].again_ns = 0;
        room->tokens[i].pause_ns = 0;
    }
}

bool hf_seal_tokens_submit(hf_keeper *keeper, hf_peer *peer, const hf_msg_seal_submit *frame)
{
    const hf_seal_room *room = &keeper->seal;
    char name[HF_SEAL_NAME_LEN];
    memcpy(name, frame->name, sizeof name);
    name[sizeof name - 1] = '\0';
    int i = hf_seal_config_find(&room->config, name);
    if (i < 0 || frame->is_share == 1 || !hf_seal_kind_is_token(room->config.holders[i].kind)) {
        return false;
    }
    hf_seal_tokens_ask(keeper);
    hf_peer_send_result(keeper, peer, frame->header.request_id, HF_REASON_OK,
                        hf_seal_missing(&room->config, room->given), "it is asked for its share");
    return true;
}

static bool is_wanted(const hf_seal_room *room)
{
    return room->tokens_wanted && room->task == NULL &&
           (room->state == HF_SEAL_SEALED || room->state == HF_SEAL_PARTLY_UNSEALED);
}

static void try_later(hf_seal_token *token)
{
    uint64_t doubled = 2 * token->pause_ns;
    token->pause_ns = doubled < AGAIN_FIRST_NS  ? AGAIN_FIRST_NS
                      : doubled > AGAIN_MOST_NS ? AGAIN_MOST_NS
                                                : doubled;
    token->again_ns = hf_time_mono_ns() + token->pause_ns;
}

static void take_share_of(hf_keeper *keeper, unsigned i)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_token *token = &room->tokens[i];
    const char *name = room->config.holders[i].name;
    if (!is_wanted(room) || i >= room->config.holder_count) {
        return;
    }
    if (token->reason != HF_REASON_OK) {
        (void)snprintf(room->detail, sizeof room->detail, "%.32s: %.110s", name, token->detail);
        hf_log(HF_LOG_UNUSUAL, "seal_token", "%s", room->detail);
        try_later(token);
    } else if (!hf_seal_share_is_right(&room->config, i, token->share)) {
        token->again_ns = UINT64_MAX; /* it will not become right by itself */
        room->wrong[i]++;
        hf_log(HF_LOG_BROKEN, "seal_share_wrong", "what %s unwrapped is not its share", name);
        hf_auditor_note(keeper, HF_AUDIT_SHARE, NULL, "refused",
                        "what %s unwrapped is not its share", name);
    } else {
        room->detail[0] = '\0';
        token->again_ns = UINT64_MAX;
        room->secrets->scratch = *token->share;
        hf_seal_take_share(keeper, keeper->control, 0, i);
        hf_wipe(&room->secrets->scratch, sizeof room->secrets->scratch);
    }
}

static void want_shares(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t now = hf_time_mono_ns();
    for (unsigned i = 0; i < room->config.holder_count && is_wanted(room); i++) {
        const hf_seal_holder *holder = &room->config.holders[i];
        hf_seal_token *token = &room->tokens[i];
        if (hf_seal_kind_is_token(holder->kind) && (room->given >> i & 1U) == 0 &&
            atomic_load(&token->phase) == HF_SEAL_TOKEN_IDLE && now >= token->again_ns &&
            !ask(keeper, &room->config, i, false, hf_bytes_from(holder->blob, holder->blob_len))) {
            try_later(token);
        }
    }
}

void hf_seal_tokens_turn(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    if (room->beginner != NULL && (!room->has_next || room->beginner_serial != room->serial)) {
        give_up(keeper, HF_REASON_BUSY, "it was cancelled before all holders had registered");
    }
    for (unsigned i = 0; i < HF_SEAL_HOLDERS_MAX; i++) {
        hf_seal_token *token = &room->tokens[i];
        if (atomic_load(&token->phase) != HF_SEAL_TOKEN_ANSWERED) {
            continue;
        }
        if (token->serial == room->serial && token->is_wrap) {
            take_wrapped(keeper, i);
        } else if (token->serial == room->serial) {
            take_share_of(keeper, i);
        }
        hf_wipe(token->share, sizeof *token->share);
        hf_wipe(token->blob, sizeof token->blob);
        atomic_store(&token->phase, HF_SEAL_TOKEN_IDLE);
    }
    want_shares(keeper);
}

void hf_seal_tokens_init(hf_seal_room *room)
{
    hf_seal_share *shares = hf_slab_alloc(room->slab);
    HF_ASSERT(shares != NULL);
    for (unsigned i = 0; i < HF_SEAL_HOLDERS_MAX; i++) {
        room->tokens[i].share = &shares[i];
    }
}

void hf_seal_tokens_done(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    if (room->beginner != NULL) {
        hf_peer_unref(keeper, room->beginner);
        room->beginner = NULL;
    }
    hf_slab_release(room->slab, room->tokens[0].share);
}
