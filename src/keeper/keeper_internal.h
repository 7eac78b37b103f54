/*
 * The keeper's rooms and what they hand each other. Lock order, outermost first:
 *   protector.lock, signers.lock, clerk.lock, jobs.lock, duties.lock, custody.lock, then peer.lock,
 * then requests.lock, eth1.lock, auditor.lock. No thread holds two of the first four at once.
 */
#ifndef HF_KEEPER_INTERNAL_H
#define HF_KEEPER_INTERNAL_H

#include "audit/audit.h"
#include "crypto/crypto.h"
#include "harden/harden.h"
#include "keeper/guard.h"
#include "keeper/keeper.h"
#include "keeper/seal_internal.h"
#include "keeper/store_client.h"
#include "keeper/tokens.h"
#include "policy/policy.h"
#include "protect/protect.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct hf_keeper hf_keeper;
typedef struct hf_peer hf_peer;
typedef struct hf_root_group hf_root_group;

/* ---- metrics.c: counters that any thread may raise ------------------------------------------- */

typedef struct hf_meter {
    hf_metrics now; /* only through the functions below: relaxed atomics on each member */
    uint64_t started_ns;
} hf_meter;

void hf_meter_add(uint64_t *counter, uint64_t n);
void hf_meter_set(uint64_t *gauge, uint64_t value);
uint64_t hf_meter_get(const uint64_t *counter);
void hf_meter_observe(hf_histogram *histogram, uint64_t ns);
void hf_meter_observe_batch(hf_meter *meter, size_t size);
void hf_meter_snapshot(const hf_meter *meter, hf_metrics *ret_metrics);

/* ---- keys.c: the key table; intake thread only, but for refs --------------------------------- */

/* A slot of the locked slab. */
typedef union hf_key_slot {
    hf_bls_key bls;
    hf_secp256k1_key secp256k1;
} hf_key_slot;

typedef struct hf_key {
    hf_key_type type;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];      /* BLS; zeros for the other type */
    uint8_t address[HF_ADDRESS_BYTES];        /* SECP256K1; zeros for the other type */
    uint8_t point[HF_SECP256K1_PUBKEY_BYTES]; /* the same: its public key */
    uint8_t source_id[HF_SOURCE_ID_LEN];
    hf_key_slot *secret;   /* NULL: remote, it stays inside a back end of custody */
    _Atomic uint32_t refs; /* requests that may still sign with it */
    uint32_t backend;
    uint32_t source;         /* place in signing_keys, or HF_SOURCE_NONE */
    uint32_t load;           /* the load that brought it last */
    bool is_of_custody;      /* a back end of custody brought it: it alone drops it */
    uint32_t custody;        /* which one */
    uint32_t listing;        /* of its: the last that named the key */
    _Atomic uint64_t handle; /* remote: what the back end knows it by */
    _Atomic bool is_removed;
    bool is_known_to_store; /* the protector's: it has decided on it since the key was loaded */
    struct hf_key *next;    /* hash chain, or the list of the removed */
} hf_key;

typedef struct hf_key_source_state hf_key_source_state;

typedef struct hf_keyring {
    hf_slab *slab;
    hf_secp256k1 *secp; /* derives addresses; its signatures are made elsewhere */
    hf_key **buckets;
    size_t bucket_count;
    hf_key **order; /* for listings: the BLS keys, then the others */
    size_t bls_count;
    size_t count;
    size_t max;
    uint64_t generation;
    hf_key *removed; /* waiting for their last request */
    hf_key_source_state *sources;
    size_t source_count;
    size_t source_max;
    uint32_t load; /* number of the load under way, or of the last */
    uint64_t by_backend[HF_BACKEND_COUNT];
    bool has_covered; /* a file has a key that came from a back end of custody, or another file */
} hf_keyring;

hf_status hf_keyring_init(hf_keyring *ring, size_t max_keys, bool require_lock, hf_error *err);
void hf_keyring_done(hf_keyring *ring);
hf_key *hf_keyring_find(const hf_keyring *ring, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES]);
/* The secp256k1 key of an Ethereum address. */
hf_key *hf_keyring_find_address(const hf_keyring *ring, const uint8_t address[HF_ADDRESS_BYTES]);
/* Has this load brought the same key already? */
bool hf_keyring_has_twin(const hf_keyring *ring, const hf_key *key);
#define HF_KEY_NAME_LEN (2 + 2 * HF_BLS_PUBKEY_BYTES + 1)
/* 0x and the public key or the address, for log lines. */
void hf_key_name(const hf_key *key, char ret_name[HF_KEY_NAME_LEN]);
/* A key of its own, not yet in the ring: its public key or address is derived here (I3). */
hf_status hf_key_new(hf_keyring *ring, const hf_msg_key *frame, hf_key **ret_key);
/*
 * The same for a key whose name was derived when it was sealed, and is bound to its secret by the
 * record's tag: nothing is derived again (I3). name: a public key, or an address.
 */
hf_status hf_key_new_bound(hf_keyring *ring, hf_key_type type, const uint8_t *name,
                           const uint8_t secret[HF_BLS_SECRET_BYTES], uint32_t backend,
                           hf_key **ret_key);
/* Of a key that stays inside a back end of custody: its public half, in SEC1's forms. */
hf_status hf_key_new_remote(hf_keyring *ring, hf_bytes sec1, hf_key **ret_key);
static inline bool hf_key_is_remote(const hf_key *key)
{
    return key->secret == NULL;
}
void hf_key_free(hf_keyring *ring, hf_key *key);
/* The one in the ring of the same name, or NULL. */
hf_key *hf_keyring_find_same(const hf_keyring *ring, const hf_key *key);
/* Owns take_key from here on. CONFLICT (key freed) when it is there already. */
hf_status hf_keyring_add(hf_keyring *ring, hf_key *take_key);
/* Out of the table at once; freed by reap when its last request is done. */
void hf_keyring_remove(hf_keyring *ring, hf_key *key);
/* Frees the removed keys that no request uses; true when none is left waiting. */
bool hf_keyring_reap(hf_keyring *ring);
bool hf_keyring_is_waiting(const hf_keyring *ring, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES]);

/* A load: begin, mention each source, keys arrive, end drops the keys of vanished files. */
void hf_keyring_load_begin(hf_keyring *ring);
/* Is this file, with this stamp, loaded already? Marks it as still there. */
bool hf_keyring_source_known(hf_keyring *ring, const hf_msg_source *frame);
void hf_keyring_source_loaded(hf_keyring *ring, const hf_msg_key *frame);
/* Its file is gone on somebody's word; what a load under way read of it before is not to come. */
void hf_keyring_source_deleted(hf_keyring *ring, const uint8_t source_id[HF_SOURCE_ID_LEN]);
bool hf_keyring_source_is_deleted(const hf_keyring *ring,
                                  const uint8_t source_id[HF_SOURCE_ID_LEN]);
size_t hf_keyring_load_end(hf_keyring *ring); /* keys dropped */
/* Keys of files that were not taken because a back end of custody or another file has them: have
 * the next load read all files again. False: there is none. */
bool hf_keyring_uncover(hf_keyring *ring);

#include "keeper/rights.h"

/* ---- requests.c: the signing requests under way ---------------------------------------------- */

/* A reply on its way: part of what it answers, which put gives back when it went. */
typedef struct hf_answer {
    struct hf_answer *next; /* in the outbox */
    hf_peer *peer;
    const void *frame;
    void (*put)(hf_keeper *keeper, struct hf_answer *answer);
} hf_answer;

typedef struct hf_request {
    struct hf_request *next; /* in the one list that holds it: free, protector, group */
    hf_answer answer;
    hf_peer *peer;
    hf_key *key;
    hf_root_group *group;
    uint32_t operation;
    hf_message message;
    bool is_slashable;
    hf_pass pass;
    struct hf_audit_slot *audit; /* its line in the audit log; NULL: none */
    uint64_t ticket;             /* to wait for that line; 0: none */
    bool is_looked;              /* the store was asked since it arrived: looks.c */
    uint64_t received_ns;
    uint64_t admitted_ns;
    uint64_t decided_ns;
    hf_msg_sign_reply reply;
} hf_request;

typedef struct hf_request_pool {
    pthread_mutex_t lock;
    hf_request *all;
    hf_request *free;
    size_t max;
    _Atomic size_t in_use;
} hf_request_pool;

hf_status hf_requests_init(hf_request_pool *pool, size_t max);
void hf_requests_done(hf_request_pool *pool);
hf_request *hf_requests_take(hf_request_pool *pool); /* NULL: all are under way */
void hf_requests_put(hf_request_pool *pool, hf_request *request);

/* ---- peers.c: the channels and their way out ------------------------------------------------- */

#define HF_PEERS_MAX 96

struct hf_peer {
    int fd; /* -1: free place */
    hf_channel channel;
    uint64_t tag;         /* IMPORT: the session's number */
    _Atomic bool is_gone; /* closed by the other end; kept until no request points here */
    bool wants_write;
    bool has_loaded;       /* LOADER: said LOAD_DONE, so that its end ends no load */
    _Atomic uint32_t refs; /* requests and jobs that will still answer here */
    pthread_mutex_t lock;  /* guards outbox and order of sending */
    hf_answer *outbox_head;
    hf_answer *outbox_tail;
    uint32_t outbox_count;
    bool is_full; /* the socket took no more: the intake thread sends when there is room */
    uint32_t in_flight_max;
};

void hf_peers_init(hf_keeper *keeper);
/* NULL when there is no place; take_fd is then closed. */
hf_peer *hf_peer_open(hf_keeper *keeper, int take_fd, hf_channel channel, uint64_t tag);
/* Marks it gone; hf_peers_sweep closes it when nothing points to it any more. */
void hf_peer_hang_up(hf_keeper *keeper, hf_peer *peer);
void hf_peers_sweep(hf_keeper *keeper);
/* Any thread. Sends, or keeps the request in the outbox until the socket has room; then frees it.
 */
void hf_peer_answer(hf_keeper *keeper, hf_request *request);
/* The same in two steps, for several at once: the answers that now wait for this peer; and send. */
uint32_t hf_peer_queue(hf_keeper *keeper, hf_answer *answer);
void hf_peers_send_waiting(hf_keeper *keeper);
void hf_peer_flush(hf_keeper *keeper, hf_peer *peer);
/* Any thread. A frame outside the signing path; dropped, with a count, when the peer reads nothing.
 */
void hf_peer_send(hf_keeper *keeper, hf_peer *peer, const void *frame);
void hf_peer_send_result(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, hf_reason reason,
                         uint64_t value, const char *detail);
void hf_peer_ref(hf_peer *peer);
void hf_peer_unref(hf_keeper *keeper, hf_peer *peer);

/* ---- signers.c ------------------------------------------------------------------------------- */

#define HF_SIGN_THREADS_MAX 64
#define HF_TABLES 16 /* of points, 50 KB each */

typedef struct hf_group_queue {
    hf_root_group *head;
    hf_root_group *tail;
} hf_group_queue;

typedef struct hf_signers {
    pthread_mutex_t lock;
    pthread_cond_t work;
    hf_root_group *groups; /* all of them */
    hf_root_group **buckets;
    size_t bucket_count;
    hf_root_group *idle_head; /* no request uses them: oldest first, reused from the front */
    hf_root_group *idle_tail;
    hf_bls_table *tables[HF_TABLES]; /* those that no group has */
    size_t tables_free;
    void *table_memory;
    hf_group_queue ready;     /* groups with requests that may be signed */
    hf_group_queue hash;      /* groups whose point will be needed soon */
    _Atomic uint32_t backlog; /* requests ready to be signed and not yet taken by a thread */
    unsigned waiting;         /* threads asleep */
    bool stop;
    unsigned thread_count;
    pthread_t threads[HF_SIGN_THREADS_MAX];
} hf_signers;

hf_status hf_signers_init(hf_keeper *keeper, size_t max_requests, unsigned threads);
void hf_signers_stop(hf_keeper *keeper);
/* Requests that each thread has before it, recorded and ready to be signed. */
uint32_t hf_signers_backlog(const hf_keeper *keeper);
/*
 * The request will probably be signed: joins the group of its root, which is queued to be hashed by
 * the threads that hf_signers_wake wakes (when the protector has what it needs).
 */
void hf_signers_expect(hf_keeper *keeper, hf_request *request, const uint8_t root[HF_ROOT_BYTES]);
void hf_signers_wake(hf_keeper *keeper);
/* Lists of requests linked by next: recorded (I1), or not slashable: to be signed now. */
void hf_signers_sign(hf_keeper *keeper, hf_request *list);
/* Signs a recorded request on the calling thread; false, and nothing done, when its root is not
 * hashed yet. */
bool hf_signers_sign_here(hf_keeper *keeper, hf_request *request);
/* Refused after all. */
void hf_signers_forget(hf_keeper *keeper, hf_request *list);

/* ---- protector.c ----------------------------------------------------------------------------- */

#define HF_BATCH_MAX 1024

#include "keeper/flights.h"
#include "keeper/looks.h"

typedef struct hf_protector {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t thread;
    hf_store *store;
    hf_request *head;
    hf_request *tail;
    _Atomic size_t count; /* requests in the list; changed under the lock */
    bool is_expecting;    /* a request is being read */
    bool has_jobs;        /* those jobs that are done between two batches */
    bool is_new_store;    /* a store process was attached: look at its health now */
    bool stop;
    bool is_looked_at; /* healthy is more than a guess; as the next */
    bool healthy;      /* under lock, with the sentence; its thread alone writes it */
    char detail[HF_DETAIL_LEN];
    hf_watermark high;
    hf_looks looks;
    hf_flights flights;            /* its thread only */
    _Atomic uint64_t last_turn_ns; /* of its thread, which takes one a second at least */
    uint64_t next_health_ns;
    hf_message messages[HF_BATCH_MAX];
    hf_verdict verdicts[HF_BATCH_MAX];
} hf_protector;

/* jobs_store is another connection, owned, or the same store. */
hf_status hf_protector_init(hf_keeper *keeper, hf_store *take_store, hf_store *jobs_store);
void hf_protector_stop(hf_keeper *keeper);
/* Any thread. Can the store record, as far as is known? Otherwise the reason. */
bool hf_protector_is_healthy(hf_keeper *keeper, char ret_detail[HF_DETAIL_LEN]);
void hf_protector_push(hf_keeper *keeper, hf_request *list);
/* Any thread. A request comes within a moment: its thread stays awake for it. */
void hf_protector_expect(hf_keeper *keeper);
/* For looks.c, on its thread. The next question to the store waits as long as these may. */
void hf_protector_limit_wait(hf_keeper *keeper, const hf_request *list);
uint64_t hf_protector_last_ticket(const hf_request *list);
void hf_protector_refuse(hf_keeper *keeper, hf_request *list, hf_reason reason);
/* Are the tokens that these requests came with those of the moment of the last question? */
bool hf_protector_has_tokens(hf_keeper *keeper, const hf_request *list);
/* And is the request's one of them, and its key one still? */
hf_reason hf_protector_may_still(hf_keeper *keeper, const hf_request *request, bool has_tokens);
/* Are their lines durable? Otherwise they are refused. */
bool hf_protector_is_logged(hf_keeper *keeper, hf_request *list);
/* For flights.c, on its thread. At most HF_BATCH_MAX requests; with the lock held. */
hf_request *hf_protector_take_batch(hf_protector *protector);
/* Before the store is asked to decide on the list: the messages, their deadline, their audit. */
void hf_protector_prepare(hf_keeper *keeper, const hf_request *list, hf_message *ret_messages);
/* It was asked at start_ns and has said st, with protector->verdicts: signs, or refuses. False: it
 * has not said how far its records have come. */
bool hf_protector_finish(hf_keeper *keeper, hf_request *list, size_t n, uint64_t start_ns,
                         hf_status st, const hf_error *err);
/* Any thread. There are jobs to be done between two batches, or a new store process. */
void hf_protector_wake(hf_keeper *keeper, bool is_new_store);

/* ---- jobs.c: what the store does besides deciding -------------------------------------------- */

/* Work for the store besides signing requests. */
typedef enum hf_job_kind {
    HF_JOB_IMPORT_BEGIN,
    HF_JOB_IMPORT_ADD,
    HF_JOB_IMPORT_COMMIT,
    HF_JOB_IMPORT_ABORT,
    HF_JOB_PRUNE,
    HF_JOB_STATUS,
    HF_JOB_RAISE_FLOORS,
    HF_JOB_SET_HIGH,
    HF_JOB_CALL
} hf_job_kind;

/*
 * What a room of the keeper has to do with the store's records. Runs on the thread that does the
 * jobs; answers the peer (NULL: nobody asked) itself. frame is a copy, wiped afterwards.
 */
typedef void (*hf_job_call)(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame);

typedef struct hf_job {
    struct hf_job *next;
    hf_job_kind kind;
    hf_peer *peer; /* NULL: nobody waits for an answer */
    uint64_t request_id;
    uint64_t keep_epochs;
    uint64_t pruned;
    uint64_t session; /* IMPORT_BEGIN: which */
    hf_watermark watermark;
    hf_pass asker;
    uint32_t count; /* messages */
    hf_job_call call;
    size_t frame_len;
    hf_message messages[]; /* IMPORT_ADD; CALL: the frame */
} hf_job;

#define HF_JOBS_MAX 128

typedef struct hf_jobs {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t thread;
    bool has_thread; /* else the protector's thread does the jobs, over its own connection */
    hf_store *store;
    hf_job *head;
    hf_job *tail;
    unsigned count;
    bool stop;
    bool must_look;
    bool knows_high; /* who does the jobs only, as what follows */
    hf_pass asker;   /* whose call it is */
    uint64_t next_prune_ns;
} hf_jobs;

/* By hf_protector_init. With a thread, store is owned; else it is the protector's. */
hf_status hf_jobs_init(hf_keeper *keeper, hf_store *store, bool has_thread);
void hf_jobs_stop(hf_keeper *keeper);
/* Owns take_job; false (job freed) when too many wait. */
bool hf_jobs_push(hf_keeper *keeper, hf_job *take_job);
/*
 * Intake thread. The call will be made; otherwise false, and the peer was told. frame (NULL: none)
 * is one that the peer sent.
 */
bool hf_jobs_call(hf_keeper *keeper, hf_job_call call, hf_peer *peer, const void *frame);
bool hf_jobs_are_waiting(hf_keeper *keeper);
/* Any thread, with a jobs thread: records have changed. */
void hf_jobs_look(hf_keeper *keeper);
/* One job, and one step of pruning when it is time. */
void hf_jobs_work_once(hf_keeper *keeper);
uint64_t hf_jobs_next_ns(const hf_keeper *keeper);

/* ---- clerk.c: exports ------------------------------------------------------------------------ */

#define HF_CLERK_PAGES 4
#define HF_CLERK_WAITING_MAX 16

typedef struct hf_export_wanted {
    hf_peer *peer;
    uint64_t request_id;
    bool has_pubkey;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
} hf_export_wanted;

typedef struct hf_clerk {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t thread;
    bool stop;
    hf_export_wanted waiting[HF_CLERK_WAITING_MAX];
    size_t waiting_count;
    /* the export under way */
    uint64_t export_id; /* 0: none */
    hf_peer *peer;
    bool abandoned;
    bool finished;
    hf_reason reason;
    hf_msg_export_page *pages; /* a ring of HF_CLERK_PAGES, the newest being filled */
    size_t first;
    size_t filled;
    bool has_pending_read; /* a READ waits for a page */
    uint64_t pending_read; /* its request id */
} hf_clerk;

hf_status hf_clerk_init(hf_keeper *keeper);
void hf_clerk_stop(hf_keeper *keeper);
void hf_clerk_open(hf_keeper *keeper, hf_peer *peer, const hf_msg_pubkey *frame);
void hf_clerk_read(hf_keeper *keeper, hf_peer *peer, const hf_msg_export_read *frame);
void hf_clerk_forget_peer(hf_keeper *keeper, hf_peer *peer);

#include "keeper/eth1.h"

#include "keeper/duties.h"

#include "keeper/parked.h"

#include "keeper/auditor.h"
#include "keeper/custody.h"
#include "keeper/spending.h"

/* ---- loading.c: loads and imports of keys ---------------------------------------------------- */

#define HF_IMPORTS_MAX 32

typedef struct hf_key_import {
    uint64_t session; /* 0: free place */
    hf_peer *asker;   /* the front; refs held */
    uint64_t request_id;
    hf_peer *loader; /* NULL until its channel came */
    hf_key *key;     /* decrypted, not yet persisted */
    bool is_sealed;  /* becomes a sealed key: no loader keeps it */
    hf_pass pass;
} hf_key_import;

typedef struct hf_key_deletion {
    hf_peer *asker; /* NULL: free place; refs held */
    uint64_t request_id;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_pass pass;
} hf_key_deletion;

#define HF_DELETIONS_MAX 256

typedef struct hf_loading {
    hf_peer *loader; /* the load under way */
    bool is_running;
    bool has_loaded; /* the loader is done; back ends of custody may still be awaited */
    bool first_done;
    hf_reload_state state;
    uint32_t total;
    uint32_t done;
    uint32_t failed;
    int64_t finished_unix_ms;
    char error[HF_DETAIL_LEN];
    uint64_t last_session;
    hf_key_import imports[HF_IMPORTS_MAX];
    hf_key_deletion deletions[HF_DELETIONS_MAX];
    size_t deletion_count;
} hf_loading;

hf_reason hf_loading_start(hf_keeper *keeper);
void hf_loading_frame(hf_keeper *keeper, hf_peer *peer, const void *frame);
/* is_sealed: into the sealed store, when it has been opened. */
void hf_loading_import(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, bool is_sealed,
                       int take_fd);
void hf_loading_import_frame(hf_keeper *keeper, hf_peer *peer, const void *frame);
/* An opened key that waits for its turn to be sealed, and its end; NULL: none. */
hf_key_import *hf_loading_sealed_next(hf_keeper *keeper);
void hf_loading_sealed_end(hf_keeper *keeper, hf_key_import *import, const char *failure);
void hf_loading_delete(hf_keeper *keeper, hf_peer *peer, const hf_msg_pubkey *frame);
void hf_loading_peer_gone(hf_keeper *keeper, hf_peer *peer);
/* The counts of keys, for metrics. */
void hf_loading_publish(hf_keeper *keeper);
/* One key that cannot be used. */
void hf_loading_note_failure(hf_keeper *keeper, const char *name, const char *detail);
/* A back end of custody that the load waited for has listed its keys, or will not. */
void hf_loading_settle_custody(hf_keeper *keeper);
/* Frees removed keys and answers the deletions that waited for them. */
void hf_loading_settle(hf_keeper *keeper);

/* ---- intake.c, dispatch.c, answers.c, run.c -------------------------------------------------- */

struct hf_keeper {
    hf_msg_keeper_config config;
    hf_sqlite_config store_config;
    char token[HF_TOKEN_LEN];
    hf_harden_report report;
    int64_t started_unix_ms;
    int lock_fd;
    int epoll_fd;
    int nudge_fd; /* eventfd: "look at outboxes, removed keys, stop" */
    bool stopping;
    bool failed;             /* exit status 1 */
    _Atomic uint32_t unsent; /* answers in all outboxes */
    _Atomic bool closing;    /* a peer that is gone waits for its last reference */
    hf_peer *control;
    hf_peer *importer;                /* the channel whose slashing import is open */
    uint64_t import_session;          /* the last that was begun */
    _Atomic uint64_t refused_session; /* the last that the store did not begin */
    hf_peer peers[HF_PEERS_MAX];
    hf_keyring ring;
    hf_request_pool requests;
    hf_store_client *store_clients[HF_STORE_LANES]; /* NULL: the store is in this process */
    hf_jobs jobs;
    hf_guard guard;
    hf_protector protector;
    hf_signers signers;
    hf_clerk clerk;
    hf_duties duties;
    hf_custody_room custody;
    hf_eth1_room eth1;
    hf_spending_log spending;
    hf_auditor auditor;
    hf_loading loading;
    hf_tokens tokens;
    hf_pass asker;        /* of the question under way; intake thread only */
    const hf_token *seer; /* of it: policies allowed it, and say which keys may be listed */
    uint64_t look;        /* of it: the look that it waited for; 0: none */
    hf_reason doubt;      /* of it: why its token cannot be confirmed */
    hf_token_looks token_looks;
    hf_seal_room seal;
    hf_policies policies;
    hf_meter meter;
    hf_inbox *inbox;             /* intake thread only, as the next */
    hf_pass import_asker;        /* who began the slashing import */
    bool inbox_is_secret;        /* a frame with secrets was among the last */
    _Atomic uint64_t log_second; /* the second that log_lines counts in */
    _Atomic uint32_t log_lines;
};

/* dispatch.c: hands an acceptable frame to its handler; sets *fd to -1 when that keeps it. */
void hf_dispatch(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
/* The same of one that was let in, as keeper->asker. */
void hf_dispatch_now(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
bool hf_dispatch_is_action(uint16_t type);
/* What this frame asks the gate; false: nothing. DUTY_SIGN and ETH1_SIGN say their key later. */
bool hf_dispatch_question(hf_keeper *keeper, const hf_peer *peer, const void *frame,
                          hf_gate_question *ret_question);
/* actions.c: keeps it until it is written down, and then answers for it; false: no log is kept. */
bool hf_actions_hold(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
/* Takes up those that are written down by now. */
void hf_actions_turn(hf_keeper *keeper);
/* Serves until told to stop. */
void hf_intake_loop(hf_keeper *keeper);
void hf_intake_nudge(hf_keeper *keeper); /* any thread */
/* A question that had to wait is asked again. */
void hf_intake_again(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
/* One that waited for that look: in doubt, with the reason, when its token cannot be confirmed. */
void hf_intake_looked(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd, uint64_t look,
                      hf_reason doubt);
/* Ends a request with this reason: counts, answers, releases its key. Any thread. */
void hf_request_finish(hf_keeper *keeper, hf_request *request, hf_reason reason,
                       const char *detail);

/* Refusals are logged up to a number a second. Any thread. */
bool hf_refusal_may_be_logged(hf_keeper *keeper);

/* answers.c: frames that are answered from what is known. */
void hf_answer_keys(hf_keeper *keeper, hf_peer *peer, const hf_msg_keys *frame);
/* in_full: with what only some may know. */
void hf_answer_status(hf_keeper *keeper, hf_peer *peer, const hf_frame_header *header,
                      bool in_full);
void hf_answer_metrics(hf_keeper *keeper, hf_peer *peer, const hf_frame_header *header);

#endif
