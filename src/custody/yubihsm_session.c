/* The session protocol: keys, cryptograms, chained MACs, encrypted messages. All by OpenSSL. */
#include <openssl/evp.h>

#include "crypto/crypto.h"
#include "custody/yubihsm_internal.h"

#define BLOCK 16
#define ROUNDS 10000
#define CREATED_BYTES (1 + 2 * HF_YUBI_CHALLENGE_BYTES)
/* Constants of the derivation (GlobalPlatform SCP03, 4.1.5). */
#define DERIVE_CARD_CRYPTOGRAM 0x00
#define DERIVE_HOST_CRYPTOGRAM 0x01
#define DERIVE_ENC 0x04
#define DERIVE_MAC 0x06
#define DERIVE_RMAC 0x07

static bool cmac(const uint8_t key[BLOCK], const void *ptr, size_t len, uint8_t ret_mac[BLOCK])
{
    size_t mac_len = 0;
    return EVP_Q_mac(NULL, "CMAC", NULL, "AES-128-CBC", NULL, key, BLOCK, ptr, len, ret_mac, BLOCK,
                     &mac_len) != NULL &&
           mac_len == BLOCK;
}

/* Whole blocks of AES-128-CBC; in and out may be the same. */
static bool cbc(bool encrypts, const uint8_t key[BLOCK], const uint8_t iv[BLOCK], const uint8_t *in,
                size_t len, uint8_t *out)
{
    int n = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool ok = context != NULL &&
              EVP_CipherInit_ex(context, EVP_aes_128_cbc(), NULL, key, iv, encrypts) == 1 &&
              EVP_CIPHER_CTX_set_padding(context, 0) == 1 &&
              EVP_CipherUpdate(context, out, &n, in, (int)len) == 1 && n == (int)len;
    EVP_CIPHER_CTX_free(context);
    return ok;
}

hf_status hf_yubi_password_keys(hf_bytes password, hf_yubi_keys *ret_keys)
{
    static const unsigned char salt[] = "Yubico";
    uint8_t both[2 * BLOCK];
    bool ok = PKCS5_PBKDF2_HMAC((const char *)password.ptr, (int)password.len, salt,
                                sizeof salt - 1, ROUNDS, EVP_sha256(), sizeof both, both) == 1;
    if (ok) {
        memcpy(ret_keys->enc, both, BLOCK);
        memcpy(ret_keys->mac, both + BLOCK, BLOCK);
    }
    hf_wipe(both, sizeof both);
    return ok ? hf_ok() : (hf_status){HF_CRYPTO};
}

/* ---- messages ------------------------------------------------------------------------------- */

void hf_yubi_put_head(hf_yubi_message *message, uint8_t command, size_t data_len)
{
    message->bytes[0] = command;
    message->bytes[1] = (uint8_t)(data_len >> 8);
    message->bytes[2] = (uint8_t)data_len;
    message->len = HF_YUBI_HEAD_BYTES + data_len;
}

bool hf_yubi_split(const uint8_t *bytes, size_t len, uint8_t *ret_command, hf_bytes *ret_data)
{
    if (len < HF_YUBI_HEAD_BYTES) {
        return false;
    }
    size_t data_len = ((size_t)bytes[1] << 8) | bytes[2];
    if (data_len > len - HF_YUBI_HEAD_BYTES) {
        return false;
    }
    *ret_command = bytes[0];
    *ret_data = hf_bytes_from(bytes + HF_YUBI_HEAD_BYTES, data_len);
    return true;
}

/* CMAC over what went before and the message up to its end; the whole of it is the next chain. */
static bool chain_on(hf_yubi_session *session, const hf_yubi_message *message)
{
    uint8_t text[BLOCK + HF_YUBI_MESSAGE_MAX];
    memcpy(text, session->chain, BLOCK);
    memcpy(text + BLOCK, message->bytes, message->len);
    return cmac(session->mac, text, BLOCK + message->len, session->chain);
}

/* The length says already that the MAC follows. */
static bool put_mac(hf_yubi_session *session, hf_yubi_message *message)
{
    message->len -= HF_YUBI_MAC_BYTES;
    if (!chain_on(session, message)) {
        return false;
    }
    memcpy(message->bytes + message->len, session->chain, HF_YUBI_MAC_BYTES);
    message->len += HF_YUBI_MAC_BYTES;
    return true;
}

/* ---- beginning ------------------------------------------------------------------------------ */

static bool derive(const uint8_t key[BLOCK], uint8_t constant, const uint8_t challenges[BLOCK],
                   size_t len, uint8_t *out)
{
    uint8_t text[2 * BLOCK] = {0};
    uint8_t mac[BLOCK];
    text[11] = constant;
    text[13] = (uint8_t)((len * 8) >> 8);
    text[14] = (uint8_t)(len * 8);
    text[15] = 1; /* the first block suffices */
    memcpy(text + BLOCK, challenges, BLOCK);
    bool ok = cmac(key, text, sizeof text, mac);
    memcpy(out, mac, len);
    hf_wipe(mac, sizeof mac);
    return ok;
}

hf_status hf_yubi_session_begin(const hf_yubi_keys *keys,
                                const uint8_t host_challenge[HF_YUBI_CHALLENGE_BYTES],
                                hf_bytes answer, hf_yubi_session *ret_session,
                                hf_yubi_message *ret_message)
{
    hf_yubi_session s = {.counter = 1};
    uint8_t challenges[BLOCK];
    uint8_t cryptogram[HF_YUBI_CHALLENGE_BYTES];
    hf_status st = {HF_CRYPTO};
    if (answer.len != CREATED_BYTES) {
        return (hf_status){HF_INVALID_INPUT};
    }
    s.id = answer.ptr[0];
    memcpy(challenges, host_challenge, HF_YUBI_CHALLENGE_BYTES);
    memcpy(challenges + HF_YUBI_CHALLENGE_BYTES, answer.ptr + 1, HF_YUBI_CHALLENGE_BYTES);
    if (!derive(keys->enc, DERIVE_ENC, challenges, BLOCK, s.enc) ||
        !derive(keys->mac, DERIVE_MAC, challenges, BLOCK, s.mac) ||
        !derive(keys->mac, DERIVE_RMAC, challenges, BLOCK, s.rmac) ||
        !derive(s.mac, DERIVE_CARD_CRYPTOGRAM, challenges, sizeof cryptogram, cryptogram)) {
        goto out;
    }
    if (!hf_secret_equal(cryptogram, answer.ptr + 1 + HF_YUBI_CHALLENGE_BYTES, sizeof cryptogram)) {
        st = (hf_status){HF_DENIED};
        goto out;
    }
    if (!derive(s.mac, DERIVE_HOST_CRYPTOGRAM, challenges, sizeof cryptogram, cryptogram)) {
        goto out;
    }
    hf_yubi_put_head(ret_message, HF_YUBI_AUTHENTICATE_SESSION,
                     1 + sizeof cryptogram + HF_YUBI_MAC_BYTES);
    ret_message->bytes[HF_YUBI_HEAD_BYTES] = s.id;
    memcpy(ret_message->bytes + HF_YUBI_HEAD_BYTES + 1, cryptogram, sizeof cryptogram);
    if (put_mac(&s, ret_message)) {
        *ret_session = s;
        st = hf_ok();
    }
out:
    hf_wipe(&s, sizeof s);
    hf_wipe(cryptogram, sizeof cryptogram);
    return st;
}

/* ---- messages of a session ------------------------------------------------------------------ */

static bool make_iv(const hf_yubi_session *session, uint8_t ret_iv[BLOCK])
{
    static const uint8_t zero[BLOCK] = {0};
    uint8_t text[BLOCK] = {0};
    text[12] = (uint8_t)(session->counter >> 24);
    text[13] = (uint8_t)(session->counter >> 16);
    text[14] = (uint8_t)(session->counter >> 8);
    text[15] = (uint8_t)session->counter;
    /* One block of CBC under a zero IV is AES itself. */
    return cbc(true, session->enc, zero, text, BLOCK, ret_iv);
}

hf_status hf_yubi_session_seal(hf_yubi_session *session, uint8_t command, hf_bytes data,
                               hf_yubi_message *ret_message)
{
    uint8_t iv[BLOCK];
    hf_yubi_message inner;
    if (data.len > HF_YUBI_DATA_MAX) {
        return (hf_status){HF_LIMIT};
    }
    hf_yubi_put_head(&inner, command, data.len);
    if (data.len > 0) {
        memcpy(inner.bytes + HF_YUBI_HEAD_BYTES, data.ptr, data.len);
    }
    size_t padded = inner.len / BLOCK * BLOCK + BLOCK;
    memset(inner.bytes + inner.len, 0, padded - inner.len);
    inner.bytes[inner.len] = 0x80;
    hf_yubi_put_head(ret_message, HF_YUBI_SESSION_MESSAGE, 1 + padded + HF_YUBI_MAC_BYTES);
    ret_message->bytes[HF_YUBI_HEAD_BYTES] = session->id;
    bool ok = make_iv(session, iv) &&
              cbc(true, session->enc, iv, inner.bytes, padded,
                  ret_message->bytes + HF_YUBI_HEAD_BYTES + 1) &&
              put_mac(session, ret_message);
    hf_wipe(&inner, sizeof inner);
    return ok ? hf_ok() : (hf_status){HF_CRYPTO};
}

/* Behind the last 80 there are zeros alone. */
static bool drop_padding(hf_yubi_message *inner)
{
    while (inner->len > 0 && inner->bytes[inner->len - 1] == 0) {
        inner->len--;
    }
    if (inner->len == 0 || inner->bytes[inner->len - 1] != 0x80) {
        return false;
    }
    inner->len--;
    return true;
}

hf_status hf_yubi_session_open(hf_yubi_session *session, hf_bytes answer,
                               hf_yubi_message *ret_inner)
{
    uint8_t text[BLOCK + HF_YUBI_MESSAGE_MAX];
    uint8_t mac[BLOCK];
    uint8_t iv[BLOCK];
    uint8_t command = 0;
    hf_bytes data;
    const size_t around = 1 + HF_YUBI_MAC_BYTES;
    if (answer.len > HF_YUBI_MESSAGE_MAX ||
        !hf_yubi_split(answer.ptr, answer.len, &command, &data) || data.len < around + BLOCK ||
        (data.len - around) % BLOCK != 0 || data.ptr[0] != session->id ||
        command != (HF_YUBI_SESSION_MESSAGE | HF_YUBI_ANSWER)) {
        return (hf_status){HF_CRYPTO};
    }
    size_t covered = HF_YUBI_HEAD_BYTES + data.len - HF_YUBI_MAC_BYTES;
    memcpy(text, session->chain, BLOCK);
    memcpy(text + BLOCK, answer.ptr, covered);
    if (!cmac(session->rmac, text, BLOCK + covered, mac) ||
        !hf_secret_equal(mac, answer.ptr + covered, HF_YUBI_MAC_BYTES)) {
        return (hf_status){HF_CRYPTO};
    }
    ret_inner->len = data.len - around;
    bool ok = make_iv(session, iv) &&
              cbc(false, session->enc, iv, data.ptr + 1, ret_inner->len, ret_inner->bytes) &&
              drop_padding(ret_inner);
    session->counter++;
    return ok ? hf_ok() : (hf_status){HF_CRYPTO};
}
