/* A duty of an Aztec validator from its JSON. */
#include "front/codec.h"
#include "front/codec_fields.h"

#include <string.h>

typedef struct decoder {
    const hf_json *json;
    hf_duty_request *request;
    hf_error *err;
} decoder;

static hf_status fail(const decoder *d, const char *name, const char *problem)
{
    return hf_path_fail_at(NULL, name, d->err, problem);
}

/* 0 when the member is absent or null. */
static uint32_t find(const decoder *d, const char *name)
{
    uint32_t value = hf_json_member(d->json, 0, name, strlen(name));
    return value != 0 && hf_json_is(d->json, value, HF_JSON_NULL) ? 0 : value;
}

static hf_status read_bytes(const decoder *d, const char *name, uint8_t *ret, size_t len)
{
    const hf_path path = {.name = name};
    uint32_t value = find(d, name);
    return value == 0 ? fail(d, name, "missing")
                      : hf_field_bytes(d->json, value, &path, ret, len, d->err);
}

/* *ret stays as it is when the member is absent and need not be there. */
static hf_status read_number(const decoder *d, const char *name, bool is_needed, uint64_t *ret)
{
    const hf_path path = {.name = name};
    uint64_t number = 0;
    uint32_t value = find(d, name);
    if (value == 0) {
        return is_needed ? fail(d, name, "missing") : hf_ok();
    }
    hf_status st = hf_field_u64(d->json, value, &path, &number, d->err);
    if (!hf_failed(st) && number > HF_AZTEC_MAX_NUMBER) {
        st = fail(d, name, "beyond 63 bits");
    }
    if (!hf_failed(st)) {
        *ret = number;
    }
    return st;
}

static hf_status read_type(const decoder *d)
{
    uint32_t value = find(d, "dutyType");
    if (value == 0) {
        return fail(d, "dutyType", "missing");
    }
    if (!hf_json_is(d->json, value, HF_JSON_STRING) ||
        !hf_duty_type_parse(hf_json_text(d->json, value), d->json->values[value].len,
                            &d->request->duty.type)) {
        return fail(d, "dutyType", "not a known type of duty");
    }
    return hf_ok();
}

/* Never guessed: a signature over the wrong bytes would take the duty's one place. */
static hf_status read_hashing(const decoder *d)
{
    uint32_t value = find(d, "hashing");
    if (value == 0) {
        return fail(d, "hashing", "missing");
    }
    if (hf_json_is_text(d->json, value, "eip191")) {
        d->request->hashing = HF_AZTEC_EIP191;
    } else if (hf_json_is_text(d->json, value, "raw")) {
        d->request->hashing = HF_AZTEC_RAW;
    } else {
        return fail(d, "hashing", "neither eip191 nor raw");
    }
    return hf_ok();
}

static bool is_minus_one(const decoder *d, uint32_t value)
{
    const hf_json_value *v = &d->json->values[value];
    return (v->kind == HF_JSON_STRING || v->kind == HF_JSON_NUMBER) && v->len == 2 &&
           hf_bytes_equal(hf_json_text(d->json, value), "-1", 2);
}

/* Of block proposals alone; the package says -1 for the other types. */
static hf_status read_index(const decoder *d)
{
    static const char name[] = "blockIndexWithinCheckpoint";
    uint64_t index = 0;
    bool is_proposal = d->request->duty.type == HF_DUTY_BLOCK_PROPOSAL;
    uint32_t value = find(d, name);
    if (!is_proposal && (value == 0 || is_minus_one(d, value))) {
        d->request->duty.block_index = HF_DUTY_NO_INDEX;
        return hf_ok();
    }
    hf_status st = read_number(d, name, true, &index);
    if (!hf_failed(st) && index > INT32_MAX) {
        st = fail(d, name, "beyond 31 bits");
    }
    if (!hf_failed(st)) {
        d->request->duty.block_index = is_proposal ? (int32_t)index : HF_DUTY_NO_INDEX;
    }
    return st;
}

static bool is_vote(uint32_t type)
{
    return type == HF_DUTY_GOVERNANCE_VOTE || type == HF_DUTY_SLASHING_VOTE;
}

/* What makes it the duty it is. Types that no lock protects need none of it. */
static hf_status read_identity(const decoder *d)
{
    hf_duty *duty = &d->request->duty;
    bool is_protected = hf_duty_type_is_protected(duty->type);
    hf_status st = hf_ok();
    if (is_protected || find(d, "rollupAddress") != 0) {
        st = read_bytes(d, "rollupAddress", duty->rollup, sizeof duty->rollup);
    }
    if (!hf_failed(st)) {
        st = read_number(d, "slot", is_protected, &duty->slot);
    }
    if (!hf_failed(st)) {
        st = read_number(d, "blockNumber", is_protected && !is_vote(duty->type),
                         &duty->block_number);
    }
    if (!hf_failed(st)) {
        st = read_index(d);
    }
    return hf_failed(st) ? st : read_number(d, "checkpointNumber", false, &duty->checkpoint_number);
}

static hf_status decode(const decoder *d)
{
    hf_duty_request *request = d->request;
    if (!hf_json_is(d->json, 0, HF_JSON_OBJECT)) {
        return hf_fail(d->err, HF_INVALID_INPUT, "body: not an object");
    }
    hf_status st = read_type(d);
    if (!hf_failed(st)) {
        st = read_bytes(d, "validatorAddress", request->duty.validator,
                        sizeof request->duty.validator);
    }
    if (!hf_failed(st)) {
        st = read_bytes(d, "messageHash", request->hash, sizeof request->hash);
    }
    if (!hf_failed(st)) {
        st = read_hashing(d);
    }
    return hf_failed(st) ? st : read_identity(d);
}

hf_status hf_codec_decode_duty(hf_bytes body, hf_duty_request *ret_request, hf_error *err)
{
    hf_json json;
    hf_duty_request request;
    memset(&request, 0, sizeof request); /* all of it goes into a frame */
    const decoder d = {.json = &json, .request = &request, .err = err};
    hf_status st = hf_json_parse(body, &json, err);
    if (!hf_failed(st)) {
        st = decode(&d);
    }
    hf_json_done(&json);
    if (!hf_failed(st)) {
        *ret_request = request;
    }
    return st;
}
