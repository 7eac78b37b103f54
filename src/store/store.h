/*
 * store: holdfast-store, the process that speaks to a shared database for the keeper. It holds no
 * key; what it may do to the database, a captured one could do too, but it signs nothing, and the
 * keeper signs only what it decided on.
 *
 * One thread a lane (ipc_store.h), each with an hf_store of its own, so that an import, a prune or
 * an export waits for no signature and no signature for them.
 */
#ifndef HF_STORE_H
#define HF_STORE_H

#include "base/base.h"
#include "ipc/ipc.h"
#include "protect/protect.h"

/*
 * Answers the questions of one lane until its other end is gone. Questions that came too late for
 * their deadline are passed over; malformed ones are counted in the log and passed over. fd blocks.
 */
void hf_store_serve(int fd, hf_store *store);

/* How an export is made: hf_store_export_postgres and the like with their configuration. */
typedef struct hf_store_exporter {
    hf_status (*run)(void *context, const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                     hf_export_visitor visitor, void *visitor_context, hf_error *err);
    void *context;
} hf_store_exporter;

/* The same for the lane of exports. One whose pages nobody asks for any more is given up. */
void hf_store_serve_exports(int fd, const hf_store_exporter *exporter);

/* The process: runs on the descriptors of ipc.h until told to stop; returns the exit status. */
int hf_store_run(void);

#endif
