/* Sets of tables in a shared database, each with migrations of its own. */
#ifndef HF_CLI_DB_INTERNAL_H
#define HF_CLI_DB_INTERNAL_H

#include "base/base.h"

typedef struct hf_db_state {
    int64_t version; /* 0: not there */
    int64_t latest;
    uint64_t records; /* that going down would forget */
    char note[128];
} hf_db_state;

typedef struct hf_db_set {
    const char *name;
    hf_status (*state)(const char *url, hf_db_state *ret_state, hf_error *err);
    hf_status (*up)(const char *url, hf_error *err);
    hf_status (*down)(const char *url, bool discard_protection, hf_error *err);
} hf_db_set;

#define HF_DB_URL_BYTES 2048
/* From the argument or from the file. A URL with a password belongs in a file: arguments are
 * everybody's to read. */
hf_status hf_cli_db_read_url(const char *url, const char *url_file, char out[HF_DB_URL_BYTES],
                             hf_error *err) HF_MUST_CHECK;

/* db_enable.c */
int hf_cli_db_enable(int argc, char **argv);
/* db_copy.c */
int hf_cli_db_copy(int argc, char **argv);

#endif
