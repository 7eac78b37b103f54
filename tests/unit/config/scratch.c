/* See scratch.h. */
#include "scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

const char *scratch_path(const char *name)
{
    static char path[HF_PATH_LEN];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void scratch_write(const char *name, const char *text, unsigned mode)
{
    (void)unlink(name);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_false(hf_failed(hf_file_write_all(fd, text, strlen(text))));
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void clear_environment(void)
{
    extern char **environ;
    char name[128];
    for (char **variable = environ; *variable != NULL;) {
        if (strncmp(*variable, "HOLDFAST_", 9) != 0) {
            variable++;
            continue;
        }
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(*variable, "="), *variable);
        assert_int_equal(unsetenv(name), 0);
        variable = environ;
    }
}

int scratch_enter(void **state)
{
    (void)state;
    clear_environment();
    (void)snprintf(folder, sizeof folder, "/tmp/holdfast-config-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    (void)umask(0);
    assert_int_equal(mkdir("keys", 0700), 0);
    assert_int_equal(mkdir("w3s", 0700), 0);
    assert_int_equal(mkdir("passwords", 0700), 0);
    assert_int_equal(mkdir("loose-passwords", 0700), 0);
    assert_int_equal(mkdir("loose", 0777), 0);
    scratch_write("cert.pem", "certificate", 0644);
    scratch_write("key.pem", "private key", 0600);
    scratch_write("loose-key.pem", "private key", 0640);
    scratch_write("ca.pem", "authorities", 0644);
    scratch_write("clients.txt", "vc AA:BB", 0644);
    scratch_write("pw.txt", "secret\n", 0600);
    scratch_write("node.txt", "https://u:hunter2@node.example/key\n", 0600);
    scratch_write("url.txt", "postgresql://u:hunter2@h/d\n", 0600);
    scratch_write("loose-pw.txt", "secret\n", 0644);
    scratch_write("passwords/a.txt", "secret\n", 0600);
    scratch_write("loose-passwords/a.txt", "secret\n", 0604);
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

int scratch_leave(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

hf_status scratch_load(const char *text, hf_config_flags *flags, hf_config *ret, hf_error *err)
{
    hf_config_flags none = {0};
    if (flags == NULL) {
        flags = &none;
    }
    scratch_write("holdfast.yaml", text, 0644);
    flags->file = "holdfast.yaml";
    return hf_config_load(flags, ret, err);
}

void assert_loads(const char *text, hf_config *ret)
{
    hf_error err = {0};
    if (hf_failed(scratch_load(text, NULL, ret, &err))) {
        fail_msg("refused: %s\n%s", err.msg, text);
    }
}

void assert_refused(const char *text, const char *sentence)
{
    hf_config *config = calloc(1, sizeof *config);
    hf_config *untouched = calloc(1, sizeof *config);
    hf_error err = {0};
    assert_non_null(config);
    assert_non_null(untouched);
    hf_status st = scratch_load(text, NULL, config, &err);
    assert_string_equal(err.msg, sentence);
    assert_int_equal(st.code, HF_USAGE);
    assert_int_equal(err.code, HF_USAGE);
    assert_memory_equal(config, untouched, sizeof *config);
    free(config);
    free(untouched);
}
