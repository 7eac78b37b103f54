/* The key of the chain: a private file of 64 hex digits. */
#include "audit/audit.h"

#define HEX_LEN ((size_t)2 * HF_AUDIT_KEY_BYTES)

static hf_status make_key(const char *path, hf_error *err)
{
    uint8_t key[HF_AUDIT_KEY_BYTES];
    char text[HEX_LEN + 1];
    hf_random(key, sizeof key);
    hf_hex_encode(key, sizeof key, text);
    text[HEX_LEN] = '\n';
    hf_status st = hf_file_write_atomic(path, text, sizeof text, 0600, err);
    hf_wipe(key, sizeof key);
    hf_wipe(text, sizeof text);
    return st;
}

hf_status hf_audit_key_read(const char *path, bool create, uint8_t ret_key[HF_AUDIT_KEY_BYTES],
                            hf_error *err)
{
    hf_buf *buf = NULL;
    hf_status st = hf_file_check_private(path, err);
    if (st.code == HF_NOT_FOUND && create) {
        st = make_key(path, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_read(path, HEX_LEN + 2, &buf, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    size_t len = strcspn(hf_buf_text(buf), "\r\n");
    st = hf_hex_decode(hf_buf_text(buf), len, ret_key, HF_AUDIT_KEY_BYTES);
    if (hf_failed(st)) {
        st = hf_fail(err, HF_CORRUPT, "%s: not a key of an audit log (64 hex digits)", path);
    }
    hf_buf_free(buf);
    return st;
}
