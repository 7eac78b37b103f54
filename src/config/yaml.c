/*
 * YAML to a flat list of nodes, over libyaml's events. No recursion: the depth is a counter with a
 * bound, and everything that makes YAML surprising (anchors, tags, merges) is refused.
 */
#include "config_internal.h"

#include <ctype.h>
#include <yaml.h>

typedef struct level {
    size_t entry; /* index of the container's own entry; SIZE_MAX for the top */
    bool is_list;
    bool has_key;    /* a key was read, its value comes next */
    uint32_t next;   /* index of the next list item */
    size_t path_len; /* of the container */
} level;

typedef struct reader {
    const char *name;
    hf_yaml_doc doc;
    level levels[HF_YAML_MAX_DEPTH];
    size_t depth;
    char path[HF_YAML_PATH_LEN]; /* of the node that is read now */
    uint32_t line;
    bool seen_document;
    bool done;
    hf_error *err;
} reader;

static hf_status refuse(reader *r, const char *what)
{
    hf_origin origin = {.kind = HF_ORIGIN_FILE, .line = r->line, .name = r->name};
    const char *path = r->path[0] == '\0' ? "the file" : r->path;
    return hf_config_refuse(&origin, path, r->err, "%s", what);
}

static bool is_plain_name(const char *text, size_t len)
{
    if (len == 0 || len > HF_YAML_MAX_KEY) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && text[i] != '_' && text[i] != '-') {
            return false;
        }
    }
    return true;
}

/* The path of the next list item; a mapping's was made when its key came. */
static hf_status name_item(reader *r)
{
    level *top = &r->levels[r->depth - 1];
    if (!top->is_list) {
        return hf_ok();
    }
    r->path[top->path_len] = '\0';
    size_t room = sizeof r->path - top->path_len;
    if (hf_failed(hf_str_format(r->path + top->path_len, room, "[%u]", top->next++))) {
        return refuse(r, "nested too deep");
    }
    return hf_ok();
}

static bool is_known(const reader *r)
{
    for (size_t i = 0; i < r->doc.count; i++) {
        if (strcmp(r->doc.entries[i].path, r->path) == 0) {
            return true;
        }
    }
    return false;
}

static hf_status add_entry(reader *r, hf_yaml_kind kind, const char *text, size_t len)
{
    if (r->doc.count == HF_YAML_MAX_ENTRIES) {
        return refuse(r, "more than 1024 values; is this the right file?");
    }
    if (len >= HF_PATH_LEN || strlen(text) != len) {
        return refuse(r, "longer than 1023 bytes, or with a NUL inside");
    }
    hf_yaml_entry *entry = &r->doc.entries[r->doc.count];
    entry->kind = kind;
    entry->line = r->line;
    entry->children = 0;
    memcpy(entry->path, r->path, sizeof entry->path);
    memcpy(entry->text, text, len);
    entry->text[len] = '\0';
    level *top = &r->levels[r->depth - 1];
    if (top->entry != SIZE_MAX) {
        r->doc.entries[top->entry].children++;
    }
    top->has_key = false;
    r->doc.count++;
    return hf_ok();
}

static hf_status take_key(reader *r, const char *text, size_t len)
{
    level *top = &r->levels[r->depth - 1];
    r->path[top->path_len] = '\0';
    if (!is_plain_name(text, len)) {
        return refuse(r, "a key that is no plain name (letters, digits, _ and -)");
    }
    size_t room = sizeof r->path - top->path_len;
    const char *dot = top->path_len == 0 ? "" : ".";
    if (hf_failed(hf_str_format(r->path + top->path_len, room, "%s%s", dot, text))) {
        return refuse(r, "nested too deep");
    }
    if (is_known(r)) {
        return refuse(r, "given twice; remove one of the two");
    }
    top->has_key = true;
    return hf_ok();
}

static bool is_null(const char *text, size_t len)
{
    return len == 0 || (len == 1 && text[0] == '~') || (len == 4 && strcmp(text, "null") == 0);
}

static hf_status take_scalar(reader *r, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL) {
        return refuse(r, "anchors and tags (& and !) are not understood; write the value plainly");
    }
    if (r->depth == 0) {
        return is_null(text, len) ? hf_ok() : refuse(r, "not a mapping of keys to values");
    }
    level *top = &r->levels[r->depth - 1];
    if (!top->is_list && !top->has_key) {
        return take_key(r, text, len);
    }
    hf_status st = name_item(r);
    if (hf_failed(st)) {
        return st;
    }
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    hf_yaml_kind kind = !is_plain            ? HF_YAML_QUOTED
                        : is_null(text, len) ? HF_YAML_NULL
                                             : HF_YAML_SCALAR;
    return add_entry(r, kind, text, len);
}

static hf_status open_container(reader *r, bool is_list, bool is_adorned)
{
    if (is_adorned) {
        return refuse(r, "anchors and tags (& and !) are not understood; write the value plainly");
    }
    if (r->depth == HF_YAML_MAX_DEPTH) {
        return refuse(r, "nested too deep");
    }
    size_t entry = SIZE_MAX;
    if (r->depth == 0 && is_list) {
        return refuse(r, "not a mapping of keys to values");
    }
    if (r->depth > 0) {
        const level *top = &r->levels[r->depth - 1];
        if (!top->is_list && !top->has_key) {
            return refuse(r, "a key that is no plain name (letters, digits, _ and -)");
        }
        hf_status st = name_item(r);
        if (!hf_failed(st)) {
            entry = r->doc.count;
            st = add_entry(r, is_list ? HF_YAML_LIST : HF_YAML_MAP, "", 0);
        }
        if (hf_failed(st)) {
            return st;
        }
    }
    r->levels[r->depth++] =
        (level){.entry = entry, .is_list = is_list, .path_len = strlen(r->path)};
    return hf_ok();
}

static void close_container(reader *r)
{
    HF_ASSERT(r->depth > 0);
    r->depth--;
    r->path[r->depth == 0 ? 0 : r->levels[r->depth - 1].path_len] = '\0';
}

static hf_status take_event(reader *r, const yaml_event_t *event)
{
    r->line = (uint32_t)event->start_mark.line + 1;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(r, event);
    case YAML_MAPPING_START_EVENT:
        return open_container(r, false,
                              event->data.mapping_start.anchor != NULL ||
                                  event->data.mapping_start.tag != NULL);
    case YAML_SEQUENCE_START_EVENT:
        return open_container(r, true,
                              event->data.sequence_start.anchor != NULL ||
                                  event->data.sequence_start.tag != NULL);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        close_container(r);
        return hf_ok();
    case YAML_ALIAS_EVENT:
        return refuse(r, "aliases (*name) are not understood; write the value again");
    case YAML_DOCUMENT_START_EVENT:
        if (r->seen_document) {
            return refuse(r, "a second document; keep one");
        }
        r->seen_document = true;
        return hf_ok();
    case YAML_STREAM_END_EVENT:
        r->done = true;
        return hf_ok();
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return hf_ok();
    }
    return refuse(r, "an unknown kind of YAML node");
}

static hf_status refuse_syntax(reader *r, const yaml_parser_t *parser)
{
    char what[HF_ERROR_MSG_LEN / 2];
    const char *problem = parser->problem == NULL ? "unreadable" : parser->problem;
    r->line = (uint32_t)parser->problem_mark.line + 1;
    r->path[0] = '\0';
    if (strcmp(problem, "found character that cannot start any token") == 0) {
        problem = "a tab, @, ` or %; indent by spaces, quote values"; /* it hardly says more */
    }
    (void)snprintf(what, sizeof what, "not YAML: %s", problem);
    return refuse(r, what);
}

hf_status hf_yaml_parse(hf_bytes text, const char *name, hf_yaml_doc *ret_doc, hf_error *err)
{
    hf_status st = hf_ok();
    yaml_parser_t parser;
    reader r = {.name = name, .err = err, .line = 1};
    r.doc.entries = calloc(HF_YAML_MAX_ENTRIES, sizeof *r.doc.entries);
    if (r.doc.entries == NULL || yaml_parser_initialize(&parser) == 0) {
        hf_yaml_free(&r.doc);
        return hf_fail(err, HF_NOMEM, "%s: out of memory", name);
    }
    yaml_parser_set_input_string(&parser, text.ptr, text.len);
    while (!r.done && !hf_failed(st)) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            st = parser.error == YAML_MEMORY_ERROR
                     ? hf_fail(err, HF_NOMEM, "%s: out of memory", name)
                     : refuse_syntax(&r, &parser);
            break;
        }
        st = take_event(&r, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (hf_failed(st)) {
        hf_yaml_free(&r.doc);
        return st;
    }
    *ret_doc = r.doc;
    return hf_ok();
}

hf_status hf_yaml_read(const char *path, const char *name, hf_yaml_doc *ret_doc, hf_error *err)
{
    hf_buf *text = NULL;
    hf_status st = hf_file_read(path, HF_YAML_MAX_BYTES, &text, err);
    if (hf_failed(st)) {
        if (err != NULL) {
            err->code = HF_USAGE;
        }
        return (hf_status){HF_USAGE};
    }
    st = hf_yaml_parse(hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)), name, ret_doc, err);
    hf_buf_free(text);
    return st;
}

void hf_yaml_free(hf_yaml_doc *doc)
{
    free(doc->entries);
    doc->entries = NULL;
    doc->count = 0;
}
