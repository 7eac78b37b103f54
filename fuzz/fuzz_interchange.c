/*
 * EIP-3076 documents. What is accepted, written and read again is the same; what is refused has
 * handed nothing on.
 */
#include "interchange/interchange.h"

#define OUTPUT_MAX_BYTES (8U << 20)

typedef struct digest {
    size_t records;
    uint64_t sum; /* of the records, whatever their order */
} digest;

static hf_status take(void *context, const hf_message *messages, size_t n, hf_error *err)
{
    digest *seen = context;
    (void)err;
    HF_ASSERT(n > 0 && n <= HF_INTERCHANGE_PAGE);
    for (size_t i = 0; i < n; i++) {
        const hf_message *m = &messages[i];
        HF_ASSERT(m->slot <= HF_PROTECT_MAX_NUMBER && m->source <= HF_PROTECT_MAX_NUMBER &&
                  m->target <= HF_PROTECT_MAX_NUMBER);
        seen->records++;
        seen->sum += (m->slot + 3 * m->source + 5 * m->target + 7 * m->kind) *
                     (1 + m->signing_root[0] + 2U * m->pubkey[0] + m->has_root);
    }
    return hf_ok();
}

typedef struct copy {
    hf_interchange_writer *writer;
    digest seen;
} copy;

static hf_status write_again(void *context, const hf_message *messages, size_t n, hf_error *err)
{
    copy *out = context;
    hf_status st = take(&out->seen, messages, n, err);
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = hf_interchange_writer_add(out->writer, &messages[i]);
    }
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t root[HF_ROOT_BYTES];
    hf_error err = {0};
    copy out = {0};
    digest again = {0};
    hf_buf *text = hf_buf_new(OUTPUT_MAX_BYTES);
    if (text == NULL || hf_failed(hf_interchange_writer_new(root, text, &out.writer))) {
        hf_buf_free(text);
        return 0;
    }
    hf_status st = hf_interchange_parse(hf_bytes_from(data, size), root, write_again, &out, &err);
    if (hf_failed(st)) {
        HF_ASSERT(out.seen.records == 0 && err.msg[0] != '\0');
    } else {
        HF_ASSERT(!hf_failed(hf_interchange_writer_finish(out.writer)));
        st = hf_interchange_parse(hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)), root, take,
                                  &again, &err);
        HF_ASSERT(!hf_failed(st));
        HF_ASSERT(again.records == out.seen.records && again.sum == out.seen.sum);
    }
    hf_interchange_writer_free(out.writer);
    hf_buf_free(text);
    return 0;
}
