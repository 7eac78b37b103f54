/*
 * Fuzzes the reading of configuration and network files. The first byte picks which. Whatever is
 * accepted must keep the promises that others build on: unique bounded paths, numbers in range.
 */
#include "config/config_internal.h"

#define FUZZ_OUTPUT_BYTES 1048576

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_doc(const hf_yaml_doc *doc)
{
    HF_ASSERT(doc->count <= HF_YAML_MAX_ENTRIES);
    for (size_t i = 0; i < doc->count; i++) {
        const hf_yaml_entry *entry = &doc->entries[i];
        HF_ASSERT(entry->line > 0 && entry->path[0] != '\0');
        HF_ASSERT(strnlen(entry->path, sizeof entry->path) < sizeof entry->path);
        HF_ASSERT(strnlen(entry->text, sizeof entry->text) < sizeof entry->text);
        for (size_t j = 0; j < i; j++) {
            HF_ASSERT(strcmp(doc->entries[j].path, entry->path) != 0);
        }
    }
}

static void check_number(const hf_config_key *key, const hf_settings *settings)
{
    const char *field = (const char *)settings + key->offset;
    uint64_t value = 0;
    if (key->type == HF_VALUE_U16) {
        value = *(const uint16_t *)(const void *)field;
    } else if (key->type == HF_VALUE_U32) {
        value = *(const uint32_t *)(const void *)field;
    } else if (key->type == HF_VALUE_U64) {
        value = *(const uint64_t *)(const void *)field;
    } else {
        return;
    }
    HF_ASSERT(value >= key->least && value <= key->most);
}

static void check_settings(const hf_settings *settings)
{
    HF_ASSERT(settings->source_count <= HF_KEY_SOURCES_MAX);
    for (size_t i = 0; i < hf_config_key_count; i++) {
        if (settings->values[i].is_set) {
            check_number(&hf_config_keys[i], settings);
        }
    }
    hf_buf *out = hf_buf_new(FUZZ_OUTPUT_BYTES);
    HF_ASSERT(out != NULL && !hf_failed(hf_config_print(settings, out)));
    hf_buf_free(out);
}

static void fuzz_settings(const hf_yaml_doc *doc, hf_error *err)
{
    hf_settings *settings = calloc(1, sizeof *settings);
    HF_ASSERT(settings != NULL);
    (void)snprintf(settings->file, sizeof settings->file, "fuzz.yaml");
    (void)snprintf(settings->file_dir, sizeof settings->file_dir, "/nonexistent");
    if (!hf_failed(hf_config_apply_file(settings, doc, err))) {
        check_settings(settings);
    }
    hf_buf_free(settings->book_text);
    free(settings);
}

static void fuzz_network(const hf_yaml_doc *doc, hf_error *err)
{
    hf_network_draft draft;
    hf_network network = {0};
    hf_network_draft_init(&draft);
    if (hf_failed(hf_network_draft_apply(&draft, doc, "", "fuzz.yaml", err)) ||
        hf_failed(hf_network_draft_finish(&draft, &network, err))) {
        return;
    }
    HF_ASSERT(network.slots_per_epoch > 0 && network.slot_ms > 0);
    HF_ASSERT(strnlen(network.name, sizeof network.name) < sizeof network.name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_yaml_doc doc = {0};
    hf_error err = {0};
    if (size == 0 ||
        hf_failed(hf_yaml_parse(hf_bytes_from(data + 1, size - 1), "fuzz.yaml", &doc, &err))) {
        HF_ASSERT(size == 0 || err.msg[0] != '\0');
        return 0;
    }
    check_doc(&doc);
    if (data[0] % 2 == 0) {
        fuzz_settings(&doc, &err);
    } else {
        fuzz_network(&doc, &err);
    }
    hf_yaml_free(&doc);
    return 0;
}
