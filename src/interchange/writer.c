/*
 * From records to EIP-3076 JSON: one line a validator and a record, so that two exports can be
 * compared with diff. Blocks and attestations are two lists of one validator, and records come in
 * any order within it: the attestations wait in a buffer of their own.
 */
#include "interchange/interchange.h"

/* One record is below 200 bytes; this many are half a million epochs of one validator. */
#define VOTES_MAX_BYTES (128U << 20)

struct hf_interchange_writer {
    hf_buf *out;   /* the caller's */
    hf_buf *votes; /* of the validator under way */
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    uint64_t validators;
    uint64_t blocks; /* of the validator under way */
};

hf_status hf_interchange_writer_new(const uint8_t genesis_validators_root[HF_ROOT_BYTES],
                                    hf_buf *out, hf_interchange_writer **ret_writer)
{
    char root[2 * HF_ROOT_BYTES + 1];
    hf_interchange_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return (hf_status){HF_NOMEM};
    }
    writer->out = out;
    writer->votes = hf_buf_new(VOTES_MAX_BYTES);
    hf_status st = {HF_NOMEM};
    if (writer->votes != NULL) {
        hf_hex_encode(genesis_validators_root, HF_ROOT_BYTES, root);
        st = hf_buf_putf(out,
                         "{\"metadata\":{\"interchange_format_version\":\"5\","
                         "\"genesis_validators_root\":\"0x%s\"},\n\"data\":[",
                         root);
    }
    if (hf_failed(st)) {
        hf_interchange_writer_free(writer);
        return st;
    }
    *ret_writer = writer;
    return st;
}

static hf_status end_validator(hf_interchange_writer *writer)
{
    if (writer->validators == 0) {
        return hf_ok();
    }
    hf_status st = hf_buf_putf(writer->out, "],\n\"signed_attestations\":[");
    if (!hf_failed(st)) {
        st = hf_buf_put(writer->out, hf_buf_peek(writer->votes), hf_buf_len(writer->votes));
    }
    if (!hf_failed(st)) {
        st = hf_buf_putf(writer->out, "]}");
    }
    hf_buf_reset(writer->votes);
    return st;
}

static hf_status begin_validator(hf_interchange_writer *writer, const hf_message *message)
{
    char key[2 * HF_BLS_PUBKEY_BYTES + 1];
    hf_status st = end_validator(writer);
    if (hf_failed(st)) {
        return st;
    }
    hf_hex_encode(message->pubkey, HF_BLS_PUBKEY_BYTES, key);
    st = hf_buf_putf(writer->out, "%s\n{\"pubkey\":\"0x%s\",\n\"signed_blocks\":[",
                     writer->validators > 0 ? "," : "", key);
    memcpy(writer->pubkey, message->pubkey, HF_BLS_PUBKEY_BYTES);
    writer->validators++;
    writer->blocks = 0;
    return st;
}

static hf_status put_root(hf_buf *out, const hf_message *message)
{
    char root[2 * HF_ROOT_BYTES + 1];
    if (!message->has_root) {
        return hf_buf_putf(out, "}");
    }
    hf_hex_encode(message->signing_root, HF_ROOT_BYTES, root);
    return hf_buf_putf(out, ",\"signing_root\":\"0x%s\"}", root);
}

hf_status hf_interchange_writer_add(hf_interchange_writer *writer, const hf_message *message)
{
    hf_status st = hf_ok();
    if (writer->validators == 0 ||
        !hf_bytes_equal(writer->pubkey, message->pubkey, HF_BLS_PUBKEY_BYTES)) {
        st = begin_validator(writer, message);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (message->kind == HF_MESSAGE_BLOCK) {
        st = hf_buf_putf(writer->out, "%s\n{\"slot\":\"%llu\"", writer->blocks > 0 ? "," : "",
                         (unsigned long long)message->slot);
        writer->blocks++;
        return hf_failed(st) ? st : put_root(writer->out, message);
    }
    st = hf_buf_putf(writer->votes, "%s\n{\"source_epoch\":\"%llu\",\"target_epoch\":\"%llu\"",
                     hf_buf_len(writer->votes) > 0 ? "," : "", (unsigned long long)message->source,
                     (unsigned long long)message->target);
    return hf_failed(st) ? st : put_root(writer->votes, message);
}

hf_status hf_interchange_writer_finish(hf_interchange_writer *writer)
{
    hf_status st = end_validator(writer);
    return hf_failed(st) ? st : hf_buf_putf(writer->out, "\n]}\n");
}

void hf_interchange_writer_free(hf_interchange_writer *writer)
{
    if (writer != NULL) {
        hf_buf_free(writer->votes);
        free(writer);
    }
}
