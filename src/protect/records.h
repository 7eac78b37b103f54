/*
 * Records: small versioned things that a store keeps beside the slashing history: sealed keys, the
 * seal's own description, tokens, policies. Included by protect.h.
 *
 * The store knows nothing of what they hold; who writes one binds its content to its kind, id and
 * version (src/seal), so that a row that was swapped or put back is noticed by who reads it.
 */
#ifndef HF_PROTECT_RECORDS_H
#define HF_PROTECT_RECORDS_H

#define HF_RECORD_ID_BYTES 48
#define HF_RECORD_DATA_MAX 60000
/* Changes that are made together, all or none. */
#define HF_RECORD_CHANGES_MAX 64

typedef enum hf_record_kind {
    HF_RECORD_SEAL = 1, /* the seal's description, the manifest of sealed keys */
    HF_RECORD_KEY,
    HF_RECORD_TOKEN,
    HF_RECORD_POLICY,
    HF_RECORD_META,
    HF_RECORD_KIND_END
} hf_record_kind;

typedef struct hf_record {
    uint32_t kind; /* hf_record_kind */
    uint32_t len;
    uint64_t version; /* 1 and up; rises by one with every change of this record */
    uint8_t id[HF_RECORD_ID_BYTES];
    const uint8_t *data; /* len bytes, borrowed */
} hf_record;

typedef struct hf_record_change {
    hf_record record;  /* its version is ignored: it becomes expected + 1 */
    uint64_t expected; /* the version it must have now; 0: it must not exist */
    bool is_removal;   /* of the version expected */
    uint8_t reserved[7];
} hf_record_change;

/* Receives one record; its data is borrowed for the call. A failure ends the reading. */
typedef hf_status (*hf_record_visitor)(void *context, const hf_record *record);

#endif
