/* Objects of a token and their attributes. */
#include "custody/pkcs11_internal.h"

CK_RV hf_p11_find(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, size_t n,
                  CK_OBJECT_HANDLE *ret_objects, size_t max, size_t *ret_count,
                  const char **function)
{
    size_t count = 0;
    *function = "C_FindObjectsInit";
    CK_RV rv = p11->f->C_FindObjectsInit(session, template, n);
    if (rv != CKR_OK) {
        return rv;
    }
    *function = "C_FindObjects";
    while (count <= max) {
        CK_OBJECT_HANDLE beyond = CK_INVALID_HANDLE;
        CK_ULONG found = 0;
        CK_ULONG room = max - count;
        rv = p11->f->C_FindObjects(session, room > 0 ? ret_objects + count : &beyond,
                                   room > 0 ? room : 1, &found);
        if (rv != CKR_OK || found == 0) {
            break;
        }
        count += found;
    }
    /* Whatever came of it: the session must be fit for the next operation. */
    CK_RV end = p11->f->C_FindObjectsFinal(session);
    if (rv == CKR_OK && end != CKR_OK) {
        *function = "C_FindObjectsFinal";
        rv = end;
    }
    *ret_count = count;
    return rv;
}

/* An object that has no such attribute or does not show it is no failure. */
static bool is_absence(CK_RV rv)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE ||
           rv == CKR_BUFFER_TOO_SMALL;
}

CK_RV hf_p11_attribute(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                       CK_ATTRIBUTE_TYPE type, hf_p11_attr *ret, const char **function)
{
    CK_ATTRIBUTE attribute = {type, ret->bytes, sizeof ret->bytes};
    *function = "C_GetAttributeValue";
    CK_RV rv = p11->f->C_GetAttributeValue(session, object, &attribute, 1);
    bool is_there = rv == CKR_OK && attribute.ulValueLen <= sizeof ret->bytes;
    ret->len = is_there ? attribute.ulValueLen : 0;
    return is_absence(rv) ? CKR_OK : rv;
}

CK_RV hf_p11_number(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                    CK_ATTRIBUTE_TYPE type, CK_ULONG *ret_value, const char **function)
{
    CK_ULONG value = 0;
    CK_ATTRIBUTE attribute = {type, &value, sizeof value};
    *function = "C_GetAttributeValue";
    CK_RV rv = p11->f->C_GetAttributeValue(session, object, &attribute, 1);
    if (rv == CKR_OK) {
        *ret_value = value;
    }
    return rv;
}

CK_RV hf_p11_flag(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                  CK_ATTRIBUTE_TYPE type, bool standard, bool *ret_value, const char **function)
{
    CK_BBOOL value = CK_FALSE;
    CK_ATTRIBUTE attribute = {type, &value, sizeof value};
    *function = "C_GetAttributeValue";
    CK_RV rv = p11->f->C_GetAttributeValue(session, object, &attribute, 1);
    *ret_value =
        rv == CKR_OK && attribute.ulValueLen == sizeof value ? value != CK_FALSE : standard;
    return is_absence(rv) ? CKR_OK : rv;
}

hf_status hf_p11_reference_parse(const char *text, hf_p11_reference *ret, hf_error *err)
{
    size_t len = strlen(text);
    if (strncmp(text, "id=", 3) == 0) {
        size_t digits = len - 3;
        if (digits == 0 || digits % 2 != 0 || digits / 2 > sizeof ret->bytes ||
            hf_failed(hf_hex_decode(text + 3, digits, ret->bytes, digits / 2))) {
            return hf_fail(err, HF_USAGE, "\"%s\": after id= come the hex digits of a CKA_ID",
                           text);
        }
        ret->type = CKA_ID;
        ret->len = digits / 2;
        return hf_ok();
    }
    if (len == 0 || len > sizeof ret->bytes) {
        return hf_fail(err, HF_USAGE, "a key is named by its label, or by id= and hex digits");
    }
    ret->type = CKA_LABEL;
    ret->len = len;
    memcpy(ret->bytes, text, len);
    return hf_ok();
}
