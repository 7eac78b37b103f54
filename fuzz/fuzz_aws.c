/*
 * What the AWS back ends take from outside: files of wrapped keys, and what a secret holds. A file
 * that is read has one form only: made again from its parts it is the same up to the nonce.
 */
#include "custody/aws_secrets.h"
#include "custody/awskms_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t data_key[HF_AES_GCM_KEY_BYTES] = {7};

static void read_blob(hf_bytes file)
{
    static const uint8_t secret[HF_CUSTODY_SECRET_BYTES] = {1};
    hf_kms_blob blob;
    hf_error err = {.code = HF_OK};
    uint8_t out[HF_CUSTODY_SECRET_BYTES];
    hf_buf *again = NULL;
    if (hf_failed(hf_kms_blob_parse(file, &blob, &err))) {
        HF_ASSERT(err.msg[0] != '\0');
        return;
    }
    hf_status st = hf_kms_blob_open(&blob, data_key, out, &err);
    (void)st.code;
    HF_ASSERT(!hf_failed(hf_kms_blob_make(&blob, data_key, secret, &again, NULL)));
    HF_ASSERT(hf_buf_len(again) == file.len &&
              hf_bytes_equal(hf_buf_peek(again), file.ptr, blob.bound.len));
    hf_buf_free(again);
}

static hf_status take(void *context, const char *where, const uint8_t *secret, hf_error *err)
{
    (void)secret, (void)err;
    HF_ASSERT(where != NULL);
    ++*(size_t *)context;
    return hf_ok();
}

static void refuse(void *context, const char *where, const char *why)
{
    HF_ASSERT(where != NULL && why[0] != '\0');
    ++*(size_t *)context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t found = 0;
    hf_error err = {.code = HF_OK};
    read_blob(hf_bytes_from(data, size));
    hf_status st = hf_aws_secret_read(hf_bytes_from(data, size), take, refuse, &found, &err);
    HF_ASSERT(hf_failed(st) ? err.msg[0] != '\0' : found > 0);
    HF_ASSERT(found <= HF_AWS_SECRET_KEYS_MAX + 1);
    return 0;
}
