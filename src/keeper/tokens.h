/*
 * The keeper's tokens. The thread that does the jobs reads the records and changes them; what it
 * has goes over to the intake thread, which alone verifies and counts uses. A token with a maximum
 * of uses gets them in steps that are on record before they count: what was given out is never
 * given out again, whatever crashes.
 */
#ifndef HF_KEEPER_TOKENS_H
#define HF_KEEPER_TOKENS_H

#include "auth/auth.h"

#include <pthread.h>
#include <stdatomic.h>

/* Questions that wait until uses of their token are on record. */
#define HF_TOKENS_PARKED_MAX 64

typedef struct hf_token_grant {
    char accessor[HF_AUTH_ACCESSOR_LEN];
    uint64_t record_version;
    uint64_t uses_reserved;
    uint64_t granted; /* 0: they could not be had */
} hf_token_grant;

typedef struct hf_tokens {
    hf_auth_keys keys;
    /* the intake thread's */
    hf_token_table *table; /* NULL: not read yet */
    hf_auth_guesses *guesses;
    struct hf_parked *parked; /* oldest first */
    size_t parked_count;
    /* handed over */
    pthread_mutex_t lock;
    _Atomic bool has_news;
    hf_token_table *fresh;
    hf_token_grant grants[HF_TOKENS_PARKED_MAX];
    size_t grant_count;
    char (*known)[HF_AUTH_ACCESSOR_LEN]; /* of all tokens, sorted */
    size_t known_count;
    pthread_cond_t was_read;
    /* the jobs thread's */
    hf_token_entry *all; /* by accessor, uses_at_hand 0 */
    size_t count;
    size_t room;
    bool is_read;
    bool said_none;
    bool said_unread;
    _Atomic uint64_t generation; /* of the records when they were read; any thread may look */
    _Atomic uint64_t seen;       /* the highest that a decision of a shared store told */
    uint64_t retry_ns;           /* after a failure to read */
    uint64_t next_sweep_ns;
    bool is_damaged;                    /* a record that was read last is not in order */
    char (*gone)[HF_AUTH_ACCESSOR_LEN]; /* that were here once, sorted */
    size_t gone_count;
    size_t gone_room;
} hf_tokens;

/* ---- tokens_gone.c -------------------------------------------------------------------------- */

bool hf_tokens_is_gone(const hf_tokens *tokens, const char *accessor);
void hf_tokens_note_gone(hf_tokens *tokens, const char accessor[HF_AUTH_ACCESSOR_LEN]);
/* Whoever was known and is not among all now is gone. */
void hf_tokens_note_missing(hf_tokens *tokens);

#endif
