/* Typed fields by tables, and errors that name the member. */
#include "front/codec_fields.h"

#include <string.h>

#define PATH_DEPTH_MAX 16
#define PATH_LEN 160

static void path_format(const hf_path *path, const char *last, char out[PATH_LEN])
{
    const hf_path *chain[PATH_DEPTH_MAX] = {NULL};
    size_t depth = 0;
    for (; path != NULL && depth < PATH_DEPTH_MAX; path = path->up) {
        chain[depth++] = path;
    }
    size_t used = 0;
    out[0] = '\0';
    while (depth-- > 0) {
        const hf_path *step = chain[depth];
        int n =
            step->name != NULL
                ? snprintf(out + used, PATH_LEN - used, "%s%s", used == 0 ? "" : ".", step->name)
                : snprintf(out + used, PATH_LEN - used, "[%llu]", (unsigned long long)step->index);
        if (n < 0 || used + (size_t)n >= PATH_LEN) {
            return;
        }
        used += (size_t)n;
    }
    if (last != NULL) {
        (void)snprintf(out + used, PATH_LEN - used, "%s%s", used == 0 ? "" : ".", last);
    }
}

hf_status hf_path_fail_at(const hf_path *path, const char *name, hf_error *err, const char *problem)
{
    char text[PATH_LEN];
    path_format(path, name, text);
    return hf_fail(err, HF_INVALID_INPUT, "%s: %s", text[0] != '\0' ? text : "body", problem);
}

hf_status hf_path_fail(const hf_path *path, hf_error *err, const char *problem)
{
    return hf_path_fail_at(path, NULL, err, problem);
}

hf_status hf_field_u64(const hf_json *json, uint32_t value, const hf_path *path, uint64_t *ret,
                       hf_error *err)
{
    const hf_json_value *v = &json->values[value];
    if (v->kind != HF_JSON_STRING && v->kind != HF_JSON_NUMBER) {
        return hf_path_fail(path, err, "not a decimal number");
    }
    const char *text = json->text + v->start;
    if (!hf_failed(hf_num_parse_u64(text, v->len, ret))) {
        return hf_ok();
    }
    bool is_digits = v->len > 0;
    for (uint32_t i = 0; i < v->len; i++) {
        is_digits = is_digits && text[i] >= '0' && text[i] <= '9';
    }
    return hf_path_fail(path, err,
                        is_digits && text[0] != '0' ? "beyond 64 bits" : "not a decimal number");
}

hf_status hf_field_bytes(const hf_json *json, uint32_t value, const hf_path *path, uint8_t *ret,
                         size_t len, hf_error *err)
{
    const hf_json_value *v = &json->values[value];
    if (v->kind != HF_JSON_STRING ||
        hf_failed(hf_hex_decode(json->text + v->start, v->len, ret, len))) {
        char problem[48];
        (void)snprintf(problem, sizeof problem, "not %zu bytes of hex", len);
        return hf_path_fail(path, err, problem);
    }
    return hf_ok();
}

static hf_status read_bool(const hf_json *json, uint32_t value, const hf_path *path, uint8_t *ret,
                           hf_error *err)
{
    if (hf_json_is(json, value, HF_JSON_TRUE) || hf_json_is_text(json, value, "true")) {
        *ret = 1;
    } else if (hf_json_is(json, value, HF_JSON_FALSE) || hf_json_is_text(json, value, "false")) {
        *ret = 0;
    } else {
        return hf_path_fail(path, err, "neither true nor false");
    }
    return hf_ok();
}

/* Recursion follows the tables, which are static, never the input. */
static hf_status read_field(const hf_json *json, uint32_t value, const hf_field *field,
                            const hf_path *up, void *base, hf_error *err)
{
    hf_path path = {.up = up, .name = field->name};
    uint8_t *place = (uint8_t *)base + field->offset;
    uint64_t number;
    hf_status st;
    switch ((hf_field_kind)field->kind) {
    case HF_FIELD_U64:
        st = hf_field_u64(json, value, &path, &number, err);
        if (!hf_failed(st)) {
            memcpy(place, &number, sizeof number);
        }
        return st;
    case HF_FIELD_BYTES:
        return hf_field_bytes(json, value, &path, place, field->size, err);
    case HF_FIELD_BOOL:
        return read_bool(json, value, &path, place, err);
    case HF_FIELD_OBJECT:
        return hf_fields_read(json, value, field->inner, &path, base, err);
    }
    return hf_path_fail(&path, err, "of no known kind");
}

hf_status hf_fields_read(const hf_json *json, uint32_t object, const hf_field *fields,
                         const hf_path *path, void *base, hf_error *err)
{
    const hf_json_value *values = json->values;
    if (values[object].kind != HF_JSON_OBJECT) {
        return hf_path_fail(path, err, "not an object");
    }
    unsigned seen = 0;
    /* Clients send members in the specification's order: the search starts behind the last hit. */
    unsigned guess = 0;
    for (uint32_t i = object + 1; i < values[object].next; i = values[i + 1].next) {
        const char *name = json->text + values[i].start;
        unsigned k = guess;
        if (fields[k].name == NULL || fields[k].name_len != values[i].len ||
            !hf_bytes_equal(fields[k].name, name, values[i].len)) {
            for (k = 0; fields[k].name != NULL; k++) {
                if (fields[k].name_len == values[i].len &&
                    hf_bytes_equal(fields[k].name, name, values[i].len)) {
                    break;
                }
            }
        }
        if (fields[k].name == NULL) {
            continue;
        }
        hf_status st = read_field(json, i + 1, &fields[k], path, base, err);
        if (hf_failed(st)) {
            return st;
        }
        seen |= 1U << k;
        guess = k + 1;
    }
    for (unsigned k = 0; fields[k].name != NULL; k++) {
        if ((seen >> k & 1) == 0) {
            return hf_path_fail_at(path, fields[k].name, err, "missing");
        }
    }
    return hf_ok();
}
