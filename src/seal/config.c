/* Who holds what: names, kinds, and what of it makes sense. */
#include "seal/seal.h"

static const char *const kind_names[HF_HOLDER_KIND_COUNT] = {
    [HF_HOLDER_PASSPHRASE] = "passphrase", [HF_HOLDER_KEY_FILE] = "keyfile",
    [HF_HOLDER_PRINTED] = "printed",       [HF_HOLDER_AWS_KMS] = "awskms",
    [HF_HOLDER_PKCS11] = "pkcs11",
};

const char *hf_holder_kind_name(unsigned kind)
{
    return kind < HF_HOLDER_KIND_COUNT ? kind_names[kind] : "unknown";
}

hf_status hf_holder_kind_parse(const char *name, hf_holder_kind *ret_kind)
{
    for (unsigned i = 0; i < HF_HOLDER_KIND_COUNT; i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            *ret_kind = (hf_holder_kind)i;
            return hf_ok();
        }
    }
    return (hf_status){HF_NOT_FOUND};
}

bool hf_holder_kind_is_wrapped(unsigned kind)
{
    return kind == HF_HOLDER_PASSPHRASE || kind == HF_HOLDER_KEY_FILE;
}

bool hf_seal_name_is_valid(const char name[HF_SEAL_NAME_LEN])
{
    size_t len = strnlen(name, HF_SEAL_NAME_LEN);
    return len > 0 && len < HF_SEAL_NAME_LEN &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

/* One of two directions: text that ends, and printable. */
static bool reference_is_valid(const char reference[HF_SEAL_REFERENCE_LEN])
{
    size_t len = strnlen(reference, HF_SEAL_REFERENCE_LEN);
    for (size_t i = 0; i < len; i++) {
        if (reference[i] < 0x20 || reference[i] > 0x7e) {
            return false;
        }
    }
    return len < HF_SEAL_REFERENCE_LEN;
}

static hf_status check_kdf(const hf_seal_holder *holder, hf_error *err)
{
    const hf_seal_kdf *kdf = &holder->kdf;
    if (holder->kind != HF_HOLDER_PASSPHRASE) {
        return hf_bytes_is_zero(kdf, sizeof *kdf)
                   ? hf_ok()
                   : hf_fail(err, HF_USAGE,
                             "holder %s: parameters of a passphrase for another kind",
                             holder->name);
    }
    if (kdf->memory_bytes < HF_SEAL_KDF_MEMORY_LEAST ||
        kdf->memory_bytes > HF_SEAL_KDF_MEMORY_MOST || kdf->passes < HF_SEAL_KDF_PASSES_LEAST ||
        kdf->passes > HF_SEAL_KDF_PASSES_MOST) {
        return hf_fail(err, HF_USAGE,
                       "holder %s: Argon2id needs 19 to 4096 MiB and %d to %d passes", holder->name,
                       HF_SEAL_KDF_PASSES_LEAST, HF_SEAL_KDF_PASSES_MOST);
    }
    return hf_ok();
}

static hf_status check_holder(const hf_seal_config *config, unsigned i, hf_error *err)
{
    const hf_seal_holder *holder = &config->holders[i];
    if (!hf_seal_name_is_valid(holder->name)) {
        return hf_fail(err, HF_USAGE,
                       "holder %u: a name has 1 to 32 of a-z, 0-9, full stop, _ and -", i + 1);
    }
    if (hf_seal_config_find(config, holder->name) != (int)i) {
        return hf_fail(err, HF_USAGE, "holder %s is named twice", holder->name);
    }
    if (holder->kind >= HF_HOLDER_KIND_COUNT) {
        return hf_fail(err, HF_USAGE, "holder %s: a kind that does not exist", holder->name);
    }
    if (holder->is_required > 1 || holder->blob_len > HF_SEAL_BLOB_MAX ||
        (holder->blob_len > 0 && hf_holder_kind_is_wrapped(holder->kind)) ||
        !reference_is_valid(holder->reference)) {
        return hf_fail(err, HF_USAGE, "holder %s is malformed", holder->name);
    }
    return check_kdf(holder, err);
}

hf_status hf_seal_config_check(const hf_seal_config *config, hf_error *err)
{
    unsigned others = 0;
    if (config->holder_count < 1 || config->holder_count > HF_SEAL_HOLDERS_MAX) {
        return hf_fail(err, HF_USAGE, "a seal has 1 to %d holders", HF_SEAL_HOLDERS_MAX);
    }
    if (config->generation == 0 || config->term == 0 || config->has_previous > 1) {
        return hf_fail(err, HF_USAGE, "the seal's numbers are malformed");
    }
    for (unsigned i = 0; i < config->holder_count; i++) {
        hf_status st = check_holder(config, i, err);
        if (hf_failed(st)) {
            return st;
        }
        others += config->holders[i].is_required == 0;
    }
    if (config->threshold > others || (config->threshold == 0) != (others == 0)) {
        return hf_fail(err, HF_USAGE,
                       "a threshold of %u for %u holders: it has to be 1 to the number of those "
                       "that are not required",
                       config->threshold, others);
    }
    return hf_ok();
}

int hf_seal_config_find(const hf_seal_config *config, const char *name)
{
    for (unsigned i = 0; i < config->holder_count && i < HF_SEAL_HOLDERS_MAX; i++) {
        if (strncmp(config->holders[i].name, name, HF_SEAL_NAME_LEN) == 0) {
            return (int)i;
        }
    }
    return -1;
}
