/*
 * Duties of Aztec validators: duties.c has the thread, duty_steps.c what happens to one. Included
 * by keeper_internal.h, which has the types named here.
 */
#ifndef HF_KEEPER_DUTIES_H
#define HF_KEEPER_DUTIES_H

#define HF_DUTIES_MAX 1024

typedef struct hf_duty_work {
    struct hf_duty_work *next; /* in the one list that holds it: free, incoming, unsent */
    hf_peer *peer;             /* NULL: has its answer, only the lock is still to be given back */
    hf_key *key;
    uint32_t generation;
    bool is_used;
    bool is_unsent; /* ask waits for room in the channel */
    hf_pass pass;
    struct hf_audit_slot *audit; /* as of a request */
    uint64_t look;               /* hf_look_want */
    uint64_t ticket;
    uint64_t received_ns;
    uint64_t deadline_ns;
    uint64_t asked_ns;
    uint8_t digest[HF_DUTY_HASH_BYTES]; /* what the key signs */
    bool is_vote;                       /* ETH1_SIGN asked for it: reply is put into its form */
    hf_msg_duty_ask ask;
    hf_msg_duty_reply reply;
    /* what a back end of custody answered, for a key that stays inside one */
    hf_reason inside_reason;
    uint8_t inside_signature[HF_DUTY_SIGNATURE_BYTES];
    char inside_detail[HF_DETAIL_LEN];
} hf_duty_work;

typedef struct hf_duties {
    pthread_mutex_t lock; /* guards what the threads share */
    pthread_t thread;
    _Atomic bool stop;
    _Atomic size_t in_use;
    int wake_fd;
    int given_fd; /* a new channel, or -1 */
    hf_duty_work *all;
    hf_duty_work *free;
    hf_duty_work *incoming;
    hf_duty_work *incoming_tail;
    hf_duty_work *signed_inside; /* by back ends of custody */
    uint64_t heard_ns;           /* of the state; 0: never on this channel */
    bool is_healthy;
    char detail[HF_DETAIL_LEN];
    uint32_t protection_count; /* of the process, as it said last */
    hf_protection protections[HF_PROTECTIONS_MAX];
    /* its own thread's */
    int fd; /* HF_CHANNEL_DUTY, or -1 */
    hf_inbox *inbox;
    hf_secp256k1 *secp;
    hf_duty_work *unsent;
    hf_duty_work *unsent_tail;
    bool asked[HF_DUTIES_MAX]; /* by place in all: a question is out */
} hf_duties;

hf_status hf_duties_init(hf_keeper *keeper);
void hf_duties_stop(hf_keeper *keeper);
/* Intake thread: a signing request; the channel to the process that asks the database. */
void hf_duties_take(hf_keeper *keeper, hf_peer *peer, const hf_msg_duty_sign *frame);
/* Intake thread: a vote that ETH1_SIGN asks for, by the kind of its typed data. OK: it will be
 * answered from here; otherwise nothing was taken. */
hf_reason hf_duties_take_vote(hf_keeper *keeper, const hf_eth1_work *asked,
                              const hf_msg_eth1_sign *frame, const hf_typed_message *message,
                              hf_error *err);
void hf_duties_give_channel(hf_keeper *keeper, int take_fd);
/* Any thread. Can locks be had, as far as is known? With a sentence either way. */
bool hf_duties_is_healthy(hf_keeper *keeper, char ret_detail[HF_DETAIL_LEN]);
/* How the process that asks the database protects itself; returns how many. */
uint32_t hf_duties_protections(hf_keeper *keeper, hf_protection ret[HF_PROTECTIONS_MAX]);

#endif
