/* The data folder: ours alone, and one process at a time. */
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME "lock"

static hf_status check_folder(const char *data_dir, hf_error *err)
{
    struct stat info;
    if (stat(data_dir, &info) != 0) {
        return hf_fail(err, HF_IO, "%s: %s", data_dir, strerror(errno));
    }
    if (info.st_uid != geteuid()) {
        return hf_fail(err, HF_DENIED,
                       "%s belongs to user %u and this is user %u: run as its owner", data_dir,
                       (unsigned)info.st_uid, (unsigned)geteuid());
    }
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return hf_fail(err, HF_DENIED, "%s: others can reach it (mode %03o): chmod 700 it",
                       data_dir, info.st_mode & 0777U);
    }
    return hf_ok();
}

hf_status hf_data_dir_lock(const char *data_dir, int *ret_fd, hf_error *err)
{
    char path[HF_PATH_LEN + sizeof LOCK_NAME];
    hf_status st = hf_file_mkdir_private(data_dir, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "data_dir cannot be made");
    }
    st = check_folder(data_dir, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_str_format(path, sizeof path, "%s/%s", data_dir, LOCK_NAME);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", data_dir);
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0) {
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        st = errno == EWOULDBLOCK
                 ? hf_fail(err, HF_CONFLICT, "%s is in use by another holdfast process", data_dir)
                 : hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
        (void)close(fd);
        return st;
    }
    *ret_fd = fd;
    return hf_ok();
}
