/* Defaults, file, environment, flags: in that order, each over the one before. */
#include "config_internal.h"

#include <ctype.h>
#include <unistd.h>

#define ENV_PREFIX "HOLDFAST_"
#define ENV_FILE "HOLDFAST_CONFIG"

extern char **environ;

/* ---- the file ----------------------------------------------------------------------------- */

static const char *kind_name(hf_yaml_kind kind)
{
    return kind == HF_YAML_MAP ? "a mapping" : kind == HF_YAML_LIST ? "a list" : "a single value";
}

static hf_status refuse_unknown(const hf_yaml_entry *entry, const hf_origin *origin, hf_error *err)
{
    const hf_config_key *key = hf_config_key_find(entry->path);
    if (key != NULL) {
        return hf_config_refuse(origin, entry->path, err,
                                "not at this level of the file; it goes into an entry of "
                                "signing_keys");
    }
    const char *near = hf_config_key_suggest(entry->path);
    if (near != NULL) {
        return hf_config_refuse(origin, entry->path, err, "unknown key; did you mean %s?", near);
    }
    return hf_config_refuse(origin, entry->path, err,
                            "unknown key; `holdfast check --keys` lists them");
}

static hf_status apply_source(hf_settings *settings, const hf_config_key *key,
                              const hf_yaml_entry *entry, const hf_origin *origin, hf_error *err)
{
    uint64_t index = 0;
    const char *digits = strchr(entry->path, '[') + 1;
    if (hf_failed(hf_num_parse_u64(digits, strcspn(digits, "]"), &index)) ||
        index >= HF_KEY_SOURCES_MAX) {
        return hf_config_refuse(origin, entry->path, err, "more than %d sources of keys",
                                HF_KEY_SOURCES_MAX);
    }
    hf_source_draft *draft = &settings->sources[index];
    if (key == NULL) { /* the entry itself */
        draft->line = entry->line;
        settings->source_count = (uint32_t)index + 1;
        return hf_ok();
    }
    char *field = (char *)draft + (key->offset - offsetof(hf_settings, sources));
    size_t room = key->offset == offsetof(hf_settings, sources[0].backend) ? sizeof draft->backend
                                                                           : HF_PATH_LEN;
    if (entry->text[0] == '\0' || hf_failed(hf_str_copy(field, room, entry->text))) {
        return hf_config_refuse(origin, entry->path, err, "empty or too long");
    }
    return hf_ok();
}

static hf_status apply_key(hf_settings *settings, const hf_config_key *key,
                           const hf_yaml_entry *entry, const hf_origin *origin, hf_error *err)
{
    bool is_container = entry->kind == HF_YAML_MAP || entry->kind == HF_YAML_LIST;
    if (entry->kind == HF_YAML_NULL) {
        return hf_config_refuse(origin, entry->path, err, "no value; give one or remove the key");
    }
    if (key->type == HF_VALUE_LIST || (key->type == HF_VALUE_NETWORK && is_container)) {
        hf_yaml_kind wanted = key->type == HF_VALUE_LIST ? HF_YAML_LIST : HF_YAML_MAP;
        if (entry->kind != wanted) {
            return hf_config_refuse(origin, entry->path, err, "%s, where %s is wanted",
                                    kind_name(entry->kind), kind_name(wanted));
        }
        settings->network_is_mapping |= key->type == HF_VALUE_NETWORK;
        return hf_config_set(settings, key, "", true, *origin, err);
    }
    if (is_container) {
        return hf_config_refuse(origin, entry->path, err, "%s, where a single value is wanted",
                                kind_name(entry->kind));
    }
    if (strncmp(key->path, "signing_keys[]", strlen("signing_keys[]")) == 0) {
        return apply_source(settings, key, entry, origin, err);
    }
    return hf_config_set(settings, key, entry->text, entry->kind == HF_YAML_QUOTED, *origin, err);
}

static hf_status apply_entry(hf_settings *settings, const hf_yaml_entry *entry, hf_error *err)
{
    hf_origin origin = {.kind = HF_ORIGIN_FILE, .line = entry->line, .name = settings->file};
    const hf_config_key *key = hf_config_key_find(entry->path);
    if (hf_config_entry_is_of_book(entry->path)) {
        return hf_ok(); /* read as a whole, below */
    }
    const hf_config_key *custody = hf_config_custody_key(entry->path);
    if (custody != NULL) {
        return hf_config_custody_apply(settings, custody, entry, &origin, err);
    }
    if (key != NULL && (key->flags & HF_KEY_NO_FILE) == 0) {
        return apply_key(settings, key, entry, &origin, err);
    }
    if (key != NULL || !hf_config_key_is_section(entry->path)) {
        return refuse_unknown(entry, &origin, err);
    }
    bool is_item = hf_str_has_suffix(entry->path, "]");
    if (entry->kind != HF_YAML_MAP && (is_item || entry->kind != HF_YAML_NULL)) {
        return hf_config_refuse(&origin, entry->path, err, "%s, where a mapping is wanted",
                                kind_name(entry->kind));
    }
    return is_item ? apply_source(settings, NULL, entry, &origin, err) : hf_ok();
}

/* network: {...}, whose values may rest on a file that it names. */
static hf_status apply_network(hf_settings *settings, const hf_yaml_doc *doc, hf_error *err)
{
    const hf_setting *config = hf_config_setting(settings, "network.config");
    hf_network_draft_init(&settings->network_draft);
    if (config->is_set) {
        char path[HF_PATH_LEN];
        hf_status st = hf_config_absolute(settings->file_dir, config->text, path, err);
        if (!hf_failed(st)) {
            st = hf_network_draft_apply_file(&settings->network_draft, path, err);
        }
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_network_draft_apply(&settings->network_draft, doc, "network.", settings->file, err);
}

hf_status hf_config_apply_file(hf_settings *settings, const hf_yaml_doc *doc, hf_error *err)
{
    for (size_t i = 0; i < doc->count; i++) {
        hf_status st = apply_entry(settings, &doc->entries[i], err);
        if (hf_failed(st)) {
            return st;
        }
    }
    hf_status st = hf_config_read_book(doc, settings->file, settings->book, err);
    if (!hf_failed(st)) {
        st = hf_config_keep_book_text(settings, doc, err);
    }
    return hf_failed(st) || !settings->network_is_mapping ? st : apply_network(settings, doc, err);
}

static hf_status read_file(hf_settings *settings, const char *file, hf_error *err)
{
    char path[HF_PATH_LEN];
    hf_yaml_doc doc = {0};
    hf_status st = hf_config_absolute(settings->work_dir, file, path, err);
    if (hf_failed(st)) {
        return st;
    }
    memcpy(settings->file_dir, path, sizeof path);
    char *slash = strrchr(settings->file_dir, '/');
    slash[slash == settings->file_dir ? 1 : 0] = '\0';
    st = hf_str_copy(settings->file, sizeof settings->file, file);
    if (!hf_failed(st)) {
        st = hf_yaml_read(path, file, &doc, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    st = hf_config_apply_file(settings, &doc, err);
    hf_yaml_free(&doc);
    return st;
}

/* ---- the environment ---------------------------------------------------------------------- */

/* Kubernetes describes each service to each container: HOLDFAST_SERVICE_HOST, HOLDFAST_PORT, ... */
static bool is_of_kubernetes(const char *name, size_t name_len, const char *value)
{
    char copy[HF_YAML_PATH_LEN];
    if (name_len >= sizeof copy) {
        return false;
    }
    memcpy(copy, name, name_len);
    copy[name_len] = '\0';
    const char *port = strstr(copy, "_PORT_");
    return strstr(copy, "_SERVICE_HOST") != NULL || strstr(copy, "_SERVICE_PORT") != NULL ||
           (port != NULL && isdigit((unsigned char)port[strlen("_PORT_")])) ||
           (hf_str_has_suffix(copy, "_PORT") && strstr(value, "://") != NULL);
}

static const hf_config_key *key_by_env_name(const char *name, size_t name_len)
{
    for (size_t i = 0; i < hf_config_key_count; i++) {
        char candidate[HF_YAML_PATH_LEN + sizeof ENV_PREFIX];
        if ((hf_config_keys[i].flags & HF_KEY_NO_ENV) != 0 ||
            strchr(hf_config_keys[i].path, '[') != NULL) {
            continue;
        }
        hf_config_key_env_name(&hf_config_keys[i], candidate, sizeof candidate);
        if (strlen(candidate) == name_len && strncmp(candidate, name, name_len) == 0) {
            return &hf_config_keys[i];
        }
    }
    return NULL;
}

static hf_status apply_variable(hf_settings *settings, const char *variable, hf_error *err)
{
    size_t name_len = strcspn(variable, "=");
    const char *value = variable + name_len + (variable[name_len] == '=' ? 1 : 0);
    bool is_file = name_len == strlen(ENV_FILE) && strncmp(variable, ENV_FILE, name_len) == 0;
    const hf_config_key *key = key_by_env_name(variable, name_len);
    if (value[0] == '\0' || is_file) {
        return hf_ok(); /* an empty variable says nothing, as compose files leave them */
    }
    if (key != NULL) {
        hf_origin origin = {.kind = HF_ORIGIN_ENVIRONMENT};
        return hf_config_set(settings, key, value, false, origin, err);
    }
    if (is_of_kubernetes(variable, name_len, value)) {
        return hf_ok();
    }
    char shown[HF_YAML_PATH_LEN];
    hf_str_sanitize(shown, sizeof shown, variable);
    shown[strcspn(shown, "=")] = '\0';
    return hf_fail(err, HF_USAGE,
                   "%s in the environment: no such setting; unset it, or see "
                   "`holdfast check --keys`",
                   shown);
}

static hf_status apply_environment(hf_settings *settings, hf_error *err)
{
    for (char **variable = environ; *variable != NULL; variable++) {
        if (strncmp(*variable, ENV_PREFIX, strlen(ENV_PREFIX)) != 0) {
            continue;
        }
        hf_status st = apply_variable(settings, *variable, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

/* ---- the flags ---------------------------------------------------------------------------- */

static hf_status apply_flag(hf_settings *settings, const char *path, const char *text,
                            hf_error *err)
{
    const hf_config_key *key = hf_config_key_find(path);
    HF_ASSERT(key != NULL);
    if (text == NULL) {
        return hf_ok();
    }
    hf_origin origin = {.kind = HF_ORIGIN_FLAG, .name = key->option};
    return hf_config_set(settings, key, text, false, origin, err);
}

/* 127.0.0.1:9000 or [::1]:9000 */
static hf_status apply_listen(hf_settings *settings, const char *option, const char *section,
                              const char *text, hf_error *err)
{
    char address[64];
    char path[HF_YAML_PATH_LEN];
    if (text == NULL) {
        return hf_ok();
    }
    const char *colon = strrchr(text, ':');
    bool in_brackets = colon != NULL && text[0] == '[' && colon > text && colon[-1] == ']';
    size_t skip = in_brackets ? 1 : 0;
    size_t len = colon == NULL ? 0 : (size_t)(colon - text) - 2 * skip;
    if (len == 0 || len >= sizeof address || (!in_brackets && memchr(text, ':', len) != NULL)) {
        return hf_fail(err, HF_USAGE, "%s: give ADDRESS:PORT, such as 127.0.0.1:9000 or [::1]:9000",
                       option);
    }
    memcpy(address, text + skip, len);
    address[len] = '\0';
    (void)snprintf(path, sizeof path, "%s.listen_address", section);
    hf_status st = apply_flag(settings, path, address, err);
    if (!hf_failed(st)) {
        (void)snprintf(path, sizeof path, "%s.listen_port", section);
        st = apply_flag(settings, path, colon + 1, err);
    }
    return st;
}

static hf_status apply_flags(hf_settings *settings, const hf_config_flags *flags, hf_error *err)
{
    bool has_database = flags->database_url != NULL || flags->database_url_file != NULL;
    const struct {
        const char *path;
        const char *text;
    } plain[] = {
        {"data_dir", flags->data_dir},
        {"network", flags->network},
        {"keystore_dir", flags->keystore_dir},
        {"password_file", flags->password_file},
        {"log.format", flags->log_format},
        {"slashing_protection.backend", has_database ? "postgres" : NULL},
        {"slashing_protection.url", flags->database_url},
        {"slashing_protection.url_file", flags->database_url_file},
        {"metrics.enabled", flags->metrics_listen == NULL ? NULL : "true"},
    };
    hf_status st = hf_ok();
    for (size_t i = 0; i < HF_ARRAY_LEN(plain) && !hf_failed(st); i++) {
        st = apply_flag(settings, plain[i].path, plain[i].text, err);
    }
    if (!hf_failed(st)) {
        st = apply_listen(settings, "--listen", "server", flags->listen, err);
    }
    if (!hf_failed(st)) {
        st = apply_listen(settings, "--metrics-listen", "metrics", flags->metrics_listen, err);
    }
    return st;
}

static hf_status apply_defaults(hf_settings *settings, hf_error *err)
{
    hf_origin origin = {.kind = HF_ORIGIN_DEFAULT};
    for (size_t i = 0; i < hf_config_key_count; i++) {
        const hf_config_key *key = &hf_config_keys[i];
        if (key->fallback != NULL) {
            hf_status st = hf_config_set(settings, key, key->fallback, false, origin, err);
            if (hf_failed(st)) {
                return st;
            }
            settings->values[i].is_set = false;
        }
    }
    return hf_ok();
}

hf_status hf_config_gather(const hf_config_flags *flags, hf_settings *settings, hf_error *err)
{
    const char *file = flags->file != NULL ? flags->file : getenv(ENV_FILE);
    if (getcwd(settings->work_dir, sizeof settings->work_dir) == NULL) {
        return hf_fail(err, HF_USAGE, "the working directory has no usable path; start elsewhere");
    }
    hf_status st = apply_defaults(settings, err);
    if (!hf_failed(st) && file != NULL && file[0] != '\0') {
        st = read_file(settings, file, err);
    }
    if (!hf_failed(st)) {
        st = apply_environment(settings, err);
    }
    if (!hf_failed(st)) {
        st = apply_flags(settings, flags, err);
    }
    return st;
}
