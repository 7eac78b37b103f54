/*
 * Typed data from a client. What is read has a digest, unless it is a vote that cannot be one; read
 * again as a string of JSON it is the same.
 */
#include "front/typed_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_as_string(const uint8_t *data, size_t size, const hf_typed_message *wanted)
{
    hf_typed_message again;
    hf_json json;
    hf_buf *text = hf_buf_new(2 * size + 3);
    HF_ASSERT(text != NULL && !hf_failed(hf_buf_put(text, "\"", 1)));
    for (size_t i = 0; i < size; i++) {
        bool is_special = data[i] == '"' || data[i] == '\\';
        const char *white = data[i] == '\n' ? "\\n" : data[i] == '\r' ? "\\r" : "\\t";
        HF_ASSERT(!hf_failed(data[i] < 0x20 ? hf_buf_put(text, white, 2)
                             : is_special   ? hf_buf_putf(text, "\\%c", data[i])
                                            : hf_buf_put(text, &data[i], 1)));
    }
    HF_ASSERT(!hf_failed(hf_buf_put(text, "\"", 1)));
    HF_ASSERT(
        !hf_failed(hf_json_parse(hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)), &json, NULL)));
    HF_ASSERT(!hf_failed(hf_typed_data_read(&json, 0, &again, NULL)));
    HF_ASSERT(hf_bytes_equal(wanted, &again, sizeof again));
    hf_json_done(&json);
    hf_buf_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_typed_message message;
    uint8_t digest[32];
    hf_error err = {.code = HF_OK};
    if (hf_failed(hf_typed_data_parse(hf_bytes_from(data, size), &message, &err))) {
        HF_ASSERT(err.msg[0] != '\0');
        return 0;
    }
    hf_status st = hf_typed_digest(&message, digest, &err);
    HF_ASSERT(!hf_failed(st) || (st.code == HF_DENIED && hf_typed_is_duty(&message)));
    check_as_string(data, size, &message);
    return 0;
}
