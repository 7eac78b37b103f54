/* EIP-2335 keystores, version 4: writing, in the order of members that the deposit tools use. */
#include "crypto_internal.h"

#include <jansson.h>

#define STANDARD_COST 262144 /* scrypt n and pbkdf2 c of the EIP's examples */
#define SCRYPT_R 8
#define SCRYPT_P 1
#define SALT_BYTES 32
#define IV_BYTES 16
#define UUID_CHARS 37
#define HEX_CHARS(n) (2 * (n) + 1)

/* What stands in the file: nothing in it is secret any more. */
typedef struct sealed {
    hf_kdf_params kdf;
    uint8_t iv[IV_BYTES];
    size_t message_len;
    uint8_t message[HF_KEYSTORE_TEXT_BYTES];
    uint8_t checksum[32];
    char pubkey[HEX_CHARS(HF_BLS_PUBKEY_BYTES)]; /* "" of a text */
} sealed;

/* RFC 4122, version 4. */
static void make_uuid(char out[UUID_CHARS])
{
    uint8_t id[16];
    char hex[HEX_CHARS(sizeof id)];
    hf_random(id, sizeof id);
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    hf_hex_encode(id, sizeof id, hex);
    hf_status st = hf_str_format(out, UUID_CHARS, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8,
                                 hex + 12, hex + 16, hex + 20);
    HF_ASSERT(!hf_failed(st));
}

static hf_status seal(hf_bytes secret, hf_bytes password, sealed *box, hf_error *err)
{
    uint8_t dk[HF_DECRYPTION_KEY_BYTES] = {0};
    uint8_t preimage[16 + HF_KEYSTORE_TEXT_BYTES] = {0};
    hf_buf *normal = NULL;
    hf_status st = hf_password_normalise(password, &normal, err);
    if (hf_failed(st)) {
        goto out;
    }
    hf_random(box->kdf.salt, SALT_BYTES);
    hf_random(box->iv, IV_BYTES);
    box->kdf.salt_len = SALT_BYTES;
    hf_bytes text = hf_bytes_from(hf_buf_peek(normal), hf_buf_len(normal));
    st = hf_kdf_derive(&box->kdf, text, dk, err);
    if (hf_failed(st)) {
        goto out;
    }
    st = hf_aes128_ctr(dk, box->iv, secret.ptr, secret.len, box->message);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "aes-128-ctr failed");
        goto out;
    }
    box->message_len = secret.len;
    memcpy(preimage, dk + 16, 16);
    memcpy(preimage + 16, box->message, secret.len);
    hf_sha256(preimage, 16 + secret.len, box->checksum);
out:
    hf_wipe(dk, sizeof dk);
    hf_wipe(preimage, sizeof preimage);
    hf_buf_free(normal);
    return st;
}

static json_t *kdf_to_json(const hf_kdf_params *kdf)
{
    char salt[HEX_CHARS(SALT_BYTES)];
    hf_hex_encode(kdf->salt, SALT_BYTES, salt);
    if (kdf->kdf == HF_KDF_SCRYPT) {
        return json_pack("{s:s, s:{s:i, s:I, s:I, s:I, s:s}, s:s}", "function", "scrypt", "params",
                         "dklen", HF_DECRYPTION_KEY_BYTES, "n", (json_int_t)kdf->n, "r",
                         (json_int_t)kdf->r, "p", (json_int_t)kdf->p, "salt", salt, "message", "");
    }
    return json_pack("{s:s, s:{s:i, s:I, s:s, s:s}, s:s}", "function", "pbkdf2", "params", "dklen",
                     HF_DECRYPTION_KEY_BYTES, "c", (json_int_t)kdf->c, "prf", "hmac-sha256", "salt",
                     salt, "message", "");
}

static json_t *sealed_to_json(const sealed *box, const hf_keystore_options *options)
{
    char iv[HEX_CHARS(IV_BYTES)];
    char message[HEX_CHARS(sizeof box->message)];
    char checksum[HEX_CHARS(sizeof box->checksum)];
    char uuid[UUID_CHARS];
    hf_hex_encode(box->iv, sizeof box->iv, iv);
    hf_hex_encode(box->message, box->message_len, message);
    hf_hex_encode(box->checksum, sizeof box->checksum, checksum);
    make_uuid(uuid);
    return json_pack(
        "{s:{s:o, s:{s:s, s:{}, s:s}, s:{s:s, s:{s:s}, s:s}}, s:s, s:s, s:s, s:s, s:i}", "crypto",
        "kdf", kdf_to_json(&box->kdf), "checksum", "function", "sha256", "params", "message",
        checksum, "cipher", "function", "aes-128-ctr", "params", "iv", iv, "message", message,
        "description", options->description == NULL ? "" : options->description, "pubkey",
        box->pubkey, "path", options->path, "uuid", uuid, "version", 4);
}

static hf_status dump(json_t *root, hf_buf **ret_json, hf_error *err)
{
    hf_status st = {HF_NOMEM};
    hf_buf *out = hf_buf_new(HF_KEYSTORE_MAX_BYTES);
    char *text = json_dumps(root, JSON_COMPACT);
    if (out != NULL && text != NULL) {
        st = hf_buf_put(out, text, strlen(text));
    }
    free(text);
    if (hf_failed(st)) {
        hf_buf_free(out);
        return hf_fail(err, st.code, "the keystore does not fit in memory");
    }
    *ret_json = out;
    return st;
}

static hf_status encrypt(hf_bytes secret, hf_bytes password, const hf_keystore_options *options,
                         sealed *box, hf_buf **ret_json, hf_error *err)
{
    uint64_t cost = options->cost == 0 ? STANDARD_COST : options->cost;
    box->kdf.kdf = options->kdf;
    box->kdf.n = cost;
    box->kdf.r = SCRYPT_R;
    box->kdf.p = SCRYPT_P;
    box->kdf.c = cost;
    hf_status st = hf_kdf_check(&box->kdf, "crypto.kdf.params", err);
    if (!hf_failed(st)) {
        st = seal(secret, password, box, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    json_t *root = sealed_to_json(box, options);
    if (root == NULL) {
        return hf_fail(err, HF_INVALID_INPUT, "the path or description is not UTF-8 text");
    }
    st = dump(root, ret_json, err);
    json_decref(root);
    return st;
}

hf_status hf_keystore_encrypt(const hf_bls_key *key, hf_bytes password,
                              const hf_keystore_options *options, hf_buf **ret_json, hf_error *err)
{
    sealed box = {0};
    uint8_t secret[HF_BLS_SECRET_BYTES];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_pubkey(key, pubkey);
    hf_hex_encode(pubkey, sizeof pubkey, box.pubkey);
    hf_bls_key_to_bytes(key, secret);
    hf_status st =
        encrypt(hf_bytes_from(secret, sizeof secret), password, options, &box, ret_json, err);
    hf_wipe(secret, sizeof secret);
    return st;
}

hf_status hf_keystore_encrypt_text(const char *text, hf_bytes password,
                                   const hf_keystore_options *options, hf_buf **ret_json,
                                   hf_error *err)
{
    sealed box = {0};
    size_t len = strlen(text);
    HF_ASSERT(len > 0 && len < HF_KEYSTORE_TEXT_BYTES);
    return encrypt(hf_bytes_from(text, len), password, options, &box, ret_json, err);
}
