/* The two entry points: load, and show what was loaded and why. */
#include "config_internal.h"

#define SHOW_COLUMN 48 /* where the origins stand */

static hf_status load(const hf_config_flags *flags, hf_settings **ret_settings, hf_error *err)
{
    hf_settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_config_gather(flags, settings, err);
    if (!hf_failed(st)) {
        st = hf_config_finish(settings, flags, err);
    }
    if (hf_failed(st)) {
        free(settings);
        return st;
    }
    *ret_settings = settings;
    return st;
}

hf_status hf_config_load(const hf_config_flags *flags, hf_config *ret_config, hf_error *err)
{
    hf_settings *settings = NULL;
    hf_status st = load(flags, &settings, err);
    if (hf_failed(st)) {
        return st;
    }
    *ret_config = settings->config;
    free(settings);
    return hf_ok();
}

/* ---- show --------------------------------------------------------------------------------- */

static void format_origin(const hf_config_key *key, const hf_origin *origin, char *out,
                          size_t out_len)
{
    switch (origin->kind) {
    case HF_ORIGIN_DEFAULT:
        (void)snprintf(out, out_len, "default");
        return;
    case HF_ORIGIN_FILE:
        (void)snprintf(out, out_len, "%s:%u", origin->name, origin->line);
        return;
    case HF_ORIGIN_ENVIRONMENT:
        hf_config_key_env_name(key, out, out_len);
        return;
    case HF_ORIGIN_FLAG:
        (void)snprintf(out, out_len, "%s", origin->name);
        return;
    }
    HF_ASSERT(false);
}

/* "  key: value            # origin", indented by the dots of its path. */
static hf_status put_line(hf_buf *out, unsigned indent, const char *name, const char *value,
                          const char *origin)
{
    char left[HF_PATH_LEN + HF_YAML_PATH_LEN + 8];
    (void)snprintf(left, sizeof left, "%*s%s:%s%s", (int)indent, "", name,
                   value[0] == '\0' ? "" : " ", value);
    if (origin[0] == '\0') {
        return hf_buf_putf(out, "%s\n", left);
    }
    return hf_buf_putf(out, "%-*s # %s\n", SHOW_COLUMN, left, origin);
}

/* Opens the sections of path that differ from those of the key before. */
static hf_status put_sections(hf_buf *out, const char *path, char open[HF_YAML_PATH_LEN])
{
    char name[HF_YAML_PATH_LEN];
    unsigned indent = 0;
    hf_status st = hf_ok();
    size_t start = 0;
    for (const char *dot = strchr(path, '.'); dot != NULL && !hf_failed(st);
         dot = strchr(dot + 1, '.')) {
        size_t end = (size_t)(dot - path);
        bool is_open = strncmp(open, path, end) == 0 && open[end] == '.';
        if (!is_open) {
            (void)snprintf(name, sizeof name, "%.*s", (int)(end - start), path + start);
            st = put_line(out, indent, name, "", "");
        }
        start = end + 1;
        indent += 2;
    }
    (void)snprintf(open, HF_YAML_PATH_LEN, "%s", path);
    return st;
}

/* The value as it works: paths and addresses as they came out, the rest as it was written. */
static const char *effective_text(const hf_settings *settings, size_t index)
{
    const hf_config_key *key = &hf_config_keys[index];
    switch (key->type) {
    case HF_VALUE_PATH:
    case HF_VALUE_DATA_PATH:
    case HF_VALUE_ADDRESS:
        return (const char *)settings + key->offset;
    case HF_VALUE_NETWORK:
        return settings->config.network.name;
    case HF_VALUE_U16:
    case HF_VALUE_U32:
    case HF_VALUE_U64:
    case HF_VALUE_BOOL:
    case HF_VALUE_CHOICE:
    case HF_VALUE_MEMBER:
    case HF_VALUE_LIST:
    case HF_VALUE_LATER:
        break;
    }
    return settings->values[index].text;
}

static hf_status put_source(hf_buf *out, const hf_key_source *source, const char *origin)
{
    bool is_web3signer = source->backend == HF_BACKEND_WEB3SIGNER;
    hf_status st = put_line(out, 2, "- backend", is_web3signer ? "web3signer" : "local-keystore",
                            origin);
    if (!hf_failed(st)) {
        st = put_line(out, 4, is_web3signer ? "config_dir" : "keystore_dir", source->dir, "");
    }
    if (!hf_failed(st) && source->password_file[0] != '\0') {
        st = put_line(out, 4, "password_file", source->password_file, "");
    }
    if (!hf_failed(st) && source->password_dir[0] != '\0') {
        st = put_line(out, 4, "password_dir", source->password_dir, "");
    }
    return st;
}

static hf_status put_sources(hf_buf *out, const hf_settings *settings)
{
    char origin[HF_PATH_LEN + 16];
    const hf_setting *single = hf_config_setting(settings, "keystore_dir");
    const hf_config *config = &settings->config;
    hf_status st = config->key_source_count == 0
                       ? hf_buf_putf(out, "%-*s # default\n", SHOW_COLUMN, "signing_keys: []")
                       : put_line(out, 0, "signing_keys", "", "");
    for (size_t i = 0; i < config->key_source_count && !hf_failed(st); i++) {
        hf_origin listed = {.kind = HF_ORIGIN_FILE,
                            .line = settings->sources[i].line,
                            .name = settings->file};
        format_origin(hf_config_key_find("keystore_dir"),
                      single->is_set ? &single->origin : &listed, origin, sizeof origin);
        st = put_source(out, &config->key_sources[i], origin);
    }
    return st;
}

static hf_status put_key(hf_buf *out, const hf_settings *settings, size_t index,
                         char open[HF_YAML_PATH_LEN])
{
    const hf_config_key *key = &hf_config_keys[index];
    const hf_setting *setting = &settings->values[index];
    char origin[HF_PATH_LEN + 16];
    if (key->type == HF_VALUE_LIST) {
        return put_sources(out, settings);
    }
    if (key->type == HF_VALUE_LATER || key->type == HF_VALUE_MEMBER ||
        (key->flags & HF_KEY_NO_FILE) != 0 || (!setting->is_set && key->fallback == NULL)) {
        return hf_ok();
    }
    hf_status st = put_sections(out, key->path, open);
    if (hf_failed(st)) {
        return st;
    }
    unsigned indent = 0;
    const char *name = key->path;
    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(name, '.')) {
        name = dot + 1;
        indent += 2;
    }
    format_origin(key, &setting->origin, origin, sizeof origin);
    if (key->type == HF_VALUE_NETWORK && !setting->is_set &&
        !settings->config.network_is_default) {
        (void)snprintf(origin, sizeof origin, "--genesis-validators-root");
    }
    bool is_secret = (key->flags & HF_KEY_SECRET) != 0;
    return put_line(out, indent, name, is_secret ? "(hidden)" : effective_text(settings, index),
                    origin);
}

hf_status hf_config_show(const hf_config_flags *flags, hf_buf *out, hf_error *err)
{
    hf_settings *settings = NULL;
    char open[HF_YAML_PATH_LEN] = "";
    hf_status st = load(flags, &settings, err);
    if (hf_failed(st)) {
        return st;
    }
    for (size_t i = 0; i < hf_config_key_count && !hf_failed(st); i++) {
        st = put_key(out, settings, i, open);
    }
    free(settings);
    return hf_failed(st) ? hf_fail(err, st.code, "the configuration is too long to show") : st;
}

/* ---- describe ----------------------------------------------------------------------------- */

static const char *type_name(const hf_config_key *key)
{
    switch (key->type) {
    case HF_VALUE_PATH:
    case HF_VALUE_DATA_PATH:
        return "path";
    case HF_VALUE_ADDRESS:
        return "address";
    case HF_VALUE_U16:
    case HF_VALUE_U32:
    case HF_VALUE_U64:
        return "number";
    case HF_VALUE_BOOL:
        return "true or false";
    case HF_VALUE_CHOICE:
        return "word";
    case HF_VALUE_NETWORK:
        return "word, path or mapping";
    case HF_VALUE_LIST:
        return "list";
    case HF_VALUE_MEMBER:
    case HF_VALUE_LATER:
        break;
    }
    return "text";
}

static hf_status describe_key(hf_buf *out, const hf_config_key *key)
{
    char name[HF_YAML_PATH_LEN + 16];
    hf_config_key_env_name(key, name, sizeof name);
    bool is_file_only = (key->flags & HF_KEY_NO_ENV) != 0;
    bool is_number = strcmp(type_name(key), "number") == 0;
    hf_status st = hf_buf_putf(out, "%s: %s", key->path, type_name(key));
    if (!hf_failed(st) && is_number) {
        st = hf_buf_putf(out, " from %llu to %llu", (unsigned long long)key->least,
                         (unsigned long long)key->most);
    }
    if (!hf_failed(st) && key->fallback != NULL) {
        st = hf_buf_putf(out, ", default %s", key->fallback);
    }
    if (!hf_failed(st)) {
        st = hf_buf_putf(out, "%s%s%s%s\n    %s\n", is_file_only ? "" : "; ",
                         is_file_only ? "" : name, key->option == NULL ? "" : ", ",
                         key->option == NULL ? "" : key->option, key->help);
    }
    return st;
}

hf_status hf_config_describe(hf_buf *out, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < hf_config_key_count && !hf_failed(st); i++) {
        if (hf_config_keys[i].type != HF_VALUE_LATER) {
            st = describe_key(out, &hf_config_keys[i]);
        }
    }
    return hf_failed(st) ? hf_fail(err, st.code, "the list is too long") : st;
}
