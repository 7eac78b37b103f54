/*
 * The file of one key that KMS wrapped. Numbers are big endian.
 *
 *   8   "HFKMSKEY"
 *   1   version, 1
 *   1   type of the key: 0 BLS12-381, 1 secp256k1, 2 Ed25519
 *   1   length of the public key (48, 65, 32)
 *   1   number of pairs of the encryption context
 *   2   length of the ARN
 *   2   length of the data key as KMS wrapped it
 *       public key; ARN of the key in KMS
 *       pairs: 1 length of name, 2 length of value, name, value; sorted by name, none twice
 *       the wrapped data key (CiphertextBlob of GenerateDataKey)
 *   12  nonce
 *   48  AES-256-GCM of the secret (32, big endian) under the data key, and tag; everything before
 *       the nonce is bound to it
 */
#include <sodium.h>

#include "custody/awskms_internal.h"

#define MAGIC "HFKMSKEY"
#define MAGIC_BYTES 8
#define VERSION 1
#define CIPHERTEXT_LEAST 16

/* ---- reading ------------------------------------------------------------------------------ */

typedef struct reader {
    hf_bytes rest;
    bool ok;
} reader;

static hf_bytes take(reader *in, size_t len)
{
    hf_bytes none = {(const uint8_t *)"", 0};
    if (!in->ok || in->rest.len < len) {
        in->ok = false;
        return none;
    }
    hf_bytes found = {in->rest.ptr, len};
    in->rest = hf_bytes_from(in->rest.ptr + len, in->rest.len - len);
    return found;
}

static size_t take_number(reader *in, size_t bytes)
{
    hf_bytes digits = take(in, bytes);
    size_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        value = value << 8 | digits.ptr[i];
    }
    return value;
}

/* Text without NUL that fits, with one behind it. */
static void take_text(reader *in, size_t len, char *out, size_t out_len)
{
    hf_bytes text = take(in, len);
    if (!in->ok || text.len >= out_len || memchr(text.ptr, '\0', text.len) != NULL) {
        in->ok = false;
        return;
    }
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
}

static size_t public_bytes(hf_custody_type type)
{
    switch (type) {
    case HF_CUSTODY_BLS:
        return HF_BLS_PUBKEY_BYTES;
    case HF_CUSTODY_SECP256K1:
        return 1 + HF_SECP256K1_PUBKEY_BYTES;
    case HF_CUSTODY_ED25519:
        return crypto_sign_PUBLICKEYBYTES;
    case HF_CUSTODY_P256:
    case HF_CUSTODY_TYPE_COUNT:
        break;
    }
    return 0;
}

_Static_assert(HF_BLS_PUBKEY_BYTES <= HF_CUSTODY_PUBLIC_MAX, "a BLS public key fits");

static void take_pairs(reader *in, size_t count, hf_kms_context *ret_context)
{
    for (size_t i = 0; i < count && in->ok; i++) {
        hf_awskms_pair pair = {0};
        size_t name_len = take_number(in, 1);
        size_t value_len = take_number(in, 2);
        take_text(in, name_len, pair.name, sizeof pair.name);
        take_text(in, value_len, pair.value, sizeof pair.value);
        bool sorted = i == 0 || strcmp(ret_context->pairs[i - 1].name, pair.name) < 0;
        in->ok = in->ok && sorted && i < HF_KMS_PAIRS_MAX &&
                 !hf_failed(hf_kms_context_add(ret_context, pair.name, pair.value, NULL));
    }
}

hf_status hf_kms_blob_parse(hf_bytes file, hf_kms_blob *ret_blob, hf_error *err)
{
    reader in = {file, true};
    hf_kms_blob blob = {0};
    hf_bytes magic = take(&in, MAGIC_BYTES);
    if (!in.ok || !hf_bytes_equal(magic.ptr, MAGIC, MAGIC_BYTES)) {
        return hf_fail(err, HF_INVALID_INPUT, "not a key wrapped by AWS KMS");
    }
    size_t version = take_number(&in, 1);
    if (!in.ok || version != VERSION) {
        return hf_fail(err, HF_INVALID_INPUT, "version %zu, and this program knows version %d",
                       version, VERSION);
    }
    size_t type = take_number(&in, 1);
    size_t public_len = take_number(&in, 1);
    size_t pair_count = take_number(&in, 1);
    size_t arn_len = take_number(&in, 2);
    size_t ciphertext_len = take_number(&in, 2);
    if (in.ok && (type >= HF_CUSTODY_TYPE_COUNT || public_bytes((hf_custody_type)type) == 0 ||
                  public_len != public_bytes((hf_custody_type)type))) {
        return hf_fail(err, HF_INVALID_INPUT, "a key of an unknown type (%zu)", type);
    }
    blob.type = (hf_custody_type)type;
    blob.public_len = (uint32_t)public_len;
    hf_bytes public_key = take(&in, public_len);
    memcpy(blob.public_key, public_key.ptr, public_key.len);
    take_text(&in, arn_len, blob.key_arn, sizeof blob.key_arn);
    take_pairs(&in, pair_count, &blob.context);
    blob.ciphertext = take(&in, ciphertext_len);
    blob.bound = hf_bytes_from(file.ptr, file.len - in.rest.len);
    blob.nonce = take(&in, HF_AES_GCM_NONCE_BYTES).ptr;
    blob.sealed = take(&in, HF_KMS_SEALED_BYTES).ptr;
    if (!in.ok || in.rest.len != 0 || blob.ciphertext.len < CIPHERTEXT_LEAST ||
        blob.ciphertext.len > HF_KMS_CIPHERTEXT_MAX || blob.key_arn[0] == '\0') {
        return hf_fail(err, HF_INVALID_INPUT, "damaged: cut short, or not of this format");
    }
    *ret_blob = blob;
    return hf_ok();
}

/* ---- keys --------------------------------------------------------------------------------- */

static hf_status secp256k1_public(const uint8_t secret[HF_CUSTODY_SECRET_BYTES],
                                  uint8_t ret_public[HF_CUSTODY_PUBLIC_MAX])
{
    hf_secp256k1 *secp = NULL;
    hf_secp256k1_key key = {{0}};
    hf_status st = hf_secp256k1_new(&secp);
    if (!hf_failed(st)) {
        st = hf_secp256k1_key_from_bytes(secp, secret, &key);
    }
    if (!hf_failed(st)) {
        ret_public[0] = 0x04;
        hf_secp256k1_pubkey(secp, &key, ret_public + 1);
    }
    hf_wipe(&key, sizeof key);
    hf_secp256k1_free(secp);
    return st;
}

static hf_status bls_public(const uint8_t secret[HF_CUSTODY_SECRET_BYTES],
                            uint8_t ret_public[HF_CUSTODY_PUBLIC_MAX])
{
    hf_bls_key key;
    memset(&key, 0, sizeof key);
    hf_status st = hf_bls_key_from_bytes(secret, &key);
    if (!hf_failed(st)) {
        hf_bls_pubkey(&key, ret_public);
    }
    hf_wipe(&key, sizeof key);
    return st;
}

hf_status hf_custody_public_of(hf_custody_type type, const uint8_t secret[HF_CUSTODY_SECRET_BYTES],
                               uint8_t ret_public[HF_CUSTODY_PUBLIC_MAX], uint32_t *ret_len)
{
    uint8_t whole[crypto_sign_SECRETKEYBYTES];
    hf_status st = {HF_CRYPTO};
    switch (type) {
    case HF_CUSTODY_BLS:
        st = bls_public(secret, ret_public);
        break;
    case HF_CUSTODY_SECP256K1:
        st = secp256k1_public(secret, ret_public);
        break;
    case HF_CUSTODY_ED25519:
        (void)crypto_sign_seed_keypair(ret_public, whole, secret);
        hf_wipe(whole, sizeof whole);
        st = hf_ok();
        break;
    case HF_CUSTODY_P256:
    case HF_CUSTODY_TYPE_COUNT:
        break;
    }
    if (!hf_failed(st)) {
        *ret_len = (uint32_t)public_bytes(type);
    }
    return st;
}

/* ---- opening and making ------------------------------------------------------------------- */

hf_status hf_kms_blob_open(const hf_kms_blob *blob, const uint8_t data_key[HF_AES_GCM_KEY_BYTES],
                           uint8_t ret_secret[HF_CUSTODY_SECRET_BYTES], hf_error *err)
{
    hf_aes_gcm with = {.bound = blob->bound};
    uint8_t secret[HF_CUSTODY_SECRET_BYTES];
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX];
    uint32_t public_len = 0;
    memcpy(with.key, data_key, sizeof with.key);
    memcpy(with.nonce, blob->nonce, sizeof with.nonce);
    hf_status st = hf_aes_gcm_open(&with, hf_bytes_from(blob->sealed, HF_KMS_SEALED_BYTES), secret);
    if (hf_failed(st)) {
        st = hf_fail(err, HF_CORRUPT, "damaged: its content is not what was sealed");
        goto out;
    }
    st = hf_custody_public_of(blob->type, secret, public_key, &public_len);
    if (hf_failed(st) || public_len != blob->public_len ||
        !hf_bytes_equal(public_key, blob->public_key, public_len)) {
        st = hf_fail(err, HF_CORRUPT, "the secret in it does not belong to its public key");
        goto out;
    }
    memcpy(ret_secret, secret, sizeof secret);
out:
    hf_wipe(secret, sizeof secret);
    hf_wipe(&with, sizeof with);
    return st;
}

static hf_status put_number(hf_buf *out, size_t value, size_t bytes)
{
    hf_status st = hf_ok();
    for (size_t i = bytes; i > 0 && !hf_failed(st); i--) {
        uint8_t digit = (uint8_t)(value >> (8 * (i - 1)));
        st = hf_buf_put(out, &digit, 1);
    }
    return st;
}

/* Everything before the nonce. */
static hf_status put_bound(hf_buf *out, const hf_kms_blob *blob)
{
    const size_t numbers[][2] = {{VERSION, 1},
                                 {(size_t)blob->type, 1},
                                 {blob->public_len, 1},
                                 {blob->context.count, 1},
                                 {strlen(blob->key_arn), 2},
                                 {blob->ciphertext.len, 2}};
    hf_status st = hf_buf_put(out, MAGIC, MAGIC_BYTES);
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers) && !hf_failed(st); i++) {
        st = put_number(out, numbers[i][0], numbers[i][1]);
    }
    if (!hf_failed(st)) {
        st = hf_buf_put(out, blob->public_key, blob->public_len);
    }
    if (!hf_failed(st)) {
        st = hf_buf_put(out, blob->key_arn, strlen(blob->key_arn));
    }
    for (size_t i = 0; i < blob->context.count && !hf_failed(st); i++) {
        const hf_awskms_pair *pair = &blob->context.pairs[i];
        st = put_number(out, strlen(pair->name), 1);
        if (!hf_failed(st)) {
            st = put_number(out, strlen(pair->value), 2);
        }
        if (!hf_failed(st)) {
            st = hf_buf_putf(out, "%s%s", pair->name, pair->value);
        }
    }
    return hf_failed(st) ? st : hf_buf_put(out, blob->ciphertext.ptr, blob->ciphertext.len);
}

hf_status hf_kms_blob_make(const hf_kms_blob *blob, const uint8_t data_key[HF_AES_GCM_KEY_BYTES],
                           const uint8_t secret[HF_CUSTODY_SECRET_BYTES], hf_buf **ret_file,
                           hf_error *err)
{
    hf_aes_gcm with = {0};
    uint8_t sealed[HF_KMS_SEALED_BYTES];
    hf_buf *file = hf_buf_new(HF_KMS_BLOB_MAX_BYTES);
    hf_status st = file != NULL ? put_bound(file, blob) : (hf_status){HF_NOMEM};
    if (!hf_failed(st)) {
        memcpy(with.key, data_key, sizeof with.key);
        hf_random(with.nonce, sizeof with.nonce);
        with.bound = hf_bytes_from(hf_buf_peek(file), hf_buf_len(file));
        st = hf_aes_gcm_seal(&with, hf_bytes_from(secret, HF_CUSTODY_SECRET_BYTES), sealed);
    }
    if (!hf_failed(st)) {
        st = hf_buf_put(file, with.nonce, sizeof with.nonce);
    }
    if (!hf_failed(st)) {
        st = hf_buf_put(file, sealed, sizeof sealed);
    }
    hf_wipe(&with, sizeof with);
    if (hf_failed(st)) {
        hf_buf_free(file);
        return hf_fail(err, st.code, "the wrapped key could not be put together");
    }
    *ret_file = file;
    return hf_ok();
}
