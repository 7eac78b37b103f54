/*
 * One way in: may this caller ask for that? Asked on the intake thread for every frame that carries
 * a caller, before anything else is done for it, and before any key is touched.
 *
 * Who writes to the admin socket was checked by the supervisor and may do everything. The key
 * manager's token opens its API (/eth/v1) and nothing else. Without auth.mode tokens, the routes
 * that Web3Signer leaves open are open. Everybody else shows a token: one of the kind management
 * may do everything but sign, and any token what its policies allow.
 */
#include "keeper/keeper_internal.h"

#define ADMIN "admin"
#define KEY_MANAGER "key-manager"
#define DOUBT "the shared store could not be asked whether the token still counts"

/*
 * What each question asks for. SIGN, DUTY_SIGN and ETH1_SIGN ask for themselves, with their key.
 * AUTHORIZE asks whether a credential is one at all, before a body is read for its sake; what it is
 * worth is asked with each question that follows.
 */
static const struct {
    bool is_asked;
    hf_scope scope;
} scopes[HF_MSG_COUNT_TYPES] = {
    [HF_MSG_AUTHORIZE] = {true, HF_GATE_ANYTHING},
    [HF_MSG_KEYS] = {true, HF_SCOPE_PUBLIC_KEYS},
    [HF_MSG_STATUS] = {true, HF_SCOPE_STATUS},
    [HF_MSG_RELOAD] = {true, HF_SCOPE_RELOAD},
    [HF_MSG_KEY_IMPORT] = {true, HF_SCOPE_KEYS_IMPORT},
    [HF_MSG_KEY_DELETE] = {true, HF_SCOPE_KEYS_DELETE},
    [HF_MSG_EXPORT_OPEN] = {true, HF_SCOPE_EXPORT},
    [HF_MSG_IMPORT_BEGIN] = {true, HF_SCOPE_IMPORT},
    [HF_MSG_TOKEN_CREATE] = {true, HF_SCOPE_TOKENS},
    [HF_MSG_TOKEN_LIST] = {true, HF_SCOPE_TOKENS},
    [HF_MSG_TOKEN_REVOKE] = {true, HF_SCOPE_TOKENS},
    [HF_MSG_SIGN] = {true, HF_SCOPE_SIGN},
    [HF_MSG_DUTY_SIGN] = {true, HF_SCOPE_DUTY},
    [HF_MSG_ETH1_SIGN] = {true, HF_SCOPE_ETH1_MESSAGE},
    [HF_MSG_ETH1_KEYS] = {true, HF_SCOPE_PUBLIC_KEYS},
    [HF_MSG_NODE_CALL] = {true, HF_SCOPE_ETH1_NODE},
    [HF_MSG_POLICY_PUT] = {true, HF_SCOPE_POLICIES},
    [HF_MSG_POLICY_GET] = {true, HF_SCOPE_POLICIES},
    [HF_MSG_POLICY_LIST] = {true, HF_SCOPE_POLICIES},
    [HF_MSG_POLICY_DELETE] = {true, HF_SCOPE_POLICIES},
    [HF_MSG_EXIT_APPROVE] = {true, HF_SCOPE_EXIT_APPROVE},
    [HF_MSG_SEAL_STATUS] = {true, HF_SCOPE_SEAL_STATUS},
    [HF_MSG_SEAL_BEGIN] = {true, HF_SCOPE_SEAL_MANAGE},
    [HF_MSG_SEAL_REGISTER] = {true, HF_SCOPE_SEAL_UNSEAL},
    [HF_MSG_SEAL_SUBMIT] = {true, HF_SCOPE_SEAL_UNSEAL},
    [HF_MSG_SEAL_CLOSE] = {true, HF_SCOPE_SEAL_MANAGE},
    [HF_MSG_SEAL_CANCEL] = {true, HF_SCOPE_SEAL_MANAGE},
    [HF_MSG_SEALED_ADD] = {true, HF_SCOPE_KEYS_IMPORT},
    [HF_MSG_SEALED_CHANGE] = {true, HF_SCOPE_KEYS_CHANGE},
    [HF_MSG_SEALED_LIST] = {true, HF_SCOPE_KEYS_LIST},
};

bool hf_gate_scope_of(uint16_t type, hf_scope *ret_scope)
{
    if (type >= HF_MSG_COUNT_TYPES || !scopes[type].is_asked) {
        return false;
    }
    *ret_scope = scopes[type].scope;
    return true;
}

static bool is_key_manager(const hf_keeper *keeper, const hf_caller *caller)
{
    char shown[HF_TOKEN_LEN] = {0};
    memcpy(shown, caller->token, strnlen(caller->token, HF_TOKEN_LEN - 1));
    return keeper->token[0] != '\0' && hf_secret_equal(shown, keeper->token, HF_TOKEN_LEN);
}

/* What its API does, exits by name included. */
static bool key_manager_may(const hf_gate_question *question)
{
    if (question->is_sealed) {
        return false;
    }
    return question->scope == HF_GATE_ANYTHING || question->scope == HF_SCOPE_KEYS_LIST ||
           question->scope == HF_SCOPE_KEYS_IMPORT || question->scope == HF_SCOPE_KEYS_DELETE ||
           (question->scope == HF_SCOPE_SIGN && question->operation == HF_OP_VOLUNTARY_EXIT);
}

/* Signing: what a management token does only where a policy of its own allows it. */
static bool is_signing(hf_scope scope)
{
    return scope == HF_SCOPE_SIGN || scope == HF_SCOPE_DUTY || scope == HF_SCOPE_ETH1_TRANSACTION ||
           scope == HF_SCOPE_ETH1_MESSAGE || scope == HF_SCOPE_ETH1_TYPED_DATA ||
           scope == HF_SCOPE_ETH1_DATA;
}

/* What Web3Signer asks no credential for. */
static bool is_open(hf_scope scope)
{
    return is_signing(scope) || scope == HF_SCOPE_PUBLIC_KEYS || scope == HF_SCOPE_STATUS ||
           scope == HF_SCOPE_SEAL_STATUS || scope == HF_SCOPE_RELOAD || scope == HF_SCOPE_ETH1_NODE;
}

static void note_caller(const hf_caller *caller, const char *accessor, hf_pass *pass)
{
    hf_str_cut(pass->accessor, sizeof pass->accessor, accessor);
    memcpy(pass->address, caller->address, sizeof pass->address);
    pass->port = caller->port;
    memcpy(pass->certificate, caller->certificate, sizeof pass->certificate);
    pass->certificate[sizeof pass->certificate - 1] = '\0';
}

static hf_reason forbid(hf_pass *pass, const char *sentence)
{
    hf_str_cut(pass->detail, sizeof pass->detail, sentence);
    return HF_REASON_FORBIDDEN;
}

/* Who may make tokens, or say what policies allow, could make himself one that may everything. */
static hf_reason judge(hf_keeper *keeper, const hf_token *token, const hf_gate_question *question,
                       hf_pass *pass)
{
    bool is_management = token->terms.kind == HF_TOKEN_MANAGEMENT;
    if (question->scope == HF_GATE_ANYTHING) {
        return HF_REASON_OK;
    }
    if (is_management && !is_signing(question->scope)) {
        return hf_policies_deny(keeper, token, question, pass) ? HF_REASON_FORBIDDEN : HF_REASON_OK;
    }
    if (question->scope == HF_SCOPE_TOKENS || question->scope == HF_SCOPE_POLICIES) {
        return forbid(pass, "a management token is needed");
    }
    keeper->seer = token;
    return hf_policies_allow(keeper, token, question, pass);
}

static hf_reason ask_token(hf_keeper *keeper, const hf_caller *caller,
                           const hf_gate_question *question, hf_pass *pass)
{
    hf_token_entry *entry = NULL;
    hf_reason reason = hf_tokens_recognise(keeper, caller, question->is_page, pass, &entry);
    if (reason == HF_REASON_OK && keeper->doubt != HF_REASON_OK) {
        reason = keeper->doubt;
        hf_str_cut(pass->detail, sizeof pass->detail,
                   reason == HF_REASON_STORE_UNAVAILABLE ? DOUBT : "");
    }
    if (reason == HF_REASON_OK) {
        reason = judge(keeper, &entry->token, question, pass);
    }
    if (reason == HF_REASON_OK && !question->is_part) {
        hf_token_take_use(entry);
    }
    return reason;
}

static bool is_admin(const hf_peer *peer)
{
    return peer->channel == HF_CHANNEL_ADMIN || peer->channel == HF_CHANNEL_CONTROL;
}

static bool is_open_here(const hf_keeper *keeper, const hf_gate_question *question)
{
    return keeper->config.auth_mode != HF_AUTH_TOKENS && is_open(question->scope);
}

bool hf_gate_reads_token(const hf_keeper *keeper, const hf_peer *peer, const hf_caller *caller,
                         const hf_gate_question *question)
{
    return !is_admin(peer) && !(is_key_manager(keeper, caller) && key_manager_may(question)) &&
           !is_open_here(keeper, question);
}

hf_reason hf_gate_check(hf_keeper *keeper, const hf_peer *peer, const hf_caller *caller,
                        const hf_gate_question *question, hf_pass *ret_pass)
{
    *ret_pass = (hf_pass){.detail = ""};
    keeper->seer = NULL;
    if (is_admin(peer)) {
        hf_str_cut(ret_pass->accessor, sizeof ret_pass->accessor, ADMIN);
        return HF_REASON_OK;
    }
    note_caller(caller, "", ret_pass);
    if (is_key_manager(keeper, caller) && key_manager_may(question)) {
        hf_str_cut(ret_pass->accessor, sizeof ret_pass->accessor, KEY_MANAGER);
        return HF_REASON_OK;
    }
    if (is_open_here(keeper, question)) {
        return HF_REASON_OK;
    }
    hf_reason reason = ask_token(keeper, caller, question, ret_pass);
    if (reason != HF_REASON_OK) {
        hf_meter_add(&keeper->meter.now.auth_rejections, 1);
    }
    return reason;
}
