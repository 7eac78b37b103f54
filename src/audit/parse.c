/*
 * A line of the log, which anybody may have written. Only the form that line.c writes is taken: one
 * flat object, no space, numbers without sign, strings of printable ASCII with \u00XX escapes, and
 * the MAC as the last member.
 */
#include "audit/audit.h"

#define MAC_NAME ",\"mac\":\""
#define MAC_TAIL "\"}"
/* ,"mac":"<64 digits>"} */
#define TRAILER_LEN (sizeof MAC_NAME - 1 + (size_t)2 * HF_AUDIT_MAC_BYTES + sizeof MAC_TAIL - 1)

typedef struct reader {
    const char *text;
    size_t len;
    size_t at;
} reader;

static bool take_byte(reader *in, char byte)
{
    bool is_there = in->at < in->len && in->text[in->at] == byte;
    in->at += is_there;
    return is_there;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* Behind the backslash: u00 and two digits. */
static bool take_escape(reader *in)
{
    if (in->len - in->at < 5 || !hf_bytes_equal(in->text + in->at, "u00", 3) ||
        !is_hex(in->text[in->at + 3]) || !is_hex(in->text[in->at + 4])) {
        return false;
    }
    in->at += 5;
    return true;
}

/* Behind the opening quote, up to and with the closing one. */
static bool take_text(reader *in, hf_bytes *ret_value)
{
    size_t start = in->at;
    while (in->at < in->len && in->text[in->at] != '"') {
        char c = in->text[in->at++];
        if (c < 0x20 || c == 0x7f || (c == '\\' && !take_escape(in))) {
            return false;
        }
    }
    *ret_value = hf_bytes_from(in->text + start, in->at - start);
    return take_byte(in, '"');
}

static bool take_number(reader *in, hf_bytes *ret_value)
{
    uint64_t value;
    size_t start = in->at;
    while (in->at < in->len && in->text[in->at] >= '0' && in->text[in->at] <= '9') {
        in->at++;
    }
    *ret_value = hf_bytes_from(in->text + start, in->at - start);
    return !hf_failed(hf_num_parse_u64(in->text + start, in->at - start, &value));
}

/* "name":value */
static bool take_field(reader *in, hf_audit_field *ret_field)
{
    if (!take_byte(in, '"') || !take_text(in, &ret_field->name) || !take_byte(in, ':')) {
        return false;
    }
    ret_field->is_text = take_byte(in, '"');
    return ret_field->is_text ? take_text(in, &ret_field->value)
                              : take_number(in, &ret_field->value);
}

static bool take_fields(hf_audit_line *line, const char *text, size_t len)
{
    reader in = {text, len, 0};
    if (!take_byte(&in, '{')) {
        return false;
    }
    for (;;) {
        if (line->field_count == HF_AUDIT_FIELDS_MAX ||
            !take_field(&in, &line->fields[line->field_count])) {
            return false;
        }
        line->field_count++;
        if (take_byte(&in, '}')) {
            return in.at == in.len;
        }
        if (!take_byte(&in, ',')) {
            return false;
        }
    }
}

const hf_audit_field *hf_audit_line_find(const hf_audit_line *line, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < line->field_count; i++) {
        const hf_audit_field *field = &line->fields[i];
        if (field->name.len == len && hf_bytes_equal(field->name.ptr, name, len)) {
            return field;
        }
    }
    return NULL;
}

static bool field_is(const hf_audit_field *field, const char *text)
{
    return field != NULL && field->is_text && field->value.len == strlen(text) &&
           hf_bytes_equal(field->value.ptr, text, field->value.len);
}

static bool take_first(hf_audit_line *line)
{
    const hf_audit_field *follows = hf_audit_line_find(line, "follows");
    const hf_audit_field *key_id = hf_audit_line_find(line, "key_id");
    line->is_first = true;
    if (follows == NULL || key_id == NULL || !follows->is_text || !key_id->is_text ||
        key_id->value.len != HF_AUDIT_KEY_ID_LEN - 1) {
        return false;
    }
    memcpy(line->key_id, key_id->value.ptr, key_id->value.len);
    line->key_id[key_id->value.len] = '\0';
    return !hf_failed(hf_hex_decode((const char *)follows->value.ptr, follows->value.len,
                                    line->previous, HF_AUDIT_MAC_BYTES));
}

/* "2026-11-21T16:23:48.417076Z", to the second. */
static int64_t time_of(const hf_audit_line *line)
{
    char text[20];
    struct tm utc = {0};
    const hf_audit_field *time = hf_audit_line_find(line, "time");
    if (time == NULL || !time->is_text || time->value.len < sizeof text) {
        return 0;
    }
    memcpy(text, time->value.ptr, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    return strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) == NULL ? 0 : (int64_t)timegm(&utc);
}

static bool has_trailer(const char *text, size_t len)
{
    return len > TRAILER_LEN && hf_bytes_equal(text + len - TRAILER_LEN, MAC_NAME, 8) &&
           hf_bytes_equal(text + len - 2, MAC_TAIL, 2);
}

hf_status hf_audit_line_parse(const char *text, size_t len, hf_audit_line *ret_line)
{
    hf_status bad = {HF_INVALID_INPUT};
    hf_audit_line line;
    memset(&line, 0, sizeof line);
    if (len >= HF_AUDIT_LINE_MAX || !has_trailer(text, len) || !take_fields(&line, text, len)) {
        return bad;
    }
    const hf_audit_field *seq = &line.fields[0];
    const hf_audit_field *mac = &line.fields[line.field_count - 1];
    if (!hf_bytes_equal(text, "{\"seq\":", 7) || seq->is_text ||
        hf_failed(hf_num_parse_u64((const char *)seq->value.ptr, seq->value.len, &line.seq)) ||
        line.seq == 0 || !mac->is_text ||
        hf_failed(hf_hex_decode((const char *)mac->value.ptr, mac->value.len, line.mac,
                                HF_AUDIT_MAC_BYTES))) {
        return bad;
    }
    for (size_t i = 0; i < mac->value.len; i++) {
        if (!is_hex((char)mac->value.ptr[i])) { /* one spelling: no byte may change unnoticed */
            return bad;
        }
    }
    line.body_len = len - TRAILER_LEN;
    line.unix_s = time_of(&line);
    const hf_audit_field *kind = hf_audit_line_find(&line, "kind");
    if (kind == NULL || !kind->is_text || (field_is(kind, "opened") && !take_first(&line))) {
        return bad;
    }
    *ret_line = line;
    return hf_ok();
}
