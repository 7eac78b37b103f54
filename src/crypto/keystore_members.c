/* Members of a keystore's JSON by path, with the path in every error. */
#include "keystore_members.h"

#define MEMBER_MAX_CHARS 32
#define PATH_LEN 64

/* Follows "crypto.kdf.params"; NULL when a step is missing or not an object. */
static json_t *walk(json_t *at, const char *path)
{
    char name[MEMBER_MAX_CHARS];
    while (at != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        HF_ASSERT(len < sizeof name);
        memcpy(name, path, len);
        name[len] = '\0';
        at = json_object_get(at, name);
        path += len + (path[len] == '.');
    }
    return at;
}

hf_status hf_member_integer(json_t *root, const char *path, uint64_t *ret_value, hf_error *err)
{
    json_t *value = walk(root, path);
    if (value == NULL) {
        return hf_fail(err, HF_INVALID_INPUT, "%s: missing", path);
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return hf_fail(err, HF_INVALID_INPUT, "%s: must be a number, 0 or more", path);
    }
    *ret_value = (uint64_t)json_integer_value(value);
    return hf_ok();
}

hf_status hf_member_text(json_t *root, const char *path, const char **ret_text, size_t *ret_len,
                         hf_error *err)
{
    json_t *value = walk(root, path);
    if (value == NULL) {
        return hf_fail(err, HF_INVALID_INPUT, "%s: missing", path);
    }
    if (!json_is_string(value)) {
        return hf_fail(err, HF_INVALID_INPUT, "%s: must be a string", path);
    }
    *ret_text = json_string_value(value);
    *ret_len = json_string_length(value);
    return hf_ok();
}

hf_status hf_member_hex(json_t *root, const char *path, uint8_t *out, size_t len, hf_error *err)
{
    const char *text = "";
    size_t text_len = 0;
    hf_status st = hf_member_text(root, path, &text, &text_len, err);
    if (!hf_failed(st) && hf_failed(hf_hex_decode(text, text_len, out, len))) {
        st = hf_fail(err, HF_INVALID_INPUT, "%s: must be %zu bytes in hex", path, len);
    }
    return st;
}

/* Is the function at path the one expected? */
hf_status hf_member_expect(json_t *root, const char *path, const char *expected, hf_error *err)
{
    const char *text = "";
    size_t len = 0;
    hf_status st = hf_member_text(root, path, &text, &len, err);
    if (!hf_failed(st) && strcmp(text, expected) != 0) {
        st = hf_fail(err, HF_INVALID_INPUT, "%s: only %s is supported", path, expected);
    }
    return st;
}

/* ---- key derivation ----------------------------------------------------------------------- */

static void join(const char *params, const char *name, char path[PATH_LEN])
{
    hf_status st = hf_str_format(path, PATH_LEN, "%s.%s", params, name);
    HF_ASSERT(!hf_failed(st));
}

static hf_status get_number(json_t *root, const char *params, const char *name, uint64_t *ret_value,
                            hf_error *err)
{
    char path[PATH_LEN];
    join(params, name, path);
    return hf_member_integer(root, path, ret_value, err);
}

static hf_status get_scrypt(json_t *root, const char *params, hf_kdf_params *kdf, hf_error *err)
{
    kdf->kdf = HF_KDF_SCRYPT;
    hf_status st = get_number(root, params, "n", &kdf->n, err);
    if (!hf_failed(st)) {
        st = get_number(root, params, "r", &kdf->r, err);
    }
    if (!hf_failed(st)) {
        st = get_number(root, params, "p", &kdf->p, err);
    }
    return st;
}

static hf_status get_pbkdf2(json_t *root, const char *params, hf_kdf_params *kdf, hf_error *err)
{
    char path[PATH_LEN];
    kdf->kdf = HF_KDF_PBKDF2;
    join(params, "prf", path);
    hf_status st = hf_member_expect(root, path, "hmac-sha256", err);
    return hf_failed(st) ? st : get_number(root, params, "c", &kdf->c, err);
}

static hf_status check_key_length(json_t *root, const char *params, hf_error *err)
{
    uint64_t dklen = 0;
    hf_status st = get_number(root, params, "dklen", &dklen, err);
    if (!hf_failed(st) && dklen != HF_DECRYPTION_KEY_BYTES) {
        st =
            hf_fail(err, HF_INVALID_INPUT, "%s.dklen: must be %d", params, HF_DECRYPTION_KEY_BYTES);
    }
    return st;
}

static hf_status get_salt(json_t *root, const char *params, hf_kdf_params *kdf, hf_error *err)
{
    char path[PATH_LEN];
    const char *text = "";
    size_t len = 0;
    join(params, "salt", path);
    hf_status st = hf_member_text(root, path, &text, &len, err);
    if (hf_failed(st)) {
        return st;
    }
    size_t digits =
        len >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? len - 2 : len;
    if (digits == 0 || digits % 2 != 0 || digits / 2 > sizeof kdf->salt ||
        hf_failed(hf_hex_decode(text, len, kdf->salt, digits / 2))) {
        return hf_fail(err, HF_INVALID_INPUT, "%s: must be 1 to %d bytes in hex", path,
                       HF_SALT_MAX_BYTES);
    }
    kdf->salt_len = digits / 2;
    return st;
}

hf_status hf_member_kdf(json_t *root, const char *function, const char *params, hf_kdf_params *kdf,
                        hf_error *err)
{
    const char *name = ""; /* never NULL, whatever an analyzer thinks of hf_member_text */
    size_t len = 0;
    hf_status st = hf_member_text(root, function, &name, &len, err);
    if (hf_failed(st)) {
        return st;
    }
    if (strcmp(name, "scrypt") == 0) {
        st = get_scrypt(root, params, kdf, err);
    } else if (strcmp(name, "pbkdf2") == 0) {
        st = get_pbkdf2(root, params, kdf, err);
    } else {
        st = hf_fail(err, HF_INVALID_INPUT, "%s: must be scrypt or pbkdf2", function);
    }
    if (!hf_failed(st)) {
        st = check_key_length(root, params, err);
    }
    if (!hf_failed(st)) {
        st = get_salt(root, params, kdf, err);
    }
    return hf_failed(st) ? st : hf_kdf_check(kdf, params, err);
}

/* ---- the whole ---------------------------------------------------------------------------- */

hf_status hf_member_parse(hf_bytes json, json_t **ret_root, hf_error *err)
{
    json_error_t where;
    if (json.len > HF_KEYSTORE_MAX_BYTES) {
        return hf_fail(err, HF_LIMIT, "larger than %d bytes", HF_KEYSTORE_MAX_BYTES);
    }
    json_t *root = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        return hf_fail(err, HF_INVALID_INPUT, "not valid JSON at line %d, column %d", where.line,
                       where.column);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return hf_fail(err, HF_INVALID_INPUT, "not a JSON object");
    }
    *ret_root = root;
    return hf_ok();
}
