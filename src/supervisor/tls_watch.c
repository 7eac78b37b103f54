/* Have the TLS files changed? Renewal tools replace them behind our back. */
#include "supervisor/supervisor_internal.h"

#include <sys/stat.h>

static hf_file_stamp stamp_of(const char *path)
{
    struct stat info;
    hf_file_stamp stamp = {0, -1, 0};
    if (path[0] != '\0' && stat(path, &info) == 0) {
        stamp.inode = info.st_ino;
        stamp.size = info.st_size;
        stamp.mtime_ns =
            (int64_t)info.st_mtim.tv_sec * (int64_t)HF_SECOND_NS + info.st_mtim.tv_nsec;
    }
    return stamp;
}

bool hf_tls_watch_look(hf_tls_watch *watch, const hf_config *config)
{
    const char *const paths[HF_TLS_FILES] = {config->tls_cert, config->tls_key,
                                             config->tls_client_ca, config->tls_known_clients};
    bool changed = false;
    for (size_t i = 0; i < HF_TLS_FILES; i++) {
        hf_file_stamp now = stamp_of(paths[i]);
        if (!hf_bytes_equal(&now, &watch->stamps[i], sizeof now)) {
            watch->stamps[i] = now;
            changed = true;
        }
    }
    return changed;
}
