/* From the text of one value to its field, and the sentences for what is wrong with it. */
#include "config_internal.h"

#include <arpa/inet.h>
#include <ctype.h>

#define SHOWN_VALUE_BYTES 64 /* of a wrong value, in an error */
#define SHOWN_FILE_BYTES 96  /* of a long path: its end says more than its beginning */

/* "FILE:LINE: key: ", "HOLDFAST_KEY in the environment: ", "--flag: " or "key: ". */
static void format_place(const hf_origin *origin, const char *path, char *out, size_t out_len)
{
    char env_name[HF_YAML_PATH_LEN + 16];
    const hf_config_key *key = hf_config_key_find(path);
    switch (origin->kind) {
    case HF_ORIGIN_FILE: {
        size_t len = strlen(origin->name);
        bool is_long = len > SHOWN_FILE_BYTES;
        (void)snprintf(out, out_len, "%s%s:%u: %s: ", is_long ? "..." : "",
                       origin->name + (is_long ? len - SHOWN_FILE_BYTES : 0), origin->line, path);
        return;
    }
    case HF_ORIGIN_ENVIRONMENT:
        HF_ASSERT(key != NULL);
        hf_config_key_env_name(key, env_name, sizeof env_name);
        (void)snprintf(out, out_len, "%s in the environment: ", env_name);
        return;
    case HF_ORIGIN_FLAG:
        (void)snprintf(out, out_len, "%s: ", origin->name);
        return;
    case HF_ORIGIN_DEFAULT:
        (void)snprintf(out, out_len, "%s: ", path);
        return;
    }
    HF_ASSERT(false);
}

hf_status hf_config_refuse(const hf_origin *origin, const char *path, hf_error *err,
                           const char *fmt, ...)
{
    char place[HF_ERROR_MSG_LEN];
    char sentence[HF_ERROR_MSG_LEN];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(sentence, sizeof sentence, fmt, ap);
    va_end(ap);
    format_place(origin, path, place, sizeof place);
    return hf_fail(err, HF_USAGE, "%s%s", place, sentence);
}

hf_status hf_config_absolute(const char *folder, const char *path, char out[HF_PATH_LEN],
                             hf_error *err)
{
    char copy[HF_PATH_LEN]; /* path and out may be the same */
    while (path[0] == '.' && path[1] == '/') {
        path += 2;
    }
    const char *slash = strcmp(folder, "/") == 0 ? "" : "/";
    hf_status st = path[0] == '/' ? hf_str_copy(copy, sizeof copy, path)
                   : strcmp(path, ".") == 0
                       ? hf_str_copy(copy, sizeof copy, folder)
                       : hf_str_format(copy, sizeof copy, "%s%s%s", folder, slash, path);
    if (hf_failed(st)) {
        return hf_fail(err, HF_USAGE, "the path is longer than %d bytes", HF_PATH_LEN - 1);
    }
    memset(out, 0, HF_PATH_LEN); /* it may travel in a frame: no old bytes behind the text */
    return hf_str_copy(out, HF_PATH_LEN, copy);
}

/* ---- one function a type; each returns its sentence in why -------------------------------- */

static hf_status set_number(const hf_config_key *key, const char *text, void *field, hf_error *why)
{
    uint64_t value = 0;
    hf_status st = hf_num_parse_u64(text, strlen(text), &value);
    if (hf_failed(st) || value < key->least || value > key->most) {
        return hf_fail(why, HF_USAGE, "give a number from %llu to %llu",
                       (unsigned long long)key->least, (unsigned long long)key->most);
    }
    if (key->type == HF_VALUE_U16) {
        *(uint16_t *)field = (uint16_t)value;
    } else if (key->type == HF_VALUE_U32) {
        *(uint32_t *)field = (uint32_t)value;
    } else {
        *(uint64_t *)field = value;
    }
    return hf_ok();
}

static hf_status set_bool(const char *text, bool *field, hf_error *why)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return hf_fail(why, HF_USAGE, "give true or false");
    }
    *field = text[0] == 't';
    return hf_ok();
}

/* The place of a word in a list of words between single spaces, or -1. */
static int word_index(const char *words, const char *word)
{
    size_t len = strlen(word);
    int index = 0;
    while (words != NULL && *words != '\0') {
        size_t here = strcspn(words, " ");
        if (here == len && strncmp(words, word, len) == 0) {
            return index;
        }
        words += here + (words[here] == ' ' ? 1 : 0);
        index++;
    }
    return -1;
}

static hf_status set_choice(const hf_config_key *key, const char *text, uint8_t *field,
                            hf_error *why)
{
    int index = word_index(key->choices, text);
    if (index < 0 && word_index(key->later, text) >= 0) {
        return hf_fail(why, HF_USAGE, "not in this version of Holdfast; it has: %s", key->choices);
    }
    if (index < 0) {
        return hf_fail(why, HF_USAGE, "give one of: %s", key->choices);
    }
    *field = (uint8_t)index;
    return hf_ok();
}

static hf_status set_address(const char *text, char field[64], hf_error *why)
{
    uint8_t raw[sizeof(struct in6_addr)];
    if (strcmp(text, "localhost") == 0) {
        return hf_str_copy(field, 64, "127.0.0.1");
    }
    if (inet_pton(AF_INET, text, raw) != 1 && inet_pton(AF_INET6, text, raw) != 1) {
        return hf_fail(why, HF_USAGE,
                       "give a numeric address such as 127.0.0.1, ::1 or 0.0.0.0, or localhost");
    }
    return hf_str_copy(field, 64, text);
}

static hf_status set_path(const hf_settings *settings, const hf_config_key *key, const char *text,
                          const hf_origin *origin, char *field, hf_error *why)
{
    if (text[0] == '\0') {
        return hf_fail(why, HF_USAGE, "an empty path; give one or remove the key");
    }
    if (key->type == HF_VALUE_DATA_PATH) {
        return hf_str_copy(field, HF_PATH_LEN, text); /* made absolute when data_dir is known */
    }
    const char *folder = origin->kind == HF_ORIGIN_FILE ? settings->file_dir : settings->work_dir;
    return hf_config_absolute(folder, text, field, why);
}

bool hf_config_url_has_password(const char *url)
{
    const char *start = strstr(url, "://");
    if (start != NULL) {
        const char *host = start + 3;
        size_t len = strcspn(host, "/?");
        const char *at = memchr(host, '@', len);
        if (at != NULL && memchr(host, ':', (size_t)(at - host)) != NULL) {
            return true;
        }
    }
    /* password=, sslpassword=; but a file's name may well have the word in it. */
    for (const char *word = url; (word = strstr(word, "password")) != NULL;) {
        word += strlen("password");
        if (word[strspn(word, " \t")] == '=') {
            return true;
        }
    }
    return false;
}

/* The text may hold a password: no error quotes it. */
static hf_status set_url(const char *text, char field[HF_STORE_URL_LEN], hf_error *why)
{
    if (text[0] == '\0') {
        return hf_fail(why, HF_USAGE, "empty; give postgresql://USER@HOST/DATABASE");
    }
    if (hf_config_url_has_password(text)) {
        return hf_fail(why, HF_USAGE,
                       "a URL with a password belongs into a file of mode 0600 "
                       "(slashing_protection.url_file)");
    }
    return hf_str_copy(field, HF_STORE_URL_LEN, text);
}

static hf_status set_text(const hf_config_key *key, const char *text, char *field, hf_error *why)
{
    if (text[0] == '\0') {
        return hf_fail(why, HF_USAGE, "empty; give a value or remove the key");
    }
    memset(field, 0, key->most);
    if (hf_failed(hf_str_copy(field, key->most, text))) {
        return hf_fail(why, HF_USAGE, "longer than %llu bytes", (unsigned long long)key->most - 1);
    }
    return hf_ok();
}

static hf_status set_typed(hf_settings *settings, const hf_config_key *key, const char *text,
                           const hf_origin *origin, hf_error *why)
{
    void *field = (char *)settings + key->offset;
    switch (key->type) {
    case HF_VALUE_PATH:
    case HF_VALUE_DATA_PATH:
        return set_path(settings, key, text, origin, field, why);
    case HF_VALUE_TEXT:
        return set_text(key, text, field, why);
    case HF_VALUE_URL:
        return set_url(text, field, why);
    case HF_VALUE_ADDRESS:
        return set_address(text, field, why);
    case HF_VALUE_U16:
    case HF_VALUE_U32:
    case HF_VALUE_U64:
        return set_number(key, text, field, why);
    case HF_VALUE_BOOL:
        return set_bool(text, field, why);
    case HF_VALUE_CHOICE:
        return set_choice(key, text, field, why);
    case HF_VALUE_NETWORK:
    case HF_VALUE_MEMBER:
    case HF_VALUE_LIST:
    case HF_VALUE_BOOK:
    case HF_VALUE_CUSTODY:
        return hf_ok(); /* kept as text; checked as a whole */
    }
    HF_ASSERT(false);
    return (hf_status){HF_INTERNAL};
}

static bool is_text_type(hf_value_type type)
{
    return type != HF_VALUE_U16 && type != HF_VALUE_U32 && type != HF_VALUE_U64 &&
           type != HF_VALUE_BOOL;
}

hf_status hf_config_set(hf_settings *settings, const hf_config_key *key, const char *text,
                        bool is_quoted, hf_origin origin, hf_error *err)
{
    hf_error why = {0};
    char shown[SHOWN_VALUE_BYTES];
    hf_str_sanitize(shown, sizeof shown, text);
    hf_setting *setting = &settings->values[key - hf_config_keys];
    hf_status st = hf_ok();
    if (is_quoted && !is_text_type(key->type)) {
        return hf_config_refuse(&origin, key->path, err,
                                "\"%s\" is text; write the value without quotes", shown);
    }
    st = set_typed(settings, key, text, &origin, &why);
    if (hf_failed(st) && (key->type == HF_VALUE_URL || (key->flags & HF_KEY_SECRET) != 0)) {
        return hf_config_refuse(&origin, key->path, err, "%s", why.msg);
    }
    if (!hf_failed(st)) {
        st = hf_str_copy(setting->text, sizeof setting->text, text);
        (void)snprintf(why.msg, sizeof why.msg, "longer than %d bytes", HF_PATH_LEN - 1);
    }
    if (hf_failed(st)) {
        return hf_config_refuse(&origin, key->path, err, "%s: %s", shown, why.msg);
    }
    setting->origin = origin;
    setting->is_set = true;
    return hf_ok();
}

const hf_setting *hf_config_setting(const hf_settings *settings, const char *path)
{
    const hf_config_key *key = hf_config_key_find(path);
    HF_ASSERT(key != NULL);
    return &settings->values[key - hf_config_keys];
}
