/* The parts of the store process. */
#ifndef HF_STORE_INTERNAL_H
#define HF_STORE_INTERNAL_H

#include "harden/harden.h"
#include "store/store.h"

#include <pthread.h>

typedef struct hf_store_lane_state {
    pthread_t thread;
    bool is_running;
    int fd;
    hf_store *store; /* NULL for exports */
} hf_store_lane_state;

typedef struct hf_store_process {
    hf_msg_store_config config;
    hf_harden_report report;
    hf_store_exporter exporter;
    hf_store_lane_state lanes[HF_STORE_LANES];
} hf_store_process;

/* ---- backends.c: by the configuration's back end ------------------------------------------ */

/* USAGE when this build has no such back end. */
hf_status hf_store_backend_open(const hf_msg_store_config *config, hf_store **ret_store,
                                hf_error *err) HF_MUST_CHECK;
/* context of the exporter is the configuration, which has to outlive it. */
hf_store_exporter hf_store_backend_exporter(hf_msg_store_config *config);

/* ---- records.c: the part of a lane that reads and changes records -------------------------- */

typedef struct hf_record_server hf_record_server;
hf_record_server *hf_record_server_new(int fd, hf_store *store); /* NULL: memory is short */
void hf_record_server_free(hf_record_server *s);
/* One frame each; false when it was no question. */
bool hf_record_server_read(hf_record_server *s, const hf_msg_store_call *ask);
bool hf_record_server_next(hf_record_server *s, const hf_frame_header *header);
bool hf_record_server_change(hf_record_server *s, const hf_msg_store_records *page);

/* ---- reach.c: what the back end reads on this machine ------------------------------------- */

#define HF_STORE_PATHS_MAX 24
typedef struct hf_store_reach {
    size_t count;
    hf_harden_path paths[HF_STORE_PATHS_MAX];
    char named[HF_STORE_PATHS_MAX][HF_PATH_LEN];
} hf_store_reach;

/* Name resolution, certificates of authorities, and the files that the URL or AWS's variables name.
 */
void hf_store_reach_find(const hf_msg_store_config *config, hf_store_reach *ret_reach);

#endif
