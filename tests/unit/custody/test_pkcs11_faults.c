/*
 * What can happen to a token: pulled and put back, sessions lost, a PIN refused or locked, calls
 * that do not return. By a module before SoftHSM2 that fails on demand (faulty_pkcs11.c).
 */
#include "token.h"

#include <pthread.h>
#include <sodium.h>

#include "crypto/crypto.h"
#include "custody/pkcs11_internal.h"

static const char *faulty_module;

typedef struct rig {
    hf_pkcs11_config config;
    hf_custody *custody;
    char folder[256]; /* of the faults */
    uint64_t handle;
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX];
} rig;

static void make_rig(const fixture *f, rig *r)
{
    hf_error err = {0};
    memset(r, 0, sizeof *r);
    token_make(f, &r->config);
    assert_false(hf_failed(hf_str_format(r->folder, sizeof r->folder, "%s/faults", f->root)));
    assert_int_equal(mkdir(r->folder, 0700), 0);
    assert_false(hf_failed(hf_str_format(r->config.init_args, sizeof r->config.init_args,
                                         "folder=%s;target=%s", r->folder, token_module())));
    assert_int_equal(token_tool(f, "--keypairgen", "--key-type", "EC:edwards25519", "--label",
                                "key", "--id", "01"),
                     0);
    assert_false(hf_failed(hf_str_copy(r->config.module, HF_PATH_LEN, faulty_module)));
    if (hf_failed(hf_custody_pkcs11_open(&r->config, &r->custody, &err))) {
        fail_msg("%s", err.msg);
    }
}

static hf_status see_key(void *context, const hf_custody_key *key)
{
    rig *r = context;
    r->handle = key->handle;
    memcpy(r->public_key, key->public_key, sizeof r->public_key);
    return hf_ok();
}

static void see_failure(void *context, const char *name, const char *why)
{
    (void)context;
    fail_msg("%s: %s", name, why);
}

static hf_status list_keys(rig *r, hf_error *err)
{
    hf_custody_visitor visitor = {r, see_key, see_failure};
    return r->custody->ops->list(r->custody, &visitor, soon(), err);
}

static hf_status sign_until(const rig *r, uint64_t deadline_ns, hf_error *err)
{
    uint8_t message[32] = {5};
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    hf_status st = r->custody->ops->sign(r->custody, r->handle, hf_bytes_from(message, 32),
                                         deadline_ns, signature, err);
    if (!hf_failed(st)) {
        assert_int_equal(crypto_sign_verify_detached(signature, message, 32, r->public_key), 0);
    }
    return st;
}

static hf_status sign(const rig *r, hf_error *err)
{
    return sign_until(r, soon(), err);
}

static void ready(const fixture *f, rig *r)
{
    hf_error err = {0};
    make_rig(f, r);
    if (hf_failed(list_keys(r, &err))) {
        fail_msg("%s", err.msg);
    }
    assert_true(r->handle != 0);
    assert_int_equal(sign(r, &err).code, HF_OK);
}

/* Until it is as before: the attempts to connect have pauses. */
static void wait_until_it_signs(const rig *r)
{
    hf_error err = {0};
    uint64_t end = soon();
    while (hf_failed(sign(r, &err))) {
        if (hf_time_mono_ns() > end) {
            fail_msg("still: %s", err.msg);
        }
        hf_time_sleep_ns(20 * HF_NS_PER_MS);
    }
}

static size_t calls_of(const rig *r, const char *function)
{
    char path[512];
    hf_buf *text = NULL;
    size_t count = 0;
    assert_false(hf_failed(hf_str_format(path, sizeof path, "%s/calls", r->folder)));
    assert_false(hf_failed(hf_file_read(path, 1 << 20, &text, NULL)));
    size_t len = strlen(function);
    for (const char *at = strstr(hf_buf_text(text), function); at != NULL;
         at = strstr(at + 1, function)) {
        count += at[len] == '\n';
    }
    hf_buf_free(text);
    return count;
}

/* ---- the device ------------------------------------------------------------------------------ */

static void test_device_removed(void **state)
{
    static rig r; /* large */
    hf_error err = {0};
    char detail[HF_DETAIL_LEN];
    ready(*state, &r);
    write_file(r.folder, "removed", "");
    assert_int_equal(sign(&r, &err).code, HF_UNAVAILABLE);
    assert_int_equal(list_keys(&r, &err).code, HF_UNAVAILABLE);
    assert_false(r.custody->ops->is_healthy(r.custody, detail));
    assert_true(detail[0] != '\0');
    /* While it is away the answer is there at once: the attempts to connect have pauses. */
    size_t before = calls_of(&r, "C_Initialize");
    for (int i = 0; i < 200; i++) {
        assert_int_equal(sign(&r, &err).code, HF_UNAVAILABLE);
    }
    assert_true(calls_of(&r, "C_Initialize") - before < 100);
    remove_file(r.folder, "removed");
    wait_until_it_signs(&r);
    assert_true(r.custody->ops->is_healthy(r.custody, detail));
    r.custody->ops->close(r.custody);
}

static void test_device_away_at_the_start(void **state)
{
    static rig r; /* large */
    hf_error err = {0};
    char detail[HF_DETAIL_LEN];
    make_rig(*state, &r);
    write_file(r.folder, "removed", "");
    assert_int_equal(list_keys(&r, &err).code, HF_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "holdfast"));
    remove_file(r.folder, "removed");
    /* Somebody who only asks how it is finds it again as well. */
    uint64_t end = soon();
    while (!r.custody->ops->is_healthy(r.custody, detail) && hf_time_mono_ns() < end) {
        hf_time_sleep_ns(20 * HF_NS_PER_MS);
    }
    assert_int_equal(list_keys(&r, &err).code, HF_OK);
    assert_int_equal(sign(&r, &err).code, HF_OK);
    r.custody->ops->close(r.custody);
}

/* One failure of each kind that a new session or connection mends: nobody notices. */
static void test_single_losses(void **state)
{
    static const struct {
        const char *file;
        const char *rv;
    } losses[] = {
        {"C_Sign.once", "0x32"},      /* CKR_DEVICE_REMOVED */
        {"C_Sign.once", "0xb3"},      /* CKR_SESSION_HANDLE_INVALID */
        {"C_SignInit.once", "0xb0"},  /* CKR_SESSION_CLOSED */
        {"C_SignInit.once", "0x101"}, /* CKR_USER_NOT_LOGGED_IN */
        {"C_SignInit.once", "0x60"},  /* CKR_KEY_HANDLE_INVALID */
        {"C_SignInit.once", "0x90"},  /* CKR_OPERATION_ACTIVE */
        {"C_SignInit.once", "0x190"}, /* CKR_CRYPTOKI_NOT_INITIALIZED */
        {"C_SignInit.once", "0xe0"},  /* CKR_TOKEN_NOT_PRESENT */
    };
    static rig r; /* large */
    hf_error err = {0};
    ready(*state, &r);
    for (size_t i = 0; i < HF_ARRAY_LEN(losses); i++) {
        write_file(r.folder, losses[i].file, losses[i].rv);
        if (hf_failed(sign(&r, &err))) {
            fail_msg("%s %s: %s", losses[i].file, losses[i].rv, err.msg);
        }
    }
    r.custody->ops->close(r.custody);
}

/* Failures that nothing mends here are named, and the next signature is as before. */
static void test_named_failures(void **state)
{
    static const struct {
        const char *rv;
        hf_code code;
        const char *name;
    } failures[] = {
        {"0x5", HF_UNAVAILABLE, "C_Sign: CKR_GENERAL_ERROR (0x5)"},
        {"0x68", HF_DENIED, "CKR_KEY_FUNCTION_NOT_PERMITTED"},
        {"0x70", HF_USAGE, "CKR_MECHANISM_INVALID"},
        {"0x20", HF_INVALID_INPUT, "CKR_DATA_INVALID"},
        {"0x80000001", HF_UNAVAILABLE, "CKR_VENDOR_DEFINED"},
        {"0x7fff", HF_UNAVAILABLE, "0x7fff"},
    };
    static rig r; /* large */
    ready(*state, &r);
    for (size_t i = 0; i < HF_ARRAY_LEN(failures); i++) {
        hf_error err = {0};
        write_file(r.folder, "C_Sign.once", failures[i].rv);
        hf_code code = sign(&r, &err).code;
        if (code != failures[i].code || strstr(err.msg, failures[i].name) == NULL) {
            fail_msg("%s: %s, %s", failures[i].rv, hf_code_name(code), err.msg);
        }
        wait_until_it_signs(&r);
    }
    r.custody->ops->close(r.custody);
}

static void test_twice_is_enough(void **state)
{
    static rig r; /* large */
    hf_error err = {0};
    ready(*state, &r);
    write_file(r.folder, "C_Sign", "0xb3");
    size_t before = calls_of(&r, "C_Sign");
    assert_int_equal(sign(&r, &err).code, HF_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "CKR_SESSION_HANDLE_INVALID"));
    assert_int_equal(calls_of(&r, "C_Sign") - before, 2);
    remove_file(r.folder, "C_Sign");
    wait_until_it_signs(&r);
    r.custody->ops->close(r.custody);
}

/* ---- the PIN --------------------------------------------------------------------------------- */

static void test_wrong_pin_once(void **state)
{
    const fixture *f = *state;
    static rig r; /* large */
    hf_error err = {0};
    char detail[HF_DETAIL_LEN];
    make_rig(f, &r);
    write_file(f->root, "pin", "wrong-one");
    assert_int_equal(list_keys(&r, &err).code, HF_DENIED);
    assert_non_null(strstr(err.msg, "CKR_PIN_INCORRECT"));
    uint64_t end = hf_time_mono_ns() + HF_NS_PER_SECOND; /* several pauses long */
    while (hf_time_mono_ns() < end) {
        assert_int_equal(list_keys(&r, &err).code, HF_DENIED);
        assert_false(r.custody->ops->is_healthy(r.custody, detail));
        hf_time_sleep_ns(20 * HF_NS_PER_MS);
    }
    assert_int_equal(calls_of(&r, "C_Login"), 1);
    assert_non_null(strstr(err.msg, "not tried a second time"));
    assert_null(strstr(err.msg, "wrong-one"));
    write_file(f->root, "pin", TOKEN_PIN);
    end = soon();
    while (hf_failed(list_keys(&r, &err)) && hf_time_mono_ns() < end) {
        hf_time_sleep_ns(20 * HF_NS_PER_MS);
    }
    assert_int_equal(sign(&r, &err).code, HF_OK);
    assert_int_equal(calls_of(&r, "C_Login"), 2);
    r.custody->ops->close(r.custody);
}

static void test_locked_pin(void **state)
{
    const fixture *f = *state;
    static rig r; /* large */
    hf_error err = {0};
    make_rig(f, &r);
    write_file(r.folder, "C_Login", "0xa4");
    uint64_t end = hf_time_mono_ns() + HF_NS_PER_SECOND;
    while (hf_time_mono_ns() < end) {
        assert_int_equal(list_keys(&r, &err).code, HF_UNAVAILABLE);
        assert_non_null(strstr(err.msg, "CKR_PIN_LOCKED"));
        hf_time_sleep_ns(20 * HF_NS_PER_MS);
    }
    assert_int_equal(calls_of(&r, "C_Login"), 1);
    /* Unlocked by the security officer with the same PIN: touching the file is enough. */
    remove_file(r.folder, "C_Login");
    write_file(f->root, "pin", TOKEN_PIN "\n");
    end = soon();
    while (hf_failed(list_keys(&r, &err)) && hf_time_mono_ns() < end) {
        hf_time_sleep_ns(20 * HF_NS_PER_MS);
    }
    assert_int_equal(sign(&r, &err).code, HF_OK);
    r.custody->ops->close(r.custody);
}

/* The token's own flags: one try left, or none. */
static void test_flags_before_login(void **state)
{
    static rig r; /* large */
    hf_error err = {0};
    make_rig(*state, &r);
    write_file(r.folder, "flags", "0x20000");
    assert_int_equal(list_keys(&r, &err).code, HF_DENIED);
    assert_non_null(strstr(err.msg, "CKF_USER_PIN_FINAL_TRY"));
    r.custody->ops->close(r.custody);
    write_file(r.folder, "flags", "0x40000");
    assert_int_equal(hf_custody_pkcs11_open(&r.config, &r.custody, &err).code, HF_OK);
    assert_int_equal(list_keys(&r, &err).code, HF_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "CKF_USER_PIN_LOCKED"));
    assert_int_equal(calls_of(&r, "C_Login"), 0);
    r.custody->ops->close(r.custody);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 6
#define ROUNDS 30

typedef struct worker {
    const rig *r;
    uint64_t deadline_ns;
    hf_status last;
    hf_error err;
    size_t good;
} worker;

static void *work(void *context)
{
    worker *w = context;
    for (int i = 0; i < ROUNDS; i++) {
        w->good += !hf_failed(sign(w->r, &w->err));
    }
    return NULL;
}

static void test_threads(void **state)
{
    static rig r; /* large */
    hf_error err = {0};
    ready(*state, &r);
    for (int limited = 0; limited < 2; limited++) {
        pthread_t threads[THREADS];
        worker workers[THREADS] = {{NULL, 0, {HF_OK}, {HF_OK, ""}, 0}};
        size_t opened = calls_of(&r, "C_OpenSession");
        for (size_t i = 0; i < THREADS; i++) {
            workers[i].r = &r;
            assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
        }
        for (size_t i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(workers[i].good, ROUNDS);
        }
        assert_true(calls_of(&r, "C_OpenSession") - opened <= (limited == 0 ? THREADS : 2));
        /* Then with a token that has two sessions and no more. */
        write_file(r.folder, "sessions", "2");
        write_file(r.folder, "C_Sign.once", "0x32");
        assert_int_equal(sign(&r, &err).code, HF_OK);
    }
    r.custody->ops->close(r.custody);
}

static void *hang(void *context)
{
    worker *w = context;
    w->last = sign_until(w->r, w->deadline_ns, &w->err);
    return NULL;
}

static void test_call_that_hangs(void **state)
{
    static rig r; /* large */
    hf_error err = {0};
    char detail[HF_DETAIL_LEN];
    pthread_t thread;
    ready(*state, &r);
    write_file(r.folder, "C_Sign", "hang");
    size_t before = calls_of(&r, "C_Sign");
    worker w = {.r = &r, .deadline_ns = hf_time_mono_ns() + 50 * HF_NS_PER_MS};
    assert_int_equal(pthread_create(&thread, NULL, hang, &w), 0);
    uint64_t end = soon();
    while ((calls_of(&r, "C_Sign") == before || hf_time_mono_ns() <= w.deadline_ns) &&
           hf_time_mono_ns() < end) {
        hf_time_sleep_ns(10 * HF_NS_PER_MS);
    }
    assert_false(r.custody->ops->is_healthy(r.custody, detail));
    assert_non_null(strstr(detail, "has not returned"));
    /* Others go on beside it. */
    assert_int_equal(list_keys(&r, &err).code, HF_OK);
    /* And when the token is lost meanwhile, nobody waits longer than asked. */
    write_file(r.folder, "C_FindObjectsInit.once", "0x32");
    hf_custody_visitor visitor = {&r, see_key, see_failure};
    hf_status st =
        r.custody->ops->list(r.custody, &visitor, hf_time_mono_ns() + 100 * HF_NS_PER_MS, &err);
    assert_int_equal(st.code, HF_UNAVAILABLE);
    remove_file(r.folder, "C_Sign");
    assert_int_equal(pthread_join(thread, NULL), 0);
    wait_until_it_signs(&r);
    assert_true(r.custody->ops->is_healthy(r.custody, detail));
    r.custody->ops->close(r.custody);
}

/* ---- unwrapping ------------------------------------------------------------------------------ */

static void test_loss_while_unwrapping(void **state)
{
    static rig r; /* large */
    hf_error err = {0};
    uint8_t secret[32] = {1, 2, 3};
    uint8_t blob[HF_P11_BLOB_MAX];
    uint8_t back[32];
    size_t len = sizeof blob;
    ready(*state, &r);
    assert_int_equal(hf_custody_pkcs11_generate_wrap_key(r.custody, "kek", soon(), &err).code,
                     HF_OK);
    hf_bytes context = hf_bytes_from("c", 1);
    assert_int_equal(
        r.custody->ops
            ->wrap(r.custody, "kek", context, hf_bytes_from(secret, 32), soon(), blob, &len, &err)
            .code,
        HF_OK);
    static const char *const losses[] = {"0x32", "0xb3", "0x101"};
    for (size_t i = 0; i < HF_ARRAY_LEN(losses); i++) {
        size_t back_len = sizeof back;
        write_file(r.folder, "C_Decrypt.once", losses[i]);
        hf_status st = r.custody->ops->unwrap(r.custody, "kek", context, hf_bytes_from(blob, len),
                                              soon(), back, &back_len, &err);
        if (hf_failed(st)) {
            fail_msg("%s: %s", losses[i], err.msg);
        }
        assert_memory_equal(back, secret, 32);
    }
    /* The general error means a wrong tag where the session is well, and a lost token where not. */
    size_t back_len = sizeof back;
    write_file(r.folder, "C_Decrypt.once", "0x5");
    assert_int_equal(r.custody->ops
                         ->unwrap(r.custody, "kek", context, hf_bytes_from(blob, len), soon(), back,
                                  &back_len, &err)
                         .code,
                     HF_DENIED);
    write_file(r.folder, "C_Decrypt.once", "0x5");
    write_file(r.folder, "C_GetSessionInfo", "0x32");
    write_file(r.folder, "C_OpenSession", "0x32");
    assert_int_equal(r.custody->ops
                         ->unwrap(r.custody, "kek", context, hf_bytes_from(blob, len), soon(), back,
                                  &back_len, &err)
                         .code,
                     HF_UNAVAILABLE);
    r.custody->ops->close(r.custody);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_device_removed, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_device_away_at_the_start, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_single_losses, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_named_failures, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_twice_is_enough, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_wrong_pin_once, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_locked_pin, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_flags_before_login, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_threads, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_call_that_hangs, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_loss_while_unwrapping, fixture_setup,
                                        fixture_teardown),
    };
    if (argc < 2 || token_module() == NULL || !has_program("/usr/bin/pkcs11-tool")) {
        print_message("skipped: needs softhsm2, opensc and the path of the faulty module\n");
        return 77;
    }
    static char path[PATH_MAX];
    faulty_module = realpath(argv[1], path);
    assert_non_null(faulty_module);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
