/*
 * duty: duty locks in PostgreSQL: the engine behind libholdfast and behind holdfast-store.
 *
 * One thread of the engine owns all connections. Requests come from any thread, without blocking,
 * and are answered by a callback on the engine's thread; all that wait at a moment go to the
 * database in one round trip and one transaction. docs/adr/0010-duty-locks.md is the protocol;
 * holdfast/duty.h says what the results mean.
 *
 * Linked by programs that may speak to a network (libpq), never by the keeper.
 */
#ifndef HF_DUTY_H
#define HF_DUTY_H

#include <holdfast/duty.h>

#include "aztec/aztec.h"
#include "base/base.h"

#define HF_DUTY_TOKEN_LEN 64 /* with the NUL; the column is varchar(64) */

/* The proof of holding a lock: a name that nobody else ever uses. Not a secret of keys, yet never
 * logged: who has it can end the lock. */
typedef struct hf_duty_lock {
    char token[HF_DUTY_TOKEN_LEN];
} hf_duty_lock;

typedef struct hf_duty_answer {
    /* acquire: OK (the lock is yours), STORED, HELD, CONFLICT, EXPIRED, UNAVAILABLE...
     * complete: OK (recorded by this lock), STORED (another recorded the same message: use its
     * signature), LOCK_LOST, CONFLICT, UNAVAILABLE (not known: hand out nothing)...
     * release: OK, UNAVAILABLE. */
    hf_duty_result result;
    hf_duty_lock lock;                          /* acquire, OK */
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES]; /* STORED; complete, OK */
    uint8_t existing_hash[HF_DUTY_HASH_BYTES];  /* CONFLICT */
    char node_id[HF_DUTY_NODE_ID_LEN];          /* OK, STORED, HELD, CONFLICT */
    char message[HF_DUTY_MESSAGE_LEN];          /* one sentence when it is a failure */
} hf_duty_answer;

/* On the engine's thread, exactly once a request (NO_MEMORY alone comes on the caller's own, before
 * the request function returns). Must not block; may make new requests. answer is borrowed. */
typedef void (*hf_duty_done_fn)(void *context, const hf_duty_answer *answer);

typedef struct hf_duty_engine hf_duty_engine;

/*
 * Starts the engine's thread. Does not wait for the database: requests answer UNAVAILABLE until it
 * can be reached, and it heals by itself. USAGE when config is wrong. config is copied.
 */
hf_status hf_duty_engine_open(const hf_duty_config *config, hf_duty_engine **ret_engine,
                              hf_error *err) HF_MUST_CHECK;
/* Answers what still waits with CLOSED, then joins the thread. Not from a callback. NULL is fine.
 */
void hf_duty_engine_close(hf_duty_engine *engine);

/* Waits at most timeout_ms until lanes are connected and the schema is right; else why not. */
hf_duty_result hf_duty_engine_ready(hf_duty_engine *engine, uint32_t timeout_ms,
                                    hf_duty_error *error);

/*
 * Asks for the lock of a duty. duty must be in normal form (hf_aztec_duty_normalize) and of a
 * protected type. The answer comes at deadline_ns (hf_time_mono_ns) at the latest; waiting for
 * another holder also ends after signing_timeout_ms. A lock that is granted and not wanted any more
 * must be released.
 */
void hf_duty_acquire(hf_duty_engine *engine, const hf_duty *duty,
                     const uint8_t hash[HF_DUTY_HASH_BYTES], uint64_t deadline_ns,
                     hf_duty_done_fn done, void *context);
/* Records the signature. It may be handed out with OK and STORED (the answer's signature!) only. */
void hf_duty_complete(hf_duty_engine *engine, const hf_duty *duty,
                      const uint8_t hash[HF_DUTY_HASH_BYTES], const hf_duty_lock *lock,
                      const uint8_t signature[HF_DUTY_SIGNATURE_BYTES], uint64_t deadline_ns,
                      hf_duty_done_fn done, void *context);
/* Gives the lock back because no signature exists and none will. done may be NULL: best effort. */
void hf_duty_release(hf_duty_engine *engine, const hf_duty *duty, const hf_duty_lock *lock,
                     uint64_t deadline_ns, hf_duty_done_fn done, void *context);

/* Periodic cleanup, off at first. */
void hf_duty_engine_cleaning(hf_duty_engine *engine, bool on);
/* One run now; blocks, at most 30 s. */
hf_duty_result hf_duty_engine_clean(hf_duty_engine *engine, uint64_t *ret_rows,
                                    hf_duty_error *error);
void hf_duty_engine_counters(const hf_duty_engine *engine, hf_duty_counters *ret_counters);

/* ---- schema: these block, over a connection of their own ----------------------------------------
 */

typedef struct hf_duty_schema {
    int package_version;  /* 0: no tables; 1 and 2: the package's versions */
    int holdfast_version; /* 0: our own tables are missing */
    uint64_t protecting;  /* rows and watermarks that `down` would discard */
} hf_duty_schema;

hf_status hf_duty_schema_status(const char *database_url, uint32_t timeout_ms,
                                hf_duty_schema *ret_schema, hf_error *err) HF_MUST_CHECK;
/*
 * Brings an empty database to the package's version `target` (1 or 2; 0: 1 when it is empty, else
 * as it is) and our own tables to theirs. Waits for others that migrate, the package's own runner
 * too.
 */
hf_status hf_duty_schema_up(const char *database_url, uint32_t timeout_ms, int target,
                            hf_error *err) HF_MUST_CHECK;
/* One step down: 2 to 1, or 1 to nothing. DENIED while it would drop protection, unless told so. */
hf_status hf_duty_schema_down(const char *database_url, uint32_t timeout_ms,
                              bool discard_protection, hf_error *err) HF_MUST_CHECK;

#endif
