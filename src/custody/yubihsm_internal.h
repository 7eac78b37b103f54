/*
 * The session protocol of the YubiHSM 2, as Yubico's documentation of its commands has it: like
 * SCP03, with AES-128, over messages of the form command, length (2, big endian), data.
 */
#ifndef HF_CUSTODY_YUBIHSM_INTERNAL_H
#define HF_CUSTODY_YUBIHSM_INTERNAL_H

#include "custody/yubihsm.h"

#define HF_YUBI_KEY_BYTES 16
#define HF_YUBI_CHALLENGE_BYTES 8
#define HF_YUBI_MAC_BYTES 8
#define HF_YUBI_HEAD_BYTES 3
#define HF_YUBI_MESSAGE_MAX 3139 /* the connector's bound; older devices take 2048 */
#define HF_YUBI_DATA_MAX 2000    /* of a command, so that every device takes it */

typedef enum hf_yubi_command {
    HF_YUBI_ECHO = 0x01,
    HF_YUBI_CREATE_SESSION = 0x03,
    HF_YUBI_AUTHENTICATE_SESSION = 0x04,
    HF_YUBI_SESSION_MESSAGE = 0x05,
    HF_YUBI_CLOSE_SESSION = 0x40,
    HF_YUBI_LIST_OBJECTS = 0x48,
    HF_YUBI_GET_OBJECT_INFO = 0x4e,
    HF_YUBI_GET_PUBLIC_KEY = 0x54,
    HF_YUBI_SIGN_ECDSA = 0x56,
    HF_YUBI_WRAP_DATA = 0x68,
    HF_YUBI_UNWRAP_DATA = 0x69,
    HF_YUBI_SIGN_EDDSA = 0x6a,
    HF_YUBI_ERROR = 0x7f,
    HF_YUBI_ANSWER = 0x80 /* added to the command's code */
} hf_yubi_command;

/* Answers of a device that refuses. */
typedef enum hf_yubi_fault {
    HF_YUBI_INVALID_DATA = 0x02,
    HF_YUBI_INVALID_SESSION = 0x03,
    HF_YUBI_AUTHENTICATION_FAILED = 0x04,
    HF_YUBI_SESSIONS_FULL = 0x05,
    HF_YUBI_SESSION_FAILED = 0x06,
    HF_YUBI_INSUFFICIENT_PERMISSIONS = 0x09,
    HF_YUBI_LOG_FULL = 0x0a,
    HF_YUBI_OBJECT_NOT_FOUND = 0x0b
} hf_yubi_fault;

/* ---- yubihsm_session.c: pure but for OpenSSL; secrets are wiped by who holds them -------------
 */

typedef struct hf_yubi_keys {
    uint8_t enc[HF_YUBI_KEY_BYTES];
    uint8_t mac[HF_YUBI_KEY_BYTES];
} hf_yubi_keys;

typedef struct hf_yubi_session {
    uint8_t id;
    uint8_t enc[HF_YUBI_KEY_BYTES];
    uint8_t mac[HF_YUBI_KEY_BYTES];
    uint8_t rmac[HF_YUBI_KEY_BYTES];
    uint8_t chain[HF_YUBI_KEY_BYTES];
    uint32_t counter; /* of the next message, from 1 */
} hf_yubi_session;

typedef struct hf_yubi_message {
    uint8_t bytes[HF_YUBI_MESSAGE_MAX];
    size_t len;
} hf_yubi_message;

/* PBKDF2-HMAC-SHA-256, salt "Yubico", 10000 rounds. */
hf_status hf_yubi_password_keys(hf_bytes password, hf_yubi_keys *ret_keys) HF_MUST_CHECK;
void hf_yubi_put_head(hf_yubi_message *message, uint8_t command, size_t data_len);
/* The command of a whole message, and its data; false when lengths contradict each other. */
bool hf_yubi_split(const uint8_t *bytes, size_t len, uint8_t *ret_command, hf_bytes *ret_data);
/*
 * From the device's answer to CREATE_SESSION (session, challenge, cryptogram) a session and the
 * message that authenticates it. DENIED: the cryptogram is not that of these keys.
 */
hf_status hf_yubi_session_begin(const hf_yubi_keys *keys,
                                const uint8_t host_challenge[HF_YUBI_CHALLENGE_BYTES],
                                hf_bytes answer, hf_yubi_session *ret_session,
                                hf_yubi_message *ret_message) HF_MUST_CHECK;
/* A command as a session message; goes with the next open. LIMIT when it is too long. */
hf_status hf_yubi_session_seal(hf_yubi_session *session, uint8_t command, hf_bytes data,
                               hf_yubi_message *ret_message) HF_MUST_CHECK;
/* The answer's inner message, into ret_inner. CRYPTO: not of this session. */
hf_status hf_yubi_session_open(hf_yubi_session *session, hf_bytes answer,
                               hf_yubi_message *ret_inner) HF_MUST_CHECK;

/* ---- yubihsm_link.c: the connector and the session with the device --------------------------- */

typedef struct hf_yubi_link hf_yubi_link;

hf_status hf_yubi_link_new(const hf_yubihsm_config *config, hf_yubi_link **ret_link,
                           hf_error *err) HF_MUST_CHECK;
void hf_yubi_link_free(hf_yubi_link *link);
/*
 * One command and the data of its answer, in a session that is opened when there is none or the
 * device has ended it. Several threads: one at a time has the device.
 */
hf_status hf_yubi_ask(hf_yubi_link *link, uint8_t command, hf_bytes data, uint64_t deadline_ns,
                      hf_yubi_message *ret_answer, hf_error *err) HF_MUST_CHECK;
bool hf_yubi_link_is_healthy(hf_yubi_link *link, char ret_detail[HF_DETAIL_LEN]);

#endif
