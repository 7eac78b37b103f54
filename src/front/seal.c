/*
 * /api/v1/seal: the seal machine. No passphrase comes here: who asks derives the wrapping key with
 * the parameters that the status tells, and sends that. The keeper decides who may, and on what.
 */
#include "seal/seal.h"
#include "front/front_internal.h"

#include <inttypes.h>

/* ---- reading -------------------------------------------------------------------------------- */

static const char *read_hex(const json_t *value, uint8_t *out, size_t len, const char *complaint)
{
    const char *text = json_string_value(value);
    return text == NULL || hf_failed(hf_hex_decode(text, json_string_length(value), out, len))
               ? complaint
               : NULL;
}

static const char *read_text(const json_t *value, char *out, size_t len, const char *complaint)
{
    const char *text = json_string_value(value);
    return text == NULL || strlen(text) != json_string_length(value) ||
                   hf_failed(hf_str_copy(out, len, text))
               ? complaint
               : NULL;
}

static const char *read_kdf(const json_t *value, hf_seal_kdf *kdf)
{
    const json_t *memory = json_object_get(value, "memory_bytes");
    const json_t *passes = json_object_get(value, "passes");
    const char *wrong = "kdf: must have memory_bytes, passes and salt";
    if (json_object_size(value) != 3 || !json_is_integer(memory) || !json_is_integer(passes) ||
        json_integer_value(memory) < 0 || json_integer_value(passes) < 0 ||
        json_integer_value(passes) > HF_SEAL_KDF_PASSES_MOST) {
        return wrong;
    }
    kdf->memory_bytes = (uint64_t)json_integer_value(memory);
    kdf->passes = (uint32_t)json_integer_value(passes);
    return read_hex(json_object_get(value, "salt"), kdf->salt, sizeof kdf->salt,
                    "kdf.salt: must be 16 bytes in hex");
}

static const char *read_holder_member(const char *name, const json_t *value,
                                      hf_seal_candidate *holder)
{
    hf_holder_kind kind = HF_HOLDER_PASSPHRASE;
    if (strcmp(name, "name") == 0) {
        return read_text(value, holder->name, sizeof holder->name,
                         "name: must have 1 to 32 characters");
    }
    if (strcmp(name, "kind") == 0) {
        if (!json_is_string(value) ||
            hf_failed(hf_holder_kind_parse(json_string_value(value), &kind))) {
            return "kind: must be passphrase, keyfile, printed, pkcs11 or awskms";
        }
        holder->kind = (uint8_t)kind;
        return NULL;
    }
    if (strcmp(name, "required") == 0) {
        holder->is_required = json_is_true(value);
        return json_is_boolean(value) ? NULL : "required: must be true or false";
    }
    if (strcmp(name, "wrapping_key") == 0) {
        holder->has_key = 1;
        return read_hex(value, holder->key, sizeof holder->key,
                        "wrapping_key: must be 32 bytes in hex");
    }
    if (strcmp(name, "reference") == 0) {
        return read_text(value, holder->reference, sizeof holder->reference,
                         "reference: must have at most 255 characters");
    }
    return strcmp(name, "kdf") == 0 ? read_kdf(value, &holder->kdf)
                                    : "a holder has name, kind, required, wrapping_key, kdf and "
                                      "reference";
}

static const char *read_holder(const json_t *value, hf_seal_candidate *holder)
{
    const char *wrong = json_is_object(value) ? NULL : "each holder must be an object";
    for (void *at = json_object_iter((json_t *)(uintptr_t)value); at != NULL && wrong == NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
        wrong = read_holder_member(json_object_iter_key(at), json_object_iter_value(at), holder);
    }
    if (wrong == NULL && json_object_get(value, "kind") == NULL) {
        wrong = "kind: missing";
    }
    return wrong;
}

static const char *read_begin(const json_t *root, hf_msg_seal_begin *ask)
{
    const json_t *threshold = json_object_get(root, "threshold");
    const json_t *holders = json_object_get(root, "holders");
    const char *wrong = NULL;
    if (json_object_size(root) != 2 || !json_is_integer(threshold) || !json_is_array(holders)) {
        return "the body must have threshold (a number) and holders (an array)";
    }
    if (json_integer_value(threshold) < 0 || json_integer_value(threshold) > HF_SEAL_HOLDERS_MAX ||
        json_array_size(holders) > HF_SEAL_HOLDERS_MAX) {
        return "threshold, holders: there are at most 16 holders";
    }
    ask->threshold = (uint8_t)json_integer_value(threshold);
    for (size_t i = 0; i < json_array_size(holders) && wrong == NULL; i++) {
        wrong = read_holder(json_array_get(holders, i), &ask->holders[i]);
        ask->holder_count++;
    }
    return wrong;
}

static const char *read_share(const json_t *value, hf_msg_seal_submit *ask)
{
    hf_seal_share share;
    const char *text = json_string_value(value);
    if (text == NULL || hf_failed(hf_seal_share_parse(text, json_string_length(value), &share))) {
        return "share: must be 33 bytes in hex or base64";
    }
    memcpy(ask->bytes, share.bytes, sizeof ask->bytes);
    hf_wipe(&share, sizeof share);
    ask->is_share = 1;
    return NULL;
}

static const char *read_submit(const json_t *root, hf_msg_seal_submit *ask)
{
    const json_t *holder = json_object_get(root, "holder");
    const json_t *key = json_object_get(root, "wrapping_key");
    const json_t *share = json_object_get(root, "share");
    const char *wrong = NULL;
    if (!json_is_object(root) || (key == NULL) == (share == NULL) ||
        json_object_size(root) != 1U + (holder != NULL)) {
        return "the body must have share, or holder and wrapping_key";
    }
    if (holder != NULL) {
        wrong =
            read_text(holder, ask->name, sizeof ask->name, "holder: must have 1 to 32 characters");
    } else if (key != NULL) {
        wrong = "holder: missing";
    }
    if (wrong == NULL) {
        wrong = share != NULL ? read_share(share, ask)
                              : read_hex(key, ask->bytes, HF_SEAL_KEY_BYTES,
                                         "wrapping_key: must be 32 bytes in hex");
    }
    return wrong;
}

static const char *read_register(const json_t *root, hf_msg_seal_register *ask)
{
    const char *wrong = read_holder(root, &ask->holder);
    return wrong == NULL && ask->holder.has_key == 0 ? "wrapping_key: missing" : wrong;
}

/* ---- asking --------------------------------------------------------------------------------- */

/* The largest of these questions; wiped when the exchange ends. */
typedef union seal_question {
    hf_frame_header header;
    hf_msg_seal_begin begin;
    hf_msg_seal_register candidate;
    hf_msg_seal_submit submit;
} seal_question;

static void free_question(void *pointer)
{
    hf_wipe(pointer, sizeof(seal_question));
    free(pointer);
}

/* NULL: refused. */
static seal_question *open_question(hf_exchange *x, json_t **ret_root)
{
    seal_question *ask = calloc(1, sizeof *ask);
    if (ask == NULL) {
        (void)hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
        return NULL;
    }
    x->job = ask;
    x->job_free = free_question;
    *ret_root = hf_front_read_json(x);
    return *ret_root == NULL ? NULL : ask;
}

static hf_next done(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    if (result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    return hf_front_answer_small(x, 200, HF_CONTENT_JSON, "{\"missing\":%" PRIu64 "}",
                                 result->value);
}

static hf_next begun(hf_exchange *x, const void *frame)
{
    const hf_msg_seal_shares *reply = frame;
    hf_text out;
    if (!hf_front_open_text(x, &out)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&out, "{\"missing\":%" PRIu32 ",\"shares\":[", reply->missing);
    for (uint32_t i = 0; i < reply->count && i < HF_SEAL_HOLDERS_MAX; i++) {
        const hf_seal_printed *printed = &reply->shares[i];
        char hex[HF_SEAL_SHARE_HEX_LEN];
        hf_hex_encode(printed->share, sizeof printed->share, hex);
        hf_text_put(&out, "%s{\"holder\":", i == 0 ? "" : ",");
        hf_text_put_json(&out, printed->name, strnlen(printed->name, sizeof printed->name));
        hf_text_put(&out, ",\"share\":\"%s\"}", hex);
        hf_wipe(hex, sizeof hex);
    }
    hf_text_put(&out, "]}");
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &out);
}

static hf_next begin(hf_exchange *x, hf_seal_purpose purpose)
{
    json_t *root = NULL;
    seal_question *ask = open_question(x, &root);
    if (ask == NULL) {
        return HF_NEXT_ANSWER;
    }
    const char *wrong = read_begin(root, &ask->begin);
    json_decref(root);
    if (wrong != NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, wrong);
    }
    ask->begin.purpose = purpose;
    hf_frame_init(ask, HF_MSG_SEAL_BEGIN, 0);
    return hf_front_ask(x, ask, HF_MSG_SEAL_SHARES, begun);
}

hf_next hf_front_seal_init(hf_exchange *x)
{
    return begin(x, HF_SEAL_INIT);
}

hf_next hf_front_seal_rekey(hf_exchange *x)
{
    return begin(x, HF_SEAL_REKEY);
}

hf_next hf_front_seal_rotate(hf_exchange *x)
{
    return begin(x, HF_SEAL_ROTATE);
}

hf_next hf_front_seal_register(hf_exchange *x)
{
    json_t *root = NULL;
    seal_question *ask = open_question(x, &root);
    if (ask == NULL) {
        return HF_NEXT_ANSWER;
    }
    const char *wrong = read_register(root, &ask->candidate);
    json_decref(root);
    if (wrong != NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, wrong);
    }
    hf_frame_init(ask, HF_MSG_SEAL_REGISTER, 0);
    return hf_front_ask(x, ask, HF_MSG_RESULT, done);
}

hf_next hf_front_seal_unseal(hf_exchange *x)
{
    json_t *root = NULL;
    seal_question *ask = open_question(x, &root);
    if (ask == NULL) {
        return HF_NEXT_ANSWER;
    }
    const char *wrong = read_submit(root, &ask->submit);
    json_decref(root);
    if (wrong != NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, wrong);
    }
    hf_frame_init(ask, HF_MSG_SEAL_SUBMIT, 0);
    return hf_front_ask(x, ask, HF_MSG_RESULT, done);
}

hf_next hf_front_seal_seal(hf_exchange *x)
{
    return hf_front_ask_simply(x, HF_MSG_SEAL_CLOSE, HF_MSG_RESULT, done);
}

hf_next hf_front_seal_cancel(hf_exchange *x)
{
    return hf_front_ask_simply(x, HF_MSG_SEAL_CANCEL, HF_MSG_RESULT, done);
}

/* ---- status --------------------------------------------------------------------------------- */

static const char *truth(bool is_so)
{
    return is_so ? "true" : "false";
}

static void put_kdf(hf_text *out, const hf_seal_kdf *kdf)
{
    char salt[2 * HF_SEAL_SALT_BYTES + 1];
    hf_hex_encode(kdf->salt, sizeof kdf->salt, salt);
    hf_text_put(out,
                ",\"kdf\":{\"name\":\"argon2id\",\"memory_bytes\":%" PRIu64 ",\"passes\":%" PRIu32
                ",\"salt\":\"%s\"}",
                kdf->memory_bytes, kdf->passes, salt);
}

static void put_holder(hf_text *out, const hf_seal_holder_state *holder)
{
    hf_text_put(out, "{\"name\":");
    hf_text_put_json(out, holder->name, strnlen(holder->name, sizeof holder->name));
    hf_text_put(out,
                ",\"kind\":\"%s\",\"required\":%s,\"given\":%s,\"registered\":%s,"
                "\"wrong_shares\":%" PRIu64,
                hf_holder_kind_name(holder->kind), truth(holder->is_required != 0),
                truth(holder->is_given != 0), truth(holder->is_registered != 0), holder->wrong);
    if (holder->kind == HF_HOLDER_PASSPHRASE) {
        put_kdf(out, &holder->kdf);
    }
    hf_text_put(out, "}");
}

static void put_holders(hf_text *out, const char *name, const hf_msg_seal_status_reply *s,
                        unsigned first, unsigned count)
{
    hf_text_put(out, ",\"%s\":[", name);
    for (unsigned i = 0; i < count && first + i < HF_ARRAY_LEN(s->holders); i++) {
        hf_text_put(out, "%s", i == 0 ? "" : ",");
        put_holder(out, &s->holders[first + i]);
    }
    hf_text_put(out, "]");
}

static hf_next status_known(hf_exchange *x, const void *frame)
{
    const hf_msg_seal_status_reply *s = frame;
    hf_text out;
    if (!hf_front_open_text(x, &out)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&out,
                "{\"state\":\"%s\",\"configured\":%s,\"known\":%s,\"loading\":%s,"
                "\"threshold\":%u,\"missing\":%u,\"generation\":%" PRIu64 ",\"term\":%u,"
                "\"keys\":{\"active\":%u,\"inactive\":%u,\"refused\":%u,\"to_rotate\":%u},"
                "\"detail\":",
                hf_seal_state_name(s->state), truth(s->is_configured != 0), truth(s->is_known != 0),
                truth(s->is_loading != 0), s->threshold, s->missing, s->generation, s->term,
                s->keys_active, s->keys_inactive, s->keys_refused, s->keys_to_rotate);
    hf_text_put_json(&out, s->detail, strnlen(s->detail, sizeof s->detail));
    put_holders(&out, "holders", s, 0, s->holder_count);
    put_holders(&out, "candidates", s, s->holder_count, s->candidate_count);
    hf_text_put(&out, "}");
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &out);
}

hf_next hf_front_seal_status(hf_exchange *x)
{
    return hf_front_ask_simply(x, HF_MSG_SEAL_STATUS, HF_MSG_SEAL_STATUS_REPLY, status_known);
}
