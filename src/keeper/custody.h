/*
 * Back ends of custody, as the keeper sees them (ipc_custody.h): custody_keys.c has their keys
 * (intake thread), custody.c asks them for signatures and wrapped secrets, on a thread of its own
 * that waits for none of them. Included by keeper_internal.h.
 *
 * Whoever asks has the policy's decision and the durable record already. A back end that is away,
 * hangs or dies gives CUSTODY_UNAVAILABLE by the deadline, for its own keys alone.
 */
#ifndef HF_KEEPER_CUSTODY_H
#define HF_KEEPER_CUSTODY_H

#define HF_CUSTODY_WORKS_MAX 1024

/*
 * On the custody thread, once for each question that was taken. signature: r, s (low) and v of 27
 * or 28, which recovers to the key's own public key; NULL unless reason is OK. detail: a sentence.
 * Answers that it queues for peers are sent by the thread, with those of other questions.
 */
typedef void (*hf_custody_signed)(hf_keeper *keeper, void *context, hf_reason reason,
                                  const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES],
                                  const char *detail);
/* The same of a wrapped or unwrapped secret; borrowed, and wiped afterwards. */
typedef void (*hf_custody_wrapped)(hf_keeper *keeper, void *context, hf_reason reason,
                                   hf_bytes data, const char *detail);

typedef struct hf_custody_work {
    struct hf_custody_work *next; /* in the one list that holds it: free, incoming */
    uint32_t generation;
    uint32_t custody;
    uint64_t id; /* of the question */
    uint64_t handle;
    uint64_t deadline_ns;
    uint64_t taken_ns;
    uint8_t digest[HF_KECCAK_BYTES];
    uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES];
    hf_msg_custody_wrap *wrap; /* owned; NULL: a signature is wanted */
    hf_custody_signed on_signed;
    hf_custody_wrapped on_wrapped;
    void *context;
} hf_custody_work;

/* One back end. */
typedef struct hf_custody_end {
    uint32_t backend; /* hf_key_backend */
    uint32_t source;  /* place in signing_keys, or HF_SOURCE_NONE: of the seal */
    /* under the room's lock */
    int given_fd; /* a new channel, or -1 */
    uint64_t heard_ns;
    bool is_healthy;
    char detail[HF_DETAIL_LEN];
    uint32_t protection_count;
    hf_protection protections[HF_PROTECTIONS_MAX];
    /* the custody thread's */
    int fd;
    uint32_t out; /* questions that are out */
    /* the intake thread's */
    hf_peer *lister;
    uint32_t listing; /* number of the one under way, or of the last */
    bool is_listing;
    bool is_awaited;         /* by the load under way */
    uint64_t await_until_ns; /* and no longer, however many loads begin meanwhile */
    uint32_t keys;
    uint32_t failed;
    uint32_t others; /* keys that it signs with and no route asks for */
    char problem[HF_DETAIL_LEN];
} hf_custody_end;

typedef struct hf_custody_room {
    pthread_mutex_t lock;
    pthread_t thread;
    bool is_running;
    _Atomic bool stop;
    int wake_fd;
    uint32_t count;
    hf_custody_end ends[HF_CUSTODIES_MAX];
    hf_custody_work *all;
    hf_custody_work *free;
    hf_custody_work *incoming;
    hf_custody_work *incoming_tail;
    _Atomic size_t in_use;
    /* its own thread's, as the next two */
    bool is_out[HF_CUSTODY_WORKS_MAX]; /* by place in all: a question is out */
    hf_inbox *inbox;
    hf_secp256k1 *secp;
} hf_custody_room;

hf_status hf_custody_init(hf_keeper *keeper);
void hf_custody_stop(hf_keeper *keeper); /* answers what is open */

/*
 * Any thread. The key stays inside a back end: asks for its signature over digest. The caller holds
 * a reference to the key until the answer. False: too many questions are open, nothing is called.
 */
bool hf_custody_sign(hf_keeper *keeper, const hf_key *key, const uint8_t digest[HF_KECCAK_BYTES],
                     uint64_t deadline_ns, hf_custody_signed callback, void *context);
/* Any thread. custody: place among the back ends. The frame's reference, context and data are the
 * question's; it is copied. type: HF_MSG_CUSTODY_WRAP or _UNWRAP. */
bool hf_custody_wrap(hf_keeper *keeper, uint32_t custody, hf_msg_type type,
                     const hf_msg_custody_wrap *question, uint64_t deadline_ns,
                     hf_custody_wrapped callback, void *context);
/* Any thread. The back end of the seal of that kind; false when none is configured. */
bool hf_custody_of_seal(const hf_keeper *keeper, hf_key_backend backend, uint32_t *ret_custody);

/* Any thread. Can it sign, as far as is known? With a sentence either way. */
bool hf_custody_is_healthy(hf_keeper *keeper, uint32_t custody, char ret_detail[HF_DETAIL_LEN]);
/* Intake thread: how they are. */
uint32_t hf_custody_look(hf_keeper *keeper, hf_custody_report ret[HF_CUSTODIES_MAX]);

/* ---- custody_keys.c: intake thread ----------------------------------------------------------- */

/* The process was started, maybe anew: one of its two channels. */
void hf_custody_give_channel(hf_keeper *keeper, const hf_msg_new_channel *frame, int take_fd);
void hf_custody_keys_frame(hf_keeper *keeper, hf_peer *peer, const void *frame);
void hf_custody_peer_gone(hf_keeper *keeper, hf_peer *peer);
/* A load begins: each back end is asked what it has, and the load waits a while for the answers. */
void hf_custody_load(hf_keeper *keeper);
/* Keys of files went away, and a back end may have one of them: nobody waits for this. */
void hf_custody_list_again(hf_keeper *keeper);
bool hf_custody_is_awaited(const hf_keeper *keeper);
/* Once a turn: gives up waiting when it is time. */
void hf_custody_turn(hf_keeper *keeper);

/* custody.c, for custody_keys.c: the channel that is asked. */
void hf_custody_attach(hf_keeper *keeper, uint32_t custody, int take_fd);

#endif
