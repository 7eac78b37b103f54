/*
 * Keys imported through the API or the command line live on as keystores under a machine password:
 * 256 random bits in a file beside them. It guards a copied keystore, not a copied folder, and lets
 * every key come back after a restart without anyone typing.
 */
#include "custody.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MACHINE_SECRET_BYTES 32
#define MACHINE_PASSWORD_LEN (2 * MACHINE_SECRET_BYTES)
/* The password has full entropy: stretching it would only make the start slow. */
#define KEEP_PBKDF2_ROUNDS 1024

/* Takes a length and as many bytes from the front of *rest. */
static hf_status split_part(hf_bytes *rest, const char *what, size_t max, hf_bytes *ret_part,
                            hf_error *err)
{
    uint32_t len;
    if (rest->len < sizeof len) {
        return hf_fail(err, HF_INVALID_INPUT, "the import ends before the %s", what);
    }
    memcpy(&len, rest->ptr, sizeof len);
    if (len > max) {
        return hf_fail(err, HF_LIMIT, "the %s is longer than %zu bytes", what, max);
    }
    if (len > rest->len - sizeof len) {
        return hf_fail(err, HF_INVALID_INPUT, "the import ends within the %s", what);
    }
    *ret_part = hf_bytes_from(rest->ptr + sizeof len, len);
    *rest = hf_bytes_from(rest->ptr + sizeof len + len, rest->len - sizeof len - len);
    return hf_ok();
}

hf_status hf_custody_split_import(hf_bytes blob, hf_bytes *ret_json, hf_bytes *ret_password,
                                  hf_error *err)
{
    hf_bytes json = {NULL, 0};
    hf_bytes password = {NULL, 0};
    hf_status st = split_part(&blob, "keystore", HF_KEYSTORE_MAX_BYTES, &json, err);
    if (!hf_failed(st)) {
        st = split_part(&blob, "password", HF_PASSWORD_MAX_BYTES, &password, err);
    }
    if (!hf_failed(st) && blob.len != 0) {
        st = hf_fail(err, HF_INVALID_INPUT, "%zu bytes follow the password", blob.len);
    }
    if (!hf_failed(st)) {
        *ret_json = json;
        *ret_password = password;
    }
    return st;
}

static hf_status check_password(const char *path, const hf_buf *password, hf_error *err)
{
    uint8_t secret[MACHINE_SECRET_BYTES];
    size_t len = hf_buf_len(password);
    if (len > 0 && hf_buf_peek(password)[len - 1] == '\n') {
        len--;
    }
    hf_status st = hf_hex_decode(hf_buf_text(password), len, secret, sizeof secret);
    hf_wipe(secret, sizeof secret);
    if (hf_failed(st) || len != MACHINE_PASSWORD_LEN) {
        return hf_fail(err, HF_CORRUPT,
                       "%s: not the 64 hex digits that were written there; "
                       "restore it from the backup",
                       path);
    }
    return hf_ok();
}

static hf_status refuse_orphans(const char *imported_dir, hf_error *err)
{
    hf_key_source source = {.backend = HF_BACKEND_IMPORTED};
    hf_key_list list = {NULL, 0, 0};
    hf_status st = hf_str_copy(source.dir, sizeof source.dir, imported_dir);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", imported_dir);
    }
    st = hf_custody_list(&source, &list, err);
    if (!hf_failed(st) && list.count > 0) {
        st = hf_fail(err, HF_CONFLICT,
                     "%s/password is missing, and %zu keys were kept under it: restore it from the "
                     "backup",
                     imported_dir, list.count);
    }
    hf_key_list_done(&list);
    return st;
}

static hf_status create_password(const char *imported_dir, const char *path, hf_error *err)
{
    uint8_t secret[MACHINE_SECRET_BYTES];
    char text[MACHINE_PASSWORD_LEN + 1];
    hf_status st = refuse_orphans(imported_dir, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_random(secret, sizeof secret);
    hf_hex_encode(secret, sizeof secret, text);
    st = hf_file_write_atomic(path, text, MACHINE_PASSWORD_LEN, S_IRUSR | S_IWUSR, err);
    hf_wipe(secret, sizeof secret);
    hf_wipe(text, sizeof text);
    return st;
}

/* One process makes the password while another (`key import` beside the signer) waits for it. */
static hf_status create_password_locked(const char *imported_dir, const char *path, hf_error *err)
{
    struct stat info;
    hf_status st = hf_ok();
    int folder = open(imported_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || flock(folder, LOCK_EX) != 0) {
        st = hf_fail(err, HF_IO, "%s: %s", imported_dir, strerror(errno));
        goto out;
    }
    if (lstat(path, &info) != 0) {
        st = create_password(imported_dir, path, err);
    }
out:
    if (folder >= 0) {
        (void)close(folder);
    }
    return st;
}

hf_status hf_custody_machine_password(const char *imported_dir, hf_buf **ret_password,
                                      hf_error *err)
{
    char path[PATH_MAX];
    struct stat info;
    hf_buf *password = NULL;
    hf_status st = hf_str_format(path, sizeof path, "%s/password", imported_dir);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", imported_dir);
    }
    st = hf_file_mkdir_private(imported_dir, err);
    if (!hf_failed(st) && lstat(path, &info) != 0) {
        st = create_password_locked(imported_dir, path, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_check_private(path, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_read(path, HF_PASSWORD_MAX_BYTES, &password, err);
    }
    if (!hf_failed(st)) {
        st = check_password(path, password, err);
    }
    if (!hf_failed(st)) {
        *ret_password = password;
        password = NULL;
    }
    hf_buf_free(password);
    return st;
}

hf_status hf_custody_keep(const char *imported_dir, const hf_bls_key *key, hf_error *err)
{
    const hf_keystore_options options = {.kdf = HF_KDF_PBKDF2,
                                         .cost = KEEP_PBKDF2_ROUNDS,
                                         .path = "",
                                         .description = "kept by Holdfast"};
    char path[PATH_MAX];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_buf *password = NULL;
    hf_buf *json = NULL;
    hf_status st = hf_custody_machine_password(imported_dir, &password, err);
    if (hf_failed(st)) {
        goto out;
    }
    hf_bls_pubkey(key, pubkey);
    st = hf_custody_imported_path(imported_dir, pubkey, path, sizeof path);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "%s: path too long", imported_dir);
        goto out;
    }
    st = hf_keystore_encrypt(key, hf_bytes_from(hf_buf_peek(password), hf_buf_len(password)),
                             &options, &json, err);
    if (!hf_failed(st)) {
        st =
            hf_file_write_atomic(path, hf_buf_peek(json), hf_buf_len(json), S_IRUSR | S_IWUSR, err);
    }
out:
    hf_buf_free(password);
    hf_buf_free(json);
    return st;
}
