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
/* Any thread: a request of this key has arrived. 0: it need not wait. */
uint64_t hf_look_want(hf_keeper *keeper, const hf_key *key);
/* Any thread but the protector's: may the key sign as of a look that came after that? */
hf_reason hf_look_wait(hf_keeper *keeper, uint64_t look, const hf_key *key);

/* Protector: takes out of the list, of n, what the store does not decide on. */
hf_request *hf_looks_split(hf_request **list, size_t *n);
/* Protector: signs or refuses them, and answers whoever waits. is_seen: a decision told already. */
void hf_looks_answer(hf_keeper *keeper, hf_request *others, bool is_seen);

#endif
