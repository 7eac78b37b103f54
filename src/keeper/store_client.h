/*
 * The keeper's side of a shared store: an hf_store whose operations are questions to the store
 * process (ipc_store.h). Each lane's client belongs to one thread; attach, limit and look may come
 * from any.
 *
 * No call waits longer than its limit. A question that was not answered by then is given up as
 * UNAVAILABLE: what was decided may or may not be on record, so nothing is signed, and whoever asks
 * again gets REPEAT for what was recorded.
 */
#ifndef HF_STORE_CLIENT_H
#define HF_STORE_CLIENT_H

#include "ipc/ipc.h"
#include "protect/protect.h"

typedef struct hf_store_client hf_store_client;

/* timeout_ms: what decide and health may take; others take longer. NULL when memory is short. */
hf_store_client *hf_store_client_new(hf_store_lane lane, uint32_t timeout_ms);
/* Ends with ops->close. */
hf_store *hf_store_client_store(hf_store_client *client);
/* A new channel, instead of the one there was; owns take_fd, which must not block. */
void hf_store_client_attach(hf_store_client *client, int take_fd);
/* The next question gives up at this moment (hf_time_mono_ns), if that comes before its timeout. */
void hf_store_client_limit(hf_store_client *client, uint64_t limit_ns);

typedef struct hf_store_client_state {
    uint64_t attached;     /* channels so far */
    uint64_t late_answers; /* dropped */
    uint32_t protection_count;
    hf_protection protections[HF_PROTECTIONS_MAX];
} hf_store_client_state;

void hf_store_client_look(hf_store_client *client, hf_store_client_state *ret_state);

/* As hf_store_export_sqlite; the client must be the one of HF_LANE_EXPORT. */
hf_status hf_store_client_export(hf_store_client *client, const uint8_t *pubkey,
                                 hf_export_visitor visitor, void *context,
                                 hf_error *err) HF_MUST_CHECK;

#endif
