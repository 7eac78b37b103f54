/* What the slashing commands work on: the store of a stopped signer, or a running signer. */
#ifndef HF_CLI_SLASHING_INTERNAL_H
#define HF_CLI_SLASHING_INTERNAL_H

#include "admin_client.h"
#include "cli.h"
#include "shared_store.h"

#include "interchange/interchange.h"
#include "protect/protect.h"

typedef struct hf_target {
    hf_sqlite_config store_config;
    uint64_t keep_epochs;
    uint64_t slots_per_epoch;
    uint8_t root[HF_ROOT_BYTES]; /* genesis validators root of the history */
    hf_admin *admin;             /* of a running signer, or */
    hf_store *store;             /* opened here, with the lock that keeps a signer from starting */
    hf_shared_store *shared;     /* where that store is one that other signers may use, too */
    int lock_fd;
    bool has_guard; /* after hf_target_status of a running signer */
    hf_guard_report guard;
} hf_target;

/*
 * Finds the running signer of the configured data folder, or opens its store. create: make the
 * store when there is none. Ends with hf_target_close, also after a failure.
 */
hf_status hf_target_open(const hf_config_flags *flags, bool create, hf_target *ret_target,
                         hf_error *err) HF_MUST_CHECK;
void hf_target_close(hf_target *target);

hf_status hf_target_status(hf_target *target, hf_store_status *ret_status,
                           hf_error *err) HF_MUST_CHECK;
/* Parses the document and takes it in, all or nothing. */
hf_status hf_target_import(hf_target *target, hf_bytes json, hf_import_report *ret_report,
                           hf_error *err) HF_MUST_CHECK;
/* pubkey NULL: all validators. */
hf_status hf_target_export(hf_target *target, const uint8_t *pubkey, hf_export_visitor visitor,
                           void *context, hf_error *err) HF_MUST_CHECK;
hf_status hf_target_prune(hf_target *target, uint64_t keep_epochs, uint64_t *ret_rows,
                          hf_error *err) HF_MUST_CHECK;
hf_status hf_target_raise_floors(hf_target *target, const hf_watermark *low,
                                 hf_error *err) HF_MUST_CHECK;
/* NULL removes it. */
hf_status hf_target_set_high(hf_target *target, const hf_watermark *high,
                             hf_error *err) HF_MUST_CHECK;

#endif
