/* The effective configuration with its origins, and the list of what may be configured. */
#include "config_internal.h"

#define SHOW_COLUMN 48 /* where the origins stand */

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
    case HF_VALUE_TEXT:
    case HF_VALUE_URL:
    case HF_VALUE_U16:
    case HF_VALUE_U32:
    case HF_VALUE_U64:
    case HF_VALUE_BOOL:
    case HF_VALUE_CHOICE:
    case HF_VALUE_NETWORK:
    case HF_VALUE_MEMBER:
    case HF_VALUE_LIST:
    case HF_VALUE_BOOK:
    case HF_VALUE_CUSTODY:
        break;
    }
    return settings->values[index].text;
}

static hf_status put_source(hf_buf *out, const hf_key_source *source, const char *origin)
{
    static const char *const folders[HF_BACKEND_COUNT] = {[HF_BACKEND_LOCAL_KEYSTORE] =
                                                              "keystore_dir",
                                                          [HF_BACKEND_WEB3SIGNER] = "config_dir",
                                                          [HF_BACKEND_SEALED] = "key_file_dir"};
    hf_status st =
        put_line(out, 2, "- backend", hf_key_backend_name((hf_key_backend)source->backend), origin);
    if (!hf_failed(st) && source->dir[0] != '\0') {
        st = put_line(out, 4, folders[source->backend], source->dir, "");
    }
    if (!hf_failed(st) && source->password_file[0] != '\0') {
        st = put_line(out, 4, "password_file", source->password_file, "");
    }
    if (!hf_failed(st) && source->password_dir[0] != '\0') {
        st = put_line(out, 4, "password_dir", source->password_dir, "");
    }
    return st;
}

static hf_status put_tags(hf_buf *out, const hf_source_tags *tags)
{
    hf_status st = tags->count > 0 ? hf_buf_putf(out, "    tags: [") : hf_ok();
    for (size_t i = 0; i < tags->count && !hf_failed(st); i++) {
        st = hf_buf_putf(out, "%s%s", i > 0 ? ", " : "", tags->tags[i].name);
    }
    return tags->count == 0 || hf_failed(st) ? st : hf_buf_putf(out, "]\n");
}

static hf_status put_sources(hf_buf *out, const hf_settings *settings)
{
    char origin[HF_PATH_LEN + 16];
    const hf_setting *single = hf_config_setting(settings, "keystore_dir");
    const hf_config *config = &settings->config;
    size_t custodies = 0; /* in the order of signing_keys */
    hf_status st = config->key_source_count == 0
                       ? hf_buf_putf(out, "%-*s # default\n", SHOW_COLUMN, "signing_keys: []")
                       : put_line(out, 0, "signing_keys", "", "");
    for (size_t i = 0; i < config->key_source_count && !hf_failed(st); i++) {
        hf_origin listed = {
            .kind = HF_ORIGIN_FILE, .line = settings->sources[i].line, .name = settings->file};
        format_origin(hf_config_key_find("keystore_dir"),
                      single->is_set ? &single->origin : &listed, origin, sizeof origin);
        st = put_source(out, &config->key_sources[i], origin);
        if (!hf_failed(st) && hf_key_backend_is_custody(config->key_sources[i].backend)) {
            st = hf_config_print_custody(settings, custodies, out);
        }
        custodies += hf_key_backend_has_process(config->key_sources[i].backend);
        if (!hf_failed(st) && i < HF_BOOK_SOURCES_MAX) {
            st = put_tags(out, &settings->book->sources[i]);
        }
    }
    return st;
}

static hf_status put_hex(hf_buf *out, const char *name, const uint8_t *bytes, size_t len)
{
    char hex[2 * HF_ROOT_BYTES + 1];
    char text[sizeof hex + 2];
    HF_ASSERT(len <= HF_ROOT_BYTES);
    hf_hex_encode(bytes, len, hex);
    (void)snprintf(text, sizeof text, "0x%s", hex);
    return put_line(out, 2, name, text, "");
}

static hf_status put_number(hf_buf *out, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return put_line(out, 2, name, text, "");
}

/* A network that is not built in is shown by what it consists of, from wherever it came. */
static hf_status put_network_members(hf_buf *out, const hf_network *network)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"genesis_time", network->genesis_time},
        {"slots_per_epoch", network->slots_per_epoch},
        {"slot_ms", network->slot_ms},
        {"deneb_fork_epoch", network->deneb_epoch},
        {"electra_fork_epoch", network->electra_epoch},
        {"gloas_fork_epoch", network->gloas_epoch},
    };
    hf_status st = put_line(out, 2, "name", network->name, "");
    if (!hf_failed(st)) {
        st = put_hex(out, "genesis_validators_root", network->genesis_validators_root,
                     HF_ROOT_BYTES);
    }
    if (!hf_failed(st)) {
        st = put_hex(out, "genesis_fork_version", network->genesis_fork_version,
                     sizeof network->genesis_fork_version);
    }
    if (!hf_failed(st)) {
        st = put_hex(out, "capella_fork_version", network->capella_fork_version,
                     sizeof network->capella_fork_version);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers) && !hf_failed(st); i++) {
        st = put_number(out, numbers[i].name, numbers[i].value);
    }
    return st;
}

static hf_status put_network(hf_buf *out, const hf_settings *settings, const char *origin)
{
    const hf_network *network = &settings->config.network;
    const hf_setting *setting = hf_config_setting(settings, "network");
    bool is_named = hf_eth_network_find(setting->text) != NULL;
    if (!setting->is_set && !settings->config.network_is_default) {
        origin = "--genesis-validators-root";
        is_named = hf_eth_network_find(network->name) != NULL;
    }
    if (is_named) {
        return put_line(out, 0, "network", network->name, origin);
    }
    hf_status st = put_line(out, 0, "network", "", origin);
    return hf_failed(st) ? st : put_network_members(out, network);
}

/* A key of another back end is not shown: what is shown can be loaded again. */
static bool is_of_another_backend(const hf_settings *settings, const hf_config_key *key)
{
    hf_store_backend owner = hf_config_key_owner(key->path);
    return owner != HF_STORE_BACKEND_COUNT && owner != settings->config.store_backend;
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
    if (key->type == HF_VALUE_MEMBER || key->type == HF_VALUE_BOOK ||
        key->type == HF_VALUE_CUSTODY || (key->flags & HF_KEY_NO_FILE) != 0 ||
        is_of_another_backend(settings, key) || (!setting->is_set && key->fallback == NULL)) {
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
    if (key->type == HF_VALUE_NETWORK) {
        return put_network(out, settings, origin);
    }
    bool is_secret = (key->flags & HF_KEY_SECRET) != 0;
    return put_line(out, indent, name, is_secret ? "(hidden)" : effective_text(settings, index),
                    origin);
}

hf_status hf_config_print(const hf_settings *settings, hf_buf *out)
{
    hf_status st = hf_ok();
    char open[HF_YAML_PATH_LEN] = "";
    for (size_t i = 0; i < hf_config_key_count && !hf_failed(st); i++) {
        st = put_key(out, settings, i, open);
    }
    if (!hf_failed(st) && settings->book_text != NULL) {
        st = hf_buf_put(out, hf_buf_peek(settings->book_text), hf_buf_len(settings->book_text));
    }
    if (!hf_failed(st)) {
        st = hf_config_print_seal(settings, out);
    }
    return st;
}

/* ---- describe ----------------------------------------------------------------------------- */

static const char *custody_type_name(const hf_config_key *key)
{
    switch ((hf_custody_value)key->kind) {
    case HF_CUSTODY_VALUE_NUMBER:
        return "count"; /* without the bounds that numbers have */
    case HF_CUSTODY_VALUE_FILE:
    case HF_CUSTODY_VALUE_SECRET:
    case HF_CUSTODY_VALUE_FOLDER:
        return "path";
    case HF_CUSTODY_VALUE_MAP:
        return "mapping";
    case HF_CUSTODY_VALUE_LIST:
        return "list";
    case HF_CUSTODY_VALUE_NONE:
    case HF_CUSTODY_VALUE_TEXT:
    case HF_CUSTODY_VALUE_URL:
        break;
    }
    return "text";
}

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
    case HF_VALUE_BOOK:
        return strcmp(key->path, "policies") == 0 ? "mapping" : "list";
    case HF_VALUE_TEXT:
    case HF_VALUE_URL:
    case HF_VALUE_MEMBER:
        break;
    case HF_VALUE_CUSTODY:
        return custody_type_name(key);
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
        st = describe_key(out, &hf_config_keys[i]);
    }
    return hf_failed(st) ? hf_fail(err, st.code, "the list is too long") : st;
}
