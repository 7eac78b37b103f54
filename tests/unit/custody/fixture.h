/* Folders of key files for the tests, made afresh and removed again. */
#ifndef HF_TEST_CUSTODY_FIXTURE_H
#define HF_TEST_CUSTODY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "custody/custody.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct fixture {
    char root[128];
} fixture;

static inline int fixture_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_false(hf_failed(
        hf_str_format(f->root, sizeof f->root, "%s/hf-custody-XXXXXX", base ? base : "/tmp")));
    assert_non_null(mkdtemp(f->root));
    *state = f;
    return 0;
}

/* Removes a tree of the test's own making: folders in folders, no deeper than the tests go. */
static inline void fixture_remove(const char *path, int depth)
{
    DIR *folder = depth > 0 ? opendir(path) : NULL;
    char *child = malloc(PATH_MAX);
    assert_non_null(child);
    while (folder != NULL) {
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        assert_false(hf_failed(hf_str_format(child, PATH_MAX, "%s/%s", path, entry->d_name)));
        if (unlink(child) != 0) {
            fixture_remove(child, depth - 1);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    free(child);
    (void)rmdir(path);
}

static inline int fixture_teardown(void **state)
{
    fixture *f = *state;
    fixture_remove(f->root, 4);
    free(f);
    return 0;
}

/* ROOT/name; up to four results live at a time. */
static inline char *at(const fixture *f, const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    assert_false(hf_failed(hf_str_format(path, PATH_MAX, "%s/%s", f->root, name)));
    return path;
}

static inline void make_folder(const fixture *f, const char *name)
{
    assert_int_equal(mkdir(at(f, name), 0700), 0);
}

static inline void put_bytes(const fixture *f, const char *name, const void *ptr, size_t len,
                             mode_t mode)
{
    assert_false(hf_failed(hf_file_write_atomic(at(f, name), ptr, len, mode, NULL)));
    assert_int_equal(chmod(at(f, name), mode), 0);
}

static inline void put(const fixture *f, const char *name, const char *text)
{
    put_bytes(f, name, text, strlen(text), 0600);
}

/* The key whose secret is the number: any will do here. */
static inline hf_bls_key numbered_key(uint32_t number)
{
    uint8_t secret[HF_BLS_SECRET_BYTES] = {0};
    hf_bls_key key;
    for (size_t i = 0; i < sizeof number; i++) {
        secret[HF_BLS_SECRET_BYTES - 1 - i] = (uint8_t)(number >> (8 * i));
    }
    assert_false(hf_failed(hf_bls_key_from_bytes(secret, &key)));
    return key;
}

static inline void numbered_pubkey(uint32_t number, char ret_hex[2 * HF_BLS_PUBKEY_BYTES + 1])
{
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_key key = numbered_key(number);
    hf_bls_pubkey(&key, pubkey);
    hf_hex_encode(pubkey, sizeof pubkey, ret_hex);
}

static inline hf_buf *keystore_json(uint32_t number, const char *password, hf_kdf kdf,
                                    uint64_t cost)
{
    hf_bls_key key = numbered_key(number);
    const hf_keystore_options options = {.kdf = kdf, .cost = cost, .path = ""};
    hf_buf *json = NULL;
    hf_error err = {HF_OK, ""};
    hf_status st =
        hf_keystore_encrypt(&key, hf_bytes_from(password, strlen(password)), &options, &json, &err);
    if (hf_failed(st)) {
        fail_msg("%s", err.msg);
    }
    return json;
}

static inline void put_keystore_with(const fixture *f, const char *name, uint32_t number,
                                     const char *password, hf_kdf kdf, uint64_t cost)
{
    hf_buf *json = keystore_json(number, password, kdf, cost);
    put_bytes(f, name, hf_buf_peek(json), hf_buf_len(json), 0644);
    hf_buf_free(json);
}

static inline void put_keystore(const fixture *f, const char *name, uint32_t number,
                                const char *password)
{
    put_keystore_with(f, name, number, password, HF_KDF_PBKDF2, 2);
}

static inline hf_key_source source_of(const fixture *f, hf_key_backend backend, const char *dir,
                                      const char *password_file, const char *password_dir)
{
    hf_key_source source = {.backend = (uint32_t)backend};
    assert_false(hf_failed(hf_str_copy(source.dir, sizeof source.dir, at(f, dir))));
    if (password_file != NULL) {
        assert_false(hf_failed(
            hf_str_copy(source.password_file, sizeof source.password_file, at(f, password_file))));
    }
    if (password_dir != NULL) {
        assert_false(hf_failed(
            hf_str_copy(source.password_dir, sizeof source.password_dir, at(f, password_dir))));
    }
    return source;
}

#endif
