/*
 * Exports: each page is asked for, so that nothing is read ahead of its reader, and the database's
 * snapshot does not outlive the reader's interest.
 */
#include "store/store.h"

#include <poll.h>
#include <stdlib.h>

#define READER_PATIENCE_MS 15000

typedef struct export_job {
    int fd;
    bool is_lost;  /* the lane's other end is gone */
    bool has_next; /* another export was asked for meanwhile */
    hf_msg_store_export next;
    uint8_t frame[HF_IPC_MAX_BYTES];
    hf_msg_store_page page;
    uint64_t id; /* of the question that is open */
} export_job;

static bool is_question(const export_job *job, size_t len, uint16_t type)
{
    hf_frame_header header;
    if (!hf_frame_is_acceptable(job->frame, len, HF_CHANNEL_STORE, false)) {
        return false;
    }
    memcpy(&header, job->frame, sizeof header);
    return header.type == type;
}

/* Waits for STORE_NEXT; false when it does not come, or something else does. */
static bool wait_for_next(export_job *job)
{
    struct pollfd lane = {.fd = job->fd, .events = POLLIN};
    hf_frame_header header;
    size_t len = 0;
    if (poll(&lane, 1, READER_PATIENCE_MS) != 1) {
        return false;
    }
    if (hf_failed(hf_frame_recv(job->fd, job->frame, &len, NULL))) {
        job->is_lost = true;
        return false;
    }
    if (is_question(job, len, HF_MSG_STORE_EXPORT)) {
        memcpy(&job->next, job->frame, sizeof job->next);
        job->has_next = true;
        return false;
    }
    if (!is_question(job, len, HF_MSG_STORE_NEXT)) {
        return false;
    }
    memcpy(&header, job->frame, sizeof header);
    job->id = header.request_id;
    return true;
}

static void send_page(export_job *job, hf_status st, bool done, const char *detail)
{
    job->page.code = st.code;
    job->page.done = done;
    hf_str_cut(job->page.detail, sizeof job->page.detail, detail);
    hf_frame_init(&job->page, HF_MSG_STORE_PAGE, job->id);
    job->is_lost = hf_failed(hf_frame_send(job->fd, &job->page));
}

static hf_status take_record(void *context, const hf_message *message)
{
    export_job *job = context;
    if (job->page.count == HF_STORE_PAGE) {
        send_page(job, hf_ok(), false, "");
        if (job->is_lost || !wait_for_next(job)) {
            return (hf_status){HF_UNAVAILABLE};
        }
        job->page.count = 0;
    }
    job->page.messages[job->page.count++] = *message;
    return hf_ok();
}

static void run_export(export_job *job, const hf_store_exporter *exporter,
                       const hf_msg_store_export *ask)
{
    uint8_t only[1][HF_BLS_PUBKEY_BYTES];
    hf_error err = {.code = HF_OK};
    bool is_one = ask->has_pubkey != 0;
    memcpy(only[0], ask->pubkey, sizeof only[0]);
    memset(&job->page, 0, sizeof job->page);
    job->id = ask->header.request_id;
    hf_status st = exporter->run(exporter->context,
                                 is_one ? (const uint8_t(*)[HF_BLS_PUBKEY_BYTES])only : NULL,
                                 is_one, take_record, job, &err);
    if (job->is_lost || job->has_next) {
        return;
    }
    if (hf_failed(st)) {
        job->page.count = 0;
    }
    send_page(job, st, true, hf_failed(st) ? err.msg : "");
}

void hf_store_serve_exports(int fd, const hf_store_exporter *exporter)
{
    export_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        hf_log(HF_LOG_BROKEN, "no_memory", "the lane of exports could not be opened");
        return;
    }
    job->fd = fd;
    while (!job->is_lost) {
        hf_msg_store_export ask = job->next;
        size_t len = 0;
        if (!job->has_next) {
            hf_status st = hf_frame_recv(fd, job->frame, &len, NULL);
            if (st.code == HF_UNAVAILABLE) {
                continue;
            }
            if (hf_failed(st)) {
                break;
            }
            if (!is_question(job, len, HF_MSG_STORE_EXPORT)) {
                continue; /* a STORE_NEXT for an export that was given up */
            }
            memcpy(&ask, job->frame, sizeof ask);
        }
        job->has_next = false;
        run_export(job, exporter, &ask);
    }
    free(job);
}
