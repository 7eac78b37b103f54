/*
 * Policies, limits and canary keys as the file has them, for `check --show`: what is printed can be
 * loaded again. Printed from the nodes of the file, so that no member is ever forgotten here.
 */
#include "config_internal.h"

#include <stdio.h>

/* Four bytes of a text become five at most, and each node has an indent. */
#define BOOK_TEXT_MAX ((size_t)1 << 20)
#define SHOW_COLUMN 48

/* How many names and places stand behind the first. */
static unsigned depth_of(const char *path)
{
    unsigned depth = 0;
    for (; *path != '\0'; path++) {
        depth += *path == '.' || *path == '[';
    }
    return depth;
}

static bool is_item(const hf_yaml_entry *entry)
{
    size_t len = strlen(entry->path);
    return len > 0 && entry->path[len - 1] == ']';
}

static const char *name_of(const hf_yaml_entry *entry)
{
    const char *dot = strrchr(entry->path, '.');
    return dot != NULL ? dot + 1 : entry->path;
}

static bool is_container(const hf_yaml_entry *entry)
{
    return entry->kind == HF_YAML_MAP || entry->kind == HF_YAML_LIST;
}

static hf_status put_scalar(hf_buf *out, const hf_yaml_entry *entry)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
    const char *text = entry->text;
    if (entry->kind == HF_YAML_NULL) {
        return hf_buf_putf(out, "null");
    }
    if (entry->kind == HF_YAML_SCALAR && text[0] != '\0' && text[strspn(text, plain)] == '\0') {
        return hf_buf_putf(out, "%s", text);
    }
    hf_status st = hf_buf_put(out, "'", 1);
    for (; *text != '\0' && !hf_failed(st); text++) {
        st = hf_buf_put(out, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
    }
    return hf_failed(st) ? st : hf_buf_put(out, "'", 1);
}

/* A list of scalars alone, or of nothing, fits a line. */
static bool is_short_list(const hf_yaml_doc *doc, size_t i)
{
    const hf_yaml_entry *list = &doc->entries[i];
    if (list->kind != HF_YAML_LIST || list->children >= doc->count - i) {
        return false;
    }
    for (size_t child = 1; child <= list->children; child++) {
        if (is_container(&doc->entries[i + child])) {
            return false;
        }
    }
    return true;
}

static hf_status put_short_list(const hf_yaml_doc *doc, size_t i, hf_buf *out)
{
    hf_status st = hf_buf_put(out, "[", 1);
    for (size_t child = 1; child <= doc->entries[i].children && !hf_failed(st); child++) {
        st = child > 1 ? hf_buf_put(out, ", ", 2) : st;
        st = hf_failed(st) ? st : put_scalar(out, &doc->entries[i + child]);
    }
    return hf_failed(st) ? st : hf_buf_put(out, "]", 1);
}

/* Prints one node, and its items where they share its line; *ret_next is the one behind. */
static hf_status put_node(const hf_yaml_doc *doc, size_t i, bool is_indented, hf_buf *out,
                          size_t *ret_next)
{
    const hf_yaml_entry *entry = &doc->entries[i];
    unsigned indent = is_indented ? 0 : 2 * depth_of(entry->path);
    *ret_next = i + 1;
    bool is_short = !is_container(entry) || entry->children == 0 || is_short_list(doc, i);
    hf_status st = is_item(entry) ? hf_buf_putf(out, "%*s- ", (int)indent, "")
                                  : hf_buf_putf(out, "%*s%s:%s", (int)indent, "", name_of(entry),
                                                is_short ? " " : "\n");
    if (hf_failed(st) || !is_short) {
        return st; /* the first member of an item goes on in this line */
    }
    if (!is_container(entry)) {
        st = put_scalar(out, entry);
    } else if (entry->kind == HF_YAML_LIST) {
        st = put_short_list(doc, i, out);
        *ret_next = i + 1 + entry->children;
    } else {
        st = hf_buf_put(out, "{}", 2);
    }
    return hf_failed(st) ? st : hf_buf_put(out, "\n", 1);
}

static hf_status put_section(const hf_settings *settings, const hf_yaml_entry *entry, hf_buf *out)
{
    char head[HF_YAML_PATH_LEN + 8];
    const char *nothing = entry->kind == HF_YAML_LIST ? " []" : " {}";
    (void)snprintf(head, sizeof head, "%s:%s", entry->path,
                   entry->children == 0 && is_container(entry) ? nothing : "");
    return hf_buf_putf(out, "%-*s # %s:%u\n", SHOW_COLUMN, head, settings->file, entry->line);
}

hf_status hf_config_keep_book_text(hf_settings *settings, const hf_yaml_doc *doc, hf_error *err)
{
    hf_buf *out = hf_buf_new(BOOK_TEXT_MAX);
    bool is_indented = false; /* the line has its indent and a dash already */
    hf_status st = out != NULL ? hf_ok() : (hf_status){HF_NOMEM};
    for (size_t i = 0; i < doc->count && !hf_failed(st);) {
        const hf_yaml_entry *entry = &doc->entries[i];
        if (!hf_config_entry_is_of_book(entry->path) ||
            strncmp(entry->path, "signing_keys", strlen("signing_keys")) == 0) {
            i++;
        } else if (depth_of(entry->path) == 0) {
            st = put_section(settings, entry, out);
            i++;
        } else {
            st = put_node(doc, i, is_indented, out, &i);
            is_indented = is_item(entry) && entry->kind == HF_YAML_MAP && entry->children > 0;
        }
    }
    if (hf_failed(st)) {
        hf_buf_free(out);
        return hf_fail(err, st.code, "the policies are too long to be shown");
    }
    hf_buf_free(settings->book_text);
    settings->book_text = out;
    return st;
}
