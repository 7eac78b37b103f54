/* Whole files, read within a bound and written all or nothing. */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK_BYTES 16384
#define PATH_BYTES 4096

hf_status hf_file_read_fd(int fd, const char *name, size_t max_bytes, hf_buf **ret_buf,
                          hf_error *err)
{
    uint8_t chunk[READ_CHUNK_BYTES / 4];
    hf_status st;
    hf_buf *buf = hf_buf_new(max_bytes);
    if (buf == NULL) {
        return hf_fail(err, HF_NOMEM, "%s: out of memory", name);
    }
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            st = hf_fail(err, HF_IO, "%s: %s", name, strerror(errno));
            goto out;
        }
        if (n == 0) {
            break;
        }
        st = hf_buf_put(buf, chunk, (size_t)n);
        if (hf_failed(st)) {
            st = hf_fail(err, st.code, "%s: larger than %zu bytes", name, max_bytes);
            goto out;
        }
    }
    *ret_buf = buf;
    buf = NULL;
    st = hf_ok();
out:
    hf_wipe(chunk, sizeof chunk);
    hf_buf_free(buf);
    return st;
}

hf_status hf_file_read(const char *path, size_t max_bytes, hf_buf **ret_buf, hf_error *err)
{
    struct stat info;
    hf_status st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return hf_fail(err, errno == ENOENT ? HF_NOT_FOUND : HF_IO, "%s: %s", path,
                       strerror(errno));
    }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        st = hf_fail(err, HF_INVALID_INPUT, "%s: not a regular file", path);
        goto out;
    }
    st = hf_file_read_fd(fd, path, max_bytes, ret_buf, err);
out:
    (void)close(fd);
    return st;
}

/*
 * Root's own file, which the group that we run as may read and nobody else: how packages and
 * Kubernetes hand secrets to a service that must not be able to change them. Root, who looks at it
 * for a service (check, doctor), takes any group but its own for that service's. Credentials of
 * systemd are of root's group: they name the service in an ACL, which shows in the mode as 0440.
 */
static bool is_lent_by_root(const struct stat *info)
{
    bool is_its_group = geteuid() == 0 ? info->st_gid != 0 : info->st_gid == getegid();
    bool is_credential = info->st_gid == 0 && (info->st_mode & 0777U) == (S_IRUSR | S_IRGRP);
    return info->st_uid == 0 && (is_its_group || is_credential) &&
           (info->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0;
}

hf_status hf_file_check_private(const char *path, hf_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return hf_fail(err, errno == ENOENT ? HF_NOT_FOUND : HF_IO, "%s: %s", path,
                       strerror(errno));
    }
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0 && !is_lent_by_root(&info)) {
        return hf_fail(err, HF_DENIED, "%s: others can read this secret (mode %03o): chmod 600 it",
                       path, info.st_mode & 0777U);
    }
    return hf_ok();
}

hf_status hf_file_write_all(int fd, const void *ptr, size_t len)
{
    const uint8_t *p = ptr;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return (hf_status){HF_IO};
        }
        p += n;
        len -= (size_t)n;
    }
    return hf_ok();
}

static int sync_folder_of(const char *path)
{
    char folder[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (len >= sizeof folder) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(folder, path, len);
    folder[len] = '\0';
    const char *name = slash == NULL ? "." : (len == 0 ? "/" : folder);
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int r = fsync(fd);
    (void)close(fd);
    return r;
}

hf_status hf_file_write_atomic(const char *path, const void *ptr, size_t len, mode_t mode,
                               hf_error *err)
{
    char temp[PATH_BYTES];
    hf_status st = hf_str_format(temp, sizeof temp, "%s.tmp", path);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", path);
    }
    (void)unlink(temp);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return hf_fail(err, HF_IO, "%s: %s", temp, strerror(errno));
    }
    bool written = !hf_failed(hf_file_write_all(fd, ptr, len)) && fsync(fd) == 0;
    int saved = errno;
    if (close(fd) != 0 && written) {
        written = false;
        saved = errno;
    }
    if (written && (rename(temp, path) != 0 || sync_folder_of(path) != 0)) {
        written = false;
        saved = errno;
    }
    if (!written) {
        (void)unlink(temp);
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(saved));
    }
    return hf_ok();
}

hf_status hf_file_mkdir_private(const char *path, hf_error *err)
{
    struct stat info;
    if (mkdir(path, 0700) == 0) {
        return hf_ok();
    }
    if (errno != EEXIST) {
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return hf_fail(err, HF_INVALID_INPUT, "%s: not a folder", path);
    }
    return hf_ok();
}
