/*
 * How keys come to the keeper: the frames of a loader. Included by ipc.h.
 *
 * A load: LOAD_BEGIN, then SOURCE for every key file found (the keeper answers whether that file,
 * with that stamp, is loaded already), then KEY or KEY_FAILED for the rest in any order from the
 * loader's workers, then LOAD_DONE. Keys of files that were not named in the load are dropped.
 * An import: KEY, answered by RESULT (hf_key_outcome); when IMPORTED, the loader writes the file
 * and sends KEY_PERSISTED, and only then may the key sign; or KEY_FAILED.
 */
#ifndef HF_IPC_KEYS_H
#define HF_IPC_KEYS_H

typedef struct hf_msg_load_count {
    hf_frame_header header; /* LOAD_BEGIN: files found. LOAD_DONE: files failed */
    uint32_t count;
    uint32_t reserved;
} hf_msg_load_count;

typedef struct hf_msg_source {
    hf_frame_header header;
    uint8_t source_id[HF_SOURCE_ID_LEN]; /* BLAKE2b of the file's absolute path */
    uint64_t stamp;                      /* changes when the file (or its password) does */
} hf_msg_source;

typedef struct hf_msg_source_reply {
    hf_frame_header header;
    uint8_t known; /* 0 or 1 */
    uint8_t reserved[7];
} hf_msg_source_reply;

#define HF_SOURCE_NONE UINT32_MAX

typedef struct hf_msg_key {
    hf_frame_header header;
    uint8_t source_id[HF_SOURCE_ID_LEN];
    uint64_t stamp;
    uint8_t secret[HF_BLS_SECRET_BYTES]; /* big endian; the keeper derives the public key itself */
    uint32_t backend;
    uint32_t key_type; /* hf_key_type */
    uint32_t source;   /* place in signing_keys, for its tags; HF_SOURCE_NONE */
    uint32_t reserved;
} hf_msg_key;

typedef struct hf_msg_key_failed {
    hf_frame_header header;
    uint8_t source_id[HF_SOURCE_ID_LEN];
    char name[256]; /* file name, for the log */
    char detail[HF_DETAIL_LEN];
} hf_msg_key_failed;

#endif
