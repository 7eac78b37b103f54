/* The connector's HTTP and the session with the device behind it. */
#include "crypto/crypto.h"
#include "custody/secret_text.h"
#include "custody/yubihsm_internal.h"
#include "net/net.h"

#include <pthread.h>

#define URL_LEN (HF_YUBIHSM_URL_LEN + 32)
#define PASSWORD_LEN 512
#define REQUEST_NS (10 * HF_NS_PER_SECOND)
/* A session that is used for longer gets another one, far below the counter's end. */
#define MESSAGES_MAX (1U << 20)
/* The device ends a session after 30 seconds of silence. */
#define SILENCE_NS (12 * HF_NS_PER_SECOND)
#define ECHO_NS (3 * HF_NS_PER_SECOND)

struct hf_yubi_link {
    hf_yubihsm_config config;
    char url[URL_LEN];
    pthread_mutex_t lock; /* guards what follows */
    hf_net *net;
    hf_yubi_session session;
    bool has_session;
    uint64_t used_ns;
    uint8_t refused[32]; /* digest of the password that the device did not take */
    bool was_refused;
    pthread_mutex_t state_lock; /* after lock; guards what follows */
    bool is_healthy;
    char detail[HF_DETAIL_LEN];
};

static void note(hf_yubi_link *link, bool is_healthy, const char *detail)
{
    (void)pthread_mutex_lock(&link->state_lock);
    link->is_healthy = is_healthy;
    hf_str_cut(link->detail, sizeof link->detail, detail);
    (void)pthread_mutex_unlock(&link->state_lock);
}

static void drop_session(hf_yubi_link *link)
{
    hf_wipe(&link->session, sizeof link->session);
    link->has_session = false;
}

/* ---- one message ---------------------------------------------------------------------------- */

static hf_status post(hf_yubi_link *link, const hf_yubi_message *message, uint64_t deadline_ns,
                      hf_yubi_message *ret_answer, hf_error *err)
{
    uint64_t latest_ns = hf_time_mono_ns() + REQUEST_NS;
    hf_net_exchange exchange = {.method = "POST",
                                .url = link->url,
                                .headers = {"Content-Type: application/octet-stream"},
                                .body = hf_bytes_from(message->bytes, message->len),
                                .max_answer_bytes = HF_YUBI_MESSAGE_MAX};
    hf_status st = hf_ok();
    hf_net_run(link->net, &exchange, 1, latest_ns < deadline_ns ? latest_ns : deadline_ns);
    if (hf_failed(exchange.result)) {
        st = hf_fail(err, HF_UNAVAILABLE, "YubiHSM's connector: %s", exchange.detail);
    } else if (exchange.http_status != 200) {
        st = hf_fail(err, HF_UNAVAILABLE, "YubiHSM's connector answered %ld: is the device there?",
                     exchange.http_status);
    } else {
        ret_answer->len = hf_buf_len(exchange.answer);
        memcpy(ret_answer->bytes, hf_buf_peek(exchange.answer), ret_answer->len);
    }
    hf_net_exchange_done(&exchange);
    return st;
}

static hf_status fault(uint8_t code, hf_error *err)
{
    switch (code) {
    case HF_YUBI_INVALID_DATA:
        return hf_fail(err, HF_DENIED, "the YubiHSM refused the data: not of this key, or damaged");
    case HF_YUBI_INVALID_SESSION:
    case HF_YUBI_SESSION_FAILED:
        return hf_fail(err, HF_UNAVAILABLE, "the YubiHSM has ended the session");
    case HF_YUBI_AUTHENTICATION_FAILED:
        return hf_fail(err, HF_DENIED,
                       "the YubiHSM refused the authentication key or its password");
    case HF_YUBI_SESSIONS_FULL:
        return hf_fail(err, HF_UNAVAILABLE, "all sessions of the YubiHSM are in use");
    case HF_YUBI_INSUFFICIENT_PERMISSIONS:
        return hf_fail(err, HF_DENIED, "the authentication key has not the capability for it");
    case HF_YUBI_LOG_FULL:
        return hf_fail(err, HF_UNAVAILABLE,
                       "the YubiHSM's forced audit log is full: read it and set its index");
    case HF_YUBI_OBJECT_NOT_FOUND:
        return hf_fail(err, HF_NOT_FOUND, "the YubiHSM has no such object");
    default:
        return hf_fail(err, HF_UNAVAILABLE, "the YubiHSM answered with error 0x%02x", code);
    }
}

/* The data of an answer to this command, within answer. */
static hf_status take(const hf_yubi_message *answer, uint8_t command, hf_bytes *ret_data,
                      uint8_t *ret_fault, hf_error *err)
{
    uint8_t code = 0;
    *ret_fault = 0;
    if (!hf_yubi_split(answer->bytes, answer->len, &code, ret_data)) {
        return hf_fail(err, HF_UNAVAILABLE, "what the YubiHSM's connector answered is no message");
    }
    if (code == HF_YUBI_ERROR && ret_data->len == 1) {
        *ret_fault = ret_data->ptr[0];
        return fault(*ret_fault, err);
    }
    if (code != (command | HF_YUBI_ANSWER)) {
        return hf_fail(err, HF_UNAVAILABLE, "the YubiHSM answered another command");
    }
    return hf_ok();
}

/* ---- the session ---------------------------------------------------------------------------- */

static hf_status read_keys(hf_yubi_link *link, hf_yubi_keys *keys, uint8_t digest[32],
                           hf_error *err)
{
    char password[PASSWORD_LEN];
    hf_status st = hf_secret_file_read(link->config.auth_key_password_file, true, password,
                                       sizeof password, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, (hf_status){HF_DENIED}, "YubiHSM");
    }
    hf_sha256(password, strlen(password), digest);
    if (link->was_refused && hf_bytes_equal(digest, link->refused, 32)) {
        st =
            hf_fail(err, HF_DENIED,
                    "the YubiHSM did not take this password: it is tried again when %.150s changes",
                    link->config.auth_key_password_file);
    } else {
        st = hf_yubi_password_keys(hf_bytes_from(password, strlen(password)), keys);
        st = hf_failed(st) ? hf_fail(err, HF_CRYPTO, "PBKDF2 failed") : st;
    }
    hf_wipe(password, sizeof password);
    return st;
}

static hf_status create(hf_yubi_link *link, const uint8_t challenge[HF_YUBI_CHALLENGE_BYTES],
                        uint64_t deadline_ns, hf_yubi_message *answer, hf_bytes *ret_data,
                        hf_error *err)
{
    hf_yubi_message message;
    uint8_t code = 0;
    hf_yubi_put_head(&message, HF_YUBI_CREATE_SESSION, 2 + HF_YUBI_CHALLENGE_BYTES);
    message.bytes[HF_YUBI_HEAD_BYTES] = (uint8_t)(link->config.auth_key_id >> 8);
    message.bytes[HF_YUBI_HEAD_BYTES + 1] = (uint8_t)link->config.auth_key_id;
    memcpy(message.bytes + HF_YUBI_HEAD_BYTES + 2, challenge, HF_YUBI_CHALLENGE_BYTES);
    hf_status st = post(link, &message, deadline_ns, answer, err);
    if (hf_failed(st)) {
        return st;
    }
    st = take(answer, HF_YUBI_CREATE_SESSION, ret_data, &code, err);
    return code == HF_YUBI_OBJECT_NOT_FOUND
               ? hf_fail(err, HF_DENIED, "the YubiHSM has no authentication key %u",
                         link->config.auth_key_id)
               : st;
}

static hf_status authenticate(hf_yubi_link *link, const hf_yubi_keys *keys, uint64_t deadline_ns,
                              hf_error *err)
{
    hf_yubi_message message;
    hf_yubi_message answer;
    hf_bytes data;
    uint8_t code = 0;
    uint8_t challenge[HF_YUBI_CHALLENGE_BYTES];
    hf_random(challenge, sizeof challenge);
    hf_status st = create(link, challenge, deadline_ns, &answer, &data, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_yubi_session_begin(keys, challenge, data, &link->session, &message);
    if (hf_failed(st)) {
        return hf_fail(err, st.code == HF_DENIED ? HF_DENIED : HF_UNAVAILABLE,
                       "the password is not that of the YubiHSM's authentication key %u, or this "
                       "is another device",
                       link->config.auth_key_id);
    }
    st = post(link, &message, deadline_ns, &answer, err);
    if (!hf_failed(st)) {
        st = take(&answer, HF_YUBI_AUTHENTICATE_SESSION, &data, &code, err);
    }
    link->has_session = !hf_failed(st);
    return st;
}

static hf_status need_session(hf_yubi_link *link, uint64_t deadline_ns, hf_error *err)
{
    hf_yubi_keys keys;
    uint8_t digest[32];
    if (link->has_session && link->session.counter < MESSAGES_MAX) {
        return hf_ok();
    }
    hf_status st = read_keys(link, &keys, digest, err);
    if (hf_failed(st)) {
        return st;
    }
    st = authenticate(link, &keys, deadline_ns, err);
    if (st.code == HF_DENIED) {
        memcpy(link->refused, digest, sizeof digest);
        link->was_refused = true;
    } else if (!hf_failed(st)) {
        link->was_refused = false;
    }
    hf_wipe(&keys, sizeof keys);
    return st;
}

/* ---- commands ------------------------------------------------------------------------------- */

/* *ret_is_lost: the device does not know the session any more, and has done nothing. */
static hf_status ask_once(hf_yubi_link *link, uint8_t command, hf_bytes data, uint64_t deadline_ns,
                          hf_yubi_message *answer, bool *ret_is_lost, hf_error *err)
{
    hf_yubi_message message; /* sent, and then its answer */
    hf_bytes got;
    uint8_t code = 0;
    *ret_is_lost = false;
    hf_status st = need_session(link, deadline_ns, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_yubi_session_seal(&link->session, command, data, &message);
    if (hf_failed(st)) {
        drop_session(link);
        return hf_fail(err, st.code, "more than a YubiHSM takes in one command");
    }
    st = post(link, &message, deadline_ns, &message, err);
    if (!hf_failed(st)) {
        st = take(&message, HF_YUBI_SESSION_MESSAGE, &got, &code, err);
        *ret_is_lost = code == HF_YUBI_INVALID_SESSION || code == HF_YUBI_SESSION_FAILED ||
                       code == HF_YUBI_AUTHENTICATION_FAILED;
    }
    if (!hf_failed(st) && hf_failed(hf_yubi_session_open(
                              &link->session, hf_bytes_from(message.bytes, message.len), answer))) {
        st = hf_fail(err, HF_UNAVAILABLE, "an answer that is not the YubiHSM's own was dropped");
    }
    if (hf_failed(st)) {
        /* Whether the device has counted this message nobody knows: the chain is broken. */
        drop_session(link);
        return st;
    }
    link->used_ns = hf_time_mono_ns();
    return hf_ok();
}

static hf_status ask_locked(hf_yubi_link *link, uint8_t command, hf_bytes data,
                            uint64_t deadline_ns, hf_yubi_message *answer, hf_error *err)
{
    bool is_lost = false;
    bool is_old = link->has_session;
    uint8_t code = 0;
    hf_bytes got;
    answer->len = 0;
    hf_status st = ask_once(link, command, data, deadline_ns, answer, &is_lost, err);
    if (is_lost && is_old) {
        st = ask_once(link, command, data, deadline_ns, answer, &is_lost, err);
    }
    if (hf_failed(st)) {
        return is_lost ? (hf_status){HF_UNAVAILABLE} : st;
    }
    st = take(answer, command, &got, &code, err);
    if (!hf_failed(st)) {
        answer->len = got.len;
        memmove(answer->bytes, got.ptr, got.len);
    }
    return st;
}

hf_status hf_yubi_ask(hf_yubi_link *link, uint8_t command, hf_bytes data, uint64_t deadline_ns,
                      hf_yubi_message *ret_answer, hf_error *err)
{
    hf_error why = {.code = HF_OK};
    (void)pthread_mutex_lock(&link->lock);
    hf_status st = hf_time_mono_ns() < deadline_ns
                       ? ask_locked(link, command, data, deadline_ns, ret_answer, &why)
                       : hf_fail(&why, HF_UNAVAILABLE, "the YubiHSM was busy for too long");
    bool has_session = link->has_session;
    (void)pthread_mutex_unlock(&link->lock);
    if (!hf_failed(st) || has_session) {
        note(link, true, "in session");
    } else {
        note(link, false, why.msg);
    }
    if (hf_failed(st) && err != NULL) {
        *err = why;
    }
    return st;
}

bool hf_yubi_link_is_healthy(hf_yubi_link *link, char ret_detail[HF_DETAIL_LEN])
{
    static const uint8_t word[] = {'h', 'f'};
    hf_yubi_message answer;
    bool is_silent = false;
    if (pthread_mutex_trylock(&link->lock) == 0) {
        is_silent = link->has_session && hf_time_mono_ns() > link->used_ns + SILENCE_NS;
        (void)pthread_mutex_unlock(&link->lock);
    }
    if (is_silent) {
        (void)!hf_failed(hf_yubi_ask(link, HF_YUBI_ECHO, hf_bytes_from(word, sizeof word),
                                     hf_time_mono_ns() + ECHO_NS, &answer, NULL));
    }
    (void)pthread_mutex_lock(&link->state_lock);
    bool is_well = link->is_healthy;
    hf_str_cut(ret_detail, HF_DETAIL_LEN, link->detail);
    (void)pthread_mutex_unlock(&link->state_lock);
    return is_well;
}

/* ---- life ----------------------------------------------------------------------------------- */

static hf_status check(const hf_yubihsm_config *config, hf_error *err)
{
    hf_status st = hf_net_check_url(config->connector_url, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "connector_url");
    }
    if (config->auth_key_id == 0 || config->auth_key_password_file[0] == '\0') {
        return hf_fail(err, HF_USAGE, "needs auth_key_id and auth_key_password_file");
    }
    return hf_ok();
}

hf_status hf_yubi_link_new(const hf_yubihsm_config *config, hf_yubi_link **ret_link, hf_error *err)
{
    hf_net_config net = {.connect_timeout_ms = 0};
    hf_status st = check(config, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "YubiHSM");
    }
    hf_yubi_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    link->config = *config;
    hf_str_cut(link->detail, sizeof link->detail, "nothing was asked yet");
    size_t len = strlen(config->connector_url);
    bool has_slash = config->connector_url[len - 1] == '/';
    (void)snprintf(link->url, sizeof link->url, "%.*s/connector/api", (int)(len - has_slash),
                   config->connector_url);
    (void)pthread_mutex_init(&link->lock, NULL);
    (void)pthread_mutex_init(&link->state_lock, NULL);
    st = hf_str_copy(net.ca_file, sizeof net.ca_file, config->ca_file);
    st = hf_failed(st) ? hf_fail(err, HF_USAGE, "the path of ca_file is too long")
                       : hf_net_new(&net, &link->net, err);
    if (hf_failed(st)) {
        hf_yubi_link_free(link);
        return st;
    }
    *ret_link = link;
    return hf_ok();
}

void hf_yubi_link_free(hf_yubi_link *link)
{
    hf_yubi_message answer;
    if (link->has_session) {
        /* The device has sixteen; one that is left open is another's for half a minute. */
        (void)!hf_failed(hf_yubi_ask(link, HF_YUBI_CLOSE_SESSION, hf_bytes_from(NULL, 0),
                                     hf_time_mono_ns() + HF_NS_PER_SECOND, &answer, NULL));
    }
    hf_net_free(link->net);
    (void)pthread_mutex_destroy(&link->lock);
    (void)pthread_mutex_destroy(&link->state_lock);
    hf_wipe(link, sizeof *link);
    free(link);
}
