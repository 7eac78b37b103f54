/*
 * The room of the seal: states and ceremonies (seal.c), what the store keeps of it (seal_vault.c),
 * and the sealed keys (seal_keys.c).
 *
 * All of it belongs to the intake thread. The store is reached by tasks on the thread that does the
 * jobs, one at a time: the intake thread prepares a task, the other runs it and hands it back
 * (hf_seal_turn takes it up). Tasks hold ciphertext and public things alone; secrets stay in one
 * locked slot, wiped when the signer is sealed.
 */
#ifndef HF_KEEPER_SEAL_INTERNAL_H
#define HF_KEEPER_SEAL_INTERNAL_H

#include "ipc/ipc.h"
#include "seal/seal.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct hf_keeper hf_keeper;
typedef struct hf_peer hf_peer;
struct hf_key;

/* ---- secrets: the one locked slot
 * ----------------------------------------------------------------- */

typedef struct hf_seal_secrets {
    uint8_t master[HF_SEAL_KEY_BYTES];
    uint8_t next_master[HF_SEAL_KEY_BYTES]; /* of a change that is not yet kept */
    hf_seal_keys keys;
    hf_seal_keys previous_keys; /* while records are being sealed anew */
    hf_seal_share shares[HF_SEAL_HOLDERS_MAX];
    hf_seal_share next_shares[HF_SEAL_HOLDERS_MAX];
    hf_seal_share scratch;
} hf_seal_secrets;

/* ---- tasks
 * ----------------------------------------------------------------------------------------- */

typedef enum hf_seal_task_kind {
    HF_SEAL_TASK_LOOK = 0, /* the configuration alone */
    HF_SEAL_TASK_READ,     /* configuration, manifest and keys, of one moment */
    HF_SEAL_TASK_WRITE
} hf_seal_task_kind;

/* What a write was for: who takes it up when it is done. */
typedef enum hf_seal_aim {
    HF_SEAL_AIM_START = 0, /* LOOK at the start, and again when it failed */
    HF_SEAL_AIM_OPEN,      /* READ after the last share */
    HF_SEAL_AIM_KEEP,      /* WRITE of a new configuration */
    HF_SEAL_AIM_ADD,       /* WRITE of new keys */
    HF_SEAL_AIM_CHANGE,    /* WRITE of a changed or removed key */
    HF_SEAL_AIM_CLOSE,     /* WRITE that tells the other nodes to seal themselves */
    HF_SEAL_AIM_NOTICE,    /* LOOK, because another node changed some record */
    HF_SEAL_AIM_REREAD,    /* READ because another node changed something, or a write conflicted */
    HF_SEAL_AIM_ROTATE     /* WRITE of records sealed anew */
} hf_seal_aim;

/* A record as it was read: ciphertext. */
typedef struct hf_seal_row {
    hf_sealed_key key; /* what it says of itself; type 0xff: not even that */
    uint64_t version;
    uint8_t id[HF_RECORD_ID_BYTES];
    uint32_t len;
    uint8_t data[HF_SEALED_RECORD_BYTES];
} hf_seal_row;

typedef struct hf_seal_page_row {
    bool is_there;
    uint64_t version;
    uint32_t len;
    uint8_t *data;
} hf_seal_page_row;

typedef struct hf_seal_found {
    bool has_config;
    uint64_t config_version;
    hf_status config_status;
    hf_seal_config config;
    uint64_t closed_version; /* rises with each seal command of any node; 0: none so far */
    hf_seal_page_row head;
    hf_seal_page_row pages[HF_MANIFEST_PAGES];
    hf_seal_row *rows;
    size_t row_count;
    size_t row_max;
    uint64_t generation;
} hf_seal_found;

typedef struct hf_seal_task {
    hf_seal_task_kind kind;
    hf_seal_aim aim;
    hf_peer *asker;       /* who gets the answer; refs held; may be NULL */
    struct hf_pass *pass; /* who that is, for the audit; owned */
    uint64_t request_id;
    hf_status status;
    hf_error err;
    hf_seal_found *found; /* LOOK, READ */
    /* WRITE */
    uint64_t generation_before; /* of the store; and after it */
    uint64_t generation_after;
    hf_record_change changes[HF_RECORD_CHANGES_MAX];
    uint8_t *data[HF_RECORD_CHANGES_MAX]; /* owned; what changes[i].record.data points to */
    size_t change_count;
    hf_seal_config *config;                     /* KEEP: what it becomes */
    bool is_register;                           /* the answer is a RESULT */
    hf_manifest_page *pages[HF_MANIFEST_PAGES]; /* what they become; owned */
    hf_manifest_head head;
    bool has_head;
    hf_msg_sealed_added *added; /* ADD: the answer */
    bool is_single;             /* ADD: the answer is a RESULT, of the one key */
    hf_seal_row *rows;          /* ADD, CHANGE: the records that become keys, or go */
    size_t row_count;
    uint64_t started_ns;
} hf_seal_task;

/* ---- holders that are tokens (seal_tokens.c)
 * ------------------------------------------------------- */

typedef enum hf_seal_token_phase {
    HF_SEAL_TOKEN_IDLE = 0,
    HF_SEAL_TOKEN_OUT,     /* the rest is the custody thread's */
    HF_SEAL_TOKEN_ANSWERED /* the rest is the intake thread's again */
} hf_seal_token_phase;

/* The question to one holder's back end. */
typedef struct hf_seal_token {
    _Atomic int phase;
    bool is_wrap;
    uint64_t serial; /* of the room, when it was asked */
    hf_reason reason;
    uint32_t len;
    uint8_t blob[HF_SEAL_BLOB_MAX];
    hf_seal_share *share; /* in a locked slot */
    char detail[HF_DETAIL_LEN];
    uint64_t again_ns;
    uint64_t pause_ns;
} hf_seal_token;

/* ---- the room
 * ---------------------------------------------------------------------------------------- */

typedef struct hf_seal_room {
    bool is_configured;
    bool is_known; /* the store was read */
    hf_seal_state state;
    int64_t since_unix_ms;
    hf_seal_config config;
    uint64_t config_version; /* of its record; 0: none */
    hf_seal_config next;     /* of a change under way */
    uint32_t next_registered;
    bool has_next;
    hf_seal_purpose next_purpose;
    uint32_t given;
    uint64_t deadline_ns; /* when partial shares or registrations are dropped; 0: none */
    uint64_t wrong[HF_SEAL_HOLDERS_MAX];
    uint64_t blocked_until_ns[HF_SEAL_HOLDERS_MAX];
    uint64_t stray_wrong; /* shares of nobody */
    uint64_t stray_blocked_until_ns;
    hf_slab *slab;
    hf_seal_secrets *secrets;
    /* sealed keys: what the manifest says, while unsealed */
    hf_manifest_head head;
    hf_manifest_page *pages[HF_MANIFEST_PAGES];
    bool is_page_old[HF_MANIFEST_PAGES]; /* under the master key before */
    bool is_loading;
    uint32_t keys_active;
    uint32_t keys_inactive;
    uint32_t keys_refused;
    uint32_t keys_to_rotate;
    bool is_rotating; /* records are being sealed anew */
    char detail[HF_DETAIL_LEN];
    uint64_t opening_ns;     /* when the last share came */
    hf_seal_found *rotating; /* records that are being sealed anew */
    unsigned rotating_page;
    hf_peer *closer; /* is answered when no request uses a removed key any more */
    uint64_t closer_request_id;
    uint64_t closer_value;
    hf_msg_sealed_change change; /* under way, while a task with that aim is */
    uint64_t look_again_ns;
    uint64_t read_again_ns;     /* unsealed, and the records could not be read */
    uint64_t rotate_again_ns;   /* the rotation could not go on */
    uint64_t machines_again_ns; /* key files came while the store was being read; 0: none did */
    uint64_t tell_again_ns;     /* the other nodes are still to be told to seal themselves; 0: no */
    /* Nodes that share the store: any thread reads these. */
    uint64_t closed_version;    /* as of the last reading */
    _Atomic uint64_t seen;      /* the store's generation that this node has caught up with */
    _Atomic uint64_t there_are; /* the latest generation that was heard of */
    _Atomic bool is_open;
    hf_seal_token tokens[HF_SEAL_HOLDERS_MAX]; /* by place of the holder */
    bool tokens_wanted;
    uint64_t serial;   /* rises when shares and changes are dropped: older answers count no more */
    hf_peer *beginner; /* of a change whose shares are being wrapped; refs held */
    uint64_t beginner_id;
    uint64_t beginner_serial;
    bool is_asked;      /* a question is being handled: keeper->asker did it */
    hf_seal_task *task; /* under way, or NULL */
    _Atomic(hf_seal_task *) done;
} hf_seal_room;

hf_status hf_seal_init(hf_keeper *keeper, hf_error *err);
void hf_seal_done(hf_keeper *keeper);
/* Intake thread, every turn: takes up what the store answered, and lets time pass. */
void hf_seal_turn(hf_keeper *keeper);
/* Intake thread: any of the frames above that go to the keeper. */
void hf_seal_frame(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
/* 0: no sealed keys are configured; else 1 + hf_seal_state. */
uint8_t hf_seal_state_for_status(const hf_keeper *keeper);
/* Any thread: the store is at this generation. */
void hf_seal_note_generation(hf_keeper *keeper, uint64_t generation);
/*
 * Any thread: may a request of a sealed key be signed as of this generation? Waits a moment
 * for what another node changed. SEALED, UNKNOWN_KEY, STORE_UNAVAILABLE.
 */
hf_reason hf_seal_catch_up(hf_keeper *keeper, const struct hf_key *key, uint64_t generation);
/* Seals this node at once and has the nodes that share its store sealed, again and again until the
 * store has heard of it. Intake thread. */
void hf_seal_shut_everywhere(hf_keeper *keeper, const char *why);
/* Why is an unknown key not there? SEALED, or UNKNOWN_KEY. */
hf_reason hf_seal_reason_of_absence(const hf_keeper *keeper);
/* Is there a record of this key that signs, now or after the next opening? As far as is known. */
bool hf_seal_has_active(const hf_keeper *keeper, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES]);

/* ---- inside
 * ------------------------------------------------------------------------------------------ */

/* seal.c */
void hf_seal_enter(hf_keeper *keeper, hf_seal_state state, const char *why);
void hf_seal_shut(hf_keeper *keeper, hf_seal_state state, const char *why);
/* What the event does now; false: nothing, and the asker was told. */
bool hf_seal_take_step(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, hf_seal_event event,
                       hf_seal_state *ret_next);
/* Answers when no request uses a sealed key any more. */
void hf_seal_answer_later(hf_keeper *keeper, hf_peer *peer, uint64_t request_id);
/* The share in scratch, which is right, of this holder. */
void hf_seal_take_share(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, unsigned holder);
/* seal_tokens.c */
bool hf_seal_kind_is_token(unsigned kind);
/* Can all holders that are tokens be reached by what is configured? USAGE. */
hf_status hf_seal_tokens_check(const hf_keeper *keeper, const hf_seal_config *config,
                               hf_error *err);
unsigned hf_seal_tokens_unregistered(const hf_seal_room *room);
/* Has their shares of the change wrapped, and then answers by hf_seal_begun. False: not now. */
bool hf_seal_tokens_wrap(hf_keeper *keeper, hf_peer *peer, uint64_t request_id);
/* From now on, until it is sealed again: their shares are wanted. */
void hf_seal_tokens_ask(hf_keeper *keeper);
/* True: that was a word for a holder that is a token, and is answered. */
bool hf_seal_tokens_submit(hf_keeper *keeper, hf_peer *peer, const hf_msg_seal_submit *frame);
void hf_seal_tokens_turn(hf_keeper *keeper);
void hf_seal_tokens_init(hf_seal_room *room);
void hf_seal_tokens_done(hf_keeper *keeper);
/* seal_nodes.c */
/* Tells nodes that share the store to seal themselves; false: not now. */
bool hf_seal_tell_others(hf_keeper *keeper, hf_peer *peer, uint64_t request_id);
void hf_seal_told_others(hf_keeper *keeper, hf_seal_task *task);
void hf_seal_tell_again(hf_keeper *keeper);
void hf_seal_noticed(hf_keeper *keeper, hf_seal_task *task);
void hf_seal_look_when_behind(hf_keeper *keeper);
/* Our own change is no news. */
void hf_seal_note_write(hf_keeper *keeper, const hf_seal_task *task);
/* seal_status.c */
void hf_seal_on_status(hf_keeper *keeper, hf_peer *peer, const hf_msg_ask *frame);
/* seal_change.c */
void hf_seal_on_begin(hf_keeper *keeper, hf_peer *peer, const hf_msg_seal_begin *frame);
void hf_seal_on_register(hf_keeper *keeper, hf_peer *peer, const hf_msg_seal_register *frame);
void hf_seal_drop_next(hf_seal_room *room);
/* Answers who began a change: with the printed shares, when others have yet to register, else when
 * it is kept. */
void hf_seal_begun(hf_keeper *keeper, hf_peer *peer, uint64_t request_id);
/* Candidates who have yet to register. */
unsigned hf_seal_unregistered(const hf_seal_room *room);
void hf_seal_kept(hf_keeper *keeper, hf_seal_task *task);
void hf_seal_not_kept(hf_keeper *keeper, hf_seal_task *task);
/* Writes a configuration that ends a rotation. */
bool hf_seal_write_end(hf_keeper *keeper);
/* seal_vault.c */
hf_seal_task *hf_seal_task_new(hf_seal_task_kind kind, hf_seal_aim aim, hf_peer *asker,
                               uint64_t request_id);
void hf_seal_task_free(hf_keeper *keeper, hf_seal_task *task);
/* Owns take_task; false: another is under way or there is no room (the asker was told BUSY). */
bool hf_seal_task_start(hf_keeper *keeper, hf_seal_task *take_task);
void hf_seal_found_free(hf_seal_found *found);
/* Adds a change; take_data is owned. */
void hf_seal_task_change(hf_seal_task *task, hf_record_kind kind,
                         const uint8_t id[HF_RECORD_ID_BYTES], uint64_t expected,
                         uint8_t *take_data, size_t len);
void hf_seal_id_of_config(uint8_t ret_id[HF_RECORD_ID_BYTES]);
void hf_seal_id_of_closing(uint8_t ret_id[HF_RECORD_ID_BYTES]);
void hf_seal_id_of_head(uint8_t ret_id[HF_RECORD_ID_BYTES]);
void hf_seal_id_of_page(unsigned number, uint8_t ret_id[HF_RECORD_ID_BYTES]);
/* Writes a page that the task has, and then the head. False: no memory. */
bool hf_seal_task_page(hf_keeper *keeper, hf_seal_task *task, unsigned number);
bool hf_seal_task_head(hf_keeper *keeper, hf_seal_task *task);
/* seal_keys.c */
/* Owns nothing; opens all records into the ring, and says in detail which of them do not fit. */
void hf_seal_open_keys(hf_keeper *keeper, const hf_seal_found *found);
void hf_seal_forget_keys(hf_keeper *keeper);
void hf_seal_publish(hf_keeper *keeper);
/* Opens a record with the key of its term. */
hf_status hf_seal_open_row(const hf_seal_room *room, const hf_seal_row *row,
                           uint8_t ret_secret[HF_SEALED_SECRET_BYTES]);
/* NULL: it is as it should be, and signs when it is active. Else what is wrong. */
const char *hf_seal_open_key(hf_keeper *keeper, const hf_seal_row *row);
/* seal_records.c */
/* A copy of the page for the task to change, which owns it. NULL: no memory. */
hf_manifest_page *hf_seal_page_for(hf_keeper *keeper, hf_seal_task *task, unsigned number);
/* The same secret under key, one version further. NULL: no memory, or it does not open. */
uint8_t *hf_seal_reseal(hf_keeper *keeper, const hf_seal_row *row, hf_sealed_key *key);
/* What a task wrote is what counts. */
void hf_seal_take_manifest(hf_seal_room *room, hf_seal_task *task);
void hf_seal_keys_frame(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
void hf_seal_take_import(hf_keeper *keeper);
void hf_seal_keys_written(hf_keeper *keeper, hf_seal_task *task);
/* seal_rotate.c */
void hf_seal_rotate_start(hf_keeper *keeper);
/* The same, when the store may have come back. */
void hf_seal_rotate_later(hf_keeper *keeper);
void hf_seal_rotation_read(hf_keeper *keeper, hf_seal_task *task);
void hf_seal_rotate_step(hf_keeper *keeper);

#endif
