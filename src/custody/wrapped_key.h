/*
 * Files of wrapped BLS keys, for back ends that unwrap: text, one file a key, called as it likes
 * but ending in .wrapped.
 *
 *   holdfast-wrapped-key: 1
 *   type: bls
 *   public_key: 0x...          of the key inside, compressed
 *   wrap_key: LABEL            the key-encryption key, as the back end names keys
 *   blob: 0x...                what the back end's wrap made of the 32 bytes, big endian
 *
 * The context of wrap and unwrap is made of type and public key, so that a blob put into another
 * key's file does not unwrap; and the public key of what was unwrapped is compared besides.
 */
#ifndef HF_CUSTODY_WRAPPED_KEY_H
#define HF_CUSTODY_WRAPPED_KEY_H

#include "crypto/crypto.h"
#include "custody/hsm.h"

#define HF_WRAPPED_KEY_SUFFIX ".wrapped"
#define HF_WRAPPED_KEY_BLOB_MAX 4096
#define HF_WRAPPED_KEY_TEXT_MAX 16384
#define HF_WRAPPED_KEY_CONTEXT_MAX 160

typedef struct hf_wrapped_key {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    char wrap_key[HF_CUSTODY_NAME_LEN];
    uint8_t blob[HF_WRAPPED_KEY_BLOB_MAX];
    size_t blob_len;
} hf_wrapped_key;

/* INVALID_INPUT names the line. */
hf_status hf_wrapped_key_parse(hf_bytes text, hf_wrapped_key *ret_key, hf_error *err) HF_MUST_CHECK;
/* The caller frees *ret_text. */
hf_status hf_wrapped_key_print(const hf_wrapped_key *key, hf_buf **ret_text,
                               hf_error *err) HF_MUST_CHECK;
/* The length of the context for wrap and unwrap. */
size_t hf_wrapped_key_context(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                              uint8_t ret_context[HF_WRAPPED_KEY_CONTEXT_MAX]);

/*
 * Shows the visitor each key of a folder, unwrapped by custody's own unwrap. A file that is wrong
 * or whose key was refused has failed; a back end that is away fails the whole. only: the one name
 * that wrap_key may have, "" for any.
 */
hf_status hf_wrapped_keys_list(hf_custody *custody, const char *folder, const char *only,
                               const hf_custody_visitor *visitor, uint64_t deadline_ns,
                               hf_error *err) HF_MUST_CHECK;

#endif
