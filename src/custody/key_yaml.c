/*
 * Web3Signer's key files: YAML documents of flat members, several in a file.
 *
 * The file is cut at its document markers first and each document parsed by itself, so that a
 * broken one costs no other. A marker is a marker wherever it stands at the start of a line
 * (YAML 1.2, 9.1.4).
 */
#include "custody.h"

#include <strings.h>
#include <yaml.h>

/* A member name or type longer than this, or with other characters, is not repeated in an error. */
#define WORD_MAX 40
#define MARKER_LEN 3

typedef enum member {
    MEMBER_TYPE,
    MEMBER_KEY_TYPE,
    MEMBER_PRIVATE_KEY,
    MEMBER_KEYSTORE_FILE,
    MEMBER_PASSWORD_FILE,
    MEMBER_MNEMONIC_FILE,
    MEMBER_PATH,
    MEMBER_COUNT
} member;

static const char *const member_names[MEMBER_COUNT] = {
    "type",         "keyType", "privateKey", "keystoreFile", "keystorePasswordFile",
    "mnemonicFile", "path"};

typedef struct members {
    char values[MEMBER_COUNT][HF_PATH_LEN]; /* holds a secret: wiped by its owner */
    bool is_present[MEMBER_COUNT];
    char unknown[WORD_MAX + 1]; /* the first member that no type here has */
    size_t unknown_line;        /* 0: none */
} members;

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

/* A word fit for an error sentence, or a phrase in its place: the text may be a misplaced secret.
 */
static const char *as_word(const char *text)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_0123456789";
    size_t len = strlen(text);
    bool fits = len > 0 && len <= WORD_MAX && strspn(text, letters) == len &&
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

static hf_status store_value(members *m, member which, const yaml_event_t *value, size_t line,
                             hf_error *err)
{
    const char *name = member_names[which];
    if (m->is_present[which]) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: %s is given twice", line, name);
    }
    if (value->type != YAML_SCALAR_EVENT) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: %s must be text", line, name);
    }
    const char *text = (const char *)value->data.scalar.value;
    size_t len = value->data.scalar.length;
    if (len == 0 || len >= HF_PATH_LEN || strlen(text) != len) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: %s is %s", line, name,
                       len == 0 ? "empty" : "too long or holds a zero byte");
    }
    memcpy(m->values[which], text, len + 1);
    m->is_present[which] = true;
    return hf_ok();
}

/* Reads the value that follows a member's name. */
static hf_status read_value(yaml_parser_t *parser, const slice *s, const char *name, size_t line,
                            members *m, hf_error *err)
{
    yaml_event_t value;
    size_t which = 0;
    hf_status st = next_event(parser, s, &value, err);
    if (hf_failed(st)) {
        return st;
    }
    while (which < MEMBER_COUNT && strcmp(name, member_names[which]) != 0) {
        which++;
    }
    if (value.type == YAML_ALIAS_EVENT) {
        st = hf_fail(err, HF_INVALID_INPUT, "line %zu: an alias (*) is not supported", line);
    } else if (which < MEMBER_COUNT) {
        st = store_value(m, (member)which, &value, line, err);
    } else if (m->unknown_line == 0) {
        m->unknown_line = line;
        (void)snprintf(m->unknown, sizeof m->unknown, "%s", as_word(name));
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

static hf_status read_members(yaml_parser_t *parser, const slice *s, members *m, hf_error *err)
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

static hf_status parse_slice(const slice *s, members *m, hf_error *err)
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

/* ---- what the members mean ----------------------------------------------------------------- */

static hf_status require_member(const members *m, member which, hf_error *err)
{
    if (!m->is_present[which]) {
        return hf_fail(err, HF_INVALID_INPUT, "%s is missing", member_names[which]);
    }
    return hf_ok();
}

static hf_status refuse_member(const members *m, member which, hf_error *err)
{
    if (m->is_present[which]) {
        return hf_fail(err, HF_INVALID_INPUT, "%s does not belong to type %s", member_names[which],
                       m->values[MEMBER_TYPE]);
    }
    return hf_ok();
}

static hf_status resolve_path(const char *folder, const char *path, char *out, hf_error *err)
{
    hf_status st = path[0] == '/' ? hf_str_copy(out, HF_PATH_LEN, path)
                                  : hf_str_format(out, HF_PATH_LEN, "%s/%s", folder, path);
    return hf_failed(st) ? hf_fail(err, HF_LIMIT, "a path is longer than %d bytes", HF_PATH_LEN - 1)
                         : st;
}

/* What the types have: each member is needed there, and an error elsewhere. */
static const unsigned type_members[] = {
    [HF_KEY_DOCUMENT_RAW] = 1U << MEMBER_PRIVATE_KEY,
    [HF_KEY_DOCUMENT_KEYSTORE] = 1U << MEMBER_KEYSTORE_FILE | 1U << MEMBER_PASSWORD_FILE,
    [HF_KEY_DOCUMENT_MNEMONIC] = 1U << MEMBER_MNEMONIC_FILE | 1U << MEMBER_PATH,
};

static hf_status check_members(const members *m, hf_key_document_type type, hf_error *err)
{
    hf_status st = hf_ok();
    for (unsigned which = MEMBER_PRIVATE_KEY; which < MEMBER_COUNT && !hf_failed(st); which++) {
        bool is_needed = (type_members[type] >> which & 1U) != 0;
        st = is_needed ? require_member(m, (member)which, err)
                       : refuse_member(m, (member)which, err);
    }
    return st;
}

static hf_status read_raw(const members *m, hf_key_document *doc, hf_error *err)
{
    const char *hex = m->values[MEMBER_PRIVATE_KEY];
    if (hf_failed(hf_hex_decode(hex, strlen(hex), doc->secret, sizeof doc->secret))) {
        return hf_fail(err, HF_INVALID_INPUT, "privateKey is not %d hex digits",
                       2 * HF_BLS_SECRET_BYTES);
    }
    return hf_ok();
}

static hf_status read_keystore(const members *m, const char *folder, hf_key_document *doc,
                               hf_error *err)
{
    hf_status st = resolve_path(folder, m->values[MEMBER_KEYSTORE_FILE], doc->keystore_path, err);
    return hf_failed(st)
               ? st
               : resolve_path(folder, m->values[MEMBER_PASSWORD_FILE], doc->password_path, err);
}

/* The words stand where a password would: they are read, and have to be private, like one. */
static hf_status read_mnemonic(const members *m, const char *folder, hf_key_document *doc,
                               hf_error *err)
{
    hf_status st = resolve_path(folder, m->values[MEMBER_MNEMONIC_FILE], doc->password_path, err);
    if (hf_failed(st)) {
        return st;
    }
    memcpy(doc->keystore_path, doc->password_path, sizeof doc->keystore_path);
    return hf_failed(hf_str_copy(doc->path, sizeof doc->path, m->values[MEMBER_PATH]))
               ? hf_fail(err, HF_INVALID_INPUT, "path is too long")
               : hf_ok();
}

static bool read_type(const char *text, hf_key_document_type *ret_type)
{
    static const char *const types[] = {
        [HF_KEY_DOCUMENT_RAW] = "file-raw",
        [HF_KEY_DOCUMENT_KEYSTORE] = "file-keystore",
        [HF_KEY_DOCUMENT_MNEMONIC] = "mnemonic",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(types); i++) {
        if (strcmp(text, types[i]) == 0) {
            *ret_type = (hf_key_document_type)i;
            return true;
        }
    }
    return false;
}

/* They name tokens and secrets of servers, and whoever reads key files has no network. */
static bool is_of_server(const char *type)
{
    static const char *const types[] = {"hashicorp", "azure-secret", "aws-secret", "aws-kms",
                                        "yubihsm"};
    size_t i = 0;
    while (i < HF_ARRAY_LEN(types) && strcmp(types[i], type) != 0) {
        i++;
    }
    return i < HF_ARRAY_LEN(types);
}

static hf_status interpret(const members *m, const char *folder, hf_key_document *doc,
                           hf_error *err)
{
    const char *type = m->values[MEMBER_TYPE];
    const char *key_type = m->values[MEMBER_KEY_TYPE];
    hf_status st = require_member(m, MEMBER_TYPE, err);
    if (hf_failed(st)) {
        return st;
    }
    if (is_of_server(type)) {
        return hf_fail(err, HF_USAGE,
                       "type %s is not read from key files: make it an entry of signing_keys",
                       type);
    }
    if (!read_type(type, &doc->type)) {
        return hf_fail(err, HF_USAGE, "type %s is not supported in this version", as_word(type));
    }
    if (m->is_present[MEMBER_KEY_TYPE] && strcasecmp(key_type, "SECP256K1") == 0) {
        doc->key_type = HF_KEY_TYPE_SECP256K1;
    } else if (m->is_present[MEMBER_KEY_TYPE] && strcasecmp(key_type, "BLS") != 0) {
        return hf_fail(err, HF_USAGE, "keyType %s is not supported in this version",
                       as_word(key_type));
    }
    if (m->unknown_line != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: unknown member %s", m->unknown_line,
                       m->unknown);
    }
    st = check_members(m, doc->type, err);
    if (hf_failed(st) || doc->type == HF_KEY_DOCUMENT_RAW) {
        return hf_failed(st) ? st : read_raw(m, doc, err);
    }
    return doc->type == HF_KEY_DOCUMENT_KEYSTORE ? read_keystore(m, folder, doc, err)
                                                 : read_mnemonic(m, folder, doc, err);
}

hf_status hf_key_file_parse(hf_bytes yaml, size_t n, const char *folder, hf_key_document *ret_doc,
                            hf_error *err)
{
    slice s;
    members m = {.unknown_line = 0};
    hf_key_document doc = {.type = HF_KEY_DOCUMENT_RAW};
    if (hf_key_file_count_documents(yaml) > HF_KEY_DOCUMENTS_MAX) {
        return hf_fail(err, HF_LIMIT, "more than %d documents in one file", HF_KEY_DOCUMENTS_MAX);
    }
    if (!find_document(yaml, n, &s)) {
        return hf_fail(err, HF_NOT_FOUND, "the file holds no key");
    }
    hf_status st = parse_slice(&s, &m, err);
    if (!hf_failed(st)) {
        st = interpret(&m, folder, &doc, err);
        if (hf_failed(st)) {
            st = hf_error_wrap(err, st, "document at line %zu", s.first_line);
        }
    }
    if (!hf_failed(st)) {
        *ret_doc = doc;
    }
    hf_wipe(&m, sizeof m);
    hf_wipe(&doc, sizeof doc);
    return st;
}
