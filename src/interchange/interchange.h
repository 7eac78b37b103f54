/*
 * interchange: EIP-3076 JSON, version 5, to and from hf_message records.
 *
 * Writing holds the text and one validator's votes. Parsing holds a tree of six to twelve times the
 * text: a caller that must stay small bounds the text.
 */
#ifndef HF_INTERCHANGE_H
#define HF_INTERCHANGE_H

#include "base/base.h"
#include "protect/protect.h"

#define HF_INTERCHANGE_PAGE 64
/* Half a million records are about 100 MB. */
#define HF_INTERCHANGE_MAX_BYTES (256U << 20)

/* Takes up to HF_INTERCHANGE_PAGE records; a failure ends the parse and is returned by it. */
typedef hf_status (*hf_interchange_sink)(void *context, const hf_message *messages, size_t n,
                                         hf_error *err);

/*
 * Checks the whole document first (version "5", root equal to genesis_validators_root, every field;
 * INVALID_INPUT names the place, "data[3].signed_blocks[7].slot"), and only then feeds the sink.
 */
hf_status hf_interchange_parse(hf_bytes json, const uint8_t genesis_validators_root[HF_ROOT_BYTES],
                               hf_interchange_sink sink, void *context,
                               hf_error *err) HF_MUST_CHECK;

/* A writer: new, any number of add (grouped by pubkey, as an export yields them), finish. */
typedef struct hf_interchange_writer hf_interchange_writer;

hf_status hf_interchange_writer_new(const uint8_t genesis_validators_root[HF_ROOT_BYTES],
                                    hf_buf *out, hf_interchange_writer **ret_writer) HF_MUST_CHECK;
hf_status hf_interchange_writer_add(hf_interchange_writer *writer,
                                    const hf_message *message) HF_MUST_CHECK;
hf_status hf_interchange_writer_finish(hf_interchange_writer *writer) HF_MUST_CHECK;
void hf_interchange_writer_free(hf_interchange_writer *writer);

#endif
