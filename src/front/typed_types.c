/* The types of typed data: the table, what a type's text means, and encodeType (EIP-712). */
#include "front/typed_internal.h"

#include "crypto/crypto.h"

static bool is_word_byte(char c, bool is_first)
{
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
    return is_letter || (!is_first && c >= '0' && c <= '9');
}

static bool is_identifier(hf_typed_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_word_byte(text.ptr[i], i == 0)) {
            return false;
        }
    }
    return text.len > 0;
}

static bool equals(hf_typed_text text, const char *word)
{
    return strlen(word) == text.len && hf_bytes_equal(text.ptr, word, text.len);
}

static bool starts(hf_typed_text text, const char *word)
{
    size_t len = strlen(word);
    return text.len >= len && hf_bytes_equal(text.ptr, word, len);
}

/* ---- what a type's text means ---------------------------------------------------------------- */

/* The number behind the first skip bytes: 0 where there is none, as in "bytes" or "uint". */
static bool read_size(hf_typed_text text, size_t skip, uint64_t *ret_size)
{
    *ret_size = 0;
    return text.len == skip ||
           !hf_failed(hf_num_parse_u64(text.ptr + skip, text.len - skip, ret_size));
}

static bool resolve_sized(hf_typed_text text, hf_typed_type *type)
{
    uint64_t size;
    if (starts(text, "bytes") && read_size(text, 5, &size)) {
        type->base = text.len == 5 ? HF_TYPED_BYTES : HF_TYPED_FIXED;
        type->size = (uint32_t)size;
        return text.len == 5 || (size >= 1 && size <= HF_TYPED_WORD);
    }
    bool is_uint = starts(text, "uint");
    size_t skip = is_uint ? 4 : 3;
    if (!is_uint && !starts(text, "int")) {
        return false;
    }
    if (!read_size(text, skip, &size)) {
        return false;
    }
    type->base = is_uint ? HF_TYPED_UINT : HF_TYPED_INT;
    type->size = text.len == skip ? 256 : (uint32_t)size;
    return text.len == skip || (size >= 8 && size <= 256 && size % 8 == 0);
}

static bool resolve_atom(hf_typed_text text, hf_typed_type *type)
{
    *type = (hf_typed_type){.base = HF_TYPED_ADDRESS};
    if (equals(text, "address")) {
        return true;
    }
    if (equals(text, "bool") || equals(text, "string")) {
        type->base = equals(text, "bool") ? HF_TYPED_BOOL : HF_TYPED_STRING;
        return true;
    }
    return resolve_sized(text, type);
}

static hf_status fail_type(hf_typed_text text, hf_error *err)
{
    char shown[49];
    (void)snprintf(shown, sizeof shown, "%.*s", (int)(text.len < 48 ? text.len : 48), text.ptr);
    return hf_fail(err, HF_INVALID_INPUT, "types: \"%s\" is no type and no struct of them", shown);
}

/* "T[]" or "T[3]": the last brackets are the outermost array. */
static hf_status resolve_array(hf_typed_text text, hf_typed_type *type, hf_error *err)
{
    size_t open = text.len - 1;
    while (open > 0 && text.ptr[open] != '[') {
        open--;
    }
    size_t digits = text.len - 1 - (open + 1);
    *type = (hf_typed_type){
        .base = HF_TYPED_ARRAY, .has_length = digits > 0, .element = {text.ptr, open}};
    if (open == 0 ||
        (digits > 0 && hf_failed(hf_num_parse_u64(text.ptr + open + 1, digits, &type->length)))) {
        return fail_type(text, err);
    }
    return hf_ok();
}

hf_status hf_typed_resolve(const hf_typed_types *types, hf_typed_text text, hf_typed_type *ret_type,
                           hf_error *err)
{
    hf_typed_type type = {0};
    if (text.len > 0 && text.ptr[text.len - 1] == ']') {
        hf_status st = resolve_array(text, &type, err);
        if (hf_failed(st)) {
            return st;
        }
    } else if (!resolve_atom(text, &type)) {
        size_t place = hf_typed_types_find(types, text);
        if (place == HF_TYPED_STRUCTS_MAX) {
            return fail_type(text, err);
        }
        type = (hf_typed_type){.base = HF_TYPED_STRUCT, .size = (uint32_t)place};
    }
    *ret_type = type;
    return hf_ok();
}

hf_status hf_typed_resolve_member(hf_typed_types *types, size_t member, hf_typed_type *ret_type,
                                  hf_error *err)
{
    hf_typed_member *of = &types->members[member];
    hf_status st = of->is_resolved ? hf_ok() : hf_typed_resolve(types, of->text, &of->type, err);
    if (!hf_failed(st)) {
        of->is_resolved = true;
        *ret_type = of->type;
    }
    return st;
}

/* ---- the table ------------------------------------------------------------------------------- */

size_t hf_typed_types_find(const hf_typed_types *types, hf_typed_text name)
{
    for (size_t i = 0; i < types->struct_count; i++) {
        const hf_typed_text *known = &types->structs[i].name;
        if (known->len == name.len && hf_bytes_equal(known->ptr, name.ptr, name.len)) {
            return i;
        }
    }
    return HF_TYPED_STRUCTS_MAX;
}

static hf_typed_text text_of(const hf_json *json, uint32_t value)
{
    return (hf_typed_text){hf_json_text(json, value), json->values[value].len};
}

static hf_status fail_struct(const hf_typed_struct *of, const char *problem, hf_error *err)
{
    char shown[49];
    (void)snprintf(shown, sizeof shown, "%.*s", (int)(of->name.len < 48 ? of->name.len : 48),
                   of->name.ptr);
    return hf_fail(err, HF_INVALID_INPUT, "types.%s: %s", shown, problem);
}

static hf_status read_member(const hf_json *json, uint32_t value, hf_typed_types *types,
                             const hf_typed_struct *of, hf_error *err)
{
    uint32_t name = hf_json_member(json, value, "name", 4);
    uint32_t type = hf_json_member(json, value, "type", 4);
    if (name == 0 || type == 0 || !hf_json_is(json, name, HF_JSON_STRING) ||
        !hf_json_is(json, type, HF_JSON_STRING)) {
        return fail_struct(of, "a member is an object of name and type", err);
    }
    hf_typed_member member = {.name = text_of(json, name), .text = text_of(json, type)};
    if (!is_identifier(member.name)) {
        return fail_struct(of, "the name of a member is no identifier", err);
    }
    for (size_t i = of->first; i < types->member_count; i++) {
        const hf_typed_text *known = &types->members[i].name;
        if (known->len == member.name.len &&
            hf_bytes_equal(known->ptr, member.name.ptr, known->len)) {
            return fail_struct(of, "has two members of one name", err);
        }
    }
    types->members[types->member_count++] = member;
    return hf_ok();
}

static hf_status read_struct(const hf_json *json, uint32_t name, hf_typed_types *types,
                             hf_error *err)
{
    hf_typed_struct *of = &types->structs[types->struct_count];
    hf_typed_type ignored;
    uint32_t list = name + 1;
    *of = (hf_typed_struct){.name = text_of(json, name), .first = (uint32_t)types->member_count};
    if (!is_identifier(of->name) || resolve_atom(of->name, &ignored)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "types: the name of a struct is no identifier, or that of another type");
    }
    if (!hf_json_is(json, list, HF_JSON_ARRAY) || json->values[list].len > HF_TYPED_MEMBERS_MAX) {
        return fail_struct(of, "a list of at most 64 members is wanted", err);
    }
    of->count = json->values[list].len;
    uint32_t item = list + 1;
    for (uint32_t i = 0; i < of->count; i++, item = json->values[item].next) {
        hf_status st = read_member(json, item, types, of, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    types->struct_count++;
    return hf_ok();
}

/* How many bytes of the text an object takes, from its brace to its last value. */
static size_t extent_of(const hf_json *json, uint32_t object)
{
    const hf_json_value *last = &json->values[json->values[object].next - 1];
    return last->start - json->values[object].start;
}

hf_status hf_typed_types_read(const hf_json *json, uint32_t value, hf_typed_types *types,
                              hf_error *err)
{
    *types = (hf_typed_types){.struct_count = 0};
    if (value == 0 || !hf_json_is(json, value, HF_JSON_OBJECT)) {
        return hf_fail(err, HF_INVALID_INPUT, "types: an object of structs is wanted");
    }
    uint32_t count = json->values[value].len;
    if (count > HF_TYPED_STRUCTS_MAX || extent_of(json, value) > HF_TYPED_TYPES_TEXT_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "types: more than 64 structs or 64 KiB of text");
    }
    types->members = calloc((size_t)count * HF_TYPED_MEMBERS_MAX + 1, sizeof *types->members);
    if (types->members == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    uint32_t name = value + 1;
    for (uint32_t i = 0; i < count; i++, name = json->values[name + 1].next) {
        hf_status st = read_struct(json, name, types, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

void hf_typed_types_done(hf_typed_types *types)
{
    free(types->members);
    types->members = NULL;
}

/* ---- encodeType ------------------------------------------------------------------------------ */

/* The struct that a type is made of, through all of its arrays; HF_TYPED_STRUCTS_MAX for none. */
static hf_status struct_within(const hf_typed_types *types, hf_typed_text text, size_t *ret_place,
                               hf_error *err)
{
    hf_typed_type type = {.base = HF_TYPED_ARRAY, .element = text};
    while (type.base == HF_TYPED_ARRAY) {
        hf_status st = hf_typed_resolve(types, type.element, &type, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    *ret_place = type.base == HF_TYPED_STRUCT ? type.size : HF_TYPED_STRUCTS_MAX;
    return hf_ok();
}

/* Which structs this one is made of, itself among them. Structs may refer to each other in circles:
 * each is looked at once. */
static hf_status find_all(const hf_typed_types *types, size_t place,
                          bool ret_has[HF_TYPED_STRUCTS_MAX], hf_error *err)
{
    size_t waiting[HF_TYPED_STRUCTS_MAX] = {place};
    size_t count = 1;
    memset(ret_has, 0, HF_TYPED_STRUCTS_MAX * sizeof *ret_has);
    ret_has[place] = true;
    for (size_t at = 0; at < count; at++) {
        const hf_typed_struct *of = &types->structs[waiting[at]];
        for (size_t i = 0; i < of->count; i++) {
            size_t inner = HF_TYPED_STRUCTS_MAX;
            hf_status st = struct_within(types, types->members[of->first + i].text, &inner, err);
            if (hf_failed(st)) {
                return st;
            }
            if (inner != HF_TYPED_STRUCTS_MAX && !ret_has[inner]) {
                ret_has[inner] = true;
                waiting[count++] = inner;
            }
        }
    }
    return hf_ok();
}

static bool is_before(hf_typed_text a, hf_typed_text b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        if (a.ptr[i] != b.ptr[i]) {
            return (uint8_t)a.ptr[i] < (uint8_t)b.ptr[i];
        }
    }
    return a.len < b.len;
}

static hf_status put_struct(const hf_typed_types *types, size_t place, hf_buf *out)
{
    const hf_typed_struct *of = &types->structs[place];
    hf_status st = hf_buf_put(out, of->name.ptr, of->name.len);
    for (size_t i = 0; i < of->count && !hf_failed(st); i++) {
        const hf_typed_member *member = &types->members[of->first + i];
        st = hf_buf_putf(out, "%s%.*s %.*s", i == 0 ? "(" : ",", (int)member->text.len,
                         member->text.ptr, (int)member->name.len, member->name.ptr);
    }
    return hf_failed(st) ? st : hf_buf_putf(out, of->count == 0 ? "()" : ")");
}

/* The struct itself, then the others by their names. */
static hf_status put_all(const hf_typed_types *types, size_t place, bool has[HF_TYPED_STRUCTS_MAX],
                         hf_buf *out)
{
    hf_status st = put_struct(types, place, out);
    has[place] = false;
    for (;;) {
        size_t next = HF_TYPED_STRUCTS_MAX;
        for (size_t i = 0; i < types->struct_count; i++) {
            bool is_sooner = next == HF_TYPED_STRUCTS_MAX ||
                             is_before(types->structs[i].name, types->structs[next].name);
            next = has[i] && is_sooner ? i : next;
        }
        if (next == HF_TYPED_STRUCTS_MAX || hf_failed(st)) {
            return st;
        }
        has[next] = false;
        st = put_struct(types, next, out);
    }
}

hf_status hf_typed_encode_type(const hf_typed_types *types, size_t place, hf_buf **ret_text,
                               hf_error *err)
{
    bool has[HF_TYPED_STRUCTS_MAX];
    hf_status st = find_all(types, place, has, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_buf *text = hf_buf_new(HF_TYPED_TYPES_TEXT_MAX);
    st = text == NULL ? (hf_status){HF_NOMEM} : put_all(types, place, has, text);
    if (hf_failed(st)) {
        hf_buf_free(text);
        return hf_fail(err, st.code == HF_LIMIT ? HF_INVALID_INPUT : st.code,
                       "types: too long, or out of memory");
    }
    *ret_text = text;
    return hf_ok();
}

hf_status hf_typed_type_hash(hf_typed_types *types, size_t place, uint8_t ret_hash[HF_TYPED_WORD],
                             hf_error *err)
{
    hf_typed_struct *of = &types->structs[place];
    if (!of->has_hash) {
        hf_buf *text = NULL;
        hf_status st = hf_typed_encode_type(types, place, &text, err);
        if (hf_failed(st)) {
            return st;
        }
        hf_keccak256(hf_buf_peek(text), hf_buf_len(text), of->hash);
        of->has_hash = true;
        hf_buf_free(text);
    }
    memcpy(ret_hash, of->hash, HF_TYPED_WORD);
    return hf_ok();
}
