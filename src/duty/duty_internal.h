/* What the files of duty share. duty.h is the outside. */
#ifndef HF_DUTY_INTERNAL_H
#define HF_DUTY_INTERNAL_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

#include "duty/duty.h"

#define TOKEN_PREFIX "hf1" /* tells our rows from the package's, whose tokens are hex alone */
/* Behind the prefix: how the lock was asked for. What was ever taken over is never released: its
 * former holder may be alive, and a node of the package hands out what it signed all the same. */
#define TOKEN_INSERTED '-'
#define TOKEN_TAKEN 't'
#define TOKEN_MODE_AT (sizeof(TOKEN_PREFIX) - 1)
#define BATCH_MAX 256 /* items of one round trip: about 100 kB, within a socket's buffer */
#define LANES_MAX 16
#define STATEMENTS_MAX 6
#define NOTIFY_CHANNEL "holdfast_duty"
#define FINGERPRINT_TEXT_LEN 16
#define BUCKETS 4096 /* a power of two */

typedef enum item_kind { ITEM_ACQUIRE, ITEM_COMPLETE, ITEM_RELEASE } item_kind;
typedef enum item_place { PLACE_QUEUE, PLACE_LANE, PLACE_WAITING } item_place;

/* A request on its way. Belongs to the engine's thread once it has been submitted. */
typedef struct item {
    struct item *next, *prev; /* in the queue or the waiting list */
    struct item *chain;       /* acquisitions of one bucket */
    item_kind kind;
    item_place place;
    hf_duty duty;
    uint64_t fingerprint;
    uint8_t hash[HF_DUTY_HASH_BYTES];
    char hash_text[HF_AZTEC_HASH_TEXT_LEN];
    char token[HF_DUTY_TOKEN_LEN];
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES];
    uint64_t deadline_ns; /* of the request */
    uint64_t wait_end_ns; /* acquisitions: of waiting for another holder */
    uint64_t asked_ns;    /* since when the database owes an answer; 0 while waiting */
    uint64_t due_ns;      /* waiting: when to ask again */
    uint64_t seen_ns;     /* since when the holder's token has been seen */
    char seen_token[HF_DUTY_TOKEN_LEN + 1];
    char seen_node[HF_DUTY_NODE_ID_LEN];
    uint32_t polls;
    bool takeover;        /* the next batch tries to replace seen_token */
    bool look;            /* nothing was inserted or updated: read what is there */
    bool solo;            /* its batch failed: alone in the next */
    bool sent;            /* may have reached the database */
    bool woken;           /* a notification came while it was in a lane */
    bool overloaded;      /* refused for number, answered by the engine */
    hf_duty_done_fn done; /* NULL: nobody waits (any more) */
    void *context;
} item;

typedef struct item_list {
    item *first, *last;
    size_t count;
} item_list;

/* One array parameter in PostgreSQL's binary form, which it need not search for commas and quotes:
 * a header, and a length before each value. Room for BATCH_MAX values of the longest kind. */
#define ARRAY_HEADER_BYTES 20
#define COLUMN_BYTES (ARRAY_HEADER_BYTES + BATCH_MAX * (4 + HF_AZTEC_SIGNATURE_TEXT_LEN))
#define COLUMNS_MAX 10
typedef struct columns {
    uint8_t bytes[COLUMNS_MAX][COLUMN_BYTES];
    size_t len[COLUMNS_MAX];
} columns;

typedef enum lane_kind { LANE_ACQUIRE, LANE_COMPLETE, LANE_LISTEN } lane_kind;

/* One connection and what is in flight on it. */
typedef struct lane {
    lane_kind kind;
    PGconn *conn;     /* engine's; NULL while down */
    PGconn *incoming; /* under the mutex: connected by the attendant, to be adopted */
    bool incoming_v2; /* under the mutex: that database has checkpoint_number */
    bool wanted;      /* under the mutex: the attendant shall connect it */
    bool spare;       /* closed again after a while without work */
    bool v2;
    bool unsent;            /* the socket did not take everything yet */
    bool warned;            /* during the batch; a commit that a standby may not have says it so */
    item *batch[BATCH_MAX]; /* in flight */
    size_t batch_len;
    uint64_t sent_ns;
    uint64_t idle_since_ns;
    PGresult *results[STATEMENTS_MAX];
    int statements; /* of the batch */
    int results_len;
    int write_at, read_at; /* which statement is which; -1: none */
    PGresult *failure;     /* the first error of the batch */
    columns *columns;
} lane;

typedef struct waker {
    int fd; /* eventfd */
} waker;

struct hf_duty_engine {
    hf_duty_config config;
    char instance[33];
    pthread_t thread, attendant;
    bool has_thread, has_attendant;
    waker wake;
    waker stop;         /* ends the attendant's waits */
    atomic_size_t live; /* acquisitions not answered */

    pthread_mutex_t mutex;  /* guards from here to the next line */
    pthread_cond_t attend;  /* the attendant has something to do */
    pthread_cond_t changed; /* ready, last_error or cleaned_runs changed */
    item_list submitted;
    size_t need; /* submissions that are worth a wake-up of the engine */
    bool sleeping;
    bool closing;
    bool cleaning;
    uint64_t clean_asked, clean_done; /* numbers of runs */
    uint64_t clean_rows;
    hf_duty_error clean_error;
    bool ready;
    hf_duty_error last_error; /* of the last attempt to connect; OK when it went well */
    uint64_t last_error_ns;
    hf_duty_counters counters;
    uint64_t next_token;
    /* ---- below: the engine's thread alone ---- */
    item_list acquires, completes, waiting;
    item *buckets[BUCKETS];
    size_t lanes_len;
    lane lanes[LANES_MAX + 1]; /* the last one listens */
    size_t granted;            /* locks out: completions to come */
    uint64_t granted_ns;
    size_t returning; /* callers just answered, who may come back */
    uint64_t returning_ns;
    uint64_t trip_ns;   /* how long the last batches took, smoothed */
    uint64_t timer_ns;  /* when an item expires or is due, at the earliest */
    hf_duty_error down; /* copy of last_error while no lane is up */
};

/* ---- lists ---- */
void list_push(item_list *list, item *it);
void list_remove(item_list *list, item *it);
item *list_pop(item_list *list);

/* ---- connect.c: blocking, on the attendant's thread or a caller's own ---- */

/*
 * Connects within timeout_ms; stop_fd (or -1) ends it early. The session is put in order, no
 * statement of it runs longer than statement_ms.
 */
hf_duty_result connect_open(const char *url, uint32_t timeout_ms, uint32_t statement_ms,
                            int stop_fd, PGconn **ret_conn, hf_duty_error *error);
/* One statement; its result or NULL with the error set. */
PGresult *connect_query(PGconn *conn, const char *sql, hf_duty_error *error);
/* One statement whose result does not matter. */
bool connect_run(PGconn *conn, const char *sql, hf_duty_error *error);
hf_duty_result sqlstate_result(const char *sqlstate);
void duty_error_set(hf_duty_error *error, hf_duty_result result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
hf_status duty_error_status(const hf_duty_error *from, hf_error *err) HF_MUST_CHECK;

/* ---- schema.c ---- */
hf_duty_result schema_check(PGconn *conn, hf_duty_schema *ret_schema, hf_duty_error *error);
hf_duty_result schema_migrate(PGconn *conn, int target, uint32_t timeout_ms, hf_duty_error *error);

/* ---- statements.c ---- */
hf_duty_result statements_prepare(PGconn *conn, lane_kind kind, bool v2, hf_duty_error *error);
bool statements_send(lane *ln, const char *node_id);

/* A notice receiver, whose argument is the lane. */
void lane_notice(void *arg, const PGresult *notice);

/* ---- clean.c ---- */
hf_duty_result clean_run(PGconn *conn, const hf_duty_config *config, uint64_t *ret_stuck,
                         uint64_t *ret_old, hf_duty_error *error);

/* ---- attendant.c ---- */
void *attendant_main(void *arg);

/* ---- batch.c: engine's thread ---- */
bool lane_start(hf_duty_engine *engine, lane *ln, item_list *queue);
void lane_readable(hf_duty_engine *engine, lane *ln);
void lane_down(hf_duty_engine *engine, lane *ln);

/* ---- engine.c: engine's thread ---- */
void *engine_main(void *arg);
void engine_wake(const waker *wk);
void engine_finish(hf_duty_engine *engine, item *it, const hf_duty_answer *answer);
void engine_fail(hf_duty_engine *engine, item *it, hf_duty_result result, const char *message);
void engine_queue(hf_duty_engine *engine, item *it);
void engine_wait(hf_duty_engine *engine, item *it);
void engine_wake_duty(hf_duty_engine *engine, uint64_t fingerprint);
void engine_release_later(hf_duty_engine *engine, item *it);
void engine_count(hf_duty_engine *engine, size_t offset, uint64_t more);
#define COUNT(engine, member) engine_count(engine, offsetof(hf_duty_counters, member), 1)

#endif
