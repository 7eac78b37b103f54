/* Secrets of Vault that are named one by one, as Web3Signer's key files do. */
#include "custody/secret_text.h"
#include "custody/vault_internal.h"

#define API "/v1/"
#define ORIGIN_LEN (HF_VAULT_URL_LEN + 2 * HF_PATH_LEN + 16)

typedef struct reading {
    const hf_vault_config *config;
    const hf_custody_visitor *visitor;
    uint32_t keys;
} reading;

static hf_status take_field(reading *r, const hf_secret_ref *ref, const char *text)
{
    char origin[ORIGIN_LEN];
    hf_status st = hf_str_format(origin, sizeof origin, "vault\n%s\n%s\n%s", r->config->address,
                                 ref->path, ref->field);
    HF_ASSERT(!hf_failed(st)); /* each part is bounded where it is read */
    const hf_secret_text secret = {.origin = origin,
                                   .name = ref->path,
                                   .type = r->config->key_type,
                                   .text = hf_bytes_from(text, strlen(text))};
    return hf_secret_text_visit(&secret, r->visitor, &r->keys);
}

static hf_status take_secret(void *context, size_t index, hf_status st, json_t *json,
                             const char *why)
{
    reading *r = context;
    const hf_secret_ref *ref = &r->config->secrets[index];
    const char *text = json_string_value(
        json_object_get(json_object_get(json_object_get(json, "data"), "data"), ref->field));
    if (hf_failed(st) || text == NULL) {
        r->visitor->failed(r->visitor->context, ref->path,
                           hf_failed(st) ? why : "it has no such field with text");
        return hf_ok();
    }
    return take_field(r, ref, text);
}

hf_status hf_vault_read_named(hf_vault *vault, const hf_custody_visitor *visitor,
                              uint64_t deadline_ns, uint32_t *ret_keys, hf_error *err)
{
    const hf_vault_config *config = &vault->config;
    reading r = {config, visitor, 0};
    const char **paths = calloc(config->secret_count, sizeof *paths);
    if (paths == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < config->secret_count; i++) {
        HF_ASSERT(strncmp(config->secrets[i].path, API, strlen(API)) == 0);
        paths[i] = config->secrets[i].path + strlen(API);
    }
    const hf_vault_fetch fetch = {.prefix = "",
                                  .suffix = "",
                                  .paths = paths,
                                  .count = config->secret_count,
                                  .max_answer_bytes = HF_VAULT_SMALL_ANSWER,
                                  .context = &r,
                                  .answer = take_secret};
    hf_status st = hf_vault_fetch_all(vault, &fetch, deadline_ns, err);
    free(paths);
    *ret_keys = r.keys;
    return st;
}
