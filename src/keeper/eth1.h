/*
 * Signatures with keys of the execution layer: eth1_admit.c says what may be signed (intake
 * thread), eth1.c has the threads that sign. Included by keeper_internal.h, which has the types
 * named here.
 *
 * Nothing of it can be slashed by Ethereum's consensus, so that no store has a part in it: gate,
 * policies, the line in the audit log, signature. The signature is made while the line is written,
 * and leaves when that is durable.
 */
#ifndef HF_KEEPER_ETH1_H
#define HF_KEEPER_ETH1_H

#define HF_ETH1_WORKS_MAX 2048
#define HF_ETH1_THREADS_MAX 16

typedef struct hf_eth1_work {
    struct hf_eth1_work *next; /* in the one list that holds it: free, queue, a thread's group */
    hf_answer answer;
    hf_key *key;
    hf_pass pass;
    struct hf_audit_slot *audit; /* as of a request */
    uint64_t look;               /* hf_look_want */
    uint64_t ticket;
    uint64_t spending_ticket; /* of the value that has to be kept; 0: none */
    bool is_taken;            /* a vote: the room of duties answers */
    uint64_t received_ns;
    uint64_t admitted_ns;
    uint64_t deadline_ns;
    uint32_t kind; /* hf_eth1_kind: what it is, which need not be what the front called it */
    uint8_t address[HF_ADDRESS_BYTES];
    uint8_t digest[HF_KECCAK_BYTES]; /* what the key signs */
    hf_msg_eth1_reply reply;
} hf_eth1_work;

typedef struct hf_eth1_signer {
    hf_keeper *keeper;
    hf_secp256k1 *secp; /* its own */
    pthread_t thread;
} hf_eth1_signer;

typedef struct hf_eth1_room {
    pthread_mutex_t lock; /* guards the lists */
    pthread_cond_t work;
    bool stop;
    unsigned asleep;  /* threads */
    unsigned signing; /* threads: those that wait for the disk do not count */
    size_t waiting;   /* works in the queue */
    hf_eth1_work *all;
    hf_eth1_work *free;
    hf_eth1_work *queue;
    hf_eth1_work *queue_tail;
    _Atomic size_t in_use;
    unsigned signer_count;
    hf_eth1_signer signers[HF_ETH1_THREADS_MAX];
} hf_eth1_room;

hf_status hf_eth1_init(hf_keeper *keeper);
void hf_eth1_stop(hf_keeper *keeper);
/* Intake thread. ETH1_SIGN; fd, or -1, stays the caller's. ETH1_KEYS. */
void hf_eth1_take(hf_keeper *keeper, hf_peer *peer, const hf_msg_eth1_sign *frame, int fd);
void hf_eth1_list(hf_keeper *keeper, hf_peer *peer, const hf_msg_eth1_keys *frame);
/* Intake thread, once a turn: the threads have something to do. */
void hf_eth1_wake(hf_keeper *keeper);

/* eth1_admit.c, for eth1.c: may it be signed? Sets kind and digest, and takes the key. */
hf_reason hf_eth1_admit(hf_keeper *keeper, const hf_msg_eth1_sign *frame, int fd,
                        hf_eth1_work *work, hf_error *err);
/* auditor_events.c: as for duties. */
bool hf_auditor_admit_eth1(hf_keeper *keeper, hf_eth1_work *work);
void hf_auditor_eth1_result(hf_keeper *keeper, const hf_eth1_work *work,
                            struct hf_audit_slot *take_slot);

#endif
