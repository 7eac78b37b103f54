/*
 * A keystore of either kind, EIP-2335 or Web3 Secret Storage: whatever opens states the memory it
 * wants, opens the same way again, and gives the key that it states; whatever does not says why.
 */
#include "crypto/crypto.h"

#define MEMORY_BYTES (128U << 10)
/* A cost of more digits is legal and slow: such inputs are parsed, not derived. */
#define COST_DIGITS_MAX 4

/* A text is told from a key by its length alone: it ends within its room. */
static void try_text(hf_bytes json, hf_bytes password, const hf_keystore_limits *limits)
{
    hf_error err = {HF_OK, ""};
    char text[HF_KEYSTORE_TEXT_BYTES];
    hf_status st = hf_keystore_decrypt_text(json, password, limits, text, &err);
    HF_ASSERT(!hf_failed(st) || (err.code == st.code && err.msg[0] != '\0'));
    HF_ASSERT(hf_failed(st) || strnlen(text, sizeof text) < sizeof text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Is there a number outside of strings that could be a high cost? (1e9 counts: jansson's reals.) */
static bool may_be_slow(const uint8_t *data, size_t size)
{
    bool in_string = false;
    unsigned digits = 0;
    for (size_t i = 0; i < size; i++) {
        if (in_string && data[i] == '\\') {
            i++;
            continue;
        }
        in_string ^= data[i] == '"';
        digits = !in_string && data[i] >= '0' && data[i] <= '9' ? digits + 1 : 0;
        if (digits > COST_DIGITS_MAX) {
            return true;
        }
    }
    return false;
}

static void try_v3(hf_bytes json, hf_bytes password, const hf_keystore_limits *limits)
{
    hf_error err = {HF_OK, ""};
    uint64_t memory = 0;
    hf_secp256k1_key key;
    hf_secp256k1_key again;
    hf_status st = hf_keystore_v3_decrypt(json, password, limits, &key, &err);
    if (hf_failed(st)) {
        HF_ASSERT(err.code == st.code && err.msg[0] != '\0');
        return;
    }
    HF_ASSERT(hf_keystore_is_v3(json) && !hf_failed(hf_keystore_kdf_memory(json, &memory, &err)));
    HF_ASSERT(memory <= limits->max_kdf_memory_bytes);
    HF_ASSERT(!hf_failed(hf_keystore_v3_decrypt(json, password, limits, &again, &err)));
    HF_ASSERT(hf_bytes_equal(&key, &again, sizeof key));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const hf_keystore_limits limits = {MEMORY_BYTES};
    const hf_bytes password = hf_bytes_from("testpassword", 12);
    hf_bytes json = hf_bytes_from(data, size);
    hf_error err = {HF_OK, ""};
    uint64_t memory = 0;
    uint8_t stated[HF_BLS_PUBKEY_BYTES];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_key key;
    hf_bls_key again;
    hf_status known = hf_keystore_kdf_memory(json, &memory, &err);
    if (may_be_slow(data, size)) {
        return 0;
    }
    try_v3(json, password, &limits);
    try_text(json, password, &limits);
    hf_status st = hf_keystore_decrypt(json, password, &limits, &key, &err);
    if (hf_failed(st)) {
        HF_ASSERT(err.code == st.code && err.msg[0] != '\0');
        return 0;
    }
    HF_ASSERT(!hf_failed(known) && memory <= MEMORY_BYTES);
    HF_ASSERT(!hf_failed(hf_keystore_decrypt(json, password, &limits, &again, &err)));
    HF_ASSERT(hf_bytes_equal(&key, &again, sizeof key));
    if (!hf_failed(hf_keystore_pubkey(json, stated, NULL))) {
        hf_bls_pubkey(&key, pubkey);
        HF_ASSERT(hf_bytes_equal(pubkey, stated, sizeof pubkey));
    }
    return 0;
}
