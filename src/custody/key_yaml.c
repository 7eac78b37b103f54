/* Web3Signer's key files: what the members of a document mean where the key is in a file. */
#include "custody.h"

#include <strings.h>

#include "custody/key_members.h"

static hf_status refuse_member(const hf_key_members *m, hf_key_member which, hf_error *err)
{
    if (m->values[which] != NULL) {
        return hf_fail(err, HF_INVALID_INPUT, "%s does not belong to type %s",
                       hf_key_member_name(which), m->values[HF_MEMBER_TYPE]);
    }
    return hf_ok();
}

static hf_status resolve_path(const char *folder, const char *path, char *out, hf_error *err)
{
    hf_status st = path[0] == '/' ? hf_str_copy(out, HF_PATH_LEN, path)
                                  : hf_str_format(out, HF_PATH_LEN, "%s/%s", folder, path);
    return hf_failed(st) ? hf_fail(err, HF_LIMIT, "a path is longer than %d bytes", HF_PATH_LEN - 1)
                         : st;
}

/* What the types have: each member is needed there, and an error elsewhere. */
static const uint32_t type_members[] = {
    [HF_KEY_DOCUMENT_RAW] = 1U << HF_MEMBER_PRIVATE_KEY,
    [HF_KEY_DOCUMENT_KEYSTORE] = 1U << HF_MEMBER_KEYSTORE_FILE | 1U << HF_MEMBER_PASSWORD_FILE,
    [HF_KEY_DOCUMENT_MNEMONIC] = 1U << HF_MEMBER_MNEMONIC_FILE | 1U << HF_MEMBER_PATH,
};

static hf_status check_members(const hf_key_members *m, hf_key_document_type type, hf_error *err)
{
    hf_status st = hf_ok();
    for (unsigned which = HF_MEMBER_PRIVATE_KEY; which < HF_MEMBER_COUNT && !hf_failed(st);
         which++) {
        bool is_needed = (type_members[type] >> which & 1U) != 0;
        st = is_needed ? hf_key_member_require(m, (hf_key_member)which, err)
                       : refuse_member(m, (hf_key_member)which, err);
    }
    return st;
}

static hf_status read_raw(const hf_key_members *m, hf_key_document *doc, hf_error *err)
{
    const char *hex = m->values[HF_MEMBER_PRIVATE_KEY];
    if (hf_failed(hf_hex_decode(hex, strlen(hex), doc->secret, sizeof doc->secret))) {
        return hf_fail(err, HF_INVALID_INPUT, "privateKey is not %d hex digits",
                       2 * HF_BLS_SECRET_BYTES);
    }
    return hf_ok();
}

static hf_status read_keystore(const hf_key_members *m, const char *folder, hf_key_document *doc,
                               hf_error *err)
{
    hf_status st =
        resolve_path(folder, m->values[HF_MEMBER_KEYSTORE_FILE], doc->keystore_path, err);
    return hf_failed(st)
               ? st
               : resolve_path(folder, m->values[HF_MEMBER_PASSWORD_FILE], doc->password_path, err);
}

/* The words stand where a password would: they are read, and have to be private, like one. */
static hf_status read_mnemonic(const hf_key_members *m, const char *folder, hf_key_document *doc,
                               hf_error *err)
{
    hf_status st =
        resolve_path(folder, m->values[HF_MEMBER_MNEMONIC_FILE], doc->password_path, err);
    if (hf_failed(st)) {
        return st;
    }
    memcpy(doc->keystore_path, doc->password_path, sizeof doc->keystore_path);
    return hf_failed(hf_str_copy(doc->path, sizeof doc->path, m->values[HF_MEMBER_PATH]))
               ? hf_fail(err, HF_INVALID_INPUT, "path is too long")
               : hf_ok();
}

static bool read_type(const char *text, hf_key_document_type *ret_type)
{
    static const char *const types[] = {
        [HF_KEY_DOCUMENT_RAW] = "file-raw",
        [HF_KEY_DOCUMENT_KEYSTORE] = "file-keystore",
        [HF_KEY_DOCUMENT_MNEMONIC] = "mnemonic",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(types); i++) {
        if (strcmp(text, types[i]) == 0) {
            *ret_type = (hf_key_document_type)i;
            return true;
        }
    }
    return false;
}

/* They name tokens and secrets of servers, and whoever reads key files here has no network. */
const char *const hf_key_server_types[] = {"hashicorp", "azure-secret", "aws-secret", NULL};

/* Keys that stay in a device or service have an entry of their own. */
static const char *const inside_types[] = {"aws-kms", "yubihsm", NULL};

static bool is_among(const char *type, const char *const *types)
{
    while (*types != NULL && strcmp(*types, type) != 0) {
        types++;
    }
    return *types != NULL;
}

static hf_status interpret(const hf_key_members *m, const char *folder, hf_key_document *doc,
                           hf_error *err)
{
    const char *type = m->values[HF_MEMBER_TYPE];
    const char *key_type = m->values[HF_MEMBER_KEY_TYPE];
    hf_status st = hf_key_member_require(m, HF_MEMBER_TYPE, err);
    if (hf_failed(st)) {
        return st;
    }
    if (is_among(type, hf_key_server_types)) {
        doc->type = HF_KEY_DOCUMENT_OF_SERVER;
        return st;
    }
    if (is_among(type, inside_types)) {
        return hf_fail(err, HF_USAGE,
                       "type %s is not read from key files: make it an entry of signing_keys",
                       type);
    }
    if (!read_type(type, &doc->type)) {
        return hf_fail(err, HF_USAGE, "type %s is not supported in this version",
                       hf_key_word(type));
    }
    if (key_type != NULL && strcasecmp(key_type, "SECP256K1") == 0) {
        doc->key_type = HF_KEY_TYPE_SECP256K1;
    } else if (key_type != NULL && strcasecmp(key_type, "BLS") != 0) {
        return hf_fail(err, HF_USAGE, "keyType %s is not supported in this version",
                       hf_key_word(key_type));
    }
    if (m->unknown_line != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "line %zu: unknown member %s", m->unknown_line,
                       m->unknown);
    }
    st = check_members(m, doc->type, err);
    if (hf_failed(st) || doc->type == HF_KEY_DOCUMENT_RAW) {
        return hf_failed(st) ? st : read_raw(m, doc, err);
    }
    return doc->type == HF_KEY_DOCUMENT_KEYSTORE ? read_keystore(m, folder, doc, err)
                                                 : read_mnemonic(m, folder, doc, err);
}

hf_status hf_key_file_parse(hf_bytes yaml, size_t n, const char *folder, hf_key_document *ret_doc,
                            hf_error *err)
{
    hf_key_members m = {.unknown_line = 0};
    hf_key_document doc = {.type = HF_KEY_DOCUMENT_RAW};
    hf_status st = hf_key_members_read(yaml, n, &m, err);
    if (!hf_failed(st)) {
        st = interpret(&m, folder, &doc, err);
        if (hf_failed(st)) {
            st = hf_error_wrap(err, st, "document at line %zu", m.first_line);
        }
    }
    if (!hf_failed(st)) {
        *ret_doc = doc;
    }
    hf_key_members_done(&m);
    hf_wipe(&doc, sizeof doc);
    return st;
}
