/* The kept form of a seal's configuration: versioned, bounded, one form for each content. */
#include "seal/seal_internal.h"

#define FORMAT 1
static const char magic[4] = {'H', 'F', 'S', 'C'};

void hf_seal_put(hf_seal_writer *writer, const void *bytes, size_t len)
{
    if (writer->failed || len > writer->max - writer->len) {
        writer->failed = true;
        return;
    }
    memcpy(writer->data + writer->len, bytes, len);
    writer->len += len;
}

void hf_seal_put_number(hf_seal_writer *writer, uint64_t value, unsigned bytes)
{
    uint8_t form[8];
    HF_ASSERT(bytes <= sizeof form);
    hf_le64_put(form, value);
    hf_seal_put(writer, form, bytes);
}

void hf_seal_put_text(hf_seal_writer *writer, const char *text)
{
    size_t len = strlen(text);
    writer->failed |= len > UINT8_MAX;
    hf_seal_put_number(writer, len, 1);
    hf_seal_put(writer, text, len);
}

void hf_seal_get(hf_seal_reader *reader, void *ret_bytes, size_t len)
{
    if (reader->failed || len > reader->rest.len) {
        reader->failed = true;
        memset(ret_bytes, 0, len);
        return;
    }
    if (len > 0) {
        memcpy(ret_bytes, reader->rest.ptr, len);
        reader->rest.ptr += len;
        reader->rest.len -= len;
    }
}

uint64_t hf_seal_get_number(hf_seal_reader *reader, unsigned bytes)
{
    uint8_t form[8] = {0};
    HF_ASSERT(bytes <= sizeof form);
    hf_seal_get(reader, form, bytes);
    return hf_le64_get(form);
}

void hf_seal_get_text(hf_seal_reader *reader, char *ret_text, size_t max)
{
    size_t len = (size_t)hf_seal_get_number(reader, 1);
    if (len >= max) {
        reader->failed = true;
        len = 0;
    }
    hf_seal_get(reader, ret_text, len);
    memset(ret_text + len, 0, max - len);
    reader->failed |= strlen(ret_text) != len;
}

/* ---- the configuration --------------------------------------------------------------------------
 */

static void put_holder(hf_seal_writer *writer, const hf_seal_holder *holder)
{
    hf_seal_put_text(writer, holder->name);
    hf_seal_put_number(writer, holder->kind, 1);
    hf_seal_put_number(writer, holder->is_required, 1);
    hf_seal_put_number(writer, holder->index, 1);
    hf_seal_put(writer, holder->commitment, HF_SEAL_HASH_BYTES);
    hf_seal_put_text(writer, holder->reference);
    if (holder->kind == HF_HOLDER_PASSPHRASE) {
        hf_seal_put_number(writer, holder->kdf.memory_bytes, 8);
        hf_seal_put_number(writer, holder->kdf.passes, 4);
        hf_seal_put(writer, holder->kdf.salt, HF_SEAL_SALT_BYTES);
    }
    if (hf_holder_kind_is_wrapped(holder->kind)) {
        hf_seal_put(writer, holder->wrapped, HF_SEAL_WRAPPED_BYTES);
    } else {
        hf_seal_put_number(writer, holder->blob_len, 2);
        hf_seal_put(writer, holder->blob,
                    holder->blob_len <= HF_SEAL_BLOB_MAX ? holder->blob_len : HF_SEAL_BLOB_MAX);
    }
}

static void get_holder(hf_seal_reader *reader, hf_seal_holder *holder)
{
    hf_seal_get_text(reader, holder->name, HF_SEAL_NAME_LEN);
    holder->kind = (uint8_t)hf_seal_get_number(reader, 1);
    holder->is_required = (uint8_t)hf_seal_get_number(reader, 1);
    holder->index = (uint8_t)hf_seal_get_number(reader, 1);
    hf_seal_get(reader, holder->commitment, HF_SEAL_HASH_BYTES);
    hf_seal_get_text(reader, holder->reference, HF_SEAL_REFERENCE_LEN);
    if (holder->kind == HF_HOLDER_PASSPHRASE) {
        holder->kdf.memory_bytes = hf_seal_get_number(reader, 8);
        holder->kdf.passes = (uint32_t)hf_seal_get_number(reader, 4);
        hf_seal_get(reader, holder->kdf.salt, HF_SEAL_SALT_BYTES);
    }
    if (hf_holder_kind_is_wrapped(holder->kind)) {
        hf_seal_get(reader, holder->wrapped, HF_SEAL_WRAPPED_BYTES);
        return;
    }
    holder->blob_len = (uint16_t)hf_seal_get_number(reader, 2);
    if (holder->blob_len > HF_SEAL_BLOB_MAX) {
        reader->failed = true;
        holder->blob_len = 0;
    }
    hf_seal_get(reader, holder->blob, holder->blob_len);
}

hf_status hf_seal_config_encode(const hf_seal_config *config,
                                uint8_t ret_data[HF_SEAL_CONFIG_BYTES_MAX], size_t *ret_len)
{
    hf_seal_writer writer = {.data = ret_data, .max = HF_SEAL_CONFIG_BYTES_MAX};
    if (hf_failed(hf_seal_config_check(config, NULL))) {
        return (hf_status){HF_INTERNAL};
    }
    hf_seal_put(&writer, magic, sizeof magic);
    hf_seal_put_number(&writer, FORMAT, 1);
    hf_seal_put(&writer, config->seal_id, HF_SEAL_ID_BYTES);
    hf_seal_put_number(&writer, config->generation, 8);
    hf_seal_put_number(&writer, config->term, 4);
    hf_seal_put_number(&writer, config->threshold, 1);
    hf_seal_put_number(&writer, config->holder_count, 1);
    hf_seal_put_number(&writer, config->has_previous, 1);
    hf_seal_put(&writer, config->check, HF_SEAL_HASH_BYTES);
    if (config->has_previous == 1) {
        hf_seal_put(&writer, config->previous_check, HF_SEAL_HASH_BYTES);
        hf_seal_put(&writer, config->previous, HF_SEAL_CARRIED_BYTES);
    }
    for (unsigned i = 0; i < config->holder_count; i++) {
        put_holder(&writer, &config->holders[i]);
    }
    if (writer.failed) {
        return (hf_status){HF_INTERNAL};
    }
    *ret_len = writer.len;
    return hf_ok();
}

static void get_config(hf_seal_reader *reader, hf_seal_config *config)
{
    char found[sizeof magic];
    hf_seal_get(reader, found, sizeof found);
    reader->failed |= !hf_bytes_equal(found, magic, sizeof magic);
    reader->failed |= hf_seal_get_number(reader, 1) != FORMAT;
    hf_seal_get(reader, config->seal_id, HF_SEAL_ID_BYTES);
    config->generation = hf_seal_get_number(reader, 8);
    config->term = (uint32_t)hf_seal_get_number(reader, 4);
    config->threshold = (uint8_t)hf_seal_get_number(reader, 1);
    config->holder_count = (uint8_t)hf_seal_get_number(reader, 1);
    config->has_previous = (uint8_t)hf_seal_get_number(reader, 1);
    hf_seal_get(reader, config->check, HF_SEAL_HASH_BYTES);
    if (config->has_previous == 1) {
        hf_seal_get(reader, config->previous_check, HF_SEAL_HASH_BYTES);
        hf_seal_get(reader, config->previous, HF_SEAL_CARRIED_BYTES);
    }
    if (config->holder_count > HF_SEAL_HOLDERS_MAX) {
        reader->failed = true;
        config->holder_count = 0;
    }
    for (unsigned i = 0; i < config->holder_count && !reader->failed; i++) {
        get_holder(reader, &config->holders[i]);
    }
    reader->failed |= reader->rest.len != 0;
}

/* Places as hf_seal_split gives them: those who are required, and the others, each from 1 up. */
static bool places_are_sound(const hf_seal_config *config)
{
    unsigned next[2] = {1, 1};
    for (unsigned i = 0; i < config->holder_count; i++) {
        if (config->holders[i].index != next[config->holders[i].is_required]++) {
            return false;
        }
    }
    return true;
}

hf_status hf_seal_config_decode(hf_bytes data, hf_seal_config *ret_config, hf_error *err)
{
    hf_seal_config *config = calloc(1, sizeof *config);
    hf_seal_reader reader = {.rest = data};
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    get_config(&reader, config);
    hf_status st = hf_ok();
    if (reader.failed) {
        st = hf_fail(err, HF_CORRUPT,
                     "the seal's configuration cannot be read: it was cut or "
                     "changed, or a newer version wrote it");
    } else if (hf_failed(hf_seal_config_check(config, err)) || !places_are_sound(config)) {
        st = hf_fail(err, HF_CORRUPT, "the seal's configuration contradicts itself");
    } else {
        *ret_config = *config;
    }
    free(config);
    return st;
}
