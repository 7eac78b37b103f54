/* Looking into key files: first what they are and want (survey), then the key itself (open). */
#include "custody.h"

#include <limits.h>
#include <sodium.h>
#include <sys/stat.h>

/* Other files of staking tools show what they are within this length. */
#define PEEK_BYTES 4096

/* ---- stamps -------------------------------------------------------------------------------- */

/* Mixes in what changes when a file is replaced or written; zeros when it is not there. */
static void stamp_add(crypto_generichash_state *state, const char *path)
{
    struct stat info;
    uint8_t words[4 * 8] = {0};
    if (path != NULL && path[0] != '\0' && stat(path, &info) == 0) {
        hf_le64_put(words, (uint64_t)info.st_mtim.tv_sec);
        hf_le64_put(words + 8, (uint64_t)info.st_mtim.tv_nsec);
        hf_le64_put(words + 16, (uint64_t)info.st_size);
        hf_le64_put(words + 24, (uint64_t)info.st_ino);
    }
    (void)crypto_generichash_update(state, words, sizeof words);
}

static uint64_t stamp_of(const char *path, const char *password_path, const char *third_path)
{
    crypto_generichash_state state;
    uint8_t digest[crypto_generichash_BYTES_MIN];
    (void)crypto_generichash_init(&state, NULL, 0, sizeof digest);
    stamp_add(&state, path);
    stamp_add(&state, password_path);
    stamp_add(&state, third_path);
    (void)crypto_generichash_final(&state, digest, sizeof digest);
    uint64_t stamp = hf_le64_get(digest);
    return stamp == 0 ? 1 : stamp; /* 0 says: no stamp yet */
}

/* ---- survey -------------------------------------------------------------------------------- */

static bool holds(hf_bytes text, const char *word)
{
    return memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

bool hf_custody_is_foreign(hf_bytes json)
{
    hf_bytes head = {json.ptr, json.len < PEEK_BYTES ? json.len : PEEK_BYTES};
    size_t i = 0;
    while (i < head.len && strchr(" \t\r\n", head.ptr[i]) != NULL && head.ptr[i] != '\0') {
        i++;
    }
    if (i == head.len || holds(head, "\"crypto\"")) {
        return false;
    }
    return head.ptr[i] == '[' || holds(head, "\"interchange_format_version\"") ||
           holds(head, "\"deposit_data_root\"");
}

static uint64_t kdf_memory_of(const char *path, uint8_t *ret_is_foreign)
{
    hf_buf *json = NULL;
    uint64_t bytes = 0;
    if (hf_failed(hf_file_read(path, HF_KEYSTORE_MAX_BYTES, &json, NULL))) {
        return 0;
    }
    hf_bytes view = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
    *ret_is_foreign = hf_custody_is_foreign(view);
    if (hf_failed(hf_keystore_kdf_memory(view, &bytes, NULL))) {
        bytes = 0;
    }
    hf_buf_free(json);
    return bytes;
}

/* The folder that a path lies in. LIMIT when it does not fit. */
static hf_status folder_of(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    return hf_str_format(out, PATH_MAX, "%.*s", slash == NULL ? 0 : (int)(slash - path), path);
}

static void survey_document(const hf_key_file *file, hf_bytes yaml, uint32_t n, const char *folder,
                            hf_key_facts *fact)
{
    hf_key_document doc = {.type = HF_KEY_DOCUMENT_RAW};
    uint8_t is_foreign = 0;
    memset(fact, 0, sizeof *fact);
    fact->document = n;
    if (!hf_failed(hf_key_file_parse(yaml, n, folder, &doc, NULL)) &&
        doc.type != HF_KEY_DOCUMENT_RAW) {
        memcpy(fact->keystore_path, doc.keystore_path, sizeof fact->keystore_path);
        memcpy(fact->password_path, doc.password_path, sizeof fact->password_path);
        fact->kdf_memory_bytes = doc.type == HF_KEY_DOCUMENT_KEYSTORE
                                     ? kdf_memory_of(doc.keystore_path, &is_foreign)
                                     : 0;
        fact->is_foreign = doc.type == HF_KEY_DOCUMENT_OF_SERVER;
    }
    fact->stamp = stamp_of(file->path, doc.keystore_path, doc.password_path);
    hf_wipe(&doc, sizeof doc);
}

static size_t survey_yaml(const hf_key_file *file, hf_key_facts *ret_facts)
{
    char folder[PATH_MAX];
    hf_buf *text = NULL;
    size_t n = 0;
    if (!hf_failed(folder_of(file->path, folder)) &&
        !hf_failed(hf_file_read(file->path, HF_KEY_FILE_MAX_BYTES, &text, NULL))) {
        hf_bytes yaml = hf_bytes_from(hf_buf_peek(text), hf_buf_len(text));
        n = hf_key_file_count_documents(yaml);
        n = n > HF_KEY_DOCUMENTS_MAX ? 0 : n;
        for (size_t i = 0; i < n; i++) {
            survey_document(file, yaml, (uint32_t)i, folder, &ret_facts[i]);
        }
    }
    hf_buf_free(text);
    return n;
}

size_t hf_custody_survey(const hf_key_file *file, hf_key_facts ret_facts[HF_KEY_DOCUMENTS_MAX])
{
    if (file->backend == HF_BACKEND_WEB3SIGNER) {
        size_t n = survey_yaml(file, ret_facts);
        if (n > 0) {
            return n;
        }
    }
    hf_key_facts fact = {.stamp = stamp_of(file->path, file->password_path, NULL)};
    if (file->backend != HF_BACKEND_WEB3SIGNER) {
        fact.kdf_memory_bytes = kdf_memory_of(file->path, &fact.is_foreign);
    }
    ret_facts[0] = fact;
    return 1;
}

/* ---- opening ------------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Errors of base begin with the whole path, which is said elsewhere or takes too much room. */
static void drop_path(hf_error *err, const char *path)
{
    size_t len = strlen(path);
    if (err != NULL && strncmp(err->msg, path, len) == 0 && strncmp(err->msg + len, ": ", 2) == 0) {
        memmove(err->msg, err->msg + len + 2, strlen(err->msg + len + 2) + 1);
    }
}

static hf_status read_password(const char *path, hf_buf **ret_password, hf_error *err)
{
    hf_status st = hf_file_check_private(path, err);
    if (!hf_failed(st)) {
        st = hf_file_read(path, HF_PASSWORD_MAX_BYTES, ret_password, err);
    }
    if (hf_failed(st)) {
        drop_path(err, path);
        st = hf_error_wrap(err, st, "password file %s", base_name(path));
    }
    return st;
}

static hf_status read_keystore(const char *path, const char *password_path,
                               hf_key_material *material, hf_error *err)
{
    hf_status st = hf_file_read(path, HF_KEYSTORE_MAX_BYTES, &material->keystore, err);
    if (hf_failed(st)) {
        drop_path(err, path);
        return st;
    }
    return read_password(password_path, &material->password, err);
}

static hf_status read_yaml(const hf_key_file *file, hf_key_material *material, hf_error *err)
{
    hf_status st = hf_file_read(file->path, HF_KEY_FILE_MAX_BYTES, &material->yaml, err);
    if (hf_failed(st)) {
        drop_path(err, file->path);
        return st;
    }
    /* It counts only if the key itself turns out to stand in the file. */
    if (hf_failed(hf_file_check_private(file->path, &material->exposure))) {
        drop_path(&material->exposure, file->path);
    }
    if (file->keystore_path == NULL) {
        return hf_ok();
    }
    st = read_keystore(file->keystore_path, file->password_path, material, err);
    return hf_failed(st) ? hf_error_wrap(err, st, "%s", base_name(file->keystore_path)) : st;
}

hf_status hf_custody_read(const hf_key_file *file, hf_key_material *ret_material, hf_error *err)
{
    hf_key_material material = {.exposure = {HF_OK, ""}};
    hf_status st = file->backend == HF_BACKEND_WEB3SIGNER
                       ? read_yaml(file, &material, err)
                       : read_keystore(file->path, file->password_path, &material, err);
    if (hf_failed(st)) {
        hf_key_material_done(&material);
        return st;
    }
    *ret_material = material;
    return st;
}

void hf_key_material_done(hf_key_material *material)
{
    hf_buf_free(material->yaml);
    hf_buf_free(material->keystore);
    hf_buf_free(material->password);
    *material = (hf_key_material){.yaml = NULL};
}

static hf_bytes view(const hf_buf *buf)
{
    return hf_bytes_from(hf_buf_peek(buf), hf_buf_len(buf));
}

static hf_status decrypt_bls(const hf_key_material *material, const hf_keystore_limits *limits,
                             hf_opened_key *ret_key, hf_error *err)
{
    hf_bls_key key = {.scalar = {0}};
    hf_status st =
        hf_keystore_decrypt(view(material->keystore), view(material->password), limits, &key, err);
    if (!hf_failed(st)) {
        ret_key->type = HF_KEY_TYPE_BLS;
        hf_bls_key_to_bytes(&key, ret_key->secret);
    }
    hf_wipe(&key, sizeof key);
    return st;
}

static hf_status decrypt_secp256k1(const hf_key_material *material,
                                   const hf_keystore_limits *limits, hf_opened_key *ret_key,
                                   hf_error *err)
{
    hf_secp256k1_key key = {{0}};
    hf_status st = hf_keystore_v3_decrypt(view(material->keystore), view(material->password),
                                          limits, &key, err);
    if (!hf_failed(st)) {
        ret_key->type = HF_KEY_TYPE_SECP256K1;
        memcpy(ret_key->secret, key.secret, sizeof ret_key->secret);
    }
    hf_wipe(&key, sizeof key);
    return st;
}

/* A folder of keystores may hold both kinds: each says itself which it is. */
static hf_status decrypt_keystore(const hf_key_material *material, const hf_keystore_limits *limits,
                                  hf_opened_key *ret_key, hf_error *err)
{
    return hf_keystore_is_v3(view(material->keystore))
               ? decrypt_secp256k1(material, limits, ret_key, err)
               : decrypt_bls(material, limits, ret_key, err);
}

/* 0 < secret < the order of the type's curve. */
static hf_status check_secret(const uint8_t secret[HF_KEY_SECRET_BYTES], hf_key_type type)
{
    hf_status st;
    if (type == HF_KEY_TYPE_BLS) {
        hf_bls_key key = {.scalar = {0}};
        st = hf_bls_key_from_bytes(secret, &key);
        hf_wipe(&key, sizeof key);
        return st;
    }
    hf_secp256k1 *secp = NULL;
    hf_secp256k1_key key = {{0}};
    st = hf_secp256k1_new(&secp);
    if (!hf_failed(st)) {
        st = hf_secp256k1_key_from_bytes(secp, secret, &key);
    }
    hf_wipe(&key, sizeof key);
    hf_secp256k1_free(secp);
    return st;
}

static hf_status take_raw(const hf_key_material *material, const hf_key_document *doc,
                          hf_opened_key *ret_key, hf_error *err)
{
    if (material->exposure.code != HF_OK) {
        return hf_fail(err, material->exposure.code, "%s", material->exposure.msg);
    }
    hf_status st = check_secret(doc->secret, doc->key_type);
    if (hf_failed(st)) {
        return hf_fail(err, HF_CRYPTO, "privateKey is not a %s secret key",
                       doc->key_type == HF_KEY_TYPE_BLS ? "BLS12-381" : "secp256k1");
    }
    ret_key->type = doc->key_type;
    memcpy(ret_key->secret, doc->secret, sizeof ret_key->secret);
    return st;
}

/* Does the document still name the files that were read for it? */
static bool is_same_reference(const hf_key_file *file, const hf_key_document *doc)
{
    return file->keystore_path != NULL && strcmp(file->keystore_path, doc->keystore_path) == 0 &&
           strcmp(file->password_path, doc->password_path) == 0;
}

static hf_status parse_document(const hf_key_file *file, const hf_buf *yaml, hf_key_document *doc,
                                hf_error *err)
{
    char folder[PATH_MAX];
    if (hf_failed(folder_of(file->path, folder))) {
        return hf_fail(err, HF_LIMIT, "path too long");
    }
    return hf_key_file_parse(hf_bytes_from(hf_buf_peek(yaml), hf_buf_len(yaml)), file->document,
                             folder, doc, err);
}

/* The first line of the file is the words; a second one the passphrase of BIP-39. */
static hf_status derive_seed(const hf_buf *file, uint8_t ret_seed[HF_BIP39_SEED_BYTES],
                             hf_error *err)
{
    char words[HF_BIP39_TEXT_BYTES];
    char passphrase[HF_BIP39_TEXT_BYTES];
    const char *text = hf_buf_text(file);
    size_t len = strcspn(text, "\r\n");
    const char *second = text + len + strspn(text + len, "\r\n");
    size_t second_len = strcspn(second, "\r\n");
    if (len >= sizeof words || second_len >= sizeof passphrase) {
        return hf_fail(err, HF_INVALID_INPUT, "a line is too long");
    }
    memcpy(words, text, len);
    words[len] = '\0';
    memcpy(passphrase, second, second_len);
    passphrase[second_len] = '\0';
    hf_status st = hf_bip39_to_seed(words, passphrase, ret_seed, err);
    hf_wipe(words, sizeof words);
    hf_wipe(passphrase, sizeof passphrase);
    return st;
}

static hf_status derive_key(const uint8_t seed[HF_BIP39_SEED_BYTES], const hf_key_document *doc,
                            hf_opened_key *ret_key)
{
    hf_bls_key bls = {.scalar = {0}};
    hf_secp256k1_key secp = {{0}};
    hf_bytes all = hf_bytes_from(seed, HF_BIP39_SEED_BYTES);
    bool is_bls = doc->key_type == HF_KEY_TYPE_BLS;
    hf_status st =
        is_bls ? hf_eip2334_derive(all, doc->path, &bls) : hf_bip32_derive(all, doc->path, &secp);
    ret_key->type = doc->key_type;
    if (!hf_failed(st) && is_bls) {
        hf_bls_key_to_bytes(&bls, ret_key->secret);
    } else if (!hf_failed(st)) {
        memcpy(ret_key->secret, secp.secret, sizeof ret_key->secret);
    }
    hf_wipe(&bls, sizeof bls);
    hf_wipe(&secp, sizeof secp);
    return st;
}

static hf_status derive_document(const hf_key_material *material, const hf_key_document *doc,
                                 hf_opened_key *ret_key, hf_error *err)
{
    uint8_t seed[HF_BIP39_SEED_BYTES] = {0};
    hf_status st = derive_seed(material->password, seed, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "%s", base_name(doc->password_path));
    }
    st = derive_key(seed, doc, ret_key);
    hf_wipe(seed, sizeof seed);
    return hf_failed(st) ? hf_fail(err, st.code, "path: not one that keys of this type have") : st;
}

static hf_status decrypt_document(const hf_key_file *file, const hf_key_material *material,
                                  const hf_keystore_limits *limits, hf_opened_key *ret_key,
                                  hf_error *err)
{
    hf_key_document doc = {.type = HF_KEY_DOCUMENT_RAW};
    hf_status st = parse_document(file, material->yaml, &doc, err);
    if (hf_failed(st)) {
        goto out;
    }
    if (doc.type == HF_KEY_DOCUMENT_RAW) {
        st = take_raw(material, &doc, ret_key, err);
    } else if (!is_same_reference(file, &doc)) {
        st = hf_fail(err, HF_UNAVAILABLE, "the file changed while it was read: reload");
    } else if (doc.type == HF_KEY_DOCUMENT_MNEMONIC) {
        st = derive_document(material, &doc, ret_key, err);
    } else {
        st = doc.key_type == HF_KEY_TYPE_BLS ? decrypt_bls(material, limits, ret_key, err)
                                             : decrypt_secp256k1(material, limits, ret_key, err);
        if (hf_failed(st)) {
            st = hf_error_wrap(err, st, "%s", base_name(doc.keystore_path));
        }
    }
out:
    hf_wipe(&doc, sizeof doc);
    return st;
}

hf_status hf_custody_decrypt(const hf_key_file *file, const hf_key_material *material,
                             const hf_keystore_limits *limits, hf_opened_key *ret_key,
                             hf_error *err)
{
    return file->backend == HF_BACKEND_WEB3SIGNER
               ? decrypt_document(file, material, limits, ret_key, err)
               : decrypt_keystore(material, limits, ret_key, err);
}

hf_status hf_custody_open(const hf_key_file *file, const hf_keystore_limits *limits,
                          hf_bls_key *ret_key, hf_error *err)
{
    hf_key_material material = {.yaml = NULL};
    hf_opened_key key = {.type = HF_KEY_TYPE_BLS};
    hf_status st = hf_custody_read(file, &material, err);
    if (!hf_failed(st)) {
        st = hf_custody_decrypt(file, &material, limits, &key, err);
    }
    if (!hf_failed(st) && key.type != HF_KEY_TYPE_BLS) {
        st = hf_fail(err, HF_USAGE, "this is a secp256k1 key, not a BLS key");
    }
    if (!hf_failed(st)) {
        st = hf_bls_key_from_bytes(key.secret, ret_key);
        HF_ASSERT(!hf_failed(st)); /* it was a key when it was opened */
    }
    hf_wipe(&key, sizeof key);
    hf_key_material_done(&material);
    return st;
}
