/* The counters of metrics, which the keeper holds and a front prints. Included by ipc.h. */
#ifndef HF_IPC_METRICS_H
#define HF_IPC_METRICS_H

/* -- metrics: counters since the keeper's start -- */

typedef enum hf_stage {
    HF_STAGE_DECODE = 0,
    HF_STAGE_DECIDE,
    HF_STAGE_SIGN,
    HF_STAGE_TOTAL,
    HF_STAGE_COUNT
} hf_stage;
typedef enum hf_sign_result {
    HF_RESULT_SIGNED = 0,
    HF_RESULT_REFUSED,
    HF_RESULT_FAILED,
    HF_RESULT_COUNT
} hf_sign_result;

typedef enum hf_duty_stage {
    HF_DUTY_STAGE_ACQUIRE = 0,
    HF_DUTY_STAGE_COMPLETE,
    HF_DUTY_STAGE_TOTAL,
    HF_DUTY_STAGE_COUNT
} hf_duty_stage;

#define HF_BUCKETS 16
/* Upper bounds in nanoseconds of the first HF_BUCKETS - 1 buckets; the last is +Inf. */
extern const uint64_t hf_bucket_bounds_ns[HF_BUCKETS - 1];

typedef struct hf_histogram {
    uint64_t counts[HF_BUCKETS]; /* not cumulative */
    uint64_t sum_ns;
} hf_histogram;

/* One back end of custody. */
typedef struct hf_custody_counters {
    uint64_t done;   /* questions answered: signatures, and wrapped or unwrapped secrets */
    uint64_t failed; /* the rest, of which: */
    uint64_t late;   /* no answer in time */
    uint64_t wrong;  /* signatures of another key */
    uint64_t starts; /* of its process */
    uint64_t healthy;
    uint64_t keys;
    hf_histogram duration; /* of those done */
} hf_custody_counters;

#define HF_BATCH_BUCKETS 12
/* Upper bounds of batch sizes 1, 2, 4, ... 1024; the last is +Inf. */
typedef struct hf_metrics {
    uint64_t requests[HF_OP_COUNT][HF_RESULT_COUNT];
    uint64_t refusals[HF_REASON_COUNT];
    hf_histogram duration[HF_OP_COUNT][HF_STAGE_COUNT];
    hf_histogram store_commit;
    uint64_t batch_counts[HF_BATCH_BUCKETS];
    uint64_t batch_sum;
    uint64_t keys_loaded[HF_BACKEND_COUNT];
    uint64_t keys_failed;
    uint64_t malformed_requests; /* refused by a front before they reached the keeper */
    uint64_t missing_keys;
    uint64_t reloads;
    uint64_t pruned_rows;
    uint64_t bad_frames;
    uint64_t in_flight;
    uint64_t overload;
    uint64_t store_failures;
    uint64_t store_healthy;
    uint64_t guard_state;        /* hf_guard_state */
    uint64_t store_starts;       /* connections to a store process so far */
    uint64_t store_late_answers; /* dropped: their question was given up */
    uint64_t fronts_started;
    uint64_t hash_cache_hits;
    uint64_t hash_cache_misses;
    uint64_t uptime_ms;
    uint64_t audit_lines;
    uint64_t audit_failures; /* groups that could not be written, and failures of rotation */
    uint64_t audit_unlogged; /* events without a line of their own */
    uint64_t audit_rotations;
    uint64_t audit_sink_lost; /* copies that a sink did not take */
    uint64_t audit_healthy;
    uint64_t audit_broken;
    hf_histogram audit_commit;
    uint64_t seal_state;     /* 0: no sealed keys are configured; else 1 + hf_seal_state */
    uint64_t seal_shares[2]; /* wrong, right */
    uint64_t sealed_keys_refused;
    uint64_t auth_rejections;
    uint64_t token_rejections[HF_TOKEN_VERDICT_COUNT];
    uint64_t canaries; /* requests for a canary key */
    uint64_t duties[HF_DUTY_TYPE_COUNT][HF_RESULT_COUNT];
    uint64_t duties_stored; /* of those signed: answered with the signature on record */
    hf_histogram duty_duration[HF_DUTY_STAGE_COUNT];
    uint64_t duty_store_healthy;
    hf_duty_counters duty_store; /* as that process counts */
    hf_custody_counters custodies[HF_CUSTODIES_MAX];
    uint64_t eth1[HF_ETH1_KIND_COUNT][HF_RESULT_COUNT];
    hf_histogram eth1_duration[HF_STAGE_COUNT]; /* DECODE, SIGN, TOTAL */
    uint64_t node_calls;                        /* that were allowed */
} hf_metrics;

typedef struct hf_msg_metrics_reply {
    hf_frame_header header;
    hf_metrics metrics;
    uint32_t protection_count;
    uint32_t store_backend; /* hf_store_backend */
    hf_protection protections[HF_PROTECTIONS_MAX];
    uint32_t store_protection_count; /* of the store process */
    uint32_t duty_protection_count;  /* of the process of duties */
    hf_protection store_protections[HF_PROTECTIONS_MAX];
    hf_protection duty_protections[HF_PROTECTIONS_MAX];
    uint32_t custody_count;
    uint32_t reserved;
    uint32_t custody_backends[HF_CUSTODIES_MAX]; /* hf_key_backend */
    uint32_t custody_sources[HF_CUSTODIES_MAX];
} hf_msg_metrics_reply;

#endif
