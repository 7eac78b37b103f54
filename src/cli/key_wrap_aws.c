/* holdfast key wrap and generate with AWS KMS. */
#include "custody/aws_settings.h"
#include "custody/awskms.h"
#include "key_wrap.h"

/* For each request that many keys take, and beyond what few take. */
#define PATIENCE_NS (60 * HF_NS_PER_SECOND)
#define PATIENCE_PER_KEY_NS (50 * HF_NS_PER_MS)

static const char *const settings_of_kms[] = {
    "region", "endpoint_url",        "iam_role", "ca_file", "blob_dir",
    "key_id", "encryption_context.", NULL};

static hf_custody_type type_of(hf_key_type type)
{
    return type == HF_KEY_TYPE_BLS ? HF_CUSTODY_BLS : HF_CUSTODY_SECP256K1;
}

static void hand_in(const hf_key_wrapping *keys, size_t n, hf_awskms_wrapping *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i].type = type_of(keys[i].type);
        out[i].secret = keys[i].secret;
    }
}

static void hand_back(const hf_awskms_wrapping *in, size_t n, hf_key_wrapping *keys)
{
    for (size_t i = 0; i < n; i++) {
        keys[i].status = in[i].status;
        keys[i].err = in[i].err;
        memcpy(keys[i].path, in[i].path, sizeof keys[i].path);
    }
}

static hf_status wrap(const hf_custody_settings *settings, hf_key_wrapping *keys, size_t n,
                      hf_error *err)
{
    hf_custody *custody = NULL;
    if (hf_custody_setting(settings, "blob_dir")[0] == '\0') {
        return hf_fail(err, HF_USAGE, "blob_dir is missing: the folder of the wrapped keys");
    }
    hf_status st = hf_custody_awskms_start(settings, &custody, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_awskms_wrapping *wrappings = calloc(n, sizeof *wrappings);
    if (wrappings == NULL) {
        st = hf_fail(err, HF_NOMEM, "out of memory");
    } else {
        hand_in(keys, n, wrappings);
        hf_awskms_wrap_files(custody, wrappings, n,
                             hf_time_mono_ns() + PATIENCE_NS + n * PATIENCE_PER_KEY_NS);
        hand_back(wrappings, n, keys);
    }
    free(wrappings);
    custody->ops->close(custody);
    return st;
}

static hf_status create(const hf_custody_settings *settings, const hf_key_creation *wanted,
                        char ret_name[HF_KEY_CREATED_LEN], hf_error *err)
{
    hf_custody *custody = NULL;
    const char *label = wanted->label;
    hf_status st = hf_custody_awskms_start(settings, &custody, err);
    if (!hf_failed(st)) {
        st = hf_awskms_create_key(custody, HF_CUSTODY_SECP256K1,
                                  label != NULL ? label : "made by holdfast key generate",
                                  hf_time_mono_ns() + PATIENCE_NS, ret_name, err);
        custody->ops->close(custody);
    }
    return st;
}

_Static_assert(HF_AWSKMS_ID_LEN <= HF_KEY_CREATED_LEN, "an ARN is a name");

static const char *const types_in_kms[] = {"secp256k1", NULL};

const hf_key_wrapper hf_key_wrapper_awskms = {.name = "aws-kms",
                                              .settings = settings_of_kms,
                                              .types = types_in_kms,
                                              .wrap = wrap,
                                              .create = create};
