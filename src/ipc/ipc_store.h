/*
 * The process that speaks to a shared database (holdfast-store) and the keeper: frames on
 * HF_CHANNEL_STORE. Included by ipc.h.
 *
 * The keeper asks, one question at a time on each lane, with a request_id that it never uses again:
 * STORE_MESSAGES (as many frames as a batch needs, in order) is answered by STORE_VERDICTS or
 * STORE_RESULT, STORE_CALL by STORE_RESULT, STORE_EXPORT and each STORE_NEXT by STORE_PAGE. An
 * Records travel in pages: the keeper sends STORE_CHANGE, each page answered by STORE_RESULT and
 * the last one with what became of the changes; HF_CALL_RECORDS and each STORE_NEXT are answered by
 * a page of STORE_RECORDS. An answer with another request_id than that of the open question is
 * late, and dropped. A question whose deadline is over when it is read is neither worked on nor
 * answered.
 */
#ifndef HF_IPC_STORE_H
#define HF_IPC_STORE_H

typedef enum hf_store_backend {
    HF_STORE_SQLITE = 0, /* in the keeper itself; there is no store process */
    HF_STORE_POSTGRES,
    HF_STORE_DYNAMODB,
    HF_STORE_BACKEND_COUNT
} hf_store_backend;

/* "sqlite" and so on, as in the configuration; never NULL. */
const char *hf_store_backend_name(hf_store_backend backend);

/* Each lane is a channel and, in the store process, a thread and a connection of its own: what an
 * operator asks for delays no signature. */
typedef enum hf_store_lane {
    HF_LANE_SIGNING = 0, /* decide, health */
    HF_LANE_ADMIN,       /* import, prune, watermarks, status */
    HF_LANE_EXPORT,
    HF_STORE_LANES
} hf_store_lane;

#define HF_STORE_URL_LEN 2048
#define HF_STORE_TABLE_LEN 256
#define HF_STORE_REGION_LEN 64
#define HF_STORE_ENDPOINT_LEN 512

/* Supervisor -> store, with the lanes on descriptors HF_FD_STORE_LANES and following, and the duty
 * channel behind them where duties are configured. Holds a password: wiped by who handled it. */
typedef struct hf_msg_store_config {
    hf_frame_header header;
    hf_hardening_config hardening;
    hf_log_config log;
    uint8_t genesis_validators_root[HF_ROOT_BYTES];
    uint32_t backend;    /* hf_store_backend, not SQLITE */
    uint32_t timeout_ms; /* no question of the signing lane waits longer for the database */
    uint8_t auto_migrate;
    uint8_t create_table;
    uint8_t reserved[6];
    char url[HF_STORE_URL_LEN];     /* POSTGRES */
    char table[HF_STORE_TABLE_LEN]; /* DYNAMODB and following */
    char region[HF_STORE_REGION_LEN];
    char endpoint[HF_STORE_ENDPOINT_LEN];
} hf_msg_store_config;

typedef enum hf_store_call {
    HF_CALL_DECIDE = 0, /* STORE_MESSAGES, answered by STORE_VERDICTS */
    HF_CALL_IMPORT_ADD, /* STORE_MESSAGES */
    HF_CALL_HEALTH,     /* the others: STORE_CALL */
    HF_CALL_IMPORT_BEGIN,
    HF_CALL_IMPORT_COMMIT,
    HF_CALL_IMPORT_ABORT,
    HF_CALL_PRUNE,
    HF_CALL_RAISE_FLOORS,
    HF_CALL_SET_HIGH,
    HF_CALL_STATUS,
    HF_CALL_RECORDS,        /* answered by STORE_RECORDS */
    HF_CALL_CHANGE_RECORDS, /* STORE_CHANGE */
    HF_CALL_TAKE_OVER,
    HF_CALL_ANCHOR_GET,
    HF_CALL_ANCHOR_SET,
    HF_CALL_LOOK,
    HF_CALL_COUNT
} hf_store_call;

#define HF_STORE_PAGE 64         /* messages in one frame */
#define HF_STORE_BATCH_MAX 1024U /* messages in one question */
#define HF_STORE_BATCH_FRAMES (HF_STORE_BATCH_MAX / HF_STORE_PAGE)

typedef struct hf_msg_store_messages {
    hf_frame_header header;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC */
    uint32_t call;        /* HF_CALL_DECIDE or HF_CALL_IMPORT_ADD */
    uint32_t total;       /* of the question */
    uint32_t first;       /* place of the first one here */
    uint32_t count;
    hf_message messages[HF_STORE_PAGE];
} hf_msg_store_messages;

typedef struct hf_msg_store_verdicts {
    hf_frame_header header;
    uint32_t code; /* hf_code; when not OK, no verdict counts */
    uint32_t count;
    uint64_t generation;                  /* of the records */
    uint8_t verdicts[HF_STORE_BATCH_MAX]; /* hf_verdict each */
    char detail[HF_DETAIL_LEN];
    hf_store_mark mark; /* when OK */
} hf_msg_store_verdicts;

typedef struct hf_msg_store_call {
    hf_frame_header header;
    uint64_t deadline_ns;
    uint32_t call;
    uint8_t has_watermark; /* SET_HIGH: 0 removes it. TAKE_OVER: 0 raises nothing */
    uint8_t record_kind;   /* RECORDS: hf_record_kind */
    uint8_t reserved[2];
    uint64_t keep_epochs; /* PRUNE */
    uint64_t slots_per_epoch;
    hf_watermark watermark;            /* RAISE_FLOORS, SET_HIGH, TAKE_OVER */
    uint8_t lineage[HF_LINEAGE_BYTES]; /* TAKE_OVER */
    hf_store_anchor anchor;            /* ANCHOR_SET; ANCHOR_GET: log_id */
} hf_msg_store_call;

typedef struct hf_msg_store_result {
    hf_frame_header header;
    uint32_t code; /* hf_code */
    uint32_t call;
    char detail[HF_DETAIL_LEN];
    uint64_t generation;   /* of the records */
    uint64_t rows_deleted; /* PRUNE */
    uint8_t more;
    uint8_t reserved[7];
    hf_import_report report; /* IMPORT_COMMIT */
    hf_store_status status;  /* STATUS */
    hf_store_mark mark;      /* HEALTH, TAKE_OVER */
    hf_store_anchor anchor;  /* ANCHOR_GET */
} hf_msg_store_result;

typedef struct hf_msg_store_export {
    hf_frame_header header;
    uint8_t has_pubkey;
    uint8_t reserved[7];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
} hf_msg_store_export;

typedef struct hf_msg_store_page {
    hf_frame_header header;
    uint32_t code;
    uint32_t count;
    uint8_t done; /* 1: the last page */
    uint8_t reserved[7];
    char detail[HF_DETAIL_LEN];
    hf_message messages[HF_STORE_PAGE];
} hf_msg_store_page;

#define HF_RECORDS_PAGE_BYTES 61440

typedef struct hf_record_head {
    uint32_t kind;
    uint32_t len;     /* of the data behind it */
    uint64_t version; /* of a change: the one expected */
    uint8_t id[HF_RECORD_ID_BYTES];
    uint8_t is_removal;
    uint8_t reserved[7];
} hf_record_head;

/* STORE_CHANGE: a part of a question. STORE_RECORDS: a part of an answer. */
typedef struct hf_msg_store_records {
    hf_frame_header header;
    uint64_t deadline_ns; /* of a question */
    uint64_t generation;  /* of an answer */
    uint32_t code;        /* hf_code of an answer */
    uint32_t count;       /* records in this page */
    uint32_t used;        /* bytes of them */
    uint8_t first;        /* 1: the first page of a question */
    uint8_t done;         /* 1: the last page */
    uint8_t reserved[2];
    char detail[HF_DETAIL_LEN];
    uint8_t bytes[HF_RECORDS_PAGE_BYTES];
} hf_msg_store_records;

/* False, and nothing done, when the page has no room for it. */
bool hf_records_pack(hf_msg_store_records *page, const hf_record_change *change);
/* The next one from *offset on, borrowed from the page; false when there is none, or no sane one:
 * *offset is then page->used only if all was well. */
bool hf_records_unpack(const hf_msg_store_records *page, size_t *offset,
                       hf_record_change *ret_change);

/* The first frame of the signing lane: who is there, and under which protections. */
typedef struct hf_msg_store_hello {
    hf_frame_header header;
    uint32_t backend;
    uint32_t protection_count;
    hf_protection protections[HF_PROTECTIONS_MAX];
} hf_msg_store_hello;

#endif
