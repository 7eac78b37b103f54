/* What the parts of the store client share. */
#ifndef HF_STORE_CLIENT_INTERNAL_H
#define HF_STORE_CLIENT_INTERNAL_H

#include "keeper/store_client.h"

#include <pthread.h>

/* What the store process takes beyond the database's time, and the way there and back. */
#define HF_CLIENT_MARGIN_NS (UINT64_C(100) * 1000000)
/* A page, a step of pruning, a status: operators wait for these; the store itself bounds them. */
#define HF_CLIENT_STEP_NS (UINT64_C(15) * 1000000000)

/* A batch that was asked about. */
typedef struct hf_client_flight {
    uint64_t id;
    size_t n;
    uint64_t channel; /* that it was asked on */
    uint64_t until_ns;
    bool is_answered;
    hf_msg_store_verdicts answer;
} hf_client_flight;

struct hf_store_client {
    hf_store base;
    uint64_t timeout_ns;
    uint64_t limit_ns; /* 0: none */
    int fd;            /* of the one thread; -1: none */
    uint64_t channel;  /* counts them: another number, another channel */
    bool has_halves;   /* the store process can have several batches in the air */
    uint64_t last_id;
    hf_client_flight flights[HF_FLIGHTS_MAX]; /* the oldest first */
    size_t flight_count;
    pthread_mutex_t lock; /* for what follows */
    int new_fd;           /* attached and not yet taken; -1: none */
    hf_store_client_state state;
    uint64_t generation; /* of the records, as last heard */
    bool has_mark;       /* of the last answer that had one */
    hf_store_mark mark;
    /* room for one question and one answer */
    hf_msg_store_messages pages[HF_STORE_BATCH_FRAMES];
    hf_msg_store_records changes;
    _Alignas(8) uint8_t answer[HF_IPC_MAX_BYTES];
};

static inline hf_store_client *hf_client_of(hf_store *store)
{
    return (hf_store_client *)(void *)store;
}

/* A new number for a question; UNAVAILABLE while there is no channel. */
hf_status hf_client_begin(hf_store_client *client, hf_error *err) HF_MUST_CHECK;
hf_status hf_client_send_frames(hf_store_client *client, const void *const frames[], size_t n,
                                hf_error *err) HF_MUST_CHECK;
/* The answer's bytes stay in client->answer. */
hf_status hf_client_wait_answer(hf_store_client *client, uint64_t id, hf_msg_type type,
                                uint64_t until_ns, hf_error *err) HF_MUST_CHECK;
/* A code from the other side becomes ours; a sentence of theirs is made harmless. */
hf_status hf_client_status_of(uint32_t code, const char *detail, hf_error *err) HF_MUST_CHECK;

/* When to give up what may take timeout_ns: at the limit that was set, if that comes before. */
uint64_t hf_client_end_of(hf_store_client *client, uint64_t timeout_ns);
/* A question of n messages under a new number. */
hf_status hf_client_send_messages(hf_store_client *client, hf_store_call call,
                                  const hf_message *messages, size_t n, uint64_t until_ns,
                                  hf_error *err) HF_MUST_CHECK;
/* An answer about n messages, with what it says of the records and the mark. */
hf_status hf_client_take_verdicts(hf_store_client *client, const hf_msg_store_verdicts *answer,
                                  size_t n, hf_verdict *ret_verdicts, hf_error *err) HF_MUST_CHECK;

/* store_client_flights.c */
bool hf_client_decide_begin(hf_store *self, const hf_message *messages, size_t n);
bool hf_client_decide_wait(hf_store *self, int fd, uint64_t until_ns);
hf_status hf_client_decide_end(hf_store *self, hf_verdict *ret_verdicts,
                               hf_error *err) HF_MUST_CHECK;
/* The frame in client->answer: true when it answers a batch in the air, and is kept for its end. */
bool hf_client_keep_verdicts(hf_store_client *client, const hf_frame_header *header);

/* store_client_records.c */
hf_status hf_client_records(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                            void *context, uint64_t *ret_generation, hf_error *err) HF_MUST_CHECK;
hf_status hf_client_change_records(hf_store *self, const hf_record_change *changes, size_t n,
                                   hf_error *err) HF_MUST_CHECK;
uint64_t hf_client_generation(const hf_store *self);

#endif
