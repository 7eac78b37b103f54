/*
 * looks.c: signatures of sealed keys that the shared store does not decide on. Included by
 * keeper_internal.h.
 */
#ifndef HF_KEEPER_LOOKS_H
#define HF_KEEPER_LOOKS_H

/* Under protector.lock, but for taken. */
typedef struct hf_looks {
    pthread_cond_t settled;
    uint64_t wanted;     /* the number of the last that somebody waits for */
    uint64_t taken;      /* those that the question under way answers; the protector's */
    uint64_t done;       /* answered */
    uint64_t failed;     /* the last that had no answer */
    uint64_t generation; /* of the last that had one */
} hf_looks;

/* Does a signature of this key wait for the store although the store does not decide on it? */
bool hf_look_is_needed(const hf_keeper *keeper, const hf_key *key);
/* Any thread: the number of a look that comes after now. */
uint64_t hf_look_ask(hf_keeper *keeper);
/* Intake thread: a request of this key has arrived. 0: it need not wait. */
uint64_t hf_look_want(hf_keeper *keeper, const hf_key *key);
/* Any thread but the protector's: may the key sign as of a look that came after that? */
hf_reason hf_look_wait(hf_keeper *keeper, uint64_t look, const hf_key *key);

/* Protector: takes out of the list, of n, what the store does not decide on. */
hf_request *hf_looks_split(hf_request **list, size_t *n);
/* Protector: signs or refuses them, and answers whoever waits. is_seen: a decision told already. */
void hf_looks_answer(hf_keeper *keeper, hf_request *others, bool is_seen);

/* ---- token_looks.c: questions that come with a token of a shared store, before they are taken up.
 * Intake thread, but for count. */

typedef struct hf_token_looks {
    struct hf_parked *head; /* oldest first */
    struct hf_parked *tail;
    _Atomic size_t count;
} hf_token_looks;

/* Must this question wait for a look? Then frame and *fd are kept, and it is asked again. */
bool hf_token_looks_make_wait(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
/* Asks those again whose look is answered. */
void hf_token_looks_turn(hf_keeper *keeper);
/* Any thread: a look was answered, or what it told of was read. */
void hf_token_looks_tell(hf_keeper *keeper);
void hf_token_looks_done(hf_keeper *keeper);

#endif
