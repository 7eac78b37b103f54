/* Back ends in processes of their own: what an entry says becomes pairs of a name and a value. */
#include "config_internal.h"

#define ENTRY "signing_keys[]."
#define SEAL "seal."
/* Members of a mapping that name a file: of a secret, but for tokens that a platform puts there in
 * its own way. */
#define FILE_SUFFIX "_file"
#define PLATFORM_FILE "jwt_file"

const hf_config_key *hf_config_custody_key(const char *path)
{
    char cut[HF_YAML_PATH_LEN];
    const hf_config_key *key = hf_config_key_find(path);
    if (key == NULL && !hf_failed(hf_str_copy(cut, sizeof cut, path))) {
        char *dot = strrchr(cut, '.');
        char *bracket = strrchr(cut, '[');
        char *end = bracket > dot ? bracket : dot;
        if (end != NULL) {
            *end = '\0';
            key = hf_config_key_find(cut);
        }
        bool holds_more = key != NULL &&
                          (key->kind == HF_CUSTODY_VALUE_MAP || key->kind == HF_CUSTODY_VALUE_LIST);
        return holds_more && key->type == HF_VALUE_CUSTODY ? key : NULL;
    }
    return key != NULL && key->type == HF_VALUE_CUSTODY ? key : NULL;
}

static hf_yaml_kind container_of(const hf_config_key *key)
{
    return key->kind == HF_CUSTODY_VALUE_MAP    ? HF_YAML_MAP
           : key->kind == HF_CUSTODY_VALUE_LIST ? HF_YAML_LIST
                                                : HF_YAML_SCALAR;
}

const char *hf_config_seal_entry(size_t i, hf_key_backend *ret_backend)
{
    static const struct {
        const char *name;
        hf_key_backend backend;
    } entries[HF_SEAL_ENTRIES] = {{"pkcs11", HF_BACKEND_PKCS11}, {"awskms", HF_BACKEND_AWS_KMS}};
    HF_ASSERT(i < HF_SEAL_ENTRIES);
    if (ret_backend != NULL) {
        *ret_backend = entries[i].backend;
    }
    return entries[i].name;
}

/* The place among the drafts that a path speaks of; false when there are too many. */
static bool draft_of(const char *path, size_t *ret_index)
{
    uint64_t index = 0;
    if (strncmp(path, SEAL, strlen(SEAL)) != 0) {
        const char *digits = strchr(path, '[') + 1;
        bool fits = !hf_failed(hf_num_parse_u64(digits, strcspn(digits, "]"), &index)) &&
                    index < HF_KEY_SOURCES_MAX;
        *ret_index = (size_t)index;
        return fits;
    }
    const char *entry = path + strlen(SEAL);
    for (size_t i = 0; i < HF_SEAL_ENTRIES; i++) {
        const char *name = hf_config_seal_entry(i, NULL);
        if (strncmp(entry, name, strlen(name)) == 0 && entry[strlen(name)] == '.') {
            *ret_index = HF_KEY_SOURCES_MAX + i;
            return true;
        }
    }
    return false;
}

/* "auth.role_id" of "signing_keys[3].auth.role_id", "prefixes" of "signing_keys[3].prefixes[0]" */
static void name_within(const char *path, char out[HF_YAML_PATH_LEN])
{
    bool is_of_seal = strncmp(path, SEAL, strlen(SEAL)) == 0;
    const char *start = is_of_seal ? strchr(path + strlen(SEAL), '.') + 1 : strchr(path, ']') + 2;
    hf_str_cut(out, HF_YAML_PATH_LEN, start);
    out[strcspn(out, "[")] = '\0';
}

hf_status hf_config_custody_apply(hf_settings *settings, const hf_config_key *key,
                                  const hf_yaml_entry *entry, const hf_origin *origin,
                                  hf_error *err)
{
    char name[HF_YAML_PATH_LEN];
    size_t index = 0;
    bool is_itself = hf_config_key_find(entry->path) == key;
    bool is_container = entry->kind == HF_YAML_MAP || entry->kind == HF_YAML_LIST;
    bool fits = !is_container || (is_itself && entry->kind == container_of(key));
    if (is_itself && key->kind == HF_CUSTODY_VALUE_MAP && !is_container) {
        fits = false;
    }
    if (entry->kind == HF_YAML_NULL || (!is_container && entry->text[0] == '\0')) {
        return hf_config_refuse(origin, entry->path, err, "no value; give one or remove the key");
    }
    if (!fits) {
        return hf_config_refuse(origin, entry->path, err, "%s is wanted here",
                                key->kind == HF_CUSTODY_VALUE_MAP    ? "a mapping"
                                : key->kind == HF_CUSTODY_VALUE_LIST ? "a list"
                                                                     : "a single value");
    }
    if (!draft_of(entry->path, &index)) {
        return hf_config_refuse(origin, entry->path, err, "more than %d sources of keys",
                                HF_KEY_SOURCES_MAX);
    }
    if (index >= HF_KEY_SOURCES_MAX && settings->sources[index].line == 0) {
        settings->sources[index].line = entry->line;
    }
    name_within(entry->path, name);
    if (!is_container &&
        hf_failed(hf_custody_settings_put(&settings->sources[index].custody, name, entry->text))) {
        return hf_config_refuse(origin, entry->path, err, "more than an entry can hold");
    }
    return hf_ok();
}

/* ---- the whole entry ------------------------------------------------------------------------- */

static const hf_config_key *key_of_name(const char *name)
{
    char path[HF_YAML_PATH_LEN];
    (void)snprintf(path, sizeof path, ENTRY "%s", name);
    return hf_config_custody_key(path);
}

static hf_status check_url(const char *text, hf_error *why)
{
    const char *host = strstr(text, "://");
    if (host == NULL) {
        return hf_fail(why, HF_USAGE, "not a URL; give https://HOST and what follows");
    }
    const char *end = host + 3 + strcspn(host + 3, "/?#");
    const char *at = strchr(host, '@');
    return at != NULL && at < end ? hf_fail(why, HF_USAGE, "no user or password in the URL")
                                  : hf_ok();
}

static hf_status take_path(const hf_settings *settings, hf_custody_value kind, const char *text,
                           char out[HF_PATH_LEN], hf_error *why)
{
    hf_status st = hf_config_absolute(settings->file_dir, text, out, why);
    if (hf_failed(st)) {
        return st;
    }
    return kind == HF_CUSTODY_VALUE_SECRET
               ? hf_config_check_private(out, why)
               : hf_config_check_readable(out, kind == HF_CUSTODY_VALUE_FOLDER, why);
}

/* The value as the back end gets it. */
static hf_status take_value(const hf_settings *settings, const hf_config_key *key, const char *name,
                            const char *text, char out[HF_PATH_LEN], hf_error *why)
{
    uint64_t number = 0;
    hf_custody_value kind = (hf_custody_value)key->kind;
    if (kind == HF_CUSTODY_VALUE_MAP && hf_str_has_suffix(name, FILE_SUFFIX)) {
        kind = hf_str_has_suffix(name, PLATFORM_FILE) ? HF_CUSTODY_VALUE_FILE
                                                      : HF_CUSTODY_VALUE_SECRET;
    }
    switch (kind) {
    case HF_CUSTODY_VALUE_FILE:
    case HF_CUSTODY_VALUE_SECRET:
    case HF_CUSTODY_VALUE_FOLDER:
        return take_path(settings, kind, text, out, why);
    case HF_CUSTODY_VALUE_NUMBER:
        if (hf_failed(hf_num_parse_u64(text, strlen(text), &number))) {
            return hf_fail(why, HF_USAGE, "not a number");
        }
        break;
    case HF_CUSTODY_VALUE_URL: {
        hf_status st = check_url(text, why);
        if (hf_failed(st)) {
            return st;
        }
        break;
    }
    case HF_CUSTODY_VALUE_NONE:
    case HF_CUSTODY_VALUE_TEXT:
    case HF_CUSTODY_VALUE_MAP:
    case HF_CUSTODY_VALUE_LIST:
        break;
    }
    return hf_str_copy(out, HF_PATH_LEN, text);
}

static hf_status refuse_foreign(const hf_settings *settings, size_t index, const char *name,
                                hf_key_backend backend, hf_error *err)
{
    char what[HF_DETAIL_LEN];
    (void)snprintf(what, sizeof what, "the back end %s does not take it; remove it",
                   hf_key_backend_name(backend));
    return hf_config_refuse_source(settings, index, name, err, what);
}

static hf_status check_needed(const hf_settings *settings, size_t index, hf_key_backend backend,
                              hf_error *err)
{
    const hf_custody_settings *custody = &settings->sources[index].custody;
    for (size_t i = 0; i < hf_config_key_count; i++) {
        const hf_config_key *key = &hf_config_keys[i];
        if (key->type != HF_VALUE_CUSTODY || (key->needs & 1U << backend) == 0) {
            continue;
        }
        const char *name = key->path + strlen(ENTRY);
        if (hf_custody_setting(custody, name)[0] == '\0') {
            char what[HF_DETAIL_LEN];
            (void)snprintf(what, sizeof what, "missing; %s needs it", hf_key_backend_name(backend));
            return hf_config_refuse_source(settings, index, name, err, what);
        }
    }
    return hf_ok();
}

static bool has_draft_member(const hf_source_draft *draft)
{
    return draft->keystore_dir[0] != '\0' || draft->password_file[0] != '\0' ||
           draft->password_dir[0] != '\0' || draft->config_dir[0] != '\0' ||
           draft->key_file_dir[0] != '\0';
}

hf_status hf_config_check_no_custody(const hf_settings *settings, size_t index, hf_error *err)
{
    const char *name = NULL;
    const char *value = NULL;
    size_t offset = 0;
    if (!hf_custody_settings_next(&settings->sources[index].custody, &offset, &name, &value)) {
        return hf_ok();
    }
    return hf_config_refuse_source(settings, index, name, err,
                                   "belongs to another back end; remove it");
}

static hf_status take_settings(const hf_settings *settings, size_t index, hf_key_backend backend,
                               hf_custody_settings *out, hf_error *err)
{
    const char *name = NULL;
    const char *text = NULL;
    size_t offset = 0;
    char value[HF_PATH_LEN];
    hf_error why = {HF_OK, ""};
    while (hf_custody_settings_next(&settings->sources[index].custody, &offset, &name, &text)) {
        const hf_config_key *key = key_of_name(name);
        HF_ASSERT(key != NULL);
        if ((key->takes & 1U << backend) == 0) {
            return refuse_foreign(settings, index, name, backend, err);
        }
        if (hf_failed(take_value(settings, key, name, text, value, &why)) ||
            hf_failed(hf_custody_settings_put(out, name, value))) {
            return hf_config_refuse_source(settings, index, name, err,
                                           why.msg[0] != '\0' ? why.msg : "too long");
        }
    }
    return hf_ok();
}

hf_status hf_config_finish_custody(hf_settings *settings, size_t index, hf_key_backend backend,
                                   hf_error *err)
{
    hf_config *config = &settings->config;
    hf_custody_source *custody = &config->custodies[config->custody_count];
    if (has_draft_member(&settings->sources[index])) {
        return hf_config_refuse_source(settings, index, "backend", err,
                                       "takes no folders of keystores or key files; remove them");
    }
    *custody = (hf_custody_source){.backend = (uint32_t)backend,
                                   .source = index < HF_KEY_SOURCES_MAX ? (uint32_t)index
                                                                        : HF_SOURCE_NONE};
    hf_status st = take_settings(settings, index, backend, &custody->settings, err);
    if (!hf_failed(st)) {
        st = check_needed(settings, index, backend, err);
    }
    if (!hf_failed(st)) {
        config->custody_count++;
    }
    return st;
}

hf_status hf_config_add_key_servers(hf_settings *settings, size_t index, hf_error *err)
{
    hf_config *config = &settings->config;
    hf_custody_source *custody = &config->custodies[config->custody_count];
    *custody = (hf_custody_source){.backend = HF_BACKEND_WEB3SIGNER, .source = (uint32_t)index};
    if (hf_failed(hf_custody_settings_put(&custody->settings, "config_dir",
                                          config->key_sources[index].dir))) {
        return hf_config_refuse_source(settings, index, "config_dir", err, "too long");
    }
    config->custody_count++;
    return hf_ok();
}

hf_status hf_config_finish_seal(hf_settings *settings, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < HF_SEAL_ENTRIES && !hf_failed(st); i++) {
        hf_key_backend backend = HF_BACKEND_COUNT;
        (void)hf_config_seal_entry(i, &backend);
        if (settings->sources[HF_KEY_SOURCES_MAX + i].custody.len > 0) {
            st = hf_config_finish_custody(settings, HF_KEY_SOURCES_MAX + i, backend, err);
        }
    }
    return st;
}

/* ---- printing ---------------------------------------------------------------------------------
 */

/* Does this pair begin a mapping or list, as the one before was of another? */
static bool begins_container(const char *name, const char *before)
{
    size_t len = strcspn(name, ".");
    return strncmp(name, before, len) != 0 || (before[len] != '.' && before[len] != '\0');
}

hf_status hf_config_print_custody(const hf_settings *settings, size_t i, hf_buf *out)
{
    const hf_custody_settings *custody = &settings->config.custodies[i].settings;
    const char *name = NULL;
    const char *value = NULL;
    const char *before = "";
    size_t offset = 0;
    hf_status st = hf_ok();
    while (!hf_failed(st) && hf_custody_settings_next(custody, &offset, &name, &value)) {
        const hf_config_key *key = key_of_name(name);
        bool is_list = key != NULL && key->kind == HF_CUSTODY_VALUE_LIST;
        const char *dot = strchr(name, '.');
        bool opens = (is_list || dot != NULL) && begins_container(name, before);
        if (opens) {
            st = hf_buf_putf(out, "    %.*s:\n", (int)strcspn(name, "."), name);
        }
        if (!hf_failed(st)) {
            st = is_list       ? hf_buf_putf(out, "      - \"%s\"\n", value)
                 : dot != NULL ? hf_buf_putf(out, "      %s: \"%s\"\n", dot + 1, value)
                               : hf_buf_putf(out, "    %s: %s\n", name, value);
        }
        before = name;
    }
    return st;
}

hf_status hf_config_print_seal(const hf_settings *settings, hf_buf *out)
{
    const hf_config *config = &settings->config;
    bool is_open = false;
    hf_status st = hf_ok();
    for (uint32_t i = 0; i < config->custody_count && !hf_failed(st); i++) {
        if (config->custodies[i].source != HF_SOURCE_NONE) {
            continue;
        }
        bool is_aws = config->custodies[i].backend == HF_BACKEND_AWS_KMS;
        st = hf_buf_putf(out, "%s  %s:\n", is_open ? "" : "seal:\n", is_aws ? "awskms" : "pkcs11");
        is_open = true;
        if (!hf_failed(st)) {
            st = hf_config_print_custody(settings, i, out);
        }
    }
    return st;
}
