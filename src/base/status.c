/* Status and errors: categories by value, one sentence by reference. */
#include "base.h"

hf_code hf_error_set(hf_error *err, hf_code code, const char *fmt, ...)
{
    HF_ASSERT(code != HF_OK);
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
        err->code = code;
    }
    return code;
}

hf_status hf_error_wrap(hf_error *err, hf_status st, const char *fmt, ...)
{
    if (err == NULL || !hf_failed(st)) {
        return st;
    }
    char inner[HF_ERROR_MSG_LEN];
    memcpy(inner, err->msg, sizeof inner);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used + 2 < sizeof err->msg) {
        (void)snprintf(err->msg + used, sizeof err->msg - used, ": %s", inner);
    }
    return st;
}

const char *hf_code_name(hf_code code)
{
    switch (code) {
    case HF_OK:
        return "OK";
    case HF_USAGE:
        return "USAGE";
    case HF_INVALID_INPUT:
        return "INVALID_INPUT";
    case HF_NOT_FOUND:
        return "NOT_FOUND";
    case HF_CONFLICT:
        return "CONFLICT";
    case HF_DENIED:
        return "DENIED";
    case HF_LIMIT:
        return "LIMIT";
    case HF_UNAVAILABLE:
        return "UNAVAILABLE";
    case HF_IO:
        return "IO";
    case HF_CRYPTO:
        return "CRYPTO";
    case HF_NOMEM:
        return "NOMEM";
    case HF_CORRUPT:
        return "CORRUPT";
    case HF_INTERNAL:
        return "INTERNAL";
    }
    return "UNKNOWN";
}

_Noreturn void hf_assert_failed(const char *what, const char *file, int line)
{
    (void)fprintf(stderr, "holdfast: broken invariant: %s at %s:%d\n", what, file, line);
    abort();
}
