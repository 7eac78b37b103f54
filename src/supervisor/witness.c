/* Where the start guard's page in memory lies. */
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define NAME_LEN 128
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_TEXT 36

static bool is_in_memory(int fd)
{
    struct statfs info;
    return fstatfs(fd, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
}

/* Ours alone, or one where everybody has files of his own. */
static bool is_safe_folder(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || (info.st_uid != geteuid() && info.st_uid != 0)) {
        return false;
    }
    return (info.st_mode & (S_IWGRP | S_IWOTH)) == 0 || (info.st_mode & S_ISVTX) != 0;
}

/* The folder itself and not its path: one made anew at the same place is another. */
static hf_status name_of(const char *data_dir, char *out, size_t out_len)
{
    struct statx info;
    if (statx(AT_FDCWD, data_dir, 0, STATX_INO | STATX_BTIME, &info) != 0) {
        return (hf_status){HF_IO};
    }
    bool has_birth = (info.stx_mask & STATX_BTIME) != 0;
    return hf_str_format(out, out_len, "holdfast-witness-%x-%x-%llx-%llx-%x", info.stx_dev_major,
                         info.stx_dev_minor, (unsigned long long)info.stx_ino,
                         (unsigned long long)(has_birth ? info.stx_btime.tv_sec : 0),
                         has_birth ? info.stx_btime.tv_nsec : 0U);
}

static bool is_ours(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
           info.st_nlink == 1 && (info.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

/* -1 when that folder does not serve. */
static int open_in(const char *folder, const char *name)
{
    int fd = -1;
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0) {
        return -1;
    }
    if (is_in_memory(folder_fd) && is_safe_folder(folder_fd)) {
        fd = openat(folder_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    (void)close(folder_fd);
    /* The page is had now: a memory that is full must not show when it is written to. */
    if (fd >= 0 && (!is_ours(fd) || posix_fallocate(fd, 0, PAGE_BYTES) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* What a service manager gives us; there may be several, and the first is ours. */
static bool runtime_folder(char out[HF_PATH_LEN])
{
    const char *text = getenv("RUNTIME_DIRECTORY");
    if (text == NULL || text[0] != '/' || strcspn(text, ":") >= HF_PATH_LEN) {
        return false;
    }
    memcpy(out, text, strcspn(text, ":"));
    out[strcspn(text, ":")] = '\0';
    return true;
}

void hf_witness_open(const char *data_dir, int *ret_fd)
{
    char name[NAME_LEN];
    char runtime[HF_PATH_LEN] = "/run/holdfast";
    *ret_fd = -1;
    if (!hf_failed(name_of(data_dir, name, sizeof name))) {
        (void)runtime_folder(runtime);
        *ret_fd = open_in(runtime, name);
        if (*ret_fd < 0) {
            *ret_fd = open_in("/dev/shm", name);
        }
    }
    if (*ret_fd < 0) {
        hf_log(HF_LOG_UNUSUAL, "no_memory_witness",
               "neither %s nor /dev/shm is memory that is ours: the start guard will take each"
               " start for one after a reboot",
               runtime);
    }
}

void hf_boot_id_read(uint8_t ret_id[HF_BOOT_ID_BYTES])
{
    char text[BOOT_ID_TEXT + 1] = {0};
    char digits[2 * HF_BOOT_ID_BYTES + 1] = {0};
    size_t count = 0;
    int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, BOOT_ID_TEXT) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    for (ssize_t i = 0; i < n && count < sizeof digits - 1; i++) {
        if (text[i] != '-') {
            digits[count++] = text[i];
        }
    }
    if (hf_failed(hf_hex_decode(digits, count, ret_id, HF_BOOT_ID_BYTES))) {
        memset(ret_id, 0, HF_BOOT_ID_BYTES);
    }
}
