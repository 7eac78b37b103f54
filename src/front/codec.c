/*
 * A signing request from its JSON. Each operation has a row: where its member stands, and what
 * reads it: a table of fields for what can be slashed or is small, a schema and a slot for the
 * rest.
 */
#include "front/codec.h"

#include <string.h>

#include "front/codec_proofs.h"
#include "front/ssz_json.h"

/* ---- typed members ------------------------------------------------------------------------ */

#define AT(member) .offset = offsetof(hf_eth_request, member)
#define U64(text, member)                                                                          \
    {                                                                                              \
        HF_FIELD_NAMED(text), .kind = HF_FIELD_U64, AT(member)                                     \
    }
#define BYTES(text, member, n)                                                                     \
    {                                                                                              \
        HF_FIELD_NAMED(text), .kind = HF_FIELD_BYTES, .size = (n), AT(member)                      \
    }
#define BOOL(text, member)                                                                         \
    {                                                                                              \
        HF_FIELD_NAMED(text), .kind = HF_FIELD_BOOL, AT(member)                                    \
    }
#define OBJECT(text, table)                                                                        \
    {                                                                                              \
        HF_FIELD_NAMED(text), .kind = HF_FIELD_OBJECT, .inner = (table)                            \
    }

static const hf_field fork_fields[] = {BYTES("previous_version", fork_info.previous_version, 4),
                                       BYTES("current_version", fork_info.current_version, 4),
                                       U64("epoch", fork_info.epoch), HF_FIELD_END};
static const hf_field fork_info_fields[] = {
    OBJECT("fork", fork_fields),
    BYTES("genesis_validators_root", fork_info.genesis_validators_root, 32), HF_FIELD_END};

static const hf_field aggregation_slot_fields[] = {U64("slot", fields.aggregation_slot),
                                                   HF_FIELD_END};
static const hf_field randao_fields[] = {U64("epoch", fields.randao_epoch), HF_FIELD_END};

static const hf_field source_fields[] = {U64("epoch", fields.attestation.source.epoch),
                                         BYTES("root", fields.attestation.source.root, 32),
                                         HF_FIELD_END};
static const hf_field target_fields[] = {U64("epoch", fields.attestation.target.epoch),
                                         BYTES("root", fields.attestation.target.root, 32),
                                         HF_FIELD_END};
static const hf_field attestation_fields[] = {
    U64("slot", fields.attestation.slot),
    U64("index", fields.attestation.index),
    BYTES("beacon_block_root", fields.attestation.beacon_block_root, 32),
    OBJECT("source", source_fields),
    OBJECT("target", target_fields),
    HF_FIELD_END};

/* A full block has the same but for the body. */
static const hf_field block_fields[] = {
    U64("slot", fields.block.slot), U64("proposer_index", fields.block.proposer_index),
    BYTES("parent_root", fields.block.parent_root, 32),
    BYTES("state_root", fields.block.state_root, 32), HF_FIELD_END};
static const hf_field block_header_fields[] = {U64("slot", fields.block.slot),
                                               U64("proposer_index", fields.block.proposer_index),
                                               BYTES("parent_root", fields.block.parent_root, 32),
                                               BYTES("state_root", fields.block.state_root, 32),
                                               BYTES("body_root", fields.block.body_root, 32),
                                               HF_FIELD_END};

static const hf_field deposit_fields[] = {
    BYTES("pubkey", fields.deposit.pubkey, HF_BLS_PUBKEY_BYTES),
    BYTES("withdrawal_credentials", fields.deposit.withdrawal_credentials, 32),
    U64("amount", fields.deposit.amount),
    BYTES("genesis_fork_version", fields.deposit.genesis_fork_version, 4), HF_FIELD_END};
static const hf_field exit_fields[] = {
    U64("epoch", fields.voluntary_exit.epoch),
    U64("validator_index", fields.voluntary_exit.validator_index), HF_FIELD_END};
/* What is signed is the root itself. */
static const hf_field sync_message_fields[] = {
    BYTES("beacon_block_root", fields.rooted.object_root, 32), U64("slot", fields.rooted.slot),
    HF_FIELD_END};
static const hf_field sync_selection_fields[] = {
    U64("slot", fields.sync_selection.slot),
    U64("subcommittee_index", fields.sync_selection.subcommittee_index), HF_FIELD_END};
static const hf_field registration_fields[] = {
    BYTES("fee_recipient", fields.registration.fee_recipient, 20),
    U64("gas_limit", fields.registration.gas_limit),
    U64("timestamp", fields.registration.timestamp),
    BYTES("pubkey", fields.registration.pubkey, HF_BLS_PUBKEY_BYTES), HF_FIELD_END};
static const hf_field payload_attestation_fields[] = {
    BYTES("beacon_block_root", fields.payload_attestation.beacon_block_root, 32),
    U64("slot", fields.payload_attestation.slot),
    BOOL("payload_present", fields.payload_attestation.payload_present),
    BOOL("blob_data_available", fields.payload_attestation.blob_data_available), HF_FIELD_END};
static const hf_field preferences_fields[] = {
    BYTES("dependent_root", fields.proposer_preferences.dependent_root, 32),
    U64("proposal_slot", fields.proposer_preferences.proposal_slot),
    U64("validator_index", fields.proposer_preferences.validator_index),
    BYTES("fee_recipient", fields.proposer_preferences.fee_recipient, 20),
    U64("target_gas_limit", fields.proposer_preferences.target_gas_limit),
    HF_FIELD_END};

/* ---- reading one operation's member ------------------------------------------------------- */

typedef struct decoder {
    const hf_network *network;
    const hf_json *json;
    hf_eth_request *request;
    hf_error *err;
} decoder;

typedef struct rule rule;
typedef hf_status read_fn(const decoder *d, const rule *r, uint32_t member, const hf_path *path);

struct rule {
    const char *member;
    const char *member_too; /* another spelling, or NULL */
    read_fn *read;
    const hf_field *fields;     /* typed operations */
    const hf_ssz_type *type;    /* rooted operations */
    const char *const *slot_at; /* rooted operations: the path of the slot, NULL-terminated */
};

static hf_status missing(const hf_path *up, const char *name, hf_error *err)
{
    return hf_path_fail_at(up, name, err, "missing");
}

/*
 * {version, data} or the container itself. *ret_version is 0 and *ret_path is as it was for a bare
 * one; else *ret_path has become that of data, with *store as its place. A container may have a
 * member called data itself (BuilderRequestAuth), which is then no object.
 */
static hf_status unwrap(const decoder *d, uint32_t *member, const hf_path **path, hf_path *store,
                        uint32_t *ret_version)
{
    uint32_t version = hf_json_member(d->json, *member, "version", 7);
    uint32_t data = hf_json_member(d->json, *member, "data", 4);
    *ret_version = version;
    if (version != 0 && !hf_json_is(d->json, version, HF_JSON_STRING)) {
        return hf_path_fail_at(*path, "version", d->err, "not a string");
    }
    bool is_wrapped = data != 0 && hf_json_is(d->json, data, HF_JSON_OBJECT);
    if (!is_wrapped && version == 0) {
        return hf_ok();
    }
    if (!is_wrapped) {
        return data == 0 ? missing(*path, "data", d->err)
                         : hf_path_fail_at(*path, "data", d->err, "not an object");
    }
    *store = (hf_path){.up = *path, .name = "data"};
    *path = store;
    *member = data;
    return hf_ok();
}

static hf_status read_typed(const decoder *d, const rule *r, uint32_t member, const hf_path *path)
{
    return hf_fields_read(d->json, member, r->fields, path, d->request, d->err);
}

static hf_status read_versioned(const decoder *d, const rule *r, uint32_t member,
                                const hf_path *path)
{
    hf_path store;
    uint32_t version;
    hf_status st = unwrap(d, &member, &path, &store, &version);
    return hf_failed(st) ? st : read_typed(d, r, member, path);
}

/* Follows names down to the slot that chooses the version. */
static hf_status read_slot(const decoder *d, uint32_t value, const char *const *names,
                           const hf_path *up, uint64_t *ret_slot)
{
    hf_path path = {.up = up, .name = names[0]};
    uint32_t member = hf_json_member(d->json, value, names[0], strlen(names[0]));
    if (member == 0) {
        return hf_path_fail(&path, d->err, "missing");
    }
    /* the depth is that of the names, which are static */
    return names[1] != NULL ? read_slot(d, member, names + 1, &path, ret_slot)
                            : hf_field_u64(d->json, member, &path, ret_slot, d->err);
}

static hf_status read_root(const decoder *d, const hf_ssz_type *type, const char *const *slot_at,
                           uint32_t member, const hf_path *path)
{
    hf_rooted_object *rooted = &d->request->fields.rooted;
    hf_status st = hf_ssz_json_root(d->json, member, type, path, rooted->object_root, d->err);
    return hf_failed(st) ? st : read_slot(d, member, slot_at, path, &rooted->slot);
}

static hf_status read_rooted(const decoder *d, const rule *r, uint32_t member, const hf_path *path)
{
    hf_path store;
    uint32_t version;
    hf_status st = unwrap(d, &member, &path, &store, &version);
    return hf_failed(st) ? st : read_root(d, r->type, r->slot_at, member, path);
}

static bool version_is_one_of(const hf_json *json, uint32_t version, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (hf_json_is_text(json, version, *names)) {
            return true;
        }
    }
    return false;
}

static const char *const before_electra[] = {"PHASE0",  "ALTAIR", "BELLATRIX",
                                             "CAPELLA", "DENEB",  NULL};
static const char *const electra_and_fulu[] = {"ELECTRA", "FULU", NULL};

/* By the version where it is given; a name that is not known is that of a fork after Gloas. */
static hf_status aggregate_type(const decoder *d, uint32_t version, uint32_t member,
                                const char *const *slot_at, const hf_path *path,
                                const hf_ssz_type **ret_type)
{
    if (version != 0) {
        *ret_type = version_is_one_of(d->json, version, before_electra)
                        ? &hf_ssz_phase0_aggregate_and_proof
                    : version_is_one_of(d->json, version, electra_and_fulu)
                        ? &hf_ssz_electra_aggregate_and_proof
                        : &hf_ssz_gloas_aggregate_and_proof;
        return hf_ok();
    }
    uint64_t slot = 0;
    hf_status st = read_slot(d, member, slot_at, path, &slot);
    if (hf_failed(st)) {
        return st;
    }
    uint32_t aggregate = hf_json_member(d->json, member, "aggregate", 9);
    bool has_committee_bits = hf_json_member(d->json, aggregate, "committee_bits", 14) != 0;
    if (hf_eth_is_gloas(d->network, &d->request->fork_info, slot)) {
        *ret_type = &hf_ssz_gloas_aggregate_and_proof;
    } else if (has_committee_bits ||
               hf_eth_epoch_of(d->network, slot) >= d->network->electra_epoch) {
        *ret_type = &hf_ssz_electra_aggregate_and_proof;
    } else {
        *ret_type = &hf_ssz_phase0_aggregate_and_proof;
    }
    return hf_ok();
}

static hf_status read_aggregate(const decoder *d, const rule *r, uint32_t member,
                                const hf_path *path)
{
    hf_path store;
    uint32_t version;
    const hf_ssz_type *type = NULL;
    hf_status st = unwrap(d, &member, &path, &store, &version);
    if (!hf_failed(st)) {
        st = aggregate_type(d, version, member, r->slot_at, path, &type);
    }
    return hf_failed(st) ? st : read_root(d, type, r->slot_at, member, path);
}

static hf_status read_full_block(const decoder *d, uint32_t block, const hf_ssz_type *body_type,
                                 const hf_path *path)
{
    hf_status st = hf_fields_read(d->json, block, block_fields, path, d->request, d->err);
    if (hf_failed(st)) {
        return st;
    }
    uint32_t body = hf_json_member(d->json, block, "body", 4);
    if (body == 0) {
        return missing(path, "body", d->err);
    }
    hf_path body_path = {.up = path, .name = "body"};
    return hf_ssz_json_root(d->json, body, body_type, &body_path,
                            d->request->fields.block.body_root, d->err);
}

static hf_status read_phase0_block(const decoder *d, const rule *r, uint32_t member,
                                   const hf_path *path)
{
    (void)r;
    return read_full_block(d, member, &hf_ssz_phase0_block_body, path);
}

/* {version, block_header} of any version, or {version, block} of the two that send full blocks. */
static hf_status read_block(const decoder *d, const rule *r, uint32_t member, const hf_path *path)
{
    (void)r;
    uint32_t version = hf_json_member(d->json, member, "version", 7);
    uint32_t header = hf_json_member(d->json, member, "block_header", 12);
    uint32_t block = hf_json_member(d->json, member, "block", 5);
    if (!hf_json_is(d->json, member, HF_JSON_OBJECT)) {
        return hf_path_fail(path, d->err, "not an object");
    }
    if (version == 0) {
        return missing(path, "version", d->err);
    }
    if (!hf_json_is(d->json, version, HF_JSON_STRING)) {
        return hf_path_fail_at(path, "version", d->err, "not a string");
    }
    if (header != 0 && block != 0) {
        return hf_path_fail(path, d->err, "both a block and a block_header");
    }
    if (header != 0) {
        hf_path inner = {.up = path, .name = "block_header"};
        return hf_fields_read(d->json, header, block_header_fields, &inner, d->request, d->err);
    }
    hf_path inner = {.up = path, .name = "block"};
    if (hf_json_is_text(d->json, version, "PHASE0")) {
        return block == 0 ? missing(path, "block", d->err)
                          : read_full_block(d, block, &hf_ssz_phase0_block_body, &inner);
    }
    if (hf_json_is_text(d->json, version, "ALTAIR")) {
        return block == 0 ? missing(path, "block", d->err)
                          : read_full_block(d, block, &hf_ssz_altair_block_body, &inner);
    }
    return missing(path, "block_header", d->err);
}

/* ---- the operations ----------------------------------------------------------------------- */

static const char *const slot_of_aggregate[] = {"aggregate", "data", "slot", NULL};
static const char *const slot_of_contribution[] = {"contribution", "slot", NULL};
static const char *const slot_of_object[] = {"slot", NULL};
static const char *const slot_of_envelope[] = {"payload", "slot_number", NULL};

static const rule rules[HF_OP_COUNT] = {
    [HF_OP_AGGREGATION_SLOT] = {.member = "aggregation_slot",
                                .read = read_typed,
                                .fields = aggregation_slot_fields},
    [HF_OP_AGGREGATE_AND_PROOF] = {.member = "aggregate_and_proof",
                                   .read = read_aggregate,
                                   .slot_at = slot_of_aggregate},
    [HF_OP_AGGREGATE_AND_PROOF_V2] = {.member = "aggregate_and_proof",
                                      .read = read_aggregate,
                                      .slot_at = slot_of_aggregate},
    [HF_OP_ATTESTATION] = {.member = "attestation",
                           .read = read_typed,
                           .fields = attestation_fields},
    [HF_OP_BLOCK] = {.member = "block", .read = read_phase0_block},
    [HF_OP_BLOCK_V2] = {.member = "beacon_block", .read = read_block},
    [HF_OP_DEPOSIT] = {.member = "deposit", .read = read_typed, .fields = deposit_fields},
    [HF_OP_RANDAO_REVEAL] = {.member = "randao_reveal",
                             .read = read_typed,
                             .fields = randao_fields},
    [HF_OP_VOLUNTARY_EXIT] = {.member = "voluntary_exit",
                              .read = read_typed,
                              .fields = exit_fields},
    [HF_OP_SYNC_COMMITTEE_MESSAGE] = {.member = "sync_committee_message",
                                      .read = read_typed,
                                      .fields = sync_message_fields},
    [HF_OP_SYNC_COMMITTEE_SELECTION_PROOF] = {.member = "sync_aggregator_selection_data",
                                              .read = read_typed,
                                              .fields = sync_selection_fields},
    [HF_OP_SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF] = {.member = "contribution_and_proof",
                                                     .read = read_rooted,
                                                     .type = &hf_ssz_contribution_and_proof,
                                                     .slot_at = slot_of_contribution},
    [HF_OP_VALIDATOR_REGISTRATION] = {.member = "validator_registration",
                                      .read = read_typed,
                                      .fields = registration_fields},
    [HF_OP_EXECUTION_PAYLOAD_BID] = {.member = "execution_payload_bid",
                                     .read = read_rooted,
                                     .type = &hf_ssz_gloas_payload_bid,
                                     .slot_at = slot_of_object},
    [HF_OP_EXECUTION_PAYLOAD_ENVELOPE] = {.member = "execution_payload_envelope",
                                          .read = read_rooted,
                                          .type = &hf_ssz_gloas_payload_envelope,
                                          .slot_at = slot_of_envelope},
    [HF_OP_PAYLOAD_ATTESTATION] = {.member = "payload_attestation_message",
                                   .member_too = "payload_attestation_data",
                                   .read = read_versioned,
                                   .fields = payload_attestation_fields},
    [HF_OP_PROPOSER_PREFERENCES] = {.member = "proposer_preferences",
                                    .read = read_versioned,
                                    .fields = preferences_fields},
    [HF_OP_BUILDER_REQUEST_AUTH] = {.member = "builder_request_auth",
                                    .read = read_rooted,
                                    .type = &hf_ssz_gloas_builder_request_auth,
                                    .slot_at = slot_of_object},
};

/* ---- what all operations share ------------------------------------------------------------ */

static hf_status read_type(const decoder *d)
{
    uint32_t type = hf_json_member(d->json, 0, "type", 4);
    if (type == 0) {
        return missing(NULL, "type", d->err);
    }
    char name[64];
    size_t len = d->json->values[type].len;
    hf_operation op;
    if (!hf_json_is(d->json, type, HF_JSON_STRING)) {
        return hf_path_fail_at(NULL, "type", d->err, "not a string");
    }
    if (len >= sizeof name) {
        return hf_path_fail_at(NULL, "type", d->err, "not a known type of request");
    }
    memcpy(name, hf_json_text(d->json, type), len);
    name[len] = '\0';
    if (!hf_eth_operation_parse(name, &op)) {
        return hf_path_fail_at(NULL, "type", d->err, "not a known type of request");
    }
    d->request->operation = (uint32_t)op;
    return hf_ok();
}

/* One spelling of the root. Absent and null are the same. */
static hf_status read_one_root(const decoder *d, const char *name, bool *ret_has, uint8_t root[32])
{
    uint32_t value = hf_json_member(d->json, 0, name, strlen(name));
    *ret_has = value != 0 && !hf_json_is(d->json, value, HF_JSON_NULL);
    if (!*ret_has) {
        return hf_ok();
    }
    hf_path path = {.name = name};
    return hf_field_bytes(d->json, value, &path, root, 32, d->err);
}

static hf_status read_signing_root(const decoder *d)
{
    uint8_t camel[32];
    uint8_t snake[32];
    bool has_camel;
    bool has_snake;
    hf_status st = read_one_root(d, "signingRoot", &has_camel, camel);
    if (!hf_failed(st)) {
        st = read_one_root(d, "signing_root", &has_snake, snake);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (has_camel && has_snake && !hf_bytes_equal(camel, snake, 32)) {
        return hf_path_fail_at(NULL, "signing_root", d->err, "differs from signingRoot");
    }
    if (has_camel || has_snake) {
        memcpy(d->request->signing_root, has_camel ? camel : snake, 32);
        d->request->has_signing_root = 1;
    }
    return hf_ok();
}

static hf_status read_fork_info(const decoder *d)
{
    if (!hf_eth_operation_has_fork_info((hf_operation)d->request->operation)) {
        return hf_ok();
    }
    uint32_t value = hf_json_member(d->json, 0, "fork_info", 9);
    if (value == 0) {
        return missing(NULL, "fork_info", d->err);
    }
    hf_path path = {.name = "fork_info"};
    d->request->has_fork_info = 1;
    return hf_fields_read(d->json, value, fork_info_fields, &path, d->request, d->err);
}

static hf_status read_member(const decoder *d)
{
    const rule *r = &rules[d->request->operation];
    hf_path path = {.name = r->member};
    uint32_t value = hf_json_member(d->json, 0, r->member, strlen(r->member));
    if (value == 0 && r->member_too != NULL) {
        value = hf_json_member(d->json, 0, r->member_too, strlen(r->member_too));
        path.name = value != 0 ? r->member_too : r->member;
    }
    if (value == 0) {
        return hf_path_fail(&path, d->err, "missing");
    }
    return r->read(d, r, value, &path);
}

static hf_status decode(const decoder *d, const char *pubkey_text)
{
    if (hf_failed(hf_hex_decode(pubkey_text, strlen(pubkey_text), d->request->pubkey,
                                HF_BLS_PUBKEY_BYTES))) {
        return hf_fail(d->err, HF_INVALID_INPUT, "pubkey: not 48 bytes of hex");
    }
    if (!hf_json_is(d->json, 0, HF_JSON_OBJECT)) {
        return hf_fail(d->err, HF_INVALID_INPUT, "body: not an object");
    }
    hf_status st = read_type(d);
    if (!hf_failed(st)) {
        st = read_signing_root(d);
    }
    if (!hf_failed(st)) {
        st = read_fork_info(d);
    }
    if (!hf_failed(st)) {
        st = read_member(d);
    }
    return hf_failed(st) ? st : hf_codec_read_proofs(d->json, d->request, d->err);
}

hf_status hf_codec_decode_sign(const hf_network *network, const char *pubkey_text, hf_bytes body,
                               hf_eth_request *ret_request, hf_error *err)
{
    hf_json json;
    /* all of it goes into a frame: no byte of this process's memory may go along */
    hf_eth_request request;
    memset(&request, 0, sizeof request);
    decoder d = {.network = network, .json = &json, .request = &request, .err = err};
    hf_status st = hf_json_parse(body, &json, err);
    if (!hf_failed(st)) {
        st = decode(&d, pubkey_text);
    }
    hf_json_done(&json);
    if (!hf_failed(st)) {
        *ret_request = request;
    }
    return st;
}
