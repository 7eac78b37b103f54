/*
 * What stores of secrets have in common: a secret is text with one key a line. And JSON whose
 * memory is wiped.
 */
#ifndef HF_CUSTODY_SECRET_TEXT_H
#define HF_CUSTODY_SECRET_TEXT_H

#include <jansson.h>

#include "custody/hsm.h"

typedef struct hf_secret_text {
    const char *origin; /* what tells this secret from all others, for the source_id */
    const char *name;   /* for people */
    hf_custody_type type;
    hf_bytes text; /* lines of 64 hex digits, with or without 0x; empty lines do not count */
} hf_secret_text;

/*
 * Shows the visitor each key of a secret, and each line that is none as failed. A secret without a
 * key has failed. Returns what visitor->key returned when that failed. *count grows by the keys.
 */
hf_status hf_secret_text_visit(const hf_secret_text *secret, const hf_custody_visitor *visitor,
                               uint32_t *count) HF_MUST_CHECK;

/* Is this, blanks aside, a key or several? */
bool hf_secret_text_is_key(hf_bytes text);
/* Is it hex of about the length of a key, and so surely meant as one? */
bool hf_secret_text_is_almost_key(hf_bytes text);

/* BLS or SECP256K1, in any case. */
bool hf_secret_type_parse(const char *word, hf_custody_type *ret_type);

/* From now on jansson wipes what it frees. */
void hf_secret_json_init(void);
/* NULL when it is no JSON object. The caller frees by json_decref. */
json_t *hf_secret_json_parse(const hf_buf *text);

/* The text of a file without blanks at its ends. must_be_private: DENIED when others can read it.
 */
hf_status hf_secret_file_read(const char *path, bool must_be_private, char *ret_text, size_t len,
                              hf_error *err) HF_MUST_CHECK;

/* Names of secrets as they are found, one behind the other. */
typedef struct hf_name_list {
    char **items; /* owned */
    size_t count;
    size_t capacity;
    size_t most; /* the bound, set by whoever begins one; the rest starts from zeros */
} hf_name_list;

/* A copy to the end. LIMIT, NOMEM. */
hf_status hf_name_list_add(hf_name_list *list, const char *name) HF_MUST_CHECK;
void hf_name_list_done(hf_name_list *list); /* empty, with the same bound */

/* Appends text to a URL with all but letters, digits and -._~ escaped; and '/' when keep_slash. */
hf_status hf_url_put_escaped(hf_buf *url, const char *text, bool keep_slash) HF_MUST_CHECK;

#endif
