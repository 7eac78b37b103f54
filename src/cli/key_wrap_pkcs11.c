/* holdfast key wrap and generate with a token behind PKCS#11, whose module runs in a child. */
#include "custody/wrapped_key.h"

#include "custody_child.h"
#include "key_wrap.h"

#include <sys/stat.h>

#define FILE_MODE (S_IRUSR | S_IWUSR)

static const char *const settings_of_pkcs11[] = {
    "module",     "module_env.", "token_label", "slot",       "token_dir", "pin_file",
    "cluster_id", "wrap_key",    "blob_dir",    "key_labels", NULL};
static const char *const settings_of_yubihsm[] = {"connector_url",
                                                  "auth_key_id",
                                                  "auth_key_password_file",
                                                  "module",
                                                  "module_env.",
                                                  "wrap_key",
                                                  "blob_dir",
                                                  "ca_file",
                                                  "domains",
                                                  NULL};
static const char *const no_types[] = {NULL}; /* the vendor's own tools make keys inside */
static const char *const types_inside[] = {"secp256k1", "ed25519", "p256", "wrap", NULL};
static const hf_custody_type custody_types[] = {HF_CUSTODY_SECP256K1, HF_CUSTODY_ED25519,
                                                HF_CUSTODY_P256, HF_CUSTODY_BLS};

static hf_custody_child *child; /* one command, one child */

static hf_status start(hf_error *err)
{
    return hf_custody_child_start(&child, err);
}

static void done(void)
{
    hf_custody_child_stop(child);
    child = NULL;
}

/* ---- wrap ------------------------------------------------------------------------------------ */

static hf_status write_wrapped(const hf_wrapped_key *key, const char *folder,
                               char ret_path[HF_PATH_LEN], hf_error *err)
{
    char hex[2 * HF_BLS_PUBKEY_BYTES + 1];
    hf_buf *text = NULL;
    hf_hex_encode(key->pubkey, sizeof key->pubkey, hex);
    if (hf_failed(hf_str_format(ret_path, HF_PATH_LEN, "%s/0x%s%s", folder, hex,
                                HF_WRAPPED_KEY_SUFFIX))) {
        return hf_fail(err, HF_USAGE, "blob_dir: path too long");
    }
    hf_status st = hf_wrapped_key_print(key, &text, err);
    if (!hf_failed(st)) {
        st = hf_cli_key_write_new(ret_path, hf_buf_text(text), FILE_MODE, err);
    }
    hf_buf_free(text);
    return st;
}

static hf_status wrap_one(const char *wrap_key, const char *folder, hf_key_wrapping *key)
{
    uint8_t context[HF_WRAPPED_KEY_CONTEXT_MAX];
    hf_wrapped_key wrapped = {.blob_len = sizeof wrapped.blob};
    if (key->type != HF_KEY_TYPE_BLS) {
        return hf_fail(&key->err, HF_USAGE,
                       "only BLS keys are wrapped: a token signs with secp256k1 inside");
    }
    memcpy(wrapped.pubkey, key->pubkey, sizeof wrapped.pubkey);
    size_t context_len = hf_wrapped_key_context(wrapped.pubkey, context);
    if (hf_failed(hf_str_copy(wrapped.wrap_key, sizeof wrapped.wrap_key, wrap_key))) {
        return hf_fail(&key->err, HF_USAGE, "wrap_key: too long");
    }
    hf_status st = hf_custody_child_wrap(child, wrap_key, hf_bytes_from(context, context_len),
                                         hf_bytes_from(key->secret, HF_BLS_SECRET_BYTES),
                                         wrapped.blob, &wrapped.blob_len, &key->err);
    return hf_failed(st) ? st : write_wrapped(&wrapped, folder, key->path, &key->err);
}

static hf_status wrap_by(hf_key_backend backend, const hf_custody_settings *settings,
                         hf_key_wrapping *keys, size_t n, hf_error *err)
{
    const char *wrap_key = hf_custody_setting(settings, "wrap_key");
    const char *folder = hf_custody_setting(settings, "blob_dir");
    if (wrap_key[0] == '\0' || folder[0] == '\0') {
        return hf_fail(err, HF_USAGE, "wrap_key and blob_dir: under which key, and to where?");
    }
    hf_status st = hf_custody_child_open(child, backend, settings, err);
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        keys[i].status = wrap_one(wrap_key, folder, &keys[i]);
    }
    return st;
}

static hf_status wrap_pkcs11(const hf_custody_settings *settings, hf_key_wrapping *keys, size_t n,
                             hf_error *err)
{
    return wrap_by(HF_BACKEND_PKCS11, settings, keys, n, err);
}

static hf_status wrap_cloudhsm(const hf_custody_settings *settings, hf_key_wrapping *keys, size_t n,
                               hf_error *err)
{
    return wrap_by(HF_BACKEND_AWS_CLOUDHSM, settings, keys, n, err);
}

static hf_status wrap_yubihsm(const hf_custody_settings *settings, hf_key_wrapping *keys, size_t n,
                              hf_error *err)
{
    return wrap_by(HF_BACKEND_YUBIHSM, settings, keys, n, err);
}

/* ---- create ---------------------------------------------------------------------------------- */

/* Public key, label and, of secp256k1, address. */
static void name_key(const hf_custody_key *key, char ret_name[HF_KEY_CREATED_LEN])
{
    char hex[2 * HF_CUSTODY_PUBLIC_MAX + 1];
    char address_hex[2 * HF_ADDRESS_BYTES + 1] = "";
    bool has_address = key->type == HF_CUSTODY_SECP256K1;
    hf_hex_encode(key->public_key, key->public_len, hex);
    if (has_address) {
        uint8_t address[HF_ADDRESS_BYTES];
        hf_secp256k1_address(key->public_key + 1, address);
        hf_hex_encode(address, sizeof address, address_hex);
    }
    (void)snprintf(ret_name, HF_KEY_CREATED_LEN, "0x%s  %s%s%s", hex, key->name,
                   has_address ? "  address 0x" : "", address_hex);
}

static hf_status create_by(hf_key_backend backend, const hf_custody_settings *settings,
                           const hf_key_creation *wanted, char ret_name[HF_KEY_CREATED_LEN],
                           hf_error *err)
{
    hf_custody_key key = {0};
    hf_custody_type type = HF_CUSTODY_BLS;
    if (wanted->label == NULL || wanted->label[0] == '\0') {
        return hf_fail(err, HF_USAGE, "what shall it be called? --label LABEL");
    }
    for (size_t i = 0; types_inside[i] != NULL; i++) {
        type = strcmp(types_inside[i], wanted->type) == 0 ? custody_types[i] : type;
    }
    hf_status st = hf_custody_child_open(child, backend, settings, err);
    if (!hf_failed(st)) {
        st = hf_custody_child_generate(child, type, wanted->label, &key, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (type == HF_CUSTODY_BLS) {
        return hf_str_copy(ret_name, HF_KEY_CREATED_LEN, wanted->label);
    }
    name_key(&key, ret_name);
    return hf_ok();
}

static hf_status create_pkcs11(const hf_custody_settings *settings, const hf_key_creation *wanted,
                               char ret_name[HF_KEY_CREATED_LEN], hf_error *err)
{
    return create_by(HF_BACKEND_PKCS11, settings, wanted, ret_name, err);
}

static hf_status create_cloudhsm(const hf_custody_settings *settings, const hf_key_creation *wanted,
                                 char ret_name[HF_KEY_CREATED_LEN], hf_error *err)
{
    return create_by(HF_BACKEND_AWS_CLOUDHSM, settings, wanted, ret_name, err);
}

const hf_key_wrapper hf_key_wrapper_pkcs11 = {.name = "pkcs11",
                                              .settings = settings_of_pkcs11,
                                              .types = types_inside,
                                              .start = start,
                                              .done = done,
                                              .wrap = wrap_pkcs11,
                                              .create = create_pkcs11};
const hf_key_wrapper hf_key_wrapper_cloudhsm = {.name = "aws-cloudhsm",
                                                .settings = settings_of_pkcs11,
                                                .types = types_inside,
                                                .start = start,
                                                .done = done,
                                                .wrap = wrap_cloudhsm,
                                                .create = create_cloudhsm};
const hf_key_wrapper hf_key_wrapper_yubihsm = {.name = "yubihsm",
                                               .settings = settings_of_yubihsm,
                                               .types = no_types,
                                               .start = start,
                                               .done = done,
                                               .wrap = wrap_yubihsm};
