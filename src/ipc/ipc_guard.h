/* The start guard, as configuration, status and metrics name it. Included by ipc.h. */
#ifndef HF_IPC_GUARD_H
#define HF_IPC_GUARD_H

#define HF_BOOT_ID_BYTES 16 /* of a run of the machine */

typedef enum hf_guard_mode {
    HF_GUARD_AUTO = 0, /* raises the floors unless there is evidence that the record is whole */
    HF_GUARD_ALWAYS,   /* at each start */
    HF_GUARD_OFF,
    HF_GUARD_MODE_COUNT
} hf_guard_mode;

typedef enum hf_guard_state {
    HF_GUARD_PENDING =
        0,            /* not decided: the store was not reached yet. Nothing slashable is signed */
    HF_GUARD_PASSED,  /* the record goes on where it ended */
    HF_GUARD_RAISED,  /* it does too, above the raised floors */
    HF_GUARD_REFUSED, /* the floors cannot be known: nothing slashable is signed */
    HF_GUARD_STOPPED, /* the store went back under the running signer: restart it */
    HF_GUARD_STATE_COUNT
} hf_guard_state;

typedef enum hf_guard_cause {
    HF_GUARD_NOT_DECIDED = 0,
    /* PASSED */
    HF_GUARD_SWITCHED_OFF,
    HF_GUARD_NEW_STORE,   /* no trace of an earlier one */
    HF_GUARD_CONTINUITY,  /* the witnesses agree */
    HF_GUARD_NODE_IS_NEW, /* a shared store that this machine has not worked on yet */
    /* RAISED */
    HF_GUARD_CONFIGURED,          /* start_guard: always */
    HF_GUARD_NO_WITNESS,          /* a database without any trace that this machine worked on it */
    HF_GUARD_MEMORY_LOST,         /* the machine or the container was started anew since */
    HF_GUARD_DISK_LOST,           /* the folder was replaced */
    HF_GUARD_UNREADABLE,          /* a witness is damaged */
    HF_GUARD_OTHER_STORE,         /* another database, or one made anew */
    HF_GUARD_OTHER_FILE,          /* a copy of the database's file */
    HF_GUARD_STORE_IS_BEHIND,     /* it holds less than it held */
    HF_GUARD_DISK_IS_FROM_BEFORE, /* the folder is older than this run of the machine */
    /* REFUSED */
    HF_GUARD_NO_GENESIS_TIME,
    HF_GUARD_BEFORE_GENESIS,
    HF_GUARD_CLOCK_WENT_BACK,
    HF_GUARD_CLOCK_IS_AHEAD,
    /* STOPPED */
    HF_GUARD_WENT_BACK_RUNNING,
    HF_GUARD_CAUSE_COUNT
} hf_guard_cause;

/* "passed" and so on, as status and metrics show it; never NULL. */
const char *hf_guard_state_name(hf_guard_state state);
/* A sentence for operators; never NULL. */
const char *hf_guard_cause_sentence(hf_guard_cause cause);

typedef struct hf_guard_report {
    uint32_t state; /* hf_guard_state */
    uint32_t cause; /* hf_guard_cause */
    uint32_t mode;  /* hf_guard_mode */
    uint8_t has_memory_witness;
    uint8_t reserved[3];
    hf_watermark floors; /* RAISED: up to here nothing is signed */
} hf_guard_report;

#endif
