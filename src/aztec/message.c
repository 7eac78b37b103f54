/* What a key signs for a duty's message hash. */
#include "aztec/aztec.h"
#include "crypto/crypto.h"

/* EIP-191, version 0x45 (personal_sign), of a message of 32 bytes. */
static const char prefix[] = "\x19"
                             "Ethereum Signed Message:\n32";

void hf_aztec_digest(uint32_t hashing, const uint8_t hash[HF_DUTY_HASH_BYTES],
                     uint8_t ret_digest[HF_DUTY_HASH_BYTES])
{
    uint8_t message[sizeof prefix - 1 + HF_DUTY_HASH_BYTES];
    HF_ASSERT(hashing < HF_AZTEC_HASHING_COUNT);
    if (hashing == HF_AZTEC_RAW) {
        memcpy(ret_digest, hash, HF_DUTY_HASH_BYTES);
        return;
    }
    memcpy(message, prefix, sizeof prefix - 1);
    memcpy(message + sizeof prefix - 1, hash, HF_DUTY_HASH_BYTES);
    hf_keccak256(message, sizeof message, ret_digest);
}
