/*
 * The room of the audit log: auditor.c is its thread, auditor_events.c what it says. Included by
 * keeper_internal.h, which has the types named here.
 */
#ifndef HF_KEEPER_AUDITOR_H
#define HF_KEEPER_AUDITOR_H

#include "audit/audit.h"

/* Actions that wait for their line: several fronts at work, and more than the rooms behind take. */
#define HF_AUDIT_PARKED_MAX 256

typedef enum hf_audit_slot_state {
    HF_AUDIT_SLOT_QUEUED = 0,
    HF_AUDIT_SLOT_WRITTEN, /* its REQUEST is durable; waits for its RESULT */
    HF_AUDIT_SLOT_FAILED
} hf_audit_slot_state;

/* One line to be written, and behind a REQUEST its RESULT. */
typedef struct hf_audit_slot {
    struct hf_audit_slot *next;
    hf_audit_event event;
    hf_parked *parked;   /* an action, to be done when its line is durable; or NULL */
    hf_request *request; /* not slashable: to be signed when the line is durable; or NULL */
    uint64_t ticket;     /* of a REQUEST: rises by one */
    uint64_t seq;
    uint32_t state; /* hf_audit_slot_state */
    bool has_result;
    hf_reason result;
    char detail[HF_DETAIL_LEN];
} hf_audit_slot;

typedef struct hf_auditor {
    pthread_mutex_t lock; /* guards what follows up to head */
    pthread_cond_t work;
    pthread_cond_t settled_more;
    pthread_t thread;
    bool is_on;     /* never changes */
    bool is_strict; /* never changes */
    bool has_thread;
    bool stop;
    bool is_asleep; /* the thread waits for work */
    hf_audit_slot *all;
    hf_audit_slot *free;
    hf_audit_slot *queue;
    hf_audit_slot *queue_tail;
    size_t hurried;       /* lines in the queue that somebody waits for, or that must not linger */
    uint64_t tickets;     /* given out */
    uint64_t settled;     /* written, or given up */
    uint64_t last_failed; /* the highest that was given up */
    uint64_t wanted;      /* somebody waits for this one now */
    unsigned waiters;
    hf_parked *asked; /* actions whose line is written, or could not be */
    hf_parked **asked_end;
    size_t parked_count; /* actions that wait for that */
    uint64_t unlogged;   /* events without a line so far */
    uint64_t refused_second;
    uint32_t refused_lines; /* in that second */
    char detail[HF_DETAIL_LEN];
    hf_audit_head head; /* of what is durable, or in interval mode written */
    _Atomic bool is_healthy;
    _Atomic bool has_asked;
    _Atomic bool is_broken; /* the log was not what it should be, at start */
    /* the thread's own */
    hf_audit_log *log;
    hf_audit_sinks sinks;
    hf_audit_opening opening;
    uint64_t next_tend_ns;
    bool is_untended; /* the last rotation or sync of the file failed */
    /* who does the jobs only */
    uint8_t log_id[HF_ANCHOR_ID_BYTES];
    bool is_compared; /* with the anchor */
    uint64_t anchored;
    uint64_t next_anchor_ns;
} hf_auditor;

/* Before the threads: opens the log. store: asked for the anchor, NULL when it cannot be yet. */
hf_status hf_auditor_open(hf_keeper *keeper, hf_store *store, hf_error *err);
hf_status hf_auditor_start(hf_keeper *keeper);
/* Writes what waits, and a last line. */
void hf_auditor_stop(hf_keeper *keeper);
/* Last of all, when nobody finishes requests or moves the anchor any more. */
void hf_auditor_close(hf_keeper *keeper);

/*
 * Intake thread. Writes down who asks for what; false when nothing may be signed now, with the
 * reason. A request that can be slashed is waited for later; another one goes to the signers by
 * itself once its line is durable, and *ret_is_taken says so.
 */
bool hf_auditor_admit(hf_keeper *keeper, hf_request *request, const hf_eth_request *asked,
                      const hf_admission *admission, bool *ret_is_taken);
bool hf_auditor_admit_duty(hf_keeper *keeper, hf_duty_work *work);
/* Intake thread, once a turn: the thread has something to do. */
void hf_auditor_wake(hf_keeper *keeper);
/* The line of this ticket is wanted soon: no waiting for company. */
void hf_auditor_hurry(hf_keeper *keeper, uint64_t ticket);
/* Is it durable? Waits until that is known; with an interval it is enough that it was written
 * down. Ticket 0: there is none. */
bool hf_auditor_wait(hf_keeper *keeper, uint64_t ticket);
/* The same for all tickets from the first to the last; 0 as last: there are none. */
bool hf_auditor_wait_all(hf_keeper *keeper, uint64_t first, uint64_t last);
/* Any thread. What came of it. take_slot may be NULL: then only a refusal has a line of its own. */
void hf_auditor_result(hf_keeper *keeper, const hf_request *request, hf_audit_slot *take_slot);
void hf_auditor_duty_result(hf_keeper *keeper, const hf_duty_work *work, hf_audit_slot *take_slot);

/*
 * Any thread. Something happened that is not a signature: one line, durable within moments. pass:
 * who did it; NULL for the program itself. decision: a literal, "done", "refused" or "failed".
 * The text may hold foreign bytes, never a secret.
 */
void hf_auditor_note(hf_keeper *keeper, hf_audit_kind kind, const hf_pass *pass,
                     const char *decision, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* A question that the gate did not let through. Bounded in number, as all refusals are. */
void hf_auditor_note_denial(hf_keeper *keeper, const hf_pass *pass, const char *what,
                            hf_reason reason);
/* The same about one key. */
void hf_auditor_note_key(hf_keeper *keeper, hf_audit_kind kind, const hf_pass *pass,
                         const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], const char *decision,
                         const char *text);

/*
 * Intake thread. Writes down that somebody asks for an action; take_parked comes back from
 * hf_auditor_take_asked. False: it cannot be written down, and nothing was taken.
 */
bool hf_auditor_ask(hf_keeper *keeper, const hf_audit_event *event, hf_parked *take_parked);
/* Oldest first; is_logged says which may be done. NULL: none. */
hf_parked *hf_auditor_take_asked(hf_keeper *keeper);

/* Any thread. How it stands, for status. */
void hf_auditor_look(hf_keeper *keeper, hf_audit_state *ret_state);
/* Who does the jobs: compares the log with the store's anchor once, and moves the anchor on, once
 * a second or now. */
void hf_auditor_anchor(hf_keeper *keeper, hf_store *store, bool now);

/* auditor_events.c, for auditor.c: what was found when the log was opened. */
void hf_auditor_tell_opening(hf_keeper *keeper);
/* With the lock held, but for the first. */
void hf_auditor_fill_caller(const hf_pass *pass, hf_audit_caller *ret_caller);
hf_audit_slot *hf_auditor_take_slot(hf_auditor *auditor); /* NULL: counted as unlogged */
void hf_auditor_queue(hf_auditor *auditor, hf_audit_slot *slot, bool in_a_hurry);
void hf_auditor_settle_asked(hf_auditor *auditor, hf_audit_slot *take_slot, bool is_written);
void hf_auditor_make_result(hf_audit_slot *slot);

#endif
