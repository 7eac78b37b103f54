/* EIP-2333 key derivation by blst, and the paths of EIP-2334. */
#include "crypto.h"

#include <blst.h>

#define SEED_MIN_BYTES 32
/* "m/4294967295" repeated: EIP-2334 has at most five levels; some tools add a few. */
#define PATH_LEVELS_MAX 16

static hf_status key_take_scalar(blst_scalar *take_scalar, hf_bls_key *ret_key)
{
    /* derive_master_SK and derive_child_SK never yield 0; a wrong length of seed does. */
    bool good = blst_sk_check(take_scalar);
    if (good) {
        memcpy(ret_key->scalar, take_scalar, sizeof *take_scalar);
    }
    hf_wipe(take_scalar, sizeof *take_scalar);
    return good ? hf_ok() : (hf_status){HF_CRYPTO};
}

hf_status hf_eip2333_master(hf_bytes seed, hf_bls_key *ret_key)
{
    if (seed.len < SEED_MIN_BYTES) {
        return (hf_status){HF_INVALID_INPUT};
    }
    blst_scalar scalar;
    blst_derive_master_eip2333(&scalar, seed.ptr, seed.len);
    return key_take_scalar(&scalar, ret_key);
}

hf_status hf_eip2333_child(const hf_bls_key *parent, uint32_t index, hf_bls_key *ret_key)
{
    blst_scalar from;
    blst_scalar scalar;
    memcpy(&from, parent->scalar, sizeof from);
    blst_derive_child_eip2333(&scalar, &from, index);
    hf_wipe(&from, sizeof from);
    return key_take_scalar(&scalar, ret_key);
}

/* Reads "/NUMBER" at *path and moves behind it. */
static hf_status path_next(const char **path, uint32_t *ret_index)
{
    const char *digits = *path + 1;
    size_t len = strspn(digits, "0123456789");
    uint64_t value = 0;
    if (**path != '/' || (digits[len] != '/' && digits[len] != '\0') ||
        hf_failed(hf_num_parse_u64(digits, len, &value)) || value > UINT32_MAX) {
        return (hf_status){HF_INVALID_INPUT};
    }
    *path = digits + len;
    *ret_index = (uint32_t)value;
    return hf_ok();
}

hf_status hf_eip2334_derive(hf_bytes seed, const char *path, hf_bls_key *ret_key)
{
    hf_bls_key key;
    uint32_t indices[PATH_LEVELS_MAX];
    size_t levels = 0;
    if (*path++ != 'm') {
        return (hf_status){HF_INVALID_INPUT};
    }
    while (*path != '\0') {
        if (levels == PATH_LEVELS_MAX || hf_failed(path_next(&path, &indices[levels]))) {
            return (hf_status){HF_INVALID_INPUT};
        }
        levels++;
    }
    hf_status st = hf_eip2333_master(seed, &key);
    for (size_t i = 0; i < levels && !hf_failed(st); i++) {
        st = hf_eip2333_child(&key, indices[i], &key);
    }
    if (!hf_failed(st)) {
        *ret_key = key;
    }
    hf_wipe(&key, sizeof key);
    return st;
}
