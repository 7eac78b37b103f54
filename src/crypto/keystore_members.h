/* What the readers of both kinds of keystore share: members by path ("crypto.kdf.params.n"). */
#ifndef HF_CRYPTO_KEYSTORE_MEMBERS_H
#define HF_CRYPTO_KEYSTORE_MEMBERS_H

#include "crypto_internal.h"

#include <jansson.h>

/* The caller ends *ret_root, an object, with json_decref. */
hf_status hf_member_parse(hf_bytes json, json_t **ret_root, hf_error *err) HF_MUST_CHECK;
hf_status hf_member_integer(json_t *root, const char *path, uint64_t *ret_value,
                            hf_error *err) HF_MUST_CHECK;
/* The text is borrowed from root. */
hf_status hf_member_text(json_t *root, const char *path, const char **ret_text, size_t *ret_len,
                         hf_error *err) HF_MUST_CHECK;
hf_status hf_member_hex(json_t *root, const char *path, uint8_t *out, size_t len,
                        hf_error *err) HF_MUST_CHECK;
/* Is the function at path the one expected? */
hf_status hf_member_expect(json_t *root, const char *path, const char *expected,
                           hf_error *err) HF_MUST_CHECK;
/* The key derivation function that the text at function names, with its parameters below params;
 * checked, but not against any limit of memory. */
hf_status hf_member_kdf(json_t *root, const char *function, const char *params, hf_kdf_params *kdf,
                        hf_error *err) HF_MUST_CHECK;

/* keystore_v3.c: the memory that a version 3 keystore's kdf wants. */
hf_status hf_keystore_v3_memory(hf_bytes json, uint64_t *ret_bytes, hf_error *err) HF_MUST_CHECK;

#endif
