/* A SoftHSM2 token in a folder of its own, and OpenSC's pkcs11-tool as the other side. */
#ifndef HF_TEST_CUSTODY_TOKEN_H
#define HF_TEST_CUSTODY_TOKEN_H

#include "fixture.h"

#include "custody/pkcs11.h"

#include <fcntl.h>
#include <sys/wait.h>

#define TOKEN_PIN "1234-user"

/* SoftHSM2 2.6 loses a few bytes with each signature of Ed25519, inside libcrypto. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libsofthsm2\nleak:CRYPTO_zalloc\nleak:ASN1_STRING_set";
}

static inline const char *token_module(void)
{
    static const char *const places[] = {
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(places); i++) {
        if (access(places[i], R_OK) == 0) {
            return places[i];
        }
    }
    return NULL;
}

static inline bool has_program(const char *path)
{
    return access(path, X_OK) == 0;
}

/* Runs a program to its end, its output to a file of the fixture; its exit status. */
static inline int run_program(const fixture *f, const char *const argv[])
{
    char log[256];
    assert_false(hf_failed(hf_str_format(log, sizeof log, "%s/output", f->root)));
    char *copies[32] = {NULL};
    for (size_t i = 0; argv[i] != NULL; i++) {
        assert_true(i < HF_ARRAY_LEN(copies) - 1);
        copies[i] = strdup(argv[i]);
        assert_non_null(copies[i]);
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        (void)dup2(fd, 1);
        (void)dup2(fd, 2);
        (void)execvp(copies[0], copies);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    for (size_t i = 0; copies[i] != NULL; i++) {
        free(copies[i]);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static inline void write_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    assert_false(hf_failed(hf_str_format(path, sizeof path, "%s/%s", folder, name)));
    assert_false(hf_failed(hf_file_write_atomic(path, text, strlen(text), 0600, NULL)));
}

static inline void remove_file(const char *folder, const char *name)
{
    char path[512];
    assert_false(hf_failed(hf_str_format(path, sizeof path, "%s/%s", folder, name)));
    assert_int_equal(unlink(path), 0);
}

/* pkcs11-tool with the token's PIN and more arguments; its exit status. */
#define token_tool(f, ...)                                                                         \
    run_program(f,                                                                                 \
                (const char *const[]){"pkcs11-tool", "--module", token_module(), "--token-label",  \
                                      "holdfast", "--pin", TOKEN_PIN, __VA_ARGS__, NULL})

static inline void token_make(const fixture *f, hf_pkcs11_config *ret_config)
{
    char text[512];
    char conf[256];
    char tokens[256];
    assert_false(hf_failed(hf_str_format(tokens, sizeof tokens, "%s/tokens", f->root)));
    assert_int_equal(mkdir(tokens, 0700), 0);
    assert_false(hf_failed(hf_str_format(
        text, sizeof text, "directories.tokendir = %s\nobjectstore.backend = file\n", tokens)));
    write_file(f->root, "softhsm2.conf", text);
    write_file(f->root, "pin", TOKEN_PIN "\n");
    assert_false(hf_failed(hf_str_format(conf, sizeof conf, "%s/softhsm2.conf", f->root)));
    assert_int_equal(setenv("SOFTHSM2_CONF", conf, 1), 0);
    assert_int_equal(run_program(f, (const char *const[]){"softhsm2-util", "--init-token", "--free",
                                                          "--label", "holdfast", "--so-pin",
                                                          "so-secret", "--pin", TOKEN_PIN, NULL}),
                     0);
    memset(ret_config, 0, sizeof *ret_config);
    assert_false(hf_failed(
        hf_str_copy(ret_config->token_label, sizeof ret_config->token_label, "holdfast")));
    assert_false(hf_failed(hf_str_copy(ret_config->module, HF_PATH_LEN, token_module())));
    assert_false(hf_failed(hf_str_format(ret_config->pin_file, HF_PATH_LEN, "%s/pin", f->root)));
}

/* Long enough for a loaded machine; no test waits for it to pass. */
static inline uint64_t soon(void)
{
    return hf_time_mono_ns() + 120 * HF_NS_PER_SECOND;
}

#endif
