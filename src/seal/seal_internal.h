/* Reading and writing bounded binary, and what every tag in this folder covers. */
#ifndef HF_SEAL_INTERNAL_H
#define HF_SEAL_INTERNAL_H

#include "seal/seal.h"

/* Little endian. Once something does not fit, nothing does: ask at the end. */
typedef struct hf_seal_writer {
    uint8_t *data;
    size_t len;
    size_t max;
    bool failed;
} hf_seal_writer;

void hf_seal_put(hf_seal_writer *writer, const void *bytes, size_t len);
void hf_seal_put_number(hf_seal_writer *writer, uint64_t value, unsigned bytes);
/* One byte of length, then the text. */
void hf_seal_put_text(hf_seal_writer *writer, const char *text);

typedef struct hf_seal_reader {
    hf_bytes rest;
    bool failed;
} hf_seal_reader;

void hf_seal_get(hf_seal_reader *reader, void *ret_bytes, size_t len);
uint64_t hf_seal_get_number(hf_seal_reader *reader, unsigned bytes);
void hf_seal_get_text(hf_seal_reader *reader, char *ret_text, size_t max);

#endif
