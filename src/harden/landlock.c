/* Landlock by system call. The constants are the kernel's; Debian 12's header knows only some. */
#include "harden/harden_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define CREATE_RULESET_VERSION 1U
#define RULE_PATH_BENEATH 1

/* linux/landlock.h: file rights as bits */
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)

#define FS_ALL_ABI_1 ((UINT64_C(1) << 13) - 1)
#define FS_ALL_ABI_2 ((UINT64_C(1) << 14) - 1) /* and moving between folders */
#define FS_ALL_ABI_3 ((UINT64_C(1) << 15) - 1) /* and truncating */
#define FS_ALL_ABI_5 ((UINT64_C(1) << 16) - 1) /* and ioctl on devices */
#define NET_ALL_ABI_4 UINT64_C(3)              /* bind and connect TCP */
#define NET_BIND UINT64_C(1)
#define SCOPE_ALL_ABI_6 UINT64_C(3) /* abstract unix sockets, signals */

#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_WRITE (FS_WRITE_FILE | FS_REMOVE_FILE | FS_MAKE_REG | FS_TRUNCATE)
#define FS_DEVICE (FS_WRITE_FILE | FS_IOCTL_DEV)
/* the rest is for folders */
#define FS_ON_A_FILE (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset_attr {
    uint64_t handled_fs;
    uint64_t handled_net; /* from ABI 4 */
    uint64_t scoped;      /* from ABI 6 */
};

struct path_beneath_attr {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

static struct ruleset_attr rights_of_abi(long abi, size_t *ret_size)
{
    struct ruleset_attr attr = {FS_ALL_ABI_1, 0, 0};
    if (abi >= 2) {
        attr.handled_fs = FS_ALL_ABI_2;
    }
    if (abi >= 3) {
        attr.handled_fs = FS_ALL_ABI_3;
    }
    if (abi >= 5) {
        attr.handled_fs = FS_ALL_ABI_5;
    }
    attr.handled_net = abi >= 4 ? NET_ALL_ABI_4 : 0;
    attr.scoped = abi >= 6 ? SCOPE_ALL_ABI_6 : 0;
    *ret_size = abi >= 6 ? sizeof attr : (abi >= 4 ? 2 : 1) * sizeof(uint64_t);
    return attr;
}

/* A path that is not there is left out: it is then out of reach, which is what the caller meets. */
static hf_status add_path(int ruleset, const hf_harden_path *path, uint64_t handled, hf_error *err)
{
    struct stat info;
    hf_status st = hf_ok();
    int fd = open(path->path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) {
            return hf_ok();
        }
        return hf_fail(err, HF_IO, "%s: %s", path->path, strerror(errno));
    }
    struct path_beneath_attr rule = {
        FS_READ | (path->writable ? FS_WRITE : 0) | (path->is_device ? FS_DEVICE : 0), fd};
    rule.allowed &= handled;
    if (fstat(fd, &info) != 0) {
        st = hf_fail(err, HF_IO, "%s: %s", path->path, strerror(errno));
        goto out;
    }
    if (!S_ISDIR(info.st_mode)) {
        rule.allowed &= FS_ON_A_FILE;
    }
    if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) != 0) {
        st = hf_fail(err, HF_INTERNAL, "landlock rule for %s: %s", path->path, strerror(errno));
    }
out:
    (void)close(fd);
    return st;
}

static hf_status restrict_to(long abi, const hf_harden_path *paths, size_t n, bool connects,
                             hf_error *err)
{
    size_t size = 0;
    struct ruleset_attr attr = rights_of_abi(abi, &size);
    attr.handled_net &= connects ? NET_BIND : NET_ALL_ABI_4;
    hf_status st = hf_ok();
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0) {
        return hf_fail(err, HF_INTERNAL, "landlock_create_ruleset: %s", strerror(errno));
    }
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = add_path(ruleset, &paths[i], attr.handled_fs, err);
    }
    if (hf_failed(st)) {
        goto out;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        st = hf_fail(err, HF_INTERNAL, "landlock_restrict_self: %s", strerror(errno));
    }
out:
    (void)close(ruleset);
    return st;
}

static hf_status enclose(const hf_hardening_config *config, const hf_harden_path *paths, size_t n,
                         bool connects, hf_harden_report *report, hf_error *err)
{
    static const char name[] = "landlock";
    char detail[96];
    if (config->landlock == HF_PROTECT_OFF) {
        return hf_harden_settle_missing(HF_PROTECT_OFF, report, name, "", err);
    }
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    if (abi < 1) {
        return hf_harden_settle_missing(config->landlock, report, name,
                                        "the kernel has no Landlock (5.13 and lsm=landlock)", err);
    }
    /* The kernel has it: from here a failure is an error for "prefer" too. */
    hf_status st = restrict_to(abi, paths, n, connects, err);
    if (hf_failed(st)) {
        return st;
    }
    (void)snprintf(detail, sizeof detail, "ABI %ld, %zu paths%s%s", abi, n,
                   abi < 4    ? ", TCP not covered"
                   : connects ? ", no TCP server"
                              : ", no TCP",
                   abi >= 6 ? ", no signals out" : "");
    hf_harden_note(report, name, HF_PROTECTION_ON, detail);
    return hf_ok();
}

hf_status hf_harden_landlock(const hf_hardening_config *config, const hf_harden_path *paths,
                             size_t n, hf_harden_report *report, hf_error *err)
{
    return enclose(config, paths, n, false, report, err);
}

hf_status hf_harden_landlock_connecting(const hf_hardening_config *config,
                                        const hf_harden_path *paths, size_t n,
                                        hf_harden_report *report, hf_error *err)
{
    return enclose(config, paths, n, true, report, err);
}
