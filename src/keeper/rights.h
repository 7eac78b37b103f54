/*
 * Who may ask the keeper for what: the gate that each question passes, the tokens it reads, and the
 * policies, limits and canaries that it judges by. Included by keeper_internal.h.
 */
#ifndef HF_KEEPER_RIGHTS_H
#define HF_KEEPER_RIGHTS_H

/* ---- gate.c: who may ask for what -------------------------------------------------------------
 */

/* Who was let in, or not, and as whom: for the request, its log line and the audit. */
typedef struct hf_pass {
    char accessor[32]; /* of the token; "admin", "key-manager"; "" where no credential was needed */
    uint8_t address[HF_CALLER_ADDRESS_LEN];
    char certificate[HF_CERTIFICATE_NAME_LEN];
    uint16_t port;
    uint64_t asked;             /* the line of the audit log that says so; 0: none */
    char detail[HF_DETAIL_LEN]; /* of a refusal: a sentence, or "" for the reason's own */
} hf_pass;

/* Is this a credential at all? */
#define HF_GATE_ANYTHING HF_SCOPE_COUNT

typedef struct hf_gate_question {
    hf_scope scope;     /* or HF_GATE_ANYTHING */
    uint32_t operation; /* hf_operation, for HF_SCOPE_SIGN */
    const hf_key *key;  /* NULL: none, or all */
    hf_policy_key name; /* of a sealed key, which may not be loaded; len 0: see key */
    bool is_sealed;     /* about the sealed keys: not the key manager's */
    bool is_part;       /* belongs to another question that took a use of the token */
    bool is_page;       /* and is a later page of its list: goes with the last use */
} hf_gate_question;

/* seal_records.c: the same of a frame about sealed keys, which says more than its type. */
void hf_seal_describe(const void *frame, hf_gate_question *question);
/* What a question of this type needs; false: no right at all. */
bool hf_gate_scope_of(uint16_t type, hf_scope *ret_scope);
/* Intake thread. Does the answer hang on the token that is shown? */
bool hf_gate_reads_token(const hf_keeper *keeper, const hf_peer *peer, const hf_caller *caller,
                         const hf_gate_question *question);
/* Intake thread. OK, or why not: UNAUTHORIZED, FORBIDDEN, RATE_LIMITED, STORE_UNAVAILABLE; counts
 * what it refuses. */
hf_reason hf_gate_check(hf_keeper *keeper, const hf_peer *peer, const hf_caller *caller,
                        const hf_gate_question *question, hf_pass *ret_pass);

/* ---- tokens.c (intake thread), tokens_store.c (jobs thread) ------------------------------------
 */

/* Reads the key, or makes it. */
hf_status hf_tokens_init(hf_keeper *keeper, hf_error *err);
void hf_tokens_done(hf_keeper *keeper);
/* Takes what the jobs thread has handed over. */
void hf_tokens_settle(hf_keeper *keeper);
/* Must this question wait until uses of its token are on record? Then frame and *fd are kept. */
bool hf_tokens_make_wait(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
/* Whose token is this? OK with the token, or why it is refused, which is counted and logged. */
hf_reason hf_tokens_recognise(hf_keeper *keeper, const hf_caller *caller, bool is_page,
                              hf_pass *pass, hf_token_entry **ret_entry);
void hf_tokens_list(hf_keeper *keeper, hf_peer *peer, const hf_msg_token_list *frame);
/* TOKEN_CREATE, TOKEN_REVOKE. */
void hf_tokens_change(hf_keeper *keeper, hf_peer *peer, const void *frame);

/* Protector's thread, with a shared store: records may have been changed by another node. */
void hf_tokens_note_generation(hf_keeper *keeper, uint64_t generation);
/* Waits, for a moment, until the tokens are as of this generation at least; false: they are not. */
bool hf_tokens_catch_up(hf_keeper *keeper, uint64_t generation);
bool hf_tokens_has(hf_keeper *keeper, const char accessor[HF_AUTH_ACCESSOR_LEN]);

/* Jobs thread: reads the tokens when records have changed. */
void hf_tokens_look(hf_keeper *keeper, hf_store *store);
/* tokens_gone.c: takes out those that expired long ago, now and then. */
void hf_tokens_sweep(hf_keeper *keeper, hf_store *store);
void hf_tokens_create(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame);
void hf_tokens_revoke(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame);
/* Intake thread: has uses put on record and handed over. False: too much waits already. */
bool hf_tokens_reserve(hf_keeper *keeper, const char accessor[HF_AUTH_ACCESSOR_LEN]);

/* ---- policies.c: limits, canaries, approvals; intake thread ------------------------------------
 */

/* Immutable; policies_store.c. */
typedef struct hf_policy_set hf_policy_set;
void hf_policy_set_free(hf_policy_set *set); /* NULL is fine, here and below */
const hf_policy *hf_policy_set_at(const hf_policy_set *set, size_t i);
const hf_policy *hf_policy_set_find(const hf_policy_set *set, const char *name);

typedef struct hf_policies {
    hf_book *book; /* never NULL once initialised */
    bool is_awaited;
    bool is_locked; /* a canary key with the action seal was asked for */
    uint64_t stamp; /* of what is known about policies */
    hf_rates *rates;
    hf_approvals approvals;
    uint64_t canary_told_ns[HF_CANARIES_MAX]; /* by place in the book; 0: never */
    hf_policy_set *stored;                    /* those applied at run time; NULL: not read yet */
    /* handed over */
    pthread_mutex_t lock;
    _Atomic bool has_news;
    hf_policy_set *fresh;
    /* the jobs thread's */
    bool is_read;
    _Atomic uint64_t generation; /* of the records when they were read; any thread may look */
    uint64_t retry_ns;
} hf_policies;

hf_status hf_policies_init(hf_keeper *keeper);
void hf_policies_done(hf_keeper *keeper);
/* fd stays the caller's. */
void hf_policies_take_book(hf_keeper *keeper, const hf_msg_policy_book *frame, int fd);
hf_policy_key hf_policies_key_of(const hf_key *key);
/* Is this key a canary, or was one asked for that locks everything? operation HF_OP_COUNT: a duty.
 */
hf_reason hf_policies_judge_canary(hf_keeper *keeper, const hf_policy_key *key, uint32_t operation,
                                   const hf_pass *pass, char ret_detail[HF_DETAIL_LEN]);
/* A canary counts also when the gate turned away who asked for it; nothing is locked then. */
void hf_policies_note_refused(hf_keeper *keeper, const hf_policy_key *key, uint32_t operation,
                              const hf_pass *pass);
/* Does the request, which was admitted, keep the limits of its key? */
hf_reason hf_policies_judge(hf_keeper *keeper, const hf_key *key, const hf_eth_request *request,
                            const hf_pass *pass, char ret_detail[HF_DETAIL_LEN]);
/* The same for what keys of the execution layer sign. The spending in question is filled in here;
 * *ret_counts: hf_limits_judge_eth1. */
hf_reason hf_policies_judge_eth1(hf_keeper *keeper, const hf_key *key, hf_eth1_question *question,
                                 const hf_pass *pass, bool *ret_counts,
                                 char ret_detail[HF_DETAIL_LEN]);
void hf_policies_approve(hf_keeper *keeper, hf_peer *peer, const hf_msg_exit_approve *frame,
                         const hf_pass *pass);

const hf_source_tags *hf_policies_tags_of(const hf_keeper *keeper, const hf_key *key);
/* Of an entry of signing_keys; one that is none has no tags. */
const hf_source_tags *hf_policies_tags_of_source(const hf_keeper *keeper, uint32_t source);
/* Takes what the jobs thread has read. */
void hf_policies_settle(hf_keeper *keeper);
/* Do the token's policies allow this? FORBIDDEN or RATE_LIMITED, with a sentence in pass. */
hf_reason hf_policies_allow(hf_keeper *keeper, const hf_token *token, const hf_gate_question *asked,
                            hf_pass *pass);
/* Do they deny it, whatever else the token may? Then pass says why. */
bool hf_policies_deny(hf_keeper *keeper, const hf_token *token, const hf_gate_question *asked,
                      hf_pass *pass);
/* Are all policies there that a token is to have? OK, or why not, with a sentence. */
hf_reason hf_policies_know(hf_keeper *keeper, const hf_token_terms *terms,
                           char ret_detail[HF_DETAIL_LEN]);
/* May who asked the question under way learn of this key? */
bool hf_policies_may_list(hf_keeper *keeper, hf_scope scope, const hf_key *listed);
/* The same of a sealed key, loaded or not. */
bool hf_policies_may_list_sealed(hf_keeper *keeper, hf_scope scope, const hf_policy_key *listed);
/* POLICY_LIST, _GET, _PUT (with fd, which stays the caller's), _DELETE. */
void hf_policies_manage(hf_keeper *keeper, hf_peer *peer, const hf_msg_policy_ask *frame, int fd);
/* Jobs thread: reads the policies when records have changed; changes them. */
void hf_policies_look(hf_keeper *keeper, hf_store *store);
void hf_policies_put(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame);
void hf_policies_delete(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame);

#endif
