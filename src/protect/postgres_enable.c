/* Web3Signer's `enabled`: a validator whose key was deleted there, and may sign again. */
#include "protect/postgres_internal.h"

static const char enable[] =
    "UPDATE validators v SET enabled = true"
    " FROM (SELECT id, enabled FROM validators WHERE public_key = $1 FOR UPDATE) AS was"
    " WHERE v.id = was.id RETURNING was.enabled";

hf_status hf_postgres_enable(const char *url, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                             bool *ret_was_disabled, hf_error *err)
{
    hf_pg_link link = {0};
    hf_pg_params params = {.count = 0};
    hf_pg_schema found;
    hf_status st = hf_pg_connect_for_work(&link, url, err);
    if (!hf_failed(st)) {
        st = hf_pg_read_schema(&link, &found, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_check_schema(&found, err);
    }
    if (!hf_failed(st)) {
        hf_pg_param(&params, pubkey, HF_BLS_PUBKEY_BYTES);
        st = hf_pg_query(&link, enable, &params, err);
    }
    if (!hf_failed(st)) {
        const PGresult *result = hf_pg_result(&link, 0);
        if (hf_pg_rows(result) == 1) {
            *ret_was_disabled = !hf_pg_bool(result, 0, 0);
        } else {
            st = hf_fail(err, HF_NOT_FOUND, "the database knows no such validator");
        }
    }
    hf_pg_disconnect(&link);
    return st;
}
