/* The two entry points: load, and show what was loaded and why. */
#include "config_internal.h"

static void unload(hf_settings *settings)
{
    hf_book_free(settings->book);
    hf_buf_free(settings->book_text);
    free(settings);
}

static hf_status load(const hf_config_flags *flags, hf_settings **ret_settings, hf_error *err)
{
    hf_settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    settings->book = hf_book_new();
    hf_status st = settings->book == NULL ? hf_fail(err, HF_NOMEM, "out of memory")
                                          : hf_config_gather(flags, settings, err);
    if (!hf_failed(st)) {
        st = hf_config_finish(settings, flags, err);
    }
    if (hf_failed(st)) {
        unload(settings);
        return st;
    }
    *ret_settings = settings;
    return st;
}

hf_status hf_config_load(const hf_config_flags *flags, hf_config *ret_config, hf_error *err)
{
    hf_settings *settings = NULL;
    hf_status st = load(flags, &settings, err);
    if (hf_failed(st)) {
        return st;
    }
    *ret_config = settings->config;
    unload(settings);
    return hf_ok();
}

hf_status hf_config_load_book(const hf_config_flags *flags, hf_config *ret_config,
                              hf_book **ret_book, hf_error *err)
{
    hf_settings *settings = NULL;
    hf_status st = load(flags, &settings, err);
    if (hf_failed(st)) {
        return st;
    }
    *ret_config = settings->config;
    *ret_book = settings->book;
    settings->book = NULL;
    unload(settings);
    return hf_ok();
}

hf_status hf_config_show(const hf_config_flags *flags, hf_buf *out, hf_error *err)
{
    hf_settings *settings = NULL;
    hf_status st = load(flags, &settings, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_config_print(settings, out);
    unload(settings);
    return hf_failed(st) ? hf_fail(err, st.code, "the configuration is too long to show") : st;
}
