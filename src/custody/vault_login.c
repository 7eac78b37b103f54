/* Ways to a token: a file, AppRole, Kubernetes. */
#include "crypto/crypto.h"
#include "custody/secret_text.h"
#include "custody/vault_internal.h"

#define KUBERNETES_JWT "/var/run/secrets/kubernetes.io/serviceaccount/token"
#define JWT_LEN 6144
#define REFUSED_FIRST_NS HF_NS_PER_SECOND
#define REFUSED_MOST_NS (300 * HF_NS_PER_SECOND)

/* ---- what is configured --------------------------------------------------------------------- */

hf_status hf_vault_check_auth(const hf_vault_config *config, hf_error *err)
{
    switch (config->auth) {
    case HF_VAULT_AUTH_TOKEN:
        return config->token_file[0] != '\0' || config->token[0] != '\0'
                   ? hf_ok()
                   : hf_fail(err, HF_USAGE, "auth needs a token_file");
    case HF_VAULT_AUTH_APPROLE:
        if ((config->role_id[0] != '\0') == (config->role_id_file[0] != '\0')) {
            return hf_fail(err, HF_USAGE, "auth by AppRole needs role_id or role_id_file");
        }
        if (config->secret_id_wrapping_path[0] != '\0' && config->secret_id_file[0] == '\0') {
            return hf_fail(err, HF_USAGE, "secret_id_wrapping_path needs a secret_id_file");
        }
        return hf_ok();
    case HF_VAULT_AUTH_KUBERNETES:
        return config->role[0] != '\0' ? hf_ok()
                                       : hf_fail(err, HF_USAGE, "auth by Kubernetes needs a role");
    case HF_VAULT_AUTH_COUNT:
        break;
    }
    return hf_fail(err, HF_USAGE, "auth is none of token, approle, kubernetes");
}

static const char *mount_of(const hf_vault_config *config)
{
    if (config->auth_mount[0] != '\0') {
        return config->auth_mount;
    }
    return config->auth == HF_VAULT_AUTH_APPROLE ? "approle" : "kubernetes";
}

/* ---- answers -------------------------------------------------------------------------------- */

hf_status hf_vault_take_auth(json_t *json, hf_vault_token *ret_token, hf_error *err)
{
    json_t *auth = json_object_get(json, "auth");
    const char *text = hf_vault_text(auth, "client_token", NULL);
    json_int_t lease = json_integer_value(json_object_get(auth, "lease_duration"));
    if (text == NULL || text[0] == '\0' ||
        hf_failed(hf_str_copy(ret_token->text, sizeof ret_token->text, text))) {
        return hf_fail(err, HF_UNAVAILABLE, "Vault answered without a token");
    }
    ret_token->got_ns = hf_time_mono_ns();
    ret_token->lease_ns = lease > 0 ? (uint64_t)lease * HF_NS_PER_SECOND : 0;
    ret_token->is_renewable = json_is_true(json_object_get(auth, "renewable"));
    return hf_ok();
}

/* ---- each way ------------------------------------------------------------------------------- */

static hf_status by_token(hf_vault *vault, uint64_t deadline_ns, hf_vault_token *token,
                          hf_error *err)
{
    if (vault->config.token[0] != '\0') {
        /* Its policy may not let it be looked up; and it is not given a second chance. */
        token->got_ns = hf_time_mono_ns();
        return vault->token.serial == 0 ? hf_ok()
                                        : hf_fail(err, HF_DENIED, "Vault: the token is refused");
    }
    hf_vault_answer answer = {.http_status = 0};
    const hf_vault_call call = {.method = "GET",
                                .path = "auth/token/lookup-self",
                                .token = token->text,
                                .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
    hf_status st = hf_vault_ask(vault, vault->auth_net, &call, deadline_ns, &answer, err);
    if (!hf_failed(st)) {
        json_t *data = json_object_get(answer.json, "data");
        json_int_t ttl = json_integer_value(json_object_get(data, "ttl"));
        token->got_ns = hf_time_mono_ns();
        bool ends = ttl > 0 || json_is_string(json_object_get(data, "expire_time"));
        token->lease_ns = ends ? (uint64_t)(ttl > 0 ? ttl : 1) * HF_NS_PER_SECOND : 0;
        token->is_renewable = json_is_true(json_object_get(data, "renewable"));
    } else if (st.code == HF_DENIED) {
        st = hf_error_wrap(err, st, "the token in %.100s", vault->config.token_file);
    }
    hf_vault_answer_done(&answer);
    return st;
}

static hf_status log_in(hf_vault *vault, json_t *body, uint64_t deadline_ns,
                        hf_vault_token *ret_token, hf_error *err)
{
    char path[HF_VAULT_TEXT_LEN + 16];
    hf_vault_answer answer = {.http_status = 0};
    const hf_vault_call call = {
        .method = "POST", .path = path, .body = body, .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
    hf_status st = hf_str_format(path, sizeof path, "auth/%s/login", mount_of(&vault->config));
    if (body == NULL || hf_failed(st)) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    st = hf_vault_ask(vault, vault->auth_net, &call, deadline_ns, &answer, err);
    if (!hf_failed(st)) {
        st = hf_vault_take_auth(answer.json, ret_token, err);
        ret_token->is_own = true;
    } else if (st.code == HF_DENIED || st.code == HF_NOT_FOUND) {
        /* An unmounted way of authentication is 404; the role and its id are as wrong. */
        st = hf_error_wrap(err, (hf_status){HF_DENIED}, "login at auth/%.64s",
                           mount_of(&vault->config));
    }
    hf_vault_answer_done(&answer);
    return st;
}

/* The wrapping token's creation path is compared before it is opened: a forged one, made by
 * somebody else's call, would put a secret_id of theirs in our hands. */
static hf_status check_wrapping(hf_vault *vault, const char *wrapping, uint64_t deadline_ns,
                                hf_error *err)
{
    hf_vault_answer answer = {.http_status = 0};
    json_t *body = json_pack("{s:s}", "token", wrapping);
    const hf_vault_call call = {.method = "POST",
                                .path = "sys/wrapping/lookup",
                                .body = body,
                                .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
    hf_status st = body != NULL
                       ? hf_vault_ask(vault, vault->auth_net, &call, deadline_ns, &answer, err)
                       : hf_fail(err, HF_NOMEM, "out of memory");
    if (!hf_failed(st)) {
        const char *path = hf_vault_text(answer.json, "data", "creation_path");
        if (path == NULL || strcmp(path, vault->config.secret_id_wrapping_path) != 0) {
            st = hf_fail(err, HF_DENIED,
                         "SECURITY: the wrapping token in %.100s was not made at "
                         "secret_id_wrapping_path: it is not opened",
                         vault->config.secret_id_file);
        }
    } else if (st.code == HF_DENIED) {
        st = hf_fail(err, HF_DENIED,
                     "SECURITY: the wrapping token in %.100s has expired, or somebody else has "
                     "opened it: revoke its secret_id and put a new one",
                     vault->config.secret_id_file);
    }
    json_decref(body);
    hf_vault_answer_done(&answer);
    return st;
}

static hf_status open_wrapping(hf_vault *vault, const char *wrapping, uint64_t deadline_ns,
                               hf_error *err)
{
    hf_vault_answer answer = {.http_status = 0};
    const hf_vault_call call = {.method = "POST",
                                .path = "sys/wrapping/unwrap",
                                .token = wrapping,
                                .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
    hf_status st = check_wrapping(vault, wrapping, deadline_ns, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_vault_ask(vault, vault->auth_net, &call, deadline_ns, &answer, err);
    if (!hf_failed(st)) {
        const char *id = hf_vault_text(answer.json, "data", "secret_id");
        if (id == NULL || hf_failed(hf_str_copy(vault->secret_id, sizeof vault->secret_id, id))) {
            st = hf_fail(err, HF_DENIED, "the wrapping token in %.100s held no secret_id",
                         vault->config.secret_id_file);
        } else {
            hf_sha256(wrapping, strlen(wrapping), vault->unwrapped);
        }
    } else if (st.code == HF_DENIED) {
        st = hf_error_wrap(err, st, "SECURITY: the wrapping token in %.100s, valid a moment ago",
                           vault->config.secret_id_file);
    }
    hf_vault_answer_done(&answer);
    return st;
}

static hf_status by_approle(hf_vault *vault, const char *role_id, const char *from_file,
                            uint64_t deadline_ns, hf_vault_token *ret_token, hf_error *err)
{
    const char *secret_id = from_file;
    hf_status st = hf_ok();
    if (vault->config.secret_id_wrapping_path[0] != '\0') {
        uint8_t digest[32];
        hf_sha256(from_file, strlen(from_file), digest);
        if (vault->secret_id[0] == '\0' ||
            !hf_bytes_equal(digest, vault->unwrapped, sizeof digest)) {
            st = open_wrapping(vault, from_file, deadline_ns, err);
        }
        secret_id = vault->secret_id;
    }
    if (hf_failed(st)) {
        return st;
    }
    json_t *body = secret_id[0] != '\0'
                       ? json_pack("{s:s,s:s}", "role_id", role_id, "secret_id", secret_id)
                       : json_pack("{s:s}", "role_id", role_id);
    st = log_in(vault, body, deadline_ns, ret_token, err);
    json_decref(body);
    return st;
}

static hf_status by_kubernetes(hf_vault *vault, const char *jwt, uint64_t deadline_ns,
                               hf_vault_token *ret_token, hf_error *err)
{
    json_t *body = json_pack("{s:s,s:s}", "role", vault->config.role, "jwt", jwt);
    hf_status st = log_in(vault, body, deadline_ns, ret_token, err);
    json_decref(body);
    return st;
}

/* ---- all of them ---------------------------------------------------------------------------- */

/* What the files say now: read anew each time, since others put new ones there. */
typedef struct credentials {
    char role_id[HF_VAULT_TEXT_LEN];
    char secret[JWT_LEN];
} credentials;

static hf_status read_credentials(const hf_vault_config *config, credentials *c, hf_error *err)
{
    hf_status st = hf_ok();
    switch (config->auth) {
    case HF_VAULT_AUTH_TOKEN:
        if (config->token[0] != '\0') {
            return hf_str_copy(c->secret, HF_VAULT_TOKEN_LEN, config->token);
        }
        return hf_secret_file_read(config->token_file, true, c->secret, HF_VAULT_TOKEN_LEN, err);
    case HF_VAULT_AUTH_APPROLE:
        if (config->role_id_file[0] != '\0') {
            st =
                hf_secret_file_read(config->role_id_file, true, c->role_id, sizeof c->role_id, err);
        } else {
            hf_str_cut(c->role_id, sizeof c->role_id, config->role_id);
        }
        if (!hf_failed(st) && config->secret_id_file[0] != '\0') {
            st = hf_secret_file_read(config->secret_id_file, true, c->secret, HF_VAULT_TOKEN_LEN,
                                     err);
        }
        return st;
    case HF_VAULT_AUTH_KUBERNETES:
        /* The kubelet writes it 0644 where no group is set: the pod is what keeps others out. */
        return hf_secret_file_read(config->jwt_file[0] != '\0' ? config->jwt_file : KUBERNETES_JWT,
                                   false, c->secret, sizeof c->secret, err);
    case HF_VAULT_AUTH_COUNT:
        break;
    }
    return hf_fail(err, HF_INTERNAL, "no such way to log in");
}

static hf_status try(hf_vault *vault, const credentials *c, uint64_t deadline_ns,
                     hf_vault_token *ret_token, hf_error *err)
{
    switch (vault->config.auth) {
    case HF_VAULT_AUTH_TOKEN:
        hf_str_cut(ret_token->text, sizeof ret_token->text, c->secret);
        return by_token(vault, deadline_ns, ret_token, err);
    case HF_VAULT_AUTH_APPROLE:
        return by_approle(vault, c->role_id, c->secret, deadline_ns, ret_token, err);
    case HF_VAULT_AUTH_KUBERNETES:
        return by_kubernetes(vault, c->secret, deadline_ns, ret_token, err);
    case HF_VAULT_AUTH_COUNT:
        break;
    }
    return hf_fail(err, HF_INTERNAL, "no such way to log in");
}

static void note_refusal(hf_vault_refusal *refusal, const uint8_t digest[32], const hf_error *err)
{
    bool is_same = refusal->next_ns != 0 && hf_bytes_equal(digest, refusal->digest, 32);
    refusal->count = is_same ? refusal->count + 1 : 0;
    refusal->next_ns =
        hf_time_mono_ns() + hf_vault_wait_ns(refusal->count, REFUSED_FIRST_NS, REFUSED_MOST_NS);
    memcpy(refusal->digest, digest, 32);
    refusal->err = *err;
}

hf_status hf_vault_login(hf_vault *vault, uint64_t deadline_ns, hf_vault_token *ret_token,
                         hf_error *err)
{
    credentials c = {.secret = ""};
    hf_vault_token token = {.text = ""};
    hf_error why = {.code = HF_OK};
    uint8_t digest[32];
    hf_vault_refusal *refusal = &vault->refusal;
    hf_status st = read_credentials(&vault->config, &c, &why);
    if (hf_failed(st)) {
        /* Files come and go: the next attempt may find another. */
        st = hf_error_wrap(&why, (hf_status){HF_DENIED}, "Vault");
        goto out;
    }
    hf_sha256(&c, sizeof c, digest);
    if (refusal->next_ns > hf_time_mono_ns() && hf_bytes_equal(digest, refusal->digest, 32)) {
        why = refusal->err; /* the server counts wrong logins, and locks who makes many */
        st = (hf_status){HF_DENIED};
        goto out;
    }
    st = try(vault, &c, deadline_ns, &token, &why);
    if (!hf_failed(st)) {
        refusal->next_ns = 0;
        token.serial = vault->token.serial + 1;
        *ret_token = token;
    } else if (st.code == HF_DENIED) {
        note_refusal(refusal, digest, &why);
    }
out:
    if (hf_failed(st) && err != NULL) {
        *err = why;
    }
    hf_wipe(&c, sizeof c);
    hf_wipe(&token, sizeof token);
    return st;
}
