/*
 * codec_json: a strict JSON reader (RFC 8259) over borrowed bytes, as a flat array of values.
 *
 * Why not jansson, which the rest of the project uses: it wants 8 us for the 633 bytes of an
 * attestation, a fifth of all that Holdfast spends on a signature beside the curve; this reader
 * wants one. It also keeps integers whole up to 2^64 and names the member that an error is in.
 * Stricter than the standard: no member twice, no escape in a name, bounded depth and counts.
 */
#ifndef HF_FRONT_CODEC_JSON_H
#define HF_FRONT_CODEC_JSON_H

#include "base/base.h"

#define HF_JSON_MAX_DEPTH 24
/* Members of one object. The largest container has 19; the rest is room for unknown ones. */
#define HF_JSON_MAX_MEMBERS 64
/* A payload of 2 MiB has fewer than 10,000 transactions. 1 MiB of memory at the most. */
#define HF_JSON_MAX_VALUES 65536
/* Held inside the document: enough for every request but full blocks and payloads. */
#define HF_JSON_FIRST_VALUES 128

typedef enum hf_json_kind {
    HF_JSON_OBJECT = 0,
    HF_JSON_ARRAY,
    HF_JSON_STRING,  /* without escapes: the bytes are the text */
    HF_JSON_ESCAPED, /* a string with escapes: no known member has one */
    HF_JSON_NUMBER,
    HF_JSON_TRUE,
    HF_JSON_FALSE,
    HF_JSON_NULL
} hf_json_kind;

/* A member of an object is two values in a row: its name and what it has. Children follow parents.
 */
typedef struct hf_json_value {
    uint32_t start; /* offset in the text; of a string, behind the quote */
    uint32_t len;   /* bytes; of an object or array, how many members or elements */
    uint32_t next;  /* index of the value behind this one and all inside it */
    uint32_t kind;  /* hf_json_kind */
} hf_json_value;

typedef struct hf_json {
    const char *text; /* borrowed */
    hf_json_value *values;
    uint32_t count;
    uint32_t capacity;
    hf_json_value first[HF_JSON_FIRST_VALUES];
} hf_json;

/*
 * Reads one whole text. Value 0 is the outermost. The document must not move (values may point into
 * it) and hf_json_done must follow, also after a failure. INVALID_INPUT says what and at which
 * byte; NOMEM.
 */
hf_status hf_json_parse(hf_bytes text, hf_json *json, hf_error *err) HF_MUST_CHECK;
void hf_json_done(hf_json *json);

/* The value of an object's member, or 0 when it has none (0 is never a member). */
uint32_t hf_json_member(const hf_json *json, uint32_t object, const char *name, size_t name_len);
/* Is this string equal to text, ASCII case aside? False for what is no string. */
bool hf_json_is_text(const hf_json *json, uint32_t value, const char *text);

static inline const char *hf_json_text(const hf_json *json, uint32_t value)
{
    return json->text + json->values[value].start;
}

static inline bool hf_json_is(const hf_json *json, uint32_t value, hf_json_kind kind)
{
    return json->values[value].kind == (uint32_t)kind;
}

#endif
