/*
 * What keys under a bound of a day have spent (policy/transactions.h), kept over restarts in
 * DATA_DIR/spending. The intake thread counts; who signs waits until what was counted is durable.
 * Included by keeper_internal.h.
 */
#ifndef HF_KEEPER_SPENDING_H
#define HF_KEEPER_SPENDING_H

/* Records that nobody has synced yet: one for each signature under way, and some to spare. */
#define HF_SPENDING_PENDING_MAX 4096

typedef struct hf_spending_log {
    hf_spending *spending; /* intake thread's; NULL: the file cannot be believed */
    size_t keys_max;
    char path[HF_PATH_LEN];
    pthread_mutex_t lock; /* guards what follows up to noted; taken inside sync_lock */
    uint8_t (*pending)[HF_SPENDING_RECORD_BYTES];
    size_t pending_count;
    uint64_t noted;            /* tickets given out */
    pthread_mutex_t sync_lock; /* guards the rest */
    int fd;                    /* -1: not open yet */
    size_t len;                /* of what is durable */
    uint64_t synced;
} hf_spending_log;

/* Before the threads. A file that is there and not believed is logged, and no error. */
hf_status hf_spending_open(hf_keeper *keeper, hf_error *err);
void hf_spending_close(hf_keeper *keeper);
/* Intake thread. *ret_ticket: to wait for. False: it cannot be counted now. */
bool hf_spending_note(hf_keeper *keeper, const uint8_t address[HF_ADDRESS_BYTES],
                      const hf_u256 *wei, uint64_t *ret_ticket);
/* Any thread; blocks. Is it durable? Ticket 0: there is nothing. */
bool hf_spending_wait(hf_keeper *keeper, uint64_t ticket);

#endif
