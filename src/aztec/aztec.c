/* Aztec duties: names, identity, normal form and stored text. */
#include "aztec/aztec.h"

/* Names of the package's enum, in the order of hf_duty_type. */
static const char *const type_names[HF_DUTY_TYPE_COUNT] = {
    "BLOCK_PROPOSAL",  "CHECKPOINT_PROPOSAL", "ATTESTATION",  "ATTESTATIONS_AND_SIGNERS",
    "GOVERNANCE_VOTE", "SLASHING_VOTE",       "AUTH_REQUEST", "TXS",
};

static const char *const result_names[HF_DUTY_RESULT_COUNT] = {
    "OK",          "STORED",       "HELD",        "CONFLICT",   "EXPIRED",   "LOCK_LOST",
    "SIGN_FAILED", "SIGN_UNKNOWN", "UNAVAILABLE", "OVERLOADED", "INVALID",   "CONFIG",
    "SCHEMA",      "ACCESS",       "CORRUPT",     "CLOSED",     "NO_MEMORY", "INTERNAL",
};

const char *hf_duty_type_name(uint32_t type)
{
    return type < HF_DUTY_TYPE_COUNT ? type_names[type] : NULL;
}

bool hf_duty_type_parse(const char *name, size_t len, uint32_t *ret_type)
{
    for (uint32_t i = 0; i < HF_DUTY_TYPE_COUNT; i++) {
        if (strlen(type_names[i]) == len && hf_bytes_equal(type_names[i], name, len)) {
            *ret_type = i;
            return true;
        }
    }
    return false;
}

bool hf_duty_type_is_protected(uint32_t type)
{
    return type < HF_DUTY_AUTH_REQUEST;
}

const char *hf_duty_result_name(hf_duty_result result)
{
    return (unsigned)result < HF_DUTY_RESULT_COUNT ? result_names[result] : "INTERNAL";
}

hf_status hf_aztec_block_index(uint32_t type, bool has_index, int64_t index, int32_t *ret_index,
                               hf_error *err)
{
    if (type != HF_DUTY_BLOCK_PROPOSAL) {
        *ret_index = HF_DUTY_NO_INDEX;
        return hf_ok();
    }
    if (!has_index) {
        return hf_fail(err, HF_INVALID_INPUT, "BLOCK_PROPOSAL needs blockIndexWithinCheckpoint");
    }
    if (index < 0 || index > INT32_MAX) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "blockIndexWithinCheckpoint is %lld; a BLOCK_PROPOSAL has 0 to %d",
                       (long long)index, INT32_MAX);
    }
    *ret_index = (int32_t)index;
    return hf_ok();
}

uint64_t hf_aztec_block_number(const hf_duty *duty)
{
    bool vote = duty->type == HF_DUTY_GOVERNANCE_VOTE || duty->type == HF_DUTY_SLASHING_VOTE;
    return vote ? 0 : duty->block_number;
}

hf_status hf_aztec_duty_normalize(hf_duty *duty, hf_error *err)
{
    if (duty->type >= HF_DUTY_TYPE_COUNT) {
        return hf_fail(err, HF_INVALID_INPUT, "dutyType %u is none that is known", duty->type);
    }
    if (!hf_duty_type_is_protected(duty->type)) {
        return hf_ok();
    }
    int32_t index;
    hf_status st = hf_aztec_block_index(duty->type, true, duty->block_index, &index, err);
    if (hf_failed(st)) {
        return st;
    }
    uint64_t block_number = hf_aztec_block_number(duty);
    if (duty->slot > HF_AZTEC_MAX_NUMBER || block_number > HF_AZTEC_MAX_NUMBER ||
        duty->checkpoint_number > HF_AZTEC_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "%s is beyond 2^63 - 1",
                       duty->slot > HF_AZTEC_MAX_NUMBER     ? "slot"
                       : block_number > HF_AZTEC_MAX_NUMBER ? "blockNumber"
                                                            : "checkpointNumber");
    }
    duty->block_index = index;
    duty->block_number = block_number;
    return hf_ok();
}

bool hf_aztec_duty_equal(const hf_duty *a, const hf_duty *b)
{
    return a->slot == b->slot && a->type == b->type && a->block_index == b->block_index &&
           hf_bytes_equal(a->rollup, b->rollup, sizeof(a->rollup)) &&
           hf_bytes_equal(a->validator, b->validator, sizeof(a->validator));
}

/* FNV-1a, 64 bits. Spreads well enough; a collision costs one needless question. */
static uint64_t fnv(uint64_t state, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) {
        state = (state ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return state;
}

uint64_t hf_aztec_duty_fingerprint(const hf_duty *duty)
{
    uint8_t numbers[16];
    hf_le64_put(numbers, duty->slot);
    hf_le64_put(numbers + 8, ((uint64_t)duty->type << 32) | (uint32_t)duty->block_index);
    uint64_t state = fnv(UINT64_C(0xcbf29ce484222325), duty->rollup, sizeof(duty->rollup));
    state = fnv(state, duty->validator, sizeof(duty->validator));
    return fnv(state, numbers, sizeof(numbers));
}

static void hex_format(const uint8_t *in, size_t len, char *out)
{
    out[0] = '0';
    out[1] = 'x';
    hf_hex_encode(in, len, out + 2);
}

void hf_aztec_address_format(const uint8_t address[HF_DUTY_ADDRESS_BYTES],
                             char out[HF_AZTEC_ADDRESS_TEXT_LEN])
{
    hex_format(address, HF_DUTY_ADDRESS_BYTES, out);
}

void hf_aztec_hash_format(const uint8_t hash[HF_DUTY_HASH_BYTES], char out[HF_AZTEC_HASH_TEXT_LEN])
{
    hex_format(hash, HF_DUTY_HASH_BYTES, out);
}

void hf_aztec_signature_format(const uint8_t signature[HF_DUTY_SIGNATURE_BYTES],
                               char out[HF_AZTEC_SIGNATURE_TEXT_LEN])
{
    hex_format(signature, HF_DUTY_SIGNATURE_BYTES, out);
}

hf_status hf_aztec_signature_parse(const char *text, size_t len,
                                   uint8_t ret_signature[HF_DUTY_SIGNATURE_BYTES])
{
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES];
    if (len != HF_AZTEC_SIGNATURE_TEXT_LEN - 1 || text[0] != '0' || text[1] != 'x') {
        return (hf_status){HF_INVALID_INPUT};
    }
    hf_status st = hf_hex_decode(text, len, signature, sizeof(signature));
    if (hf_failed(st)) {
        return st;
    }
    uint8_t v = signature[64] < 2 ? (uint8_t)(signature[64] + 27) : signature[64];
    if ((v != 27 && v != 28) || hf_bytes_is_zero(signature, 32) ||
        hf_bytes_is_zero(signature + 32, 32)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    signature[64] = v;
    for (size_t i = 0; i < sizeof(signature); i++) {
        ret_signature[i] = signature[i];
    }
    return hf_ok();
}
