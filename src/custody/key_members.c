/*
 * Web3Signer's key files: YAML documents of flat members, several in a file.
 *
 * The file is cut at its document markers first and each document parsed by itself, so that a
 * broken one costs no other. A marker is a marker wherever it stands at the start of a line
 * (YAML 1.2, 9.1.4).
 */
#include "custody/key_members.h"

#include <yaml.h>

#include "custody.h"

#define MARKER_LEN 3

static const char *const member_names[HF_MEMBER_COUNT] = {
    [HF_MEMBER_TYPE] = "type",
    [HF_MEMBER_KEY_TYPE] = "keyType",
    [HF_MEMBER_PRIVATE_KEY] = "privateKey",
    [HF_MEMBER_KEYSTORE_FILE] = "keystoreFile",
    [HF_MEMBER_PASSWORD_FILE] = "keystorePasswordFile",
    [HF_MEMBER_MNEMONIC_FILE] = "mnemonicFile",
    [HF_MEMBER_PATH] = "path",
    [HF_MEMBER_SERVER_HOST] = "serverHost",
    [HF_MEMBER_SERVER_PORT] = "serverPort",
    [HF_MEMBER_TLS_ENABLED] = "tlsEnabled",
    [HF_MEMBER_TLS_KNOWN_SERVERS] = "tlsKnownServersPath",
    [HF_MEMBER_AUTH_METHOD] = "authMethod",
    [HF_MEMBER_TOKEN] = "token",
    [HF_MEMBER_KUBERNETES_ROLE] = "kubernetesRole",
    [HF_MEMBER_KUBERNETES_TOKEN] = "kubernetesServiceAccountTokenPath",
    [HF_MEMBER_KUBERNETES_AUTH_PATH] = "kubernetesAuthPath",
    [HF_MEMBER_KEY_PATH] = "keyPath",
    [HF_MEMBER_KEY_NAME] = "keyName",
    [HF_MEMBER_AUTHENTICATION_MODE] = "authenticationMode",
    [HF_MEMBER_SECRET_NAME] = "secretName",
    [HF_MEMBER_VAULT_NAME] = "vaultName",
    [HF_MEMBER_TENANT_ID] = "tenantId",
    [HF_MEMBER_CLIENT_ID] = "clientId",
    [HF_MEMBER_CLIENT_SECRET] = "clientSecret",
    [HF_MEMBER_REGION] = "region",
    [HF_MEMBER_ACCESS_KEY_ID] = "accessKeyId",
    [HF_MEMBER_SECRET_ACCESS_KEY] = "secretAccessKey",
    [HF_MEMBER_ENDPOINT_OVERRIDE] = "endpointOverride",
};

/* ---- documents of a file ------------------------------------------------------------------- */

typedef struct slice {
    hf_bytes text;
    size_t first_line; /* from 1 */
    bool has_content;
} slice;

typedef struct cursor {
    hf_bytes yaml;
    size_t at;
    size_t line; /* of at, from 1 */
} cursor;

static size_t line_length(hf_bytes yaml, size_t at)
{
    const uint8_t *end = memchr(yaml.ptr + at, '\n', yaml.len - at);
    return end == NULL ? yaml.len - at : (size_t)(end - (yaml.ptr + at)) + 1;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_marker(const uint8_t *line, size_t len)
{
    return len >= MARKER_LEN &&
           (hf_bytes_equal(line, "---", MARKER_LEN) || hf_bytes_equal(line, "...", MARKER_LEN)) &&
           (len == MARKER_LEN || is_space(line[MARKER_LEN]));
}

static bool line_has_content(const uint8_t *line, size_t len)
{
    size_t i = 0;
    while (i < len && is_space(line[i])) {
        i++;
    }
    /* A directive (%YAML 1.2) belongs to the document after the next marker. */
    return i < len && line[i] != '#' && !(i == 0 && line[i] == '%');
}

/* The next stretch between two markers, with content or without; false at the end. */
static bool next_slice(cursor *c, slice *ret_slice)
{
    if (c->at >= c->yaml.len) {
        return false;
    }
    slice s = {.first_line = c->line};
    size_t begin = c->at;
    bool is_first = true;
    while (c->at < c->yaml.len) {
        size_t len = line_length(c->yaml, c->at);
        const uint8_t *line = c->yaml.ptr + c->at;
        if (is_marker(line, len)) {
            if (!is_first) {
                break;
            }
            begin += MARKER_LEN;
            s.has_content = line_has_content(line + MARKER_LEN, len - MARKER_LEN);
        } else if (line_has_content(line, len)) {
            s.has_content = true;
        }
        is_first = false;
        c->at += len;
        c->line++;
    }
    s.text = hf_bytes_from(c->yaml.ptr + begin, c->at - begin);
    *ret_slice = s;
    return true;
}

size_t hf_key_file_count_documents(hf_bytes yaml)
{
    cursor c = {yaml, 0, 1};
    slice s;
    size_t n = 0;
    while (next_slice(&c, &s)) {
        n += s.has_content;
    }
    return n;
}

static bool find_document(hf_bytes yaml, size_t n, slice *ret_slice)
{
    cursor c = {yaml, 0, 1};
    while (next_slice(&c, ret_slice)) {
        if (ret_slice->has_content && n-- == 0) {
            return true;
        }
    }
    return false;
}

/* ---- members of a document ----------------------------------------------------------------- */

const char *hf_key_word(const char *text)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_0123456789";
    size_t len = strlen(text);
    bool fits = len > 0 && len < HF_KEY_WORD_LEN && strspn(text, letters) == len &&
                (text[0] < '0' || text[0] > '9');
    return fits ? text : "(unprintable)";
}

/* libyaml frees without wiping; the worker that runs this ends soon after, and its memory with it.
 */
static void drop_event(yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT) {
        hf_wipe(event->data.scalar.value, event->data.scalar.length);
    }
    yaml_event_delete(event);
}

static void drop_parser(yaml_parser_t *parser)
{
    if (parser->raw_buffer.start != NULL) {
        hf_wipe(parser->raw_buffer.start,
                (size_t)(parser->raw_buffer.end - parser->raw_buffer.start));
    }
    if (parser->buffer.start != NULL) {
        hf_wipe(parser->buffer.start, (size_t)(parser->buffer.end - parser->buffer.start));
    }
    yaml_parser_delete(parser);
}

static hf_status next_event(yaml_parser_t *parser, const slice *s, yaml_event_t *event,
                            hf_error *err)
{
    if (!yaml_parser_parse(parser, event)) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: not YAML: %s",
                       s->first_line + parser->problem_mark.line,
                       parser->problem != NULL ? parser->problem : "malformed");
    }
    return hf_ok();
}

static bool opens(yaml_event_type_t type)
{
    return type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
}

static bool closes(yaml_event_type_t type)
{
    return type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
}

/* Passes over a value that is a mapping or a sequence, whose opening event has been read. */
static hf_status skip_nested(yaml_parser_t *parser, const slice *s, hf_error *err)
{
    for (size_t depth = 1; depth > 0;) {
        yaml_event_t event;
        hf_status st = next_event(parser, s, &event, err);
        if (hf_failed(st)) {
            return st;
        }
        depth += opens(event.type);
        depth -= closes(event.type);
        drop_event(&event);
    }
    return hf_ok();
}

/* What Web3Signer takes for no value, where a member may be left out. */
static bool is_null(hf_key_member which, const yaml_event_t *value)
{
    const char *text = (const char *)value->data.scalar.value;
    return which >= HF_MEMBER_SERVER_HOST && value->type == YAML_SCALAR_EVENT &&
           value->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static hf_status store_value(hf_key_members *m, hf_key_member which, const yaml_event_t *value,
                             size_t line, hf_error *err)
{
    const char *name = member_names[which];
    if (m->values[which] != NULL) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: %s is given twice", line, name);
    }
    if (value->type != YAML_SCALAR_EVENT) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: %s must be text", line, name);
    }
    if (is_null(which, value)) {
        return hf_ok();
    }
    const char *text = (const char *)value->data.scalar.value;
    size_t len = value->data.scalar.length;
    if (len == 0 || len >= HF_PATH_LEN || strlen(text) != len) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: %s is %s", line, name,
                       len == 0 ? "empty" : "too long or holds a zero byte");
    }
    m->values[which] = strdup(text);
    return m->values[which] != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
}

/* Reads the value that follows a member's name. */
static hf_status read_value(yaml_parser_t *parser, const slice *s, const char *name, size_t line,
                            hf_key_members *m, hf_error *err)
{
    yaml_event_t value;
    size_t which = 0;
    hf_status st = next_event(parser, s, &value, err);
    if (hf_failed(st)) {
        return st;
    }
    while (which < HF_MEMBER_COUNT && strcmp(name, member_names[which]) != 0) {
        which++;
    }
    if (value.type == YAML_ALIAS_EVENT) {
        st = hf_fail(err, HF_INVALID_INPUT, "line %zu: an alias (*) is not supported", line);
    } else if (which < HF_MEMBER_COUNT) {
        st = store_value(m, (hf_key_member)which, &value, line, err);
    } else if (m->unknown_line == 0) {
        m->unknown_line = line;
        (void)snprintf(m->unknown, sizeof m->unknown, "%s", hf_key_word(name));
    }
    if (!hf_failed(st) && opens(value.type)) {
        st = skip_nested(parser, s, err);
    }
    drop_event(&value);
    return st;
}

/* Reads up to the mapping that the document must be. */
static hf_status read_opening(yaml_parser_t *parser, const slice *s, hf_error *err)
{
    static const yaml_event_type_t expected[] = {YAML_STREAM_START_EVENT, YAML_DOCUMENT_START_EVENT,
                                                 YAML_MAPPING_START_EVENT};
    for (size_t i = 0; i < HF_ARRAY_LEN(expected); i++) {
        yaml_event_t event;
        hf_status st = next_event(parser, s, &event, err);
        if (hf_failed(st)) {
            return st;
        }
        bool fits = event.type == expected[i];
        drop_event(&event);
        if (!fits) {
            return hf_fail(err, HF_INVALID_INPUT, "line %zu: not a mapping of names to values",
                           s->first_line);
        }
    }
    return hf_ok();
}

static hf_status read_members(yaml_parser_t *parser, const slice *s, hf_key_members *m,
                              hf_error *err)
{
    hf_status st = read_opening(parser, s, err);
    while (!hf_failed(st)) {
        yaml_event_t name;
        st = next_event(parser, s, &name, err);
        if (hf_failed(st)) {
            break;
        }
        size_t line = s->first_line + name.start_mark.line;
        bool is_end = name.type == YAML_MAPPING_END_EVENT;
        if (name.type == YAML_SCALAR_EVENT) {
            st = read_value(parser, s, (const char *)name.data.scalar.value, line, m, err);
        } else if (!is_end) {
            st = hf_fail(err, HF_INVALID_INPUT, "line %zu: a member's name must be text", line);
        }
        drop_event(&name);
        if (is_end) {
            break;
        }
    }
    return st;
}

static hf_status parse_slice(const slice *s, hf_key_members *m, hf_error *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    yaml_parser_set_input_string(&parser, s->text.ptr, s->text.len);
    hf_status st = read_members(&parser, s, m, err);
    drop_parser(&parser);
    return st;
}

/* ---- the whole document -------------------------------------------------------------------- */

hf_status hf_key_members_read(hf_bytes yaml, size_t n, hf_key_members *ret_members, hf_error *err)
{
    slice s;
    hf_key_members m = {.unknown_line = 0};
    if (hf_key_file_count_documents(yaml) > HF_KEY_DOCUMENTS_MAX) {
        return hf_fail(err, HF_LIMIT, "more than %d documents in one file", HF_KEY_DOCUMENTS_MAX);
    }
    if (!find_document(yaml, n, &s)) {
        return hf_fail(err, HF_NOT_FOUND, "the file holds no key");
    }
    m.first_line = s.first_line;
    hf_status st = parse_slice(&s, &m, err);
    if (hf_failed(st)) {
        hf_key_members_done(&m);
        return st;
    }
    *ret_members = m;
    return st;
}

void hf_key_members_done(hf_key_members *members)
{
    for (size_t i = 0; i < HF_MEMBER_COUNT; i++) {
        if (members->values[i] != NULL) {
            hf_wipe(members->values[i], strlen(members->values[i]));
            free(members->values[i]);
        }
    }
    *members = (hf_key_members){.unknown_line = 0};
}

const char *hf_key_member_name(hf_key_member which)
{
    return member_names[which];
}

const char *hf_key_member_text(const hf_key_members *members, hf_key_member which)
{
    return members->values[which] != NULL ? members->values[which] : "";
}

hf_status hf_key_member_require(const hf_key_members *members, hf_key_member which, hf_error *err)
{
    return members->values[which] != NULL
               ? hf_ok()
               : hf_fail(err, HF_INVALID_INPUT, "%s is missing", member_names[which]);
}
