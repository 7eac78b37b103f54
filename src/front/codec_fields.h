/*
 * codec_fields: members of JSON objects as typed fields of C structures, by tables; and the path
 * that an error names. A path is a chain on the stack: it costs nothing until something is wrong.
 */
#ifndef HF_FRONT_CODEC_FIELDS_H
#define HF_FRONT_CODEC_FIELDS_H

#include "front/codec_json.h"

typedef struct hf_path {
    const struct hf_path *up; /* NULL: the body itself */
    const char *name;         /* NULL: an element of a list */
    uint64_t index;
} hf_path;

/* INVALID_INPUT, "attestation.source.epoch: problem". problem is a literal. */
hf_status hf_path_fail(const hf_path *path, hf_error *err, const char *problem) HF_MUST_CHECK;
/* The same for the member name of what path stands for. */
hf_status hf_path_fail_at(const hf_path *path, const char *name, hf_error *err,
                          const char *problem) HF_MUST_CHECK;

/* One value. Numbers are decimal strings or plain integers; bytes are hex with or without 0x. */
hf_status hf_field_u64(const hf_json *json, uint32_t value, const hf_path *path, uint64_t *ret,
                       hf_error *err) HF_MUST_CHECK;
hf_status hf_field_bytes(const hf_json *json, uint32_t value, const hf_path *path, uint8_t *ret,
                         size_t len, hf_error *err) HF_MUST_CHECK;

typedef enum hf_field_kind {
    HF_FIELD_U64 = 0,
    HF_FIELD_BYTES,
    HF_FIELD_BOOL,
    HF_FIELD_OBJECT
} hf_field_kind;

/* Where one member goes. Tables end with a NULL name; every member of a table is required. */
typedef struct hf_field {
    const char *name;
    uint8_t name_len;
    uint8_t kind;  /* hf_field_kind */
    uint16_t size; /* HF_FIELD_BYTES: how many */
    uint32_t offset;
    const struct hf_field *inner; /* HF_FIELD_OBJECT: its table; offsets count from the same base */
} hf_field;

#define HF_FIELD_NAMED(text) .name = (text), .name_len = sizeof(text) - 1
#define HF_FIELD_END                                                                               \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define HF_FIELDS_MAX 16

/* Fills base by the table. Unknown members are ignored; missing ones and wrong types are errors. */
hf_status hf_fields_read(const hf_json *json, uint32_t object, const hf_field *fields,
                         const hf_path *path, void *base, hf_error *err) HF_MUST_CHECK;

#endif
