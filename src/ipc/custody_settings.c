/* Back ends of custody: their names, and what the configuration says about one of them. */
#include "ipc/ipc.h"

bool hf_key_backend_is_custody(uint32_t backend)
{
    return backend >= HF_BACKEND_PKCS11 && backend < HF_BACKEND_COUNT;
}

bool hf_key_backend_has_process(uint32_t backend)
{
    return backend == HF_BACKEND_WEB3SIGNER || hf_key_backend_is_custody(backend);
}

hf_key_backend hf_key_backend_by_name(const char *name)
{
    for (int b = 0; b < HF_BACKEND_COUNT; b++) {
        if (strcmp(hf_key_backend_name((hf_key_backend)b), name) == 0) {
            return (hf_key_backend)b;
        }
    }
    return HF_BACKEND_COUNT;
}

hf_status hf_custody_settings_put(hf_custody_settings *settings, const char *name,
                                  const char *value)
{
    size_t name_size = strlen(name) + 1;
    size_t value_size = strlen(value) + 1;
    HF_ASSERT(settings->len <= sizeof settings->text);
    if (name_size + value_size > sizeof settings->text - settings->len) {
        return (hf_status){HF_LIMIT};
    }
    memcpy(settings->text + settings->len, name, name_size);
    memcpy(settings->text + settings->len + name_size, value, value_size);
    settings->len += (uint32_t)(name_size + value_size);
    return hf_ok();
}

/* The text that begins at *offset, which moves behind it; NULL when none ends within. */
static const char *next_text(const hf_custody_settings *settings, size_t *offset)
{
    if (settings->len > sizeof settings->text || *offset >= settings->len) {
        return NULL;
    }
    const char *text = settings->text + *offset;
    const char *end = memchr(text, '\0', settings->len - *offset);
    if (end == NULL) {
        return NULL;
    }
    *offset += (size_t)(end - text) + 1;
    return text;
}

bool hf_custody_settings_next(const hf_custody_settings *settings, size_t *offset,
                              const char **ret_name, const char **ret_value)
{
    const char *name = next_text(settings, offset);
    const char *value = name == NULL ? NULL : next_text(settings, offset);
    if (value == NULL) {
        return false;
    }
    *ret_name = name;
    *ret_value = value;
    return true;
}

const char *hf_custody_setting_at(const hf_custody_settings *settings, const char *name, size_t n)
{
    const char *found = NULL;
    const char *value = NULL;
    size_t offset = 0;
    while (hf_custody_settings_next(settings, &offset, &found, &value)) {
        if (strcmp(found, name) == 0 && n-- == 0) {
            return value;
        }
    }
    return NULL;
}

const char *hf_custody_setting(const hf_custody_settings *settings, const char *name)
{
    const char *value = hf_custody_setting_at(settings, name, 0);
    return value == NULL ? "" : value;
}

uint64_t hf_custody_setting_number(const hf_custody_settings *settings, const char *name,
                                   uint64_t standard)
{
    const char *text = hf_custody_setting(settings, name);
    uint64_t value = 0;
    return hf_failed(hf_num_parse_u64(text, strlen(text), &value)) ? standard : value;
}
