/*
 * A Web3Signer key file: every document that is counted is found, one more is not, and each gives a
 * key, a pair of absolute paths, or a sentence. What looks like another tool's file is not asked.
 */
#include "custody/custody.h"

#define DOCUMENTS_TRIED 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_one(hf_bytes yaml, size_t n)
{
    hf_key_document doc;
    hf_error err = {HF_OK, ""};
    hf_status st = hf_key_file_parse(yaml, n, "/keys", &doc, &err);
    if (hf_failed(st)) {
        HF_ASSERT(st.code != HF_NOT_FOUND && err.code == st.code && err.msg[0] != '\0');
        return;
    }
    if (doc.type == HF_KEY_DOCUMENT_KEYSTORE) {
        HF_ASSERT(doc.keystore_path[0] == '/' && doc.password_path[0] == '/');
        HF_ASSERT(hf_bytes_is_zero(doc.secret, sizeof doc.secret));
    } else if (doc.type != HF_KEY_DOCUMENT_MNEMONIC) {
        HF_ASSERT(doc.keystore_path[0] == '\0' && doc.password_path[0] == '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_bytes text = hf_bytes_from(data, size);
    hf_bytes json;
    hf_bytes password;
    hf_key_document doc;
    hf_error err = {HF_OK, ""};
    size_t count = hf_key_file_count_documents(text);
    hf_status beyond = hf_key_file_parse(text, count, "/keys", &doc, &err);
    HF_ASSERT(beyond.code == (count > HF_KEY_DOCUMENTS_MAX ? HF_LIMIT : HF_NOT_FOUND));
    for (size_t i = 0; i < count && i < DOCUMENTS_TRIED; i++) {
        parse_one(text, i);
    }
    (void)hf_custody_is_foreign(text);
    if (!hf_failed(hf_custody_split_import(text, &json, &password, &err))) {
        HF_ASSERT(json.len + password.len + 2 * sizeof(uint32_t) == size);
    }
    return 0;
}
