/* The token and the thread that keeps it: renewed at two thirds of its life, replaced before its
 * end, and the server's health asked meanwhile. */
#include "crypto/crypto.h"
#include "custody/vault_internal.h"

#define HEALTH_NS (10 * HF_NS_PER_SECOND)
/* A renewed lease of less than this part of the token's longest one: it nears its greatest age. */
#define SHORT_PARTS 2
#define PAUSE_NS (100 * HF_NS_PER_MS)
#define RETRY_FIRST_NS HF_NS_PER_SECOND
#define RETRY_MOST_NS (30 * HF_NS_PER_SECOND)
#define REVOKE_NS HF_NS_PER_SECOND

static bool is_over(const hf_vault_token *token, uint64_t now_ns)
{
    return token->text[0] == '\0' ||
           (token->lease_ns != 0 && now_ns >= token->got_ns + token->lease_ns);
}

static void drop(hf_vault *vault)
{
    uint64_t serial = vault->token.serial;
    hf_wipe(&vault->token, sizeof vault->token);
    vault->token.serial = serial;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void hf_vault_note(hf_vault *vault, bool is_healthy, const char *detail)
{
    (void)pthread_mutex_lock(&vault->state_lock);
    vault->is_healthy = is_healthy;
    hf_str_cut(vault->detail, sizeof vault->detail, detail);
    (void)pthread_mutex_unlock(&vault->state_lock);
}

/* ---- renewal -------------------------------------------------------------------------------- */

/* DENIED: it cannot be renewed (any more). */
static hf_status renew(hf_vault *vault, hf_error *err)
{
    hf_vault_answer answer = {.http_status = 0};
    hf_vault_token next = {.text = ""};
    json_t *body = json_object();
    const hf_vault_call call = {.method = "POST",
                                .path = "auth/token/renew-self",
                                .token = vault->token.text,
                                .body = body,
                                .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
    hf_status st = body != NULL
                       ? hf_vault_ask(vault, vault->auth_net, &call,
                                      hf_time_mono_ns() + HF_VAULT_REQUEST_NS, &answer, err)
                       : hf_fail(err, HF_NOMEM, "out of memory");
    if (!hf_failed(st)) {
        st = hf_vault_take_auth(answer.json, &next, err);
    }
    if (!hf_failed(st) && next.lease_ns == 0) {
        st = hf_fail(err, HF_DENIED, "Vault renews the token for no time at all");
    }
    if (!hf_failed(st)) {
        vault->token.got_ns = next.got_ns;
        vault->token.lease_ns = next.lease_ns;
        vault->token.is_renewable = next.is_renewable;
        if (next.lease_ns > vault->token.full_ns) {
            vault->token.full_ns = next.lease_ns;
        }
    }
    hf_wipe(&next, sizeof next);
    json_decref(body);
    hf_vault_answer_done(&answer);
    return st;
}

static hf_status log_in(hf_vault *vault, uint64_t deadline_ns, hf_error *err)
{
    hf_vault_token next = {.text = ""};
    hf_status st = hf_vault_login(vault, deadline_ns, &next, err);
    if (!hf_failed(st)) {
        vault->token = next;
        vault->token.full_ns = next.lease_ns;
    }
    hf_wipe(&next, sizeof next);
    return st;
}

/* Two thirds of the life that a token had when it was made or renewed. */
static uint64_t renewal_ns(const hf_vault_token *token)
{
    return token->got_ns + token->lease_ns / 3 * 2;
}

/*
 * Renews, or logs in when renewing does not help: the token is not renewable, is refused, or gets
 * hardly any more life because it nears its greatest age. Returns when to come back.
 */
static uint64_t tend(hf_vault *vault, unsigned *attempt)
{
    hf_error err = {.code = HF_OK};
    uint64_t now_ns = hf_time_mono_ns();
    hf_vault_token *token = &vault->token;
    if (!is_over(token, now_ns) && (token->lease_ns == 0 || now_ns < renewal_ns(token))) {
        *attempt = 0;
        return token->lease_ns == 0 ? UINT64_MAX : renewal_ns(token);
    }
    hf_status st = {HF_DENIED};
    if (!is_over(token, now_ns) && token->is_renewable) {
        st = renew(vault, &err);
        if (!hf_failed(st) && token->lease_ns < token->full_ns / SHORT_PARTS) {
            st = (hf_status){HF_DENIED}; /* what is left of it suffices for a login */
        }
    }
    if (hf_failed(st) && st.code != HF_UNAVAILABLE) {
        st = log_in(vault, now_ns + HF_VAULT_REQUEST_NS, &err);
    }
    if (!hf_failed(st)) {
        *attempt = 0;
        return token->lease_ns == 0 ? UINT64_MAX : renewal_ns(token) + PAUSE_NS;
    }
    hf_vault_note(vault, false, err.msg);
    return now_ns + hf_vault_wait_ns((*attempt)++, RETRY_FIRST_NS, RETRY_MOST_NS);
}

/* ---- health --------------------------------------------------------------------------------- */

static void check_health(hf_vault *vault)
{
    char text[HF_DETAIL_LEN];
    hf_error err = {.code = HF_OK};
    hf_vault_answer answer = {.http_status = 0};
    const hf_vault_call call = {.method = "GET",
                                .path = "sys/health?standbyok=true&perfstandbyok=true",
                                .is_global = true,
                                .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
    hf_status st = hf_vault_ask(vault, vault->auth_net, &call,
                                hf_time_mono_ns() + HF_VAULT_REQUEST_NS, &answer, &err);
    (void)pthread_mutex_lock(&vault->state_lock);
    uint32_t keys = vault->keys;
    (void)pthread_mutex_unlock(&vault->state_lock);
    if (answer.http_status == 503 && json_is_true(json_object_get(answer.json, "sealed"))) {
        hf_vault_note(vault, false, "Vault is sealed");
    } else if (answer.http_status == 501) {
        hf_vault_note(vault, false, "Vault is not initialised");
    } else if (hf_failed(st) && answer.http_status != 472) {
        hf_vault_note(vault, false, err.msg);
    } else if (vault->is_wanted && is_over(&vault->token, hf_time_mono_ns())) {
        if (vault->refusal.next_ns != 0) {
            hf_vault_note(vault, false, vault->refusal.err.msg);
        }
    } else {
        (void)snprintf(text, sizeof text, "reachable; %u keys in the last list", keys);
        hf_vault_note(vault, true, text);
    }
    hf_vault_answer_done(&answer);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void wait_until(hf_vault *vault, uint64_t at_ns)
{
    const struct timespec at = {.tv_sec = (time_t)(at_ns / HF_NS_PER_SECOND),
                                .tv_nsec = (long)(at_ns % HF_NS_PER_SECOND)};
    (void)pthread_cond_timedwait(&vault->auth_wake, &vault->auth_lock, &at);
}

static void *run(void *context)
{
    hf_vault *vault = context;
    unsigned attempt = 0;
    (void)pthread_mutex_lock(&vault->auth_lock);
    uint64_t tend_ns = 0;
    uint64_t health_ns = hf_time_mono_ns() + HEALTH_NS;
    uint64_t serial = vault->token.serial;
    while (!vault->is_closing) {
        uint64_t now_ns = hf_time_mono_ns();
        if (vault->token.serial != serial) {
            serial = vault->token.serial; /* the list got another one meanwhile */
            tend_ns = 0;
        }
        if (vault->is_wanted && now_ns >= tend_ns) {
            tend_ns = tend(vault, &attempt);
        } else if (now_ns >= health_ns) {
            check_health(vault);
            health_ns = hf_time_mono_ns() + HEALTH_NS;
        } else {
            wait_until(vault, sooner(vault->is_wanted ? tend_ns : UINT64_MAX, health_ns));
        }
    }
    (void)pthread_mutex_unlock(&vault->auth_lock);
    return NULL;
}

hf_status hf_vault_token_start(hf_vault *vault, hf_error *err)
{
    if (vault->has_thread) {
        return hf_ok();
    }
    if (pthread_create(&vault->thread, NULL, run, vault) != 0) {
        return hf_fail(err, HF_UNAVAILABLE, "the thread that renews Vault's token does not start");
    }
    vault->has_thread = true;
    return hf_ok();
}

void hf_vault_token_stop(hf_vault *vault)
{
    hf_vault_answer answer = {.http_status = 0};
    (void)pthread_mutex_lock(&vault->auth_lock);
    vault->is_closing = true;
    (void)pthread_cond_signal(&vault->auth_wake);
    (void)pthread_mutex_unlock(&vault->auth_lock);
    if (vault->has_thread) {
        (void)pthread_join(vault->thread, NULL);
    }
    if (vault->token.is_own && !is_over(&vault->token, hf_time_mono_ns())) {
        const hf_vault_call call = {.method = "POST",
                                    .path = "auth/token/revoke-self",
                                    .token = vault->token.text,
                                    .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
        /* Where that fails the token ends by itself. */
        (void)!hf_failed(hf_vault_ask(vault, vault->auth_net, &call, hf_time_mono_ns() + REVOKE_NS,
                                      &answer, NULL));
        hf_vault_answer_done(&answer);
    }
    drop(vault);
}

/* ---- for the list --------------------------------------------------------------------------- */

hf_status hf_vault_token_get(hf_vault *vault, uint64_t deadline_ns, hf_vault_token *ret_token,
                             hf_error *err)
{
    hf_status st = hf_ok();
    (void)pthread_mutex_lock(&vault->auth_lock);
    vault->is_wanted = true;
    if (is_over(&vault->token, hf_time_mono_ns())) {
        st = log_in(vault, deadline_ns, err);
    }
    if (!hf_failed(st)) {
        *ret_token = vault->token;
        (void)pthread_cond_signal(&vault->auth_wake);
    }
    (void)pthread_mutex_unlock(&vault->auth_lock);
    return st;
}

/* 403 says nothing about why: a token that may look itself up is good, and the policy refused. */
bool hf_vault_token_refused(hf_vault *vault, uint64_t serial, uint64_t deadline_ns)
{
    bool is_bad = true;
    (void)pthread_mutex_lock(&vault->auth_lock);
    if (vault->token.serial == serial && vault->token.text[0] != '\0') {
        hf_vault_answer answer = {.http_status = 0};
        const hf_vault_call call = {.method = "GET",
                                    .path = "auth/token/lookup-self",
                                    .token = vault->token.text,
                                    .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
        hf_status st = hf_vault_ask(vault, vault->auth_net, &call, deadline_ns, &answer, NULL);
        hf_vault_answer_done(&answer);
        is_bad = st.code == HF_DENIED;
        if (is_bad) {
            drop(vault);
        }
    }
    (void)pthread_mutex_unlock(&vault->auth_lock);
    return is_bad;
}
