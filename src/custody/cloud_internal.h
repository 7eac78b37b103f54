/* What Azure's and Google's stores of secrets have in common. */
#ifndef HF_CUSTODY_CLOUD_INTERNAL_H
#define HF_CUSTODY_CLOUD_INTERNAL_H

#include <jansson.h>

#include "custody/cloud_secrets.h"
#include "custody/secret_text.h"
#include "net/net.h"

#define HF_CLOUD_BEARER_LEN 8192
#define HF_CLOUD_LINK_LEN 4096

typedef struct hf_cloud hf_cloud;

/* What differs. Functions that fill a buffer start from an empty one. */
typedef struct hf_cloud_flavour {
    const char *name; /* "Azure Key Vault" */
    /* A request that a token answers: url, body of a form ("" for GET), one header or "". */
    hf_status (*ask_token)(hf_cloud *cloud, hf_buf *url, hf_buf *form, const char **ret_header,
                           hf_error *err);
    hf_status (*list_url)(const hf_cloud *cloud, hf_buf *url);
    /* A page: names to cloud->names; the next page's URL, or nothing, to next. */
    hf_status (*take_page)(hf_cloud *cloud, json_t *page, hf_buf *next);
    hf_status (*secret_url)(const hf_cloud *cloud, const char *name, hf_buf *url);
    /* The secret's text into text; false when the answer holds none. */
    bool (*take_secret)(json_t *answer, hf_buf *text);
} hf_cloud_flavour;

struct hf_cloud {
    hf_custody custody; /* first: the ops */
    const hf_cloud_flavour *flavour;
    const void *config; /* malloced; wiped and freed by close */
    size_t config_len;
    hf_net *net;
    hf_custody_type key_type;
    char origin[HF_CLOUD_URL_LEN]; /* the vault or project, for source_ids */
    char only[HF_CLOUD_TEXT_LEN];  /* the one secret; "": list */
    const hf_secret_ref *secrets;  /* or these */
    size_t secret_count;
    char bearer[HF_CLOUD_BEARER_LEN];
    uint64_t bearer_ends_ns; /* 0: there is none */
    hf_name_list names;      /* of the list under way */
    _Atomic bool is_healthy;
    _Atomic uint32_t keys;
};

/* Takes shape's config in any case. */
hf_status hf_cloud_open(const hf_cloud *shape, const char *ca_file, hf_custody **ret_custody,
                        hf_error *err) HF_MUST_CHECK;
/* USAGE unless it is https, this machine, or one of the metadata services by plain http. */
hf_status hf_cloud_check_url(const char *url, const char *metadata, hf_error *err) HF_MUST_CHECK;
/* "&name=value", escaped. */
hf_status hf_cloud_put_field(hf_buf *form, const char *name, const char *value) HF_MUST_CHECK;

#endif
