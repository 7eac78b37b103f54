/*
 * relay: passes calls of JSON-RPC from the fronts to one node, by HTTP, and the node's answers
 * back. It reads neither: which methods may pass is the front's to know, who may pass them the
 * keeper's, and what an answer is the front finds out. It holds no key and has no channel to the
 * keeper.
 */
#ifndef HF_RELAY_H
#define HF_RELAY_H

#include "harden/harden.h"
#include "ipc/ipc.h"
#include "net/net.h"

/* Calls that are under way at the node; as many more as QUEUE_MAX (serve.c) wait. */
#define HF_RELAY_THREADS 16

typedef struct hf_relay_plan {
    int control_fd;                 /* the supervisor's: channels to fronts come here */
    const char *url;                /* of the node */
    hf_net *nets[HF_RELAY_THREADS]; /* one a thread; borrowed */
    uint32_t max_call_bytes;
    const hf_harden_report *report;
} hf_relay_plan;

/* Until the supervisor says stop or is gone. Descriptors do not block. */
void hf_relay_serve(const hf_relay_plan *plan);

/* ---- call.c: one call --------------------------------------------------------------------- */

/*
 * Sends the ask->call_len bytes of the file paper_fd to the node, and writes over them what came.
 * Blocks until ask->deadline_ns at the most. *ret_len is 0 unless it returns OK; detail, of
 * HF_NET_DETAIL_LEN, says more to an operator.
 */
hf_relay_outcome hf_relay_call(hf_net *net, const char *url, const hf_msg_relay_ask *ask,
                               int paper_fd, uint32_t *ret_len, char detail[HF_NET_DETAIL_LEN]);

#endif
