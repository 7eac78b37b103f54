/* holdfast-loader as a whole: every kind of good and bad key file, reloads, bounds, imports. */
#include "keeper_role.h"

#include <sys/mman.h>

const char *loader_path;

/* Keystore of key 1 under "correct" with the first occurrence of from replaced. */
static void put_altered(const fixture *f, const char *name, const char *from, const char *to)
{
    hf_buf *json = keystore_json(1, "correct", HF_KDF_PBKDF2, 2);
    hf_buf *altered = hf_buf_new(HF_KEYSTORE_MAX_BYTES);
    const char *text = hf_buf_text(json);
    const char *place = strstr(text, from);
    assert_non_null(altered);
    assert_non_null(place);
    assert_false(hf_failed(
        hf_buf_putf(altered, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from))));
    put(f, name, hf_buf_text(altered));
    hf_buf_free(altered);
    hf_buf_free(json);
}

/* One folder "keys" with one password for all. */
static hf_msg_loader_config *one_folder(const fixture *f)
{
    hf_msg_loader_config *config = plain_config(f);
    make_folder(f, "keys");
    put(f, "password", "correct\n");
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "keys", "password", NULL));
    return config;
}

/* ---- loads --------------------------------------------------------------------------------- */

static void test_good_and_bad_files(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    static run r;
    put_keystore(f, "keys/a.json", 1, "correct");
    put_keystore_with(f, "keys/b.json", 2, "correct", HF_KDF_SCRYPT, 1024);
    put_keystore(f, "keys/wrong-password.json", 3, "other");
    put(f, "keys/not-json.json", "hello");
    put(f, "keys/empty.json", "");
    put(f, "keys/truncated.json", "{\"crypto\": {\"kdf\": {\"function\": \"pbk");
    put(f, "keys/deposit_data-1.json", "[{\"pubkey\": \"\"}]");
    put(f, "keys/history.json", "{\"metadata\": {\"interchange_format_version\": \"5\"}}");
    put(f, "keys/notes.txt", "not a key file");
    assert_int_equal(symlink("nowhere", at(f, "keys/broken-link.json")), 0);
    assert_int_equal(mkfifo(at(f, "keys/fifo.json"), 0600), 0);
    put_keystore(f, "keys/odd\n\x01name\xff.json", 4, "correct");
    put_bytes(f, "keys/unreadable.json", "{}", 2,
              0); /* the loader has no privileges, even as root */
    load_all(&r, config);
    assert_int_equal(r.announced, 10);
    assert_int_equal(r.source_count, 10);
    assert_int_equal(r.key_count, 3);
    assert_int_equal(count_key(&r, 1), 1);
    assert_int_equal(count_key(&r, 2), 1);
    assert_int_equal(count_key(&r, 4), 1);
    assert_int_equal(r.failure_count, 7);
    assert_failure(&r, "unreadable.json", "Permission denied");
    assert_failure(&r, "wrong-password.json", "wrong password");
    assert_failure(&r, "not-json.json", "not valid JSON");
    assert_failure(&r, "empty.json", "not valid JSON");
    assert_failure(&r, "truncated.json", "not valid JSON");
    assert_failure(&r, "broken-link.json", "No such file");
    assert_failure(&r, "fifo.json", "not a regular file");
}

static void test_altered_keystores(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    static run r;
    char pubkey[2 * HF_BLS_PUBKEY_BYTES + 1];
    char other[2 * HF_BLS_PUBKEY_BYTES + 1];
    numbered_pubkey(1, pubkey);
    numbered_pubkey(2, other);
    put_altered(f, "keys/pubkey.json", pubkey, other);
    put_altered(f, "keys/checksum.json", "\"sha256\"", "\"sha1\"");
    put_altered(f, "keys/version.json", "\"version\":", "\"version\":3,\"was\":");
    put_altered(f, "keys/\xc3\xa4.json", "\"pbkdf2\"", "\"argon2\"");
    load_all(&r, config);
    assert_int_equal(r.key_count, 0);
    assert_int_equal(r.failure_count, 4);
    assert_failure(&r, "pubkey.json", "is not that of the key");
    assert_failure(&r, "checksum.json", "crypto.checksum.function");
    assert_failure(&r, "version.json", "version");
    assert_failure(&r, "\\xc3\\xa4.json", "crypto.kdf.function");
}

static void test_passwords(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = plain_config(f);
    static run r;
    make_folder(f, "keys");
    make_folder(f, "secrets");
    make_folder(f, "open");
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "keys", NULL, "secrets"));
    put_keystore(f, "keys/a.json", 1, "first");
    put(f, "secrets/a.txt", "first\n");
    put_keystore(f, "keys/lost.json", 2, "second");
    put_keystore(f, "keys/shown.json", 3, "third");
    put_bytes(f, "secrets/shown.txt", "third", 5, 0644);
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "open", "world-readable", NULL));
    put_keystore(f, "open/b.json", 4, "fourth");
    put_bytes(f, "world-readable", "fourth", 6, 0604);
    load_all(&r, config);
    assert_int_equal(r.key_count, 1);
    assert_int_equal(count_key(&r, 1), 1);
    assert_failure(&r, "lost.json", "password file lost.txt: No such file");
    assert_failure(&r, "shown.json", "chmod 600");
    assert_failure(&r, "b.json", "password file world-readable: others can read this secret");
}

static void test_sources_that_fail_stop_no_other(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    static run r;
    make_folder(f, "empty");
    put_keystore(f, "keys/a.json", 1, "correct");
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "gone", "password", NULL));
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "empty", "password", NULL));
    load_all(&r, config);
    assert_int_equal(count_key(&r, 1), 1);
    assert_int_equal(r.announced, 2);
    assert_int_equal(r.failure_count, 1);
    assert_failure(&r, at(f, "gone"), "No such file");
}

/* Keys of a folder that cannot be read just now are not to be dropped. */
static void test_a_source_that_cannot_be_read_ends_without_done(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    const answers none = {.known = NULL};
    static run r;
    put_keystore(f, "keys/a.json", 1, "correct");
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "password", "password", NULL));
    load_with(&r, config, &none);
    assert_int_equal(count_key(&r, 1), 1);
    assert_failure(&r, at(f, "password"), "Not a directory");
    assert_false(r.is_done);
    assert_int_equal(r.exit_status, 1);
}

static void test_reload_opens_only_what_changed(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = plain_config(f);
    static run first;
    static run second;
    const answers a = {.known = &first};
    make_folder(f, "keys");
    make_folder(f, "secrets");
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "keys", NULL, "secrets"));
    for (uint32_t i = 1; i <= 4; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "keys/%u.json", i);
        put_keystore(f, name, i, "p");
        (void)snprintf(name, sizeof name, "secrets/%u.txt", i);
        put(f, name, "p");
    }
    load_all(&first, config);
    assert_int_equal(first.key_count, 4);
    put_keystore(f, "keys/2.json", 22, "p"); /* another key */
    put(f, "secrets/3.txt", "p\n");          /* another password file */
    assert_int_equal(unlink(at(f, "keys/4.json")), 0);
    put_keystore(f, "keys/5.json", 5, "x"); /* a new one, without its password */
    load_with(&second, config, &a);
    assert_true(second.is_done);
    assert_int_equal(second.source_count, 4);
    assert_int_equal(second.key_count, 2);
    assert_int_equal(count_key(&second, 22), 1);
    assert_int_equal(count_key(&second, 3), 1);
    assert_int_equal(second.failure_count, 1);
    assert_failure(&second, "5.json", "password file 5.txt");
}

static void test_the_same_key_in_two_files(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    static run r;
    put_keystore(f, "keys/a.json", 1, "correct");
    put_keystore(f, "keys/b.json", 1, "correct");
    load_all(&r, config);
    assert_int_equal(count_key(&r, 1), 2); /* the keeper says which it leaves out */
    assert_false(hf_bytes_equal(r.keys[0].source_id, r.keys[1].source_id, HF_SOURCE_ID_LEN));
}

static void test_links_and_key_folders(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = plain_config(f);
    static run r;
    char pubkey[2 * HF_BLS_PUBKEY_BYTES + 1];
    char name[256];
    numbered_pubkey(1, pubkey);
    make_folder(f, "keys");
    make_folder(f, "secrets");
    make_folder(f, "elsewhere");
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "keys", NULL, "secrets"));
    (void)snprintf(name, sizeof name, "keys/0x%s", pubkey);
    make_folder(f, name);
    (void)snprintf(name, sizeof name, "keys/0x%s/voting-keystore.json", pubkey);
    put_keystore(f, name, 1, "one");
    (void)snprintf(name, sizeof name, "secrets/0x%s", pubkey);
    put(f, name, "one");
    put_keystore(f, "elsewhere/k.json", 2, "two");
    put(f, "elsewhere/k.txt", "two");
    assert_int_equal(symlink("../elsewhere/k.json", at(f, "keys/linked.json")), 0);
    assert_int_equal(symlink(at(f, "elsewhere/k.txt"), at(f, "secrets/linked.txt")), 0);
    load_all(&r, config);
    assert_int_equal(r.failure_count, 0);
    assert_int_equal(count_key(&r, 1), 1);
    assert_int_equal(count_key(&r, 2), 1);
}

static void test_web3signer_files(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = plain_config(f);
    static run r;
    char yaml[1024];
    make_folder(f, "keys");
    make_folder(f, "elsewhere");
    add_source(config, source_of(f, HF_BACKEND_WEB3SIGNER, "keys", NULL, NULL));
    put_keystore(f, "elsewhere/b.json", 2, "two");
    put(f, "keys/b.password", "two");
    (void)snprintf(yaml, sizeof yaml,
                   "type: file-raw\nkeyType: BLS\nprivateKey: 0x%064x\n"
                   "---\ntype: file-keystore\nkeyType: BLS\nkeystoreFile: %s\n"
                   "keystorePasswordFile: b.password\n"
                   "---\ntype: hashicorp\nkeyType: BLS\nserverHost: vault\ntags: {a: [1]}\n"
                   "---\ntype: file-raw\nprivateKey: 12\n",
                   1U, at(f, "elsewhere/b.json"));
    put(f, "keys/many.yaml", yaml);
    put_bytes(f, "keys/shown.yaml", yaml, strlen(yaml), 0644);
    put(f, "keys/empty.yaml", "# nothing\n---\n");
    load_all(&r, config);
    assert_int_equal(r.announced, 7); /* what a server has is not the loader's */
    assert_int_equal(count_key(&r, 1), 1);
    assert_int_equal(count_key(&r, 2), 2);
    assert_int_equal(r.failure_count, 4);
    assert_failure(&r, "many.yaml, document 4", "privateKey is not 64 hex digits");
    assert_failure(&r, "shown.yaml", "chmod 600");
    assert_failure(&r, "empty.yaml", "holds no key");
}

#define ETHEREUM_SECRET "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"

static size_t count_secp256k1(const run *r, const char *secret_hex)
{
    uint8_t secret[HF_KEY_SECRET_BYTES];
    size_t n = 0;
    assert_false(hf_failed(hf_hex_decode(secret_hex, 64, secret, sizeof secret)));
    for (size_t i = 0; i < r->key_count; i++) {
        n += r->keys[i].key_type == HF_KEY_TYPE_SECP256K1 &&
             hf_bytes_equal(r->keys[i].secret, secret, sizeof secret);
    }
    return n;
}

/* Each way in which an Ethereum key may be given, and each mismatch of key type and file. */
static void test_secp256k1_keys(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = plain_config(f);
    static run r;
    hf_buf *v3 = NULL;
    assert_false(hf_failed(hf_file_read(HF_TEST_VECTORS "/web3-secret-storage/quick.json",
                                        HF_KEYSTORE_MAX_BYTES, &v3, NULL)));
    make_folder(f, "keys");
    make_folder(f, "store");
    add_source(config, source_of(f, HF_BACKEND_WEB3SIGNER, "keys", NULL, NULL));
    add_source(config, source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "store", NULL, "store"));
    put(f, "keys/v3.json", hf_buf_text(v3));
    put(f, "keys/pw", "testpassword\n");
    put(f, "keys/wrong", "testpassword2");
    put_keystore(f, "keys/v4.json", 1, "testpassword");
    put(f, "keys/a.yaml",
        "type: file-raw\nkeyType: SECP256K1\nprivateKey: \"0x" ETHEREUM_SECRET "\"\n"
        "---\ntype: file-keystore\nkeyType: SECP256K1\nkeystoreFile: v3.json\n"
        "keystorePasswordFile: pw\n"
        "---\ntype: file-keystore\nkeyType: SECP256K1\nkeystoreFile: v3.json\n"
        "keystorePasswordFile: wrong\n"
        "---\ntype: file-keystore\nkeyType: SECP256K1\nkeystoreFile: v4.json\n"
        "keystorePasswordFile: pw\n"
        "---\ntype: file-keystore\nkeyType: BLS\nkeystoreFile: v3.json\n"
        "keystorePasswordFile: pw\n"
        "---\ntype: file-raw\nkeyType: SECP256K1\n"
        "privateKey: fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141\n");
    put(f, "store/account.json", hf_buf_text(v3));
    put(f, "store/account.txt", "testpassword");
    load_all(&r, config);
    assert_int_equal(r.key_count, 3);
    assert_int_equal(count_secp256k1(&r, ETHEREUM_SECRET), 3);
    assert_int_equal(r.failure_count, 4);
    assert_failure(&r, "a.yaml, document 3", "v3.json: wrong password");
    assert_failure(&r, "a.yaml, document 4",
                   "v4.json: version: a secp256k1 key is kept in a keystore of version 3");
    assert_failure(&r, "a.yaml, document 5", "v3.json: version: only 4 is supported");
    assert_failure(&r, "a.yaml, document 6", "privateKey is not a secp256k1 secret key");
    hf_buf_free(v3);
}

static void test_more_files_than_one_survey_takes(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = plain_config(f);
    static run r;
    hf_buf *yaml = hf_buf_new(1U << 20);
    assert_non_null(yaml);
    make_folder(f, "keys");
    add_source(config, source_of(f, HF_BACKEND_WEB3SIGNER, "keys", NULL, NULL));
    for (unsigned i = 0; i <= HF_KEY_DOCUMENTS_MAX; i++) {
        assert_false(hf_failed(hf_buf_putf(yaml, "---\ntype: file-raw\nprivateKey: %064x\n", i)));
    }
    put(f, "keys/a-too-many.yaml", hf_buf_text(yaml));
    for (unsigned i = 0; i < 20; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "keys/b-%u.yaml", i);
        hf_buf_reset(yaml);
        assert_false(
            hf_failed(hf_buf_putf(yaml, "type: file-raw\nprivateKey: %064x\n---\n# end\n", i + 1)));
        put(f, name, hf_buf_text(yaml));
    }
    load_all(&r, config);
    assert_int_equal(r.key_count, 20);
    assert_int_equal(r.failure_count, 1);
    assert_failure(&r, "a-too-many.yaml", "more than 256 documents");
    hf_buf_free(yaml);
}

/* ---- bounds -------------------------------------------------------------------------------- */

static void test_memory_bound(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    static run r;
    config->kdf_memory_bytes = 10 * MIB;
    put_keystore_with(f, "keys/big.json", 1, "correct", HF_KDF_SCRYPT, 16384);   /* 16 MiB */
    put_keystore_with(f, "keys/fits-1.json", 2, "correct", HF_KDF_SCRYPT, 8192); /* 8 MiB, one */
    put_keystore_with(f, "keys/fits-2.json", 3, "correct", HF_KDF_SCRYPT, 8192); /* at a time */
    load_all(&r, config);
    assert_int_equal(r.key_count, 2);
    assert_failure(&r, "big.json",
                   "its key derivation needs 16 MiB, and all together may use 10 MiB");
}

static void test_a_worker_that_dies(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    const answers a = {.kill_with = SIGSEGV};
    static run r;
    config->workers = 1;
    put_altered(f, "keys/a.json", "\"c\":2", "\"c\":33554432");
    put_keystore(f, "keys/b.json", 2, "correct");
    load_with(&r, config, &a);
    assert_int_equal(r.exit_status, 0);
    assert_true(r.is_done);
#ifdef HF_SANITIZED /* it turns the signal into an exit */
    assert_failure(&r, "a.json", "the loader's worker ended for no known reason");
#else
    assert_failure(&r, "a.json", "the loader's worker died (signal 11)");
#endif
    assert_int_equal(count_key(&r, 2), 1);
}

static void test_a_survey_that_dies(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = plain_config(f);
    const answers a = {.kill_with = SIGKILL, .kill_survey = true};
    static run r;
    hf_buf *yaml = hf_buf_new(1U << 20);
    assert_non_null(yaml);
    make_folder(f, "keys");
    add_source(config, source_of(f, HF_BACKEND_WEB3SIGNER, "keys", NULL, NULL));
    /* One file that takes a while: many documents, each found from the start of the file. */
    for (unsigned i = 0; i < HF_KEY_DOCUMENTS_MAX; i++) {
        assert_false(
            hf_failed(hf_buf_putf(yaml, "---\ntype: file-raw\nprivateKey: x\n#%03900u\n", i)));
    }
    put(f, "keys/a.yaml", hf_buf_text(yaml));
    hf_buf_reset(yaml);
    assert_false(hf_failed(hf_buf_putf(yaml, "type: file-raw\nprivateKey: %064x\n", 5U)));
    put(f, "keys/b.yaml", hf_buf_text(yaml));
    load_with(&r, config, &a);
    hf_buf_free(yaml);
    assert_true(r.is_killed);
    assert_true(r.is_done);
    assert_int_equal(r.announced, 2); /* of a.yaml only what can be said without looking */
    assert_int_equal(r.failure_count, 1);
    assert_failure(&r, "a.yaml", "privateKey is not 64 hex digits");
    assert_int_equal(count_key(&r, 5), 1);
}

static void test_time_bound(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    static run r;
    config->file_timeout_seconds = 1;
    put_altered(f, "keys/a.json", "\"c\":2", "\"c\":33554432");
    put_keystore(f, "keys/b.json", 2, "correct");
    load_all(&r, config);
    assert_int_equal(count_key(&r, 2), 1);
    assert_failure(&r, "a.json", "not open after 1 s of processor time");
}

static void test_the_keeper_goes_away(void **state)
{
    const fixture *f = *state;
    hf_msg_loader_config *config = one_folder(f);
    static run r;
    put_keystore(f, "keys/a.json", 1, "correct");
    start_loader(&r, config, -1);
    (void)close(r.keeper);
    r.keeper = -1;
    end_run(&r);
    assert_int_equal(r.exit_status, 1);
}

static void test_malformed_configuration(void **state)
{
    const fixture *f = *state;
    const answers none = {.known = NULL};
    static run r;
    for (int i = 0; i < 4; i++) {
        hf_msg_loader_config *config = plain_config(f);
        config->source_count = i == 0 ? HF_KEY_SOURCES_MAX + 1 : 1;
        config->sources[0] = source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "keys", "password", NULL);
        if (i == 1) {
            memset(config->sources[0].dir, '/', sizeof config->sources[0].dir);
        } else if (i == 2) {
            config->sources[0].backend = HF_BACKEND_COUNT;
        } else if (i == 3) {
            config->sources[0].dir[0] = 'x';
        }
        load_with(&r, config, &none);
        assert_false(r.is_begun);
        assert_int_equal(r.exit_status, 1);
    }
}

/* ---- imports ------------------------------------------------------------------------------- */

static int import_blob(hf_bytes json, const char *password)
{
    uint32_t len = (uint32_t)json.len;
    int fd = memfd_create("import", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_false(hf_failed(hf_file_write_all(fd, &len, sizeof len)));
    assert_false(hf_failed(hf_file_write_all(fd, json.ptr, json.len)));
    len = (uint32_t)strlen(password);
    assert_false(hf_failed(hf_file_write_all(fd, &len, sizeof len)));
    assert_false(hf_failed(hf_file_write_all(fd, password, len)));
    return fd;
}

static void import_key(run *r, const fixture *f, uint32_t number, const char *password,
                       hf_key_outcome outcome)
{
    hf_msg_loader_config *config = plain_config(f);
    const answers a = {.import_outcome = outcome};
    hf_buf *json = keystore_json(number, "given", HF_KDF_PBKDF2, 2);
    config->is_import = 1;
    int fd = import_blob(hf_bytes_from(hf_buf_peek(json), hf_buf_len(json)), password);
    start_loader(r, config, fd);
    play_keeper(r, HF_CHANNEL_IMPORT, &a);
    (void)close(fd);
    hf_buf_free(json);
    assert_int_equal(r->exit_status, 0);
}

static size_t count_imported(const fixture *f)
{
    const hf_key_source source = source_of(f, HF_BACKEND_IMPORTED, "imported", NULL, NULL);
    hf_key_list list = {NULL, 0, 0};
    assert_false(hf_failed(hf_custody_list(&source, &list, NULL)));
    size_t n = list.count;
    hf_key_list_done(&list);
    return n;
}

static void test_import_and_reload(void **state)
{
    const fixture *f = *state;
    static run r;
    static run again;
    struct stat info;
    import_key(&r, f, 7, "given", HF_KEY_IMPORTED);
    assert_int_equal(count_key(&r, 7), 1);
    assert_int_equal(r.keys[0].backend, HF_BACKEND_IMPORTED);
    assert_true(r.is_persisted);
    assert_int_equal(count_imported(f), 1);
    assert_int_equal(stat(at(f, "imported/password"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(info.st_size, 64);
    load_all(&again, plain_config(f));
    assert_int_equal(count_key(&again, 7), 1);
    /* The import announced the key under the name that it has from now on. */
    assert_true(hf_bytes_equal(r.keys[0].source_id, again.keys[0].source_id, HF_SOURCE_ID_LEN));
    import_key(&r, f, 8, "given\n", HF_KEY_IMPORTED);
    assert_int_equal(count_imported(f), 2);
    load_all(&again, plain_config(f));
    assert_int_equal(again.failure_count, 0);
    assert_int_equal(count_key(&again, 7), 1);
    assert_int_equal(count_key(&again, 8), 1);
}

static void test_import_refused(void **state)
{
    const fixture *f = *state;
    static run r;
    import_key(&r, f, 7, "guessed", HF_KEY_IMPORTED);
    assert_int_equal(r.key_count, 0);
    assert_false(r.is_persisted);
    assert_failure(&r, "imported keystore", "wrong password");
    import_key(&r, f, 7, "given", HF_KEY_DUPLICATE);
    assert_int_equal(r.key_count, 1);
    assert_int_equal(r.failure_count, 0);
    assert_false(r.is_persisted);
    assert_int_equal(count_imported(f), 0);
}

static void test_import_that_cannot_be_kept(void **state)
{
    const fixture *f = *state;
    static run r;
    import_key(&r, f, 7, "given", HF_KEY_IMPORTED);
    assert_true(r.is_persisted);
    assert_int_equal(unlink(at(f, "imported/password")), 0);
    import_key(&r, f, 8, "given", HF_KEY_IMPORTED);
    assert_false(r.is_persisted);
    assert_int_equal(r.key_count, 0);
    assert_failure(&r, "imported keystore", "restore it from the backup");
}

/* The keeper has the key by then, and must not let it sign: the next start would not have it. */
static void test_import_into_a_folder_that_takes_no_file(void **state)
{
    const fixture *f = *state;
    static run r;
    import_key(&r, f, 7, "given", HF_KEY_IMPORTED);
    assert_true(r.is_persisted);
    assert_int_equal(chmod(at(f, "imported"), 0500), 0);
    import_key(&r, f, 8, "given", HF_KEY_IMPORTED);
    assert_int_equal(chmod(at(f, "imported"), 0700), 0);
    assert_int_equal(r.key_count, 1);
    assert_false(r.is_persisted);
    assert_failure(&r, "imported keystore", "Permission denied");
    assert_int_equal(count_imported(f), 1);
}

int main(int argc, char **argv)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_good_and_bad_files),
        CASE(test_altered_keystores),
        CASE(test_passwords),
        CASE(test_sources_that_fail_stop_no_other),
        CASE(test_a_source_that_cannot_be_read_ends_without_done),
        CASE(test_reload_opens_only_what_changed),
        CASE(test_the_same_key_in_two_files),
        CASE(test_links_and_key_folders),
        CASE(test_web3signer_files),
        CASE(test_secp256k1_keys),
        CASE(test_more_files_than_one_survey_takes),
        CASE(test_memory_bound),
        CASE(test_a_worker_that_dies),
        CASE(test_a_survey_that_dies),
        CASE(test_time_bound),
        CASE(test_the_keeper_goes_away),
        CASE(test_malformed_configuration),
        CASE(test_import_and_reload),
        CASE(test_import_refused),
        CASE(test_import_that_cannot_be_kept),
        CASE(test_import_into_a_folder_that_takes_no_file),
    };
    if (argc != 2) {
        return 2;
    }
    loader_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
