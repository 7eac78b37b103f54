/*
 * The start guard: may this signer go on where its slashing record ends?
 *
 * A record that was put back from a backup, a snapshot or another disk lacks what was signed since.
 * So before the first slashable signature the record is compared with what witnesses remember of
 * it: a file on the disk beside it, and one in memory, which a restored disk does not bring back.
 * Without positive evidence that nothing is missing the floors are raised to the present slot and
 * epoch: nothing that can have been signed before can be signed again. docs/adr/0017-start-guard.md
 *
 * guard_judge.c is the pure decision; guard_witness.c keeps the witnesses; guard.c is the room in
 * the keeper.
 */
#ifndef HF_GUARD_H
#define HF_GUARD_H

#include "eth/eth.h"
#include "ipc/ipc.h"
#include "protect/protect.h"

#include <pthread.h>
#include <stdatomic.h>

/* What was last known of the record, and where. */
typedef struct hf_witness {
    uint8_t lineage[HF_LINEAGE_BYTES];
    uint8_t boot_id[HF_BOOT_ID_BYTES]; /* zeros: not known */
    uint64_t vote_id;
    uint64_t block_id;
    uint64_t written_unix_s;
    uint64_t device; /* of the database's file; zeros for a shared store */
    uint64_t inode;
    uint64_t file_stamp; /* hf_store_mark */
    uint32_t backend;    /* hf_store_backend */
    uint32_t reserved;
} hf_witness;

typedef enum hf_witness_state {
    HF_WITNESS_ABSENT = 0,
    HF_WITNESS_UNREADABLE, /* there, and not to be understood */
    HF_WITNESS_PRESENT
} hf_witness_state;

/* ---- guard_judge.c: the pure decision ------------------------------------------------------- */

typedef struct hf_guard_evidence {
    hf_guard_mode mode;
    hf_store_mark store;
    hf_witness here;     /* of this start: boot_id, backend, and the file before it was opened */
    bool has_log;        /* the database was not closed: its log was there beside it */
    uint64_t copying_ms; /* of the memory's witness: the log was being copied into the file */
    hf_witness_state disk_state;
    hf_witness_state memory_state;
    hf_witness disk;
    hf_witness memory;
    int64_t now_unix_ms;
} hf_guard_evidence;

/* What is to be done, and why. With RAISE: the floors. */
typedef struct hf_guard_verdict {
    hf_guard_state state; /* PASSED, RAISED or REFUSED */
    hf_guard_cause cause;
    hf_watermark floors;
} hf_guard_verdict;

hf_guard_verdict hf_guard_judge(const hf_guard_evidence *evidence, const hf_network *network);

/* ---- guard_witness.c ------------------------------------------------------------------------ */

typedef struct hf_witnesses {
    int disk_fd; /* -1: could not be opened */
    uint64_t disk_turn;
    hf_witness on_disk;               /* as last written */
    struct hf_memory_witness *memory; /* mapped; NULL: there is none */
} hf_witnesses;

/* Opens DATA_DIR/start_guard and maps memory_fd (-1: none; owned). */
hf_status hf_witnesses_open(hf_witnesses *witnesses, const char *data_dir, int memory_fd,
                            hf_error *err) HF_MUST_CHECK;
void hf_witnesses_close(hf_witnesses *witnesses);
hf_witness_state hf_witness_read_disk(hf_witnesses *witnesses, hf_witness *ret_witness);
hf_witness_state hf_witness_read_memory(const hf_witnesses *witnesses, hf_witness *ret_witness);
/* Replaces what the witnesses say; durably on the disk. */
hf_status hf_witness_begin(hf_witnesses *witnesses, const hf_witness *witness,
                           hf_error *err) HF_MUST_CHECK;
/* Stores to memory alone: on the way of each batch. */
void hf_witness_advance(hf_witnesses *witnesses, const hf_store_mark *mark);
/* Where the store says that it is copying; NULL without a witness in memory. */
_Atomic uint64_t *hf_witness_copying(const hf_witnesses *witnesses);
/* The disk's witness catches up, where it differs. is_last: durably. */
hf_status hf_witness_write_disk(hf_witnesses *witnesses, const hf_witness *witness, bool is_last,
                                hf_error *err) HF_MUST_CHECK;

/* ---- guard.c: the room; all but the report by the protector's thread ------------------------ */

typedef struct hf_guard {
    hf_guard_evidence evidence; /* of the start */
    hf_witnesses witnesses;
    hf_witness now; /* what the witnesses are to say */
    bool is_clean;  /* closed in order: the last word is written */
    uint64_t next_try_ns;
    pthread_mutex_t lock; /* guards the report */
    hf_guard_report report;
} hf_guard;

struct hf_keeper;

/* Looks at the files and opens the witnesses, before the store is opened. */
hf_status hf_guard_open(struct hf_keeper *keeper, hf_error *err) HF_MUST_CHECK;
/* After the store was closed. */
void hf_guard_close(struct hf_keeper *keeper);
/* May anything slashable be decided? Comes to a decision first, when there is none and the store
 * can be reached. */
bool hf_guard_is_open(struct hf_keeper *keeper);
/* After a decide or a look at the health that went well. False: the store has gone back, nothing
 * that was decided may be signed. */
bool hf_guard_note(struct hf_keeper *keeper);
/* The disk's witness catches up. */
void hf_guard_tick(struct hf_keeper *keeper);
/* Any thread. */
void hf_guard_look(struct hf_keeper *keeper, hf_guard_report *ret_report);

#endif
