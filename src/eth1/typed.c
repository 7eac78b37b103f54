/* Digests of typed data (EIP-712), and the votes among them that are duties. */
#include "eth1/eth1.h"

#define WORD 32

static const struct {
    const char *name;
    const char *type;
} fields[HF_EIP712_FIELD_COUNT] = {
    [HF_EIP712_NAME] = {"name", "string"},
    [HF_EIP712_VERSION] = {"version", "string"},
    [HF_EIP712_CHAIN_ID] = {"chainId", "uint256"},
    [HF_EIP712_CONTRACT] = {"verifyingContract", "address"},
    [HF_EIP712_SALT] = {"salt", "bytes32"},
};

/* Facts of Aztec's node: each kind of vote has a domain's name and one struct. */
static const struct {
    const char *domain;
    const char *type;
} votes[HF_TYPED_KIND_COUNT] = {
    [HF_TYPED_AZTEC_VOTE] = {"TallySlashingProposer", "Vote(bytes votes,uint256 slot)"},
    [HF_TYPED_AZTEC_SIGNAL] = {"EmpireBase",
                               "Signal(address payload,uint256 slot,address instance)"},
};

const char *hf_eip712_field_name(hf_eip712_field field)
{
    HF_ASSERT((unsigned)field < HF_EIP712_FIELD_COUNT);
    return fields[field].name;
}

const char *hf_eip712_field_type(hf_eip712_field field)
{
    HF_ASSERT((unsigned)field < HF_EIP712_FIELD_COUNT);
    return fields[field].type;
}

/* ---- the domain ------------------------------------------------------------------------------ */

static void put_field(const hf_eip712_domain *domain, uint8_t field, uint8_t ret_word[WORD])
{
    memset(ret_word, 0, WORD);
    switch ((hf_eip712_field)field) {
    case HF_EIP712_NAME:
        memcpy(ret_word, domain->name_hash, WORD);
        break;
    case HF_EIP712_VERSION:
        memcpy(ret_word, domain->version_hash, WORD);
        break;
    case HF_EIP712_CHAIN_ID:
        memcpy(ret_word, domain->chain_id, WORD);
        break;
    case HF_EIP712_CONTRACT:
        memcpy(ret_word + WORD - sizeof domain->contract, domain->contract,
               sizeof domain->contract);
        break;
    case HF_EIP712_SALT:
        memcpy(ret_word, domain->salt, WORD);
        break;
    case HF_EIP712_FIELD_COUNT:
        break;
    }
}

static bool has_field(const hf_eip712_domain *domain, hf_eip712_field field)
{
    for (size_t i = 0; i < domain->field_count; i++) {
        if (domain->fields[i] == field) {
            return true;
        }
    }
    return false;
}

hf_status hf_eip712_domain_separator(const hf_eip712_domain *domain, uint8_t ret_separator[32])
{
    char type[128] = "EIP712Domain(";
    uint8_t words[(1 + HF_EIP712_FIELD_COUNT) * WORD];
    unsigned seen = 0;
    size_t used = strlen(type);
    if (domain->field_count > HF_EIP712_FIELD_COUNT) {
        return (hf_status){HF_INVALID_INPUT};
    }
    for (size_t i = 0; i < domain->field_count; i++) {
        uint8_t field = domain->fields[i];
        if (field >= HF_EIP712_FIELD_COUNT || (seen >> field & 1) != 0) {
            return (hf_status){HF_INVALID_INPUT};
        }
        seen |= 1U << field;
        int n = snprintf(type + used, sizeof type - used, "%s%s %s", i == 0 ? "" : ",",
                         fields[field].type, fields[field].name);
        HF_ASSERT(n > 0 && (size_t)n < sizeof type - used);
        used += (size_t)n;
        put_field(domain, field, words + (1 + i) * WORD);
    }
    type[used++] = ')';
    hf_keccak256(type, used, words);
    hf_keccak256(words, (size_t)(1 + domain->field_count) * WORD, ret_separator);
    return hf_ok();
}

/* ---- votes ----------------------------------------------------------------------------------- */

/* The kind whose votes have this domain's name; OTHER when none has. */
static hf_typed_kind kind_of_domain(const uint8_t name_hash[32])
{
    for (unsigned kind = HF_TYPED_OTHER + 1; kind < HF_TYPED_KIND_COUNT; kind++) {
        uint8_t hash[HF_KECCAK_BYTES];
        hf_keccak256(votes[kind].domain, strlen(votes[kind].domain), hash);
        if (hf_bytes_equal(hash, name_hash, sizeof hash)) {
            return (hf_typed_kind)kind;
        }
    }
    return HF_TYPED_OTHER;
}

hf_status hf_typed_kind_of(const uint8_t name_hash[32], const char *encoded_type, size_t len,
                           hf_typed_kind *ret_kind, hf_error *err)
{
    hf_typed_kind kind = kind_of_domain(name_hash);
    const char *wanted = votes[kind].type;
    if (kind != HF_TYPED_OTHER &&
        (strlen(wanted) != len || !hf_bytes_equal(wanted, encoded_type, len))) {
        return hf_fail(err, HF_DENIED,
                       "a message of the domain %s has to be %s: the slot of any other is not "
                       "known, and could be signed twice",
                       votes[kind].domain, wanted);
    }
    *ret_kind = kind;
    return hf_ok();
}

static void put_slot(uint64_t slot, uint8_t word[WORD])
{
    memset(word, 0, WORD);
    for (size_t i = 0; i < sizeof slot; i++) {
        word[WORD - 1 - i] = (uint8_t)(slot >> (8 * i));
    }
}

static void put_address(const uint8_t address[20], uint8_t word[WORD])
{
    memset(word, 0, WORD);
    memcpy(word + WORD - 20, address, 20);
}

static void hash_vote(const hf_typed_message *message, uint8_t ret_hash[32])
{
    uint8_t words[4 * WORD];
    size_t count = 3;
    const char *type = votes[message->kind].type;
    hf_keccak256(type, strlen(type), words);
    if (message->kind == HF_TYPED_AZTEC_SIGNAL) {
        put_address(message->payload, words + WORD);
        put_slot(message->slot, words + 2 * WORD);
        put_address(message->instance, words + 3 * WORD);
        count = 4;
    } else {
        memcpy(words + WORD, message->hash, WORD);
        put_slot(message->slot, words + 2 * WORD);
    }
    hf_keccak256(words, count * WORD, ret_hash);
}

static hf_status check_vote(const hf_typed_message *message, hf_error *err)
{
    hf_typed_kind kind = kind_of_domain(message->domain.name_hash);
    bool is_named = has_field(&message->domain, HF_EIP712_NAME);
    if (message->kind >= HF_TYPED_KIND_COUNT) {
        return hf_fail(err, HF_INVALID_INPUT, "a kind of typed data that is none");
    }
    if (message->kind == HF_TYPED_OTHER) {
        return is_named && kind != HF_TYPED_OTHER
                   ? hf_fail(err, HF_DENIED, "a vote of the domain %s has to come with its slot",
                             votes[kind].domain)
                   : hf_ok();
    }
    if (!is_named || kind != (hf_typed_kind)message->kind) {
        return hf_fail(err, HF_INVALID_INPUT, "a vote of another domain");
    }
    if (!has_field(&message->domain, HF_EIP712_CONTRACT) ||
        !has_field(&message->domain, HF_EIP712_CHAIN_ID)) {
        return hf_fail(err, HF_DENIED,
                       "domain: a vote names its chainId and its verifyingContract");
    }
    return message->slot > INT64_MAX
               ? hf_fail(err, HF_INVALID_INPUT, "message.slot: beyond 2^63 - 1")
               : hf_ok();
}

hf_status hf_typed_digest(const hf_typed_message *message, uint8_t ret_digest[32], hf_error *err)
{
    uint8_t bytes[2 + 2 * WORD] = {0x19, 0x01};
    hf_status st = check_vote(message, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_eip712_domain_separator(&message->domain, bytes + 2);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "a field of the domain that is none, or is there twice");
    }
    if (message->kind == HF_TYPED_OTHER) {
        memcpy(bytes + 2 + WORD, message->hash, WORD);
    } else {
        hash_vote(message, bytes + 2 + WORD);
    }
    hf_keccak256(bytes, sizeof bytes, ret_digest);
    return hf_ok();
}

void hf_typed_duty(const hf_typed_message *message, const uint8_t validator[20], hf_duty *ret_duty)
{
    hf_duty duty;
    HF_ASSERT(hf_typed_is_duty(message));
    memset(&duty, 0, sizeof duty);
    duty.type =
        message->kind == HF_TYPED_AZTEC_VOTE ? HF_DUTY_SLASHING_VOTE : HF_DUTY_GOVERNANCE_VOTE;
    duty.slot = message->slot;
    duty.block_index = HF_DUTY_NO_INDEX;
    memcpy(duty.rollup, message->domain.contract, sizeof duty.rollup);
    memcpy(duty.validator, validator, sizeof duty.validator);
    *ret_duty = duty;
}
