/*
 * Holders of the seal that are machines: NAME.key in key_file_dir opens the share of the holder
 * NAME. The keeper asks when shares are wanted, and never sees a file.
 */
#include "supervisor/supervisor_internal.h"

#include "seal/seal.h"

#include <dirent.h>
#include <errno.h>

#define SUFFIX ".key"

/* The holder's name in NAME.key; false: another file. */
static bool name_of(const char *file, char ret_name[HF_SEAL_NAME_LEN])
{
    size_t len = strlen(file);
    if (!hf_str_has_suffix(file, SUFFIX) || len - strlen(SUFFIX) >= HF_SEAL_NAME_LEN) {
        return false;
    }
    memset(ret_name, 0, HF_SEAL_NAME_LEN);
    memcpy(ret_name, file, len - strlen(SUFFIX));
    return hf_seal_name_is_valid(ret_name);
}

static hf_status read_key_file(const char *path, uint8_t ret_key[HF_SEAL_KEY_BYTES], hf_error *err)
{
    hf_buf *content = NULL;
    hf_status st = hf_file_check_private(path, err);
    if (!hf_failed(st)) {
        st = hf_file_read(path, HF_SEAL_KEY_BYTES, &content, err);
    }
    if (!hf_failed(st) && hf_buf_len(content) != HF_SEAL_KEY_BYTES) {
        st = hf_fail(err, HF_INVALID_INPUT, "%s: a key file has %d bytes", path, HF_SEAL_KEY_BYTES);
    }
    if (!hf_failed(st)) {
        hf_seal_key_of_file(hf_buf_peek(content), ret_key);
    }
    hf_buf_free(content);
    return st;
}

static void give(const hf_child *keeper, const char *folder, const char *file)
{
    char path[HF_PATH_LEN + 256];
    hf_msg_seal_submit frame = {.is_share = 0};
    hf_error err = {.msg = ""};
    if (!name_of(file, frame.name)) {
        return;
    }
    hf_status st = hf_str_format(path, sizeof path, "%s/%s", folder, file);
    if (!hf_failed(st)) {
        st = read_key_file(path, frame.bytes, &err);
    }
    hf_frame_init(&frame, HF_MSG_SEAL_SUBMIT, 0);
    if (hf_failed(st) || hf_failed(hf_frame_send(keeper->control_fd, &frame))) {
        hf_log(HF_LOG_UNUSUAL, "seal_key_file", "%s", err.msg[0] != '\0' ? err.msg : path);
    }
    hf_wipe(&frame, sizeof frame);
}

void hf_give_key_files(hf_supervisor *sup, const hf_child *keeper)
{
    for (uint32_t i = 0; i < sup->config->key_source_count; i++) {
        const hf_key_source *source = &sup->config->key_sources[i];
        DIR *dir = source->backend == HF_BACKEND_SEALED && source->dir[0] != '\0'
                       ? opendir(source->dir)
                       : NULL;
        for (const struct dirent *item = dir != NULL ? readdir(dir) : NULL; item != NULL;
             item = readdir(dir)) {
            give(keeper, source->dir, item->d_name);
        }
        if (dir != NULL) {
            (void)closedir(dir);
        }
    }
}
