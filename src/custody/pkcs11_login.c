/* Which token, and the PIN: tried once, so that no token locks itself because of us. */
#include "custody/pkcs11_internal.h"

#include <sodium.h>
#include <sys/stat.h>

#define SLOTS_MAX 256
#define PIN_MAX 512

/* ---- the token ------------------------------------------------------------------------------- */

/* Fields of fixed length, padded with blanks. */
static void copy_padded(char *out, const unsigned char *field, size_t len)
{
    while (len > 0 && (field[len - 1] == ' ' || field[len - 1] == '\0')) {
        len--;
    }
    memcpy(out, field, len);
    out[len] = '\0';
}

static bool is_wanted(const hf_pkcs11_config *config, CK_SLOT_ID slot, const CK_TOKEN_INFO *info)
{
    char label[HF_PKCS11_LABEL_LEN];
    char serial[HF_PKCS11_SERIAL_LEN];
    copy_padded(label, info->label, sizeof info->label);
    copy_padded(serial, info->serialNumber, sizeof info->serialNumber);
    return (info->flags & CKF_TOKEN_INITIALIZED) != 0 &&
           (!config->has_slot || config->slot == slot) &&
           (config->token_label[0] == '\0' || strcmp(config->token_label, label) == 0) &&
           (config->token_serial[0] == '\0' || strcmp(config->token_serial, serial) == 0);
}

static hf_status no_such_token(const hf_pkcs11_config *config, size_t seen, size_t found,
                               hf_error *err)
{
    if (found > 1) {
        return hf_fail(err, HF_USAGE,
                       "%zu tokens fit: set token_label or token_serial so that one does", found);
    }
    const char *label = config->token_label;
    const char *serial = config->token_serial;
    return hf_fail(err, HF_UNAVAILABLE, "no token%s%s%s%s%s is there (of %zu in all)",
                   config->has_slot ? " in the slot that is set" : "",
                   label[0] != '\0' ? " of the label " : "", label,
                   serial[0] != '\0' ? " of the serial number " : "", serial, seen);
}

hf_status hf_p11_find_slot(hf_pkcs11 *p11, CK_SLOT_ID *ret_slot, CK_TOKEN_INFO *ret_info,
                           hf_error *err)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = 0;
    /* Asked without room first: that is when a module looks for tokens anew. */
    CK_RV rv = p11->f->C_GetSlotList(CK_TRUE, NULL, &count);
    if (rv == CKR_OK) {
        count = SLOTS_MAX;
        rv = p11->f->C_GetSlotList(CK_TRUE, slots, &count);
    }
    if (rv != CKR_OK) {
        return hf_p11_fail(rv, "C_GetSlotList", err);
    }
    size_t found = 0;
    CK_RV failure = CKR_OK;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        rv = p11->f->C_GetTokenInfo(slots[i], &info);
        if (rv != CKR_OK) {
            failure = rv;
        } else if (is_wanted(&p11->config, slots[i], &info)) {
            *ret_slot = slots[i];
            *ret_info = info;
            found++;
        }
    }
    if (found == 1) {
        copy_padded(p11->serial, ret_info->serialNumber, sizeof ret_info->serialNumber);
        return hf_ok();
    }
    if (found == 0 && failure != CKR_OK) {
        return hf_p11_fail(failure, "C_GetTokenInfo", err);
    }
    return no_such_token(&p11->config, count, found, err);
}

/* ---- the PIN --------------------------------------------------------------------------------- */

/* Replacing the file or touching it makes another one of it. */
static hf_status digest_pin(const hf_pkcs11 *p11, const hf_buf *pin, uint8_t ret_digest[32],
                            hf_error *err)
{
    struct stat info;
    if (stat(p11->config.pin_file, &info) != 0) {
        return hf_fail(err, HF_IO, "%s: it vanished", p11->config.pin_file);
    }
    uint8_t facts[3 * 8];
    hf_le64_put(facts, (uint64_t)info.st_mtim.tv_sec);
    hf_le64_put(facts + 8, (uint64_t)info.st_mtim.tv_nsec);
    hf_le64_put(facts + 16, (uint64_t)info.st_ino);
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, p11->refused_key, sizeof p11->refused_key, 32);
    (void)crypto_generichash_update(&state, facts, sizeof facts);
    (void)crypto_generichash_update(&state, hf_buf_peek(pin), hf_buf_len(pin));
    (void)crypto_generichash_final(&state, ret_digest, 32);
    hf_wipe(&state, sizeof state);
    return hf_ok();
}

/* What a login with this answer means for the next one. */
static bool is_about_pin(CK_RV rv)
{
    return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED || rv == CKR_PIN_INVALID ||
           rv == CKR_PIN_LEN_RANGE || rv == CKR_PIN_EXPIRED || rv == CKR_USER_PIN_NOT_INITIALIZED;
}

static hf_status check_flags(CK_FLAGS flags, hf_error *err)
{
    if ((flags & CKF_USER_PIN_LOCKED) != 0) {
        return hf_fail(err, HF_UNAVAILABLE,
                       "the token says that its user PIN is locked (CKF_USER_PIN_LOCKED): its "
                       "security officer has to set another one");
    }
    if ((flags & CKF_USER_PIN_FINAL_TRY) != 0) {
        return hf_fail(err, HF_DENIED,
                       "the token has one try left before its PIN locks (CKF_USER_PIN_FINAL_TRY): "
                       "log in to it once by another tool first");
    }
    return hf_ok();
}

static hf_status login_by_device(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_FLAGS flags,
                                 hf_error *err)
{
    if ((flags & CKF_LOGIN_REQUIRED) == 0) {
        return hf_ok();
    }
    if ((flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0) {
        return hf_fail(err, HF_USAGE, "this token wants a PIN: set pin_file");
    }
    CK_RV rv = p11->f->C_Login(session, CKU_USER, NULL, 0);
    return rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN ? hf_ok()
                                                            : hf_p11_fail(rv, "C_Login", err);
}

static hf_status login_by_pin(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_buf *pin, hf_error *err)
{
    uint8_t digest[32];
    hf_status st = digest_pin(p11, pin, digest, err);
    if (hf_failed(st)) {
        return st;
    }
    if (p11->has_refused && hf_bytes_equal(p11->refused, digest, sizeof digest)) {
        return hf_fail(err, hf_p11_code(p11->refused_rv),
                       "the token refused the PIN of %s (%s), which is not tried a second time: "
                       "put the right one there, or touch the file when the token was at fault",
                       p11->config.pin_file, hf_p11_name(p11->refused_rv));
    }
    /* In memory that is wiped, and where modules may write: the parameter is not const. */
    unsigned char bytes[sizeof p11->config.pin_prefix + PIN_MAX];
    size_t prefix = strlen(p11->config.pin_prefix);
    size_t len = hf_buf_len(pin);
    const uint8_t *text = hf_buf_peek(pin);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
        len--;
    }
    memcpy(bytes, p11->config.pin_prefix, prefix);
    memcpy(bytes + prefix, text, len);
    CK_RV rv = p11->f->C_Login(session, CKU_USER, bytes, prefix + len);
    hf_wipe(bytes, sizeof bytes);
    p11->has_refused = is_about_pin(rv);
    p11->refused_rv = rv;
    memcpy(p11->refused, digest, sizeof digest);
    return rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN ? hf_ok()
                                                            : hf_p11_fail(rv, "C_Login", err);
}

hf_status hf_p11_login(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_FLAGS token_flags,
                       hf_error *err)
{
    if (p11->config.pin_file[0] == '\0') {
        return login_by_device(p11, session, token_flags, err);
    }
    hf_buf *pin = NULL;
    hf_status st = check_flags(token_flags, err);
    if (!hf_failed(st)) {
        st = hf_file_check_private(p11->config.pin_file, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_read(p11->config.pin_file, PIN_MAX, &pin, err);
    }
    if (!hf_failed(st)) {
        st = login_by_pin(p11, session, pin, err);
    }
    hf_buf_free(pin);
    return st;
}
