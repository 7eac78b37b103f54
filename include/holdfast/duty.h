/*
 * holdfast/duty.h: distributed duty locks for Aztec validators (libholdfast).
 *
 * Any number of nodes share one PostgreSQL database and ask before they sign. For each duty
 * (rollup, validator, slot, type, and for block proposals the index in the checkpoint) at most one
 * message is ever signed; who asks again for the same message gets the same signature. The table is
 * that of the npm package @aztec/validator-ha-signer, and nodes of both may share it.
 *
 *     hf_duty_config config;
 *     hf_duty_config_init(&config);
 *     hf_duty_config_from_env(&config, &error);      VALIDATOR_HA_... as the package reads them
 *     hf_duty_open(&config, &signer, &error);
 *     hf_duty_start(signer);                         background cleanup, optional
 *     hf_duty_sign(signer, &duty, hash, my_sign, my_context, &outcome);
 *     hf_duty_close(signer);
 *
 * Threads: a signer may be used from any number of threads at once; open and close from one.
 * Every call that can wait has a bound. Nothing here logs, exits, or keeps a signing key.
 * Link with `pkg-config --cflags --libs libholdfast`.
 */
#ifndef HOLDFAST_DUTY_H
#define HOLDFAST_DUTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HF_DUTY_API __attribute__((visibility("default")))
#define HF_DUTY_CHECK __attribute__((warn_unused_result))
#else
#define HF_DUTY_API
#define HF_DUTY_CHECK
#endif

#define HF_DUTY_ADDRESS_BYTES 20
#define HF_DUTY_HASH_BYTES 32
#define HF_DUTY_SIGNATURE_BYTES 65 /* r, s, v */
#define HF_DUTY_NODE_ID_LEN 256    /* with the NUL */
#define HF_DUTY_URL_LEN 2048
#define HF_DUTY_MESSAGE_LEN 320
#define HF_DUTY_NO_INDEX (-1) /* block_index of everything but block proposals */

typedef enum hf_duty_type {
    HF_DUTY_BLOCK_PROPOSAL = 0,
    HF_DUTY_CHECKPOINT_PROPOSAL,
    HF_DUTY_ATTESTATION,
    HF_DUTY_ATTESTATIONS_AND_SIGNERS,
    HF_DUTY_GOVERNANCE_VOTE,
    HF_DUTY_SLASHING_VOTE,
    HF_DUTY_AUTH_REQUEST, /* unprotected: signed without asking the database */
    HF_DUTY_TXS,          /* unprotected too */
    HF_DUTY_TYPE_COUNT
} hf_duty_type;

/*
 * One duty. The first four members and, for block proposals, block_index make it the duty it is;
 * block_number and checkpoint_number are kept for people who read the table. Numbers are at most
 * 2^63 - 1. Votes have no block number: it is stored as 0 whatever is given.
 */
typedef struct hf_duty {
    uint8_t rollup[HF_DUTY_ADDRESS_BYTES];
    uint8_t validator[HF_DUTY_ADDRESS_BYTES];
    uint64_t slot;
    uint32_t type; /* hf_duty_type */
    int32_t
        block_index; /* within the checkpoint: 0 and up for block proposals, ignored otherwise */
    uint64_t block_number;
    uint64_t checkpoint_number; /* stored where the schema has it (version 2) */
} hf_duty;

typedef enum hf_duty_result {
    HF_DUTY_OK = 0,       /* signed here, recorded */
    HF_DUTY_STORED,       /* the same message was signed before: this is that signature */
    HF_DUTY_HELD,         /* another is signing the same message and did not finish in time */
    HF_DUTY_CONFLICT,     /* other data was signed, or is being signed, for this duty */
    HF_DUTY_EXPIRED,      /* at or below the watermark that the cleanup left: never again */
    HF_DUTY_LOCK_LOST,    /* the lock was gone when the signature was ready: it is withheld */
    HF_DUTY_SIGN_FAILED,  /* the callback could not sign; the duty is free again */
    HF_DUTY_SIGN_UNKNOWN, /* the callback does not know; only the same message may follow */
    HF_DUTY_UNAVAILABLE,  /* no answer from the database in time; nothing was handed out */
    HF_DUTY_OVERLOADED,   /* more waits than the bound allows: ask again later */
    HF_DUTY_INVALID,      /* the arguments, or a member of the duty, are wrong */
    HF_DUTY_CONFIG,       /* the configuration is wrong or incomplete */
    HF_DUTY_SCHEMA,       /* not migrated, too new, or altered by hand */
    HF_DUTY_ACCESS,       /* wrong password, or rights are missing */
    HF_DUTY_CORRUPT,      /* a record of the database contradicts itself */
    HF_DUTY_CLOSED,       /* the signer is being closed */
    HF_DUTY_NO_MEMORY,
    HF_DUTY_INTERNAL,
    HF_DUTY_RESULT_COUNT
} hf_duty_result;

/* What went wrong in one sentence, with the remedy; holds no password. */
typedef struct hf_duty_error {
    hf_duty_result result;
    char message[HF_DUTY_MESSAGE_LEN];
} hf_duty_error;

/* What hf_duty_sign found. Members beyond result are set where the comment says so, else zero. */
typedef struct hf_duty_outcome {
    hf_duty_result result;
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES]; /* OK and STORED */
    char node_id[HF_DUTY_NODE_ID_LEN];         /* who signed or holds: OK, STORED, HELD, CONFLICT */
    uint8_t existing_hash[HF_DUTY_HASH_BYTES]; /* CONFLICT: what is on record */
    int callback_code;                         /* SIGN_FAILED, SIGN_UNKNOWN: yours */
    char message[HF_DUTY_MESSAGE_LEN];         /* one sentence for people, when not OK or STORED */
} hf_duty_outcome;

typedef enum hf_duty_sign_code {
    HF_DUTY_SIGN_DONE = 0,    /* ret_signature is filled */
    HF_DUTY_SIGN_REFUSED = 1, /* no signature exists and none will: the duty is released */
    HF_DUTY_SIGN_MAYBE = 2    /* one may exist somewhere (a time-out of a remote signer, say) */
} hf_duty_sign_code;

/*
 * Signs hash for the duty: fills r, s, v and returns HF_DUTY_SIGN_DONE. Called at most once by each
 * hf_duty_sign, on the caller's own thread, while the lock is held. A code that is not in the enum
 * counts as HF_DUTY_SIGN_MAYBE. Must not call into the same signer.
 */
typedef int (*hf_duty_sign_fn)(void *context, const hf_duty *duty,
                               const uint8_t hash[HF_DUTY_HASH_BYTES],
                               uint8_t ret_signature[HF_DUTY_SIGNATURE_BYTES]);

/* In brackets: the variable that hf_duty_config_from_env reads, as the package does, and default.
 */
typedef struct hf_duty_config {
    char database_url[HF_DUTY_URL_LEN]; /* [VALIDATOR_HA_DATABASE_URL] libpq URI or conninfo */
    char node_id[HF_DUTY_NODE_ID_LEN];  /* [VALIDATOR_HA_NODE_ID] 1 to 255 printable bytes */
    bool enabled;                  /* [VALIDATOR_HA_SIGNING_ENABLED, false] open refuses false */
    bool auto_migrate;             /* [HOLDFAST_DUTY_AUTO_MIGRATE, true] */
    uint32_t polling_interval_ms;  /* [VALIDATOR_HA_POLLING_INTERVAL_MS, 100] at the most */
    uint32_t signing_timeout_ms;   /* [VALIDATOR_HA_SIGNING_TIMEOUT_MS, 3000] wait for another */
    uint32_t takeover_after_ms;    /* [HOLDFAST_DUTY_TAKEOVER_AFTER_MS, 1000] silent holder */
    uint32_t database_timeout_ms;  /* [HOLDFAST_DUTY_DATABASE_TIMEOUT_MS, 700]  one answer */
    uint32_t max_stuck_age_ms;     /* [VALIDATOR_HA_MAX_STUCK_DUTIES_AGE_MS, 144000] */
    uint32_t old_age_hours;        /* [VALIDATOR_HA_OLD_DUTIES_MAX_AGE_H, 0] 0: keep for ever */
    uint32_t cleanup_interval_ms;  /* [HOLDFAST_DUTY_CLEANUP_INTERVAL_MS, 60000] */
    uint32_t pool_max;             /* [VALIDATOR_HA_POOL_MAX, 10] connections, 3 at least */
    uint32_t pool_min;             /* [VALIDATOR_HA_POOL_MIN, 0] accepted; lanes stay open */
    uint32_t pool_idle_timeout_ms; /* [VALIDATOR_HA_POOL_IDLE_TIMEOUT_MS, 10000] spare lanes */
    uint32_t pool_connection_timeout_ms; /* [VALIDATOR_HA_POOL_CONNECTION_TIMEOUT_MS, 0: 5000] */
    uint32_t max_waiting;                /* [HOLDFAST_DUTY_MAX_WAITING, 4096] requests at once */
} hf_duty_config;

typedef struct hf_duty_counters {
    uint64_t acquired;    /* locks taken */
    uint64_t signed_here; /* completions recorded */
    uint64_t stored;      /* answers with a stored signature */
    uint64_t conflicts;
    uint64_t held; /* waits that ended without a signature */
    uint64_t expired;
    uint64_t takeovers;
    uint64_t lost_locks;
    uint64_t released;
    uint64_t unavailable;
    uint64_t round_trips; /* batches sent to the database for duties */
    uint64_t reconnects;
    uint64_t resolved; /* lost answers that were settled by asking again */
    uint64_t notifications;
    uint64_t cleaned_stuck;
    uint64_t cleaned_old;
    uint64_t twin_nodes; /* rows of this node id written by another process */
} hf_duty_counters;

typedef struct hf_duty_signer hf_duty_signer;

HF_DUTY_API void hf_duty_config_init(hf_duty_config *config);
/* Overrides what the environment sets; CONFIG, naming the variable, when a value is not usable. */
HF_DUTY_API hf_duty_result hf_duty_config_from_env(hf_duty_config *config,
                                                   hf_duty_error *error) HF_DUTY_CHECK;

/*
 * Connects, brings the schema up (auto_migrate) or checks it, and starts the engine's thread.
 * CONFIG, UNAVAILABLE, ACCESS, SCHEMA, NO_MEMORY. config is copied.
 */
HF_DUTY_API hf_duty_result hf_duty_open(const hf_duty_config *config, hf_duty_signer **ret_signer,
                                        hf_duty_error *error) HF_DUTY_CHECK;
/* Fails what still waits (CLOSED), stops the cleanup, disconnects. NULL is fine. */
HF_DUTY_API void hf_duty_close(hf_duty_signer *signer);

/* Starts and stops the periodic cleanup; starting runs it at once. Both may be repeated. */
HF_DUTY_API void hf_duty_start(hf_duty_signer *signer);
HF_DUTY_API void hf_duty_stop(hf_duty_signer *signer);
/* One cleanup now; deleted rows in *ret_rows (may be NULL). Blocks, at most 30 s. */
HF_DUTY_API hf_duty_result hf_duty_cleanup(hf_duty_signer *signer, uint64_t *ret_rows,
                                           hf_duty_error *error);

/*
 * Signs the duty at most once among all nodes. Returns outcome->result. Waits at most
 * signing_timeout_ms for another holder and database_timeout_ms for each answer of the database,
 * plus the time of the callback. A signature is in the outcome only with OK and STORED, and then
 * its record is durable.
 */
HF_DUTY_API hf_duty_result hf_duty_sign(hf_duty_signer *signer, const hf_duty *duty,
                                        const uint8_t hash[HF_DUTY_HASH_BYTES],
                                        hf_duty_sign_fn sign, void *context,
                                        hf_duty_outcome *outcome);

HF_DUTY_API const char *hf_duty_node_id(const hf_duty_signer *signer);
HF_DUTY_API void hf_duty_counters_get(const hf_duty_signer *signer, hf_duty_counters *ret_counters);

/* ---- duties without a database ----------------------------------------------------------------
 */

/* "ATTESTATION" and so on; NULL when type is none. */
HF_DUTY_API const char *hf_duty_type_name(uint32_t type);
/* The type of that exact name; false when there is none. */
HF_DUTY_API bool hf_duty_type_parse(const char *name, size_t len, uint32_t *ret_type);
/* False for AUTH_REQUEST and TXS. */
HF_DUTY_API bool hf_duty_type_is_protected(uint32_t type);
/* "CONFLICT" and so on; never NULL. */
HF_DUTY_API const char *hf_duty_result_name(hf_duty_result result);

#ifdef __cplusplus
}
#endif

#endif
