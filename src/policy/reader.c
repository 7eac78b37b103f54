/* Bounded reading and writing of the binary encodings: little endian, no pointer from outside. */
#include "policy_internal.h"

uint64_t hf_policy_get(hf_policy_reader *reader, unsigned bytes)
{
    uint8_t raw[8] = {0};
    HF_ASSERT(bytes <= sizeof raw);
    hf_policy_get_bytes(reader, raw, bytes);
    return hf_le64_get(raw);
}

void hf_policy_get_bytes(hf_policy_reader *reader, void *out, size_t len)
{
    if (reader->failed || reader->left < len) {
        reader->failed = true;
        memset(out, 0, len);
        return;
    }
    memcpy(out, reader->next, len);
    reader->next += len;
    reader->left -= len;
}

void hf_policy_get_text(hf_policy_reader *reader, char *out, size_t room)
{
    size_t len = hf_policy_get_count(reader, 1, room - 1);
    memset(out, 0, room);
    hf_policy_get_bytes(reader, out, len);
    reader->failed = reader->failed || memchr(out, '\0', len) != NULL;
}

size_t hf_policy_get_count(hf_policy_reader *reader, unsigned bytes, size_t most)
{
    uint64_t count = hf_policy_get(reader, bytes);
    if (count > most) {
        reader->failed = true;
        return 0;
    }
    return (size_t)count;
}

void hf_policy_put(hf_policy_writer *writer, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];
    HF_ASSERT(bytes <= sizeof raw && (bytes == sizeof raw || value >> (8 * bytes) == 0));
    hf_le64_put(raw, value);
    hf_policy_put_bytes(writer, raw, bytes);
}

void hf_policy_put_bytes(hf_policy_writer *writer, const void *bytes, size_t len)
{
    if (!hf_failed(writer->status)) {
        writer->status = hf_buf_put(writer->out, bytes, len);
    }
}

void hf_policy_put_text(hf_policy_writer *writer, const char *text)
{
    size_t len = strlen(text);
    hf_policy_put(writer, len, 1);
    hf_policy_put_bytes(writer, text, len);
}
