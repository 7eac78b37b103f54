/*
 * json_span: where a value of a JSON text ends, in one pass and without memory: for answers of a
 * node, which may be far larger than what codec_json reads, and of which no more than their place
 * matters. RFC 8259, but for the encoding of strings, which is not looked at; bounded depth.
 */
#ifndef HF_FRONT_JSON_SPAN_H
#define HF_FRONT_JSON_SPAN_H

#include "base/base.h"

#define HF_JSON_SPAN_DEPTH 128

/*
 * Reads the one value that begins at *at, behind white space; *ret_value is it, and *at the byte
 * behind it. INVALID_INPUT: there is none.
 */
hf_status hf_json_span_value(hf_bytes text, size_t *at, hf_bytes *ret_value) HF_MUST_CHECK;

/* What a node answers to one call: exactly one of the two is not empty. Borrowed from the text. */
typedef struct hf_node_answer {
    hf_bytes result;
    hf_bytes error; /* an object */
} hf_node_answer;

/* INVALID_INPUT: not the answer to one call. */
hf_status hf_node_answer_read(hf_bytes text, hf_node_answer *ret_answer) HF_MUST_CHECK;

#endif
