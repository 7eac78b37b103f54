/* A store that several signers share, opened by the command line itself: no signer of this data
 * folder has to run. */
#ifndef HF_CLI_SHARED_STORE_H
#define HF_CLI_SHARED_STORE_H

#include "config/config.h"
#include "protect/protect.h"

typedef struct hf_shared_store hf_shared_store;

/* A copy of what config says about it; NULL when memory is short. Wiped when freed. */
hf_shared_store *hf_shared_store_of(const hf_config *config);
void hf_shared_store_free(hf_shared_store *shared);

hf_status hf_shared_store_open(const hf_shared_store *shared, hf_store **ret_store,
                               hf_error *err) HF_MUST_CHECK;
/* As hf_store_export_sqlite. */
hf_status hf_shared_store_export(const hf_shared_store *shared,
                                 const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                                 hf_export_visitor visitor, void *context,
                                 hf_error *err) HF_MUST_CHECK;

#endif
