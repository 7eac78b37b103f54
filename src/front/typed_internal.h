/* What the files of typed data share: typed_types.c, typed_values.c, typed_data.c. */
#ifndef HF_FRONT_TYPED_INTERNAL_H
#define HF_FRONT_TYPED_INTERNAL_H

#include "front/typed_data.h"

#define HF_TYPED_WORD 32

/* ---- typed_types.c --------------------------------------------------------------------------- */

typedef struct hf_typed_text {
    const char *ptr;
    size_t len;
} hf_typed_text;

typedef enum hf_typed_base {
    HF_TYPED_STRUCT = 0,
    HF_TYPED_ARRAY,
    HF_TYPED_ADDRESS,
    HF_TYPED_BOOL,
    HF_TYPED_STRING,
    HF_TYPED_BYTES,
    HF_TYPED_FIXED, /* bytesN */
    HF_TYPED_UINT,
    HF_TYPED_INT
} hf_typed_base;

typedef struct hf_typed_type {
    hf_typed_base base;
    uint32_t size;         /* FIXED: bytes; UINT, INT: bits; STRUCT: its place in the table */
    bool has_length;       /* ARRAY */
    uint64_t length;       /* ARRAY with a length */
    hf_typed_text element; /* ARRAY: the type of what is in it */
} hf_typed_type;

typedef struct hf_typed_member {
    hf_typed_text name;
    hf_typed_text text; /* of its type */
    bool is_resolved;
    hf_typed_type type;
} hf_typed_member;

typedef struct hf_typed_struct {
    hf_typed_text name;
    uint32_t first; /* its members in the table */
    uint32_t count;
    bool has_hash;
    uint8_t hash[HF_TYPED_WORD];
} hf_typed_struct;

typedef struct hf_typed_types {
    hf_typed_struct structs[HF_TYPED_STRUCTS_MAX];
    size_t struct_count;
    hf_typed_member *members; /* owned */
    size_t member_count;
} hf_typed_types;

/* value: the member "types". The table borrows its text. */
hf_status hf_typed_types_read(const hf_json *json, uint32_t value, hf_typed_types *types,
                              hf_error *err) HF_MUST_CHECK;
void hf_typed_types_done(hf_typed_types *types);
/* HF_TYPED_STRUCTS_MAX when there is none. */
size_t hf_typed_types_find(const hf_typed_types *types, hf_typed_text name);
/* INVALID_INPUT for a type that is none. */
hf_status hf_typed_resolve(const hf_typed_types *types, hf_typed_text text, hf_typed_type *ret_type,
                           hf_error *err) HF_MUST_CHECK;
/* The same of a member, kept for the next time. */
hf_status hf_typed_resolve_member(hf_typed_types *types, size_t member, hf_typed_type *ret_type,
                                  hf_error *err) HF_MUST_CHECK;
/* encodeType of the standard. *ret_text is the caller's to free. */
hf_status hf_typed_encode_type(const hf_typed_types *types, size_t place, hf_buf **ret_text,
                               hf_error *err) HF_MUST_CHECK;
/* Its hash, kept for the next time. */
hf_status hf_typed_type_hash(hf_typed_types *types, size_t place, uint8_t ret_hash[HF_TYPED_WORD],
                             hf_error *err) HF_MUST_CHECK;

/* ---- typed_values.c -------------------------------------------------------------------------- */

/* encodeData of everything but structs and arrays. The sentence lacks the value's name. */
hf_status hf_typed_encode_value(const hf_json *json, uint32_t value, const hf_typed_type *type,
                                uint8_t ret_word[HF_TYPED_WORD], hf_error *err) HF_MUST_CHECK;
/* The bytes of a string without its escapes; the caller frees *ret_text. INVALID_INPUT for half of
 * a surrogate pair. */
hf_status hf_typed_unescape(const hf_json *json, uint32_t value, hf_buf **ret_text,
                            hf_error *err) HF_MUST_CHECK;

#endif
