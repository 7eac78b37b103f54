/* What the files of the Vault back end share. */
#ifndef HF_CUSTODY_VAULT_INTERNAL_H
#define HF_CUSTODY_VAULT_INTERNAL_H

#include <jansson.h>
#include <pthread.h>

#include "custody/vault.h"
#include "net/net.h"

/* Service tokens have some hundred bytes; a batch token carries its policies. */
#define HF_VAULT_TOKEN_LEN 4096
#define HF_VAULT_SMALL_ANSWER (1U << 20)
/* A list of 100,000 long names. */
#define HF_VAULT_LIST_ANSWER (32U << 20)
/* One request; a server that needs longer is as good as down. */
#define HF_VAULT_REQUEST_NS (10 * HF_NS_PER_SECOND)
#define HF_VAULT_WHY_LEN 160
/* Rounds without one answer, until the server counts as down, and the pauses between them. */
#define HF_VAULT_IDLE_ROUNDS 6
#define HF_VAULT_IDLE_FIRST_NS (100 * HF_NS_PER_MS)
#define HF_VAULT_IDLE_MOST_NS (4 * HF_NS_PER_SECOND)

typedef struct hf_vault_token {
    char text[HF_VAULT_TOKEN_LEN]; /* "": none; wiped by who holds a copy */
    uint64_t serial;               /* another one for each token */
    uint64_t got_ns;
    uint64_t lease_ns; /* from got_ns on; 0: for ever */
    uint64_t full_ns;  /* the longest lease that it had */
    bool is_renewable;
    bool is_own; /* made by a login here: revoked at the end */
} hf_vault_token;

/* How logins went, so that wrong credentials are not sent over and over. */
typedef struct hf_vault_refusal {
    uint8_t digest[32]; /* of the credentials that were refused */
    uint64_t next_ns;   /* not again before; 0: nothing was refused */
    unsigned count;
    hf_error err;
} hf_vault_refusal;

typedef struct hf_vault {
    hf_custody custody; /* first: the ops */
    hf_vault_config config;

    hf_net *list_net; /* of the thread that lists */

    pthread_mutex_t auth_lock; /* before state_lock; guards what follows */
    pthread_cond_t auth_wake;
    hf_net *auth_net;
    hf_vault_token token;
    hf_vault_refusal refusal;
    char secret_id[HF_VAULT_TOKEN_LEN]; /* out of a wrapping token, kept: it opens once */
    uint8_t unwrapped[32];              /* digest of that wrapping token */
    bool is_wanted;                     /* somebody listed: a token is kept from then on */
    bool is_closing;
    bool has_thread;
    pthread_t thread;

    pthread_mutex_t state_lock; /* guards what follows */
    char base[HF_VAULT_URL_LEN];
    bool is_healthy;
    char detail[HF_DETAIL_LEN];
    uint32_t keys; /* of the last list */
} hf_vault;

/* ---- vault_api.c: one request and what its answer means ------------------------------------- */

typedef struct hf_vault_call {
    const char *method;
    const char *path;  /* behind /v1/, escaped where it has to be */
    const char *token; /* NULL: without */
    json_t *body;      /* borrowed; NULL: none */
    bool is_global;    /* without the namespace */
    size_t max_answer_bytes;
} hf_vault_call;

typedef struct hf_vault_answer {
    long http_status; /* 0: none */
    json_t *json;     /* NULL: none or no JSON; the caller frees */
    char why[HF_VAULT_WHY_LEN];
} hf_vault_answer;

/*
 * OK for 200 and 204. DENIED: 400, 403. NOT_FOUND: 404. USAGE: 405. UNAVAILABLE: sealed, standby,
 * overloaded, not there, not trusted. Nothing is tried twice but after a redirect.
 */
hf_status hf_vault_ask(hf_vault *vault, hf_net *net, const hf_vault_call *call,
                       uint64_t deadline_ns, hf_vault_answer *ret_answer,
                       hf_error *err) HF_MUST_CHECK;
void hf_vault_answer_done(hf_vault_answer *answer);
/* What an exchange came to; ret_why: a sentence for an operator unless OK. */
hf_status hf_vault_judge(hf_vault *vault, const hf_net_exchange *exchange,
                         char ret_why[HF_VAULT_WHY_LEN]) HF_MUST_CHECK;

/* The headers of all requests; wiped by hf_vault_headers_done. */
typedef struct hf_vault_headers {
    char token[HF_VAULT_TOKEN_LEN + 32];
    char vault_namespace[HF_VAULT_TEXT_LEN + 32];
} hf_vault_headers;

void hf_vault_headers_set(const hf_vault *vault, const char *token, bool is_global,
                          hf_vault_headers *headers, hf_net_exchange *exchange);
/* BASE/v1/path */
hf_status hf_vault_url(hf_vault *vault, const char *path, hf_buf *url) HF_MUST_CHECK;
/* Text at a path of members, or NULL. */
const char *hf_vault_text(json_t *json, const char *member, const char *inner);
uint64_t hf_vault_wait_ns(unsigned attempt, uint64_t first_ns, uint64_t most_ns);
void hf_vault_sleep(uint64_t ns);

/* ---- vault_login.c -------------------------------------------------------------------------- */

/* A token by the configured way; under auth_lock. DENIED: the credentials are refused. */
hf_status hf_vault_login(hf_vault *vault, uint64_t deadline_ns, hf_vault_token *ret_token,
                         hf_error *err) HF_MUST_CHECK;
hf_status hf_vault_check_auth(const hf_vault_config *config, hf_error *err) HF_MUST_CHECK;
/* What an "auth" member says; UNAVAILABLE when there is none. */
hf_status hf_vault_take_auth(json_t *json, hf_vault_token *ret_token, hf_error *err) HF_MUST_CHECK;

/* ---- vault_token.c: the token and the thread that keeps it ---------------------------------- */

hf_status hf_vault_token_start(hf_vault *vault, hf_error *err) HF_MUST_CHECK;
/* A copy of a token that is valid as far as is known; logs in when there is none. */
hf_status hf_vault_token_get(hf_vault *vault, uint64_t deadline_ns, hf_vault_token *ret_token,
                             hf_error *err) HF_MUST_CHECK;
/* A request with it was refused. True: the token is no good any more, get gives another one. */
bool hf_vault_token_refused(hf_vault *vault, uint64_t serial, uint64_t deadline_ns);
/* Ends the thread, revokes a token that was made here. */
void hf_vault_token_stop(hf_vault *vault);
void hf_vault_note(hf_vault *vault, bool is_healthy, const char *detail);

/* ---- vault_fetch.c: many paths at once ------------------------------------------------------ */

typedef struct hf_vault_fetch {
    const char *prefix; /* "secret/data/", escaped */
    const char *suffix; /* "?list=true" or "" */
    const char *const *paths;
    size_t count;
    size_t max_answer_bytes;
    void *context;
    /* st: OK, DENIED or NOT_FOUND; json as far as there is any. A failure ends it all. */
    hf_status (*answer)(void *context, size_t index, hf_status st, json_t *json, const char *why);
} hf_vault_fetch;

/* UNAVAILABLE when the server is, for longer than a few attempts or beyond the deadline. */
hf_status hf_vault_fetch_all(hf_vault *vault, const hf_vault_fetch *fetch, uint64_t deadline_ns,
                             hf_error *err) HF_MUST_CHECK;

/* ---- vault_list.c --------------------------------------------------------------------------- */

hf_status hf_vault_list(hf_custody *custody, const hf_custody_visitor *visitor,
                        uint64_t deadline_ns, hf_error *err) HF_MUST_CHECK;
/* Fields of a secret that hold keys, to the visitor. Pure. */
hf_status hf_vault_visit_secret(const hf_vault_config *config, const char *name, json_t *fields,
                                const hf_custody_visitor *visitor,
                                uint32_t *ret_keys) HF_MUST_CHECK;

/* ---- vault_named.c -------------------------------------------------------------------------- */

/* The configuration's secrets. */
hf_status hf_vault_read_named(hf_vault *vault, const hf_custody_visitor *visitor,
                              uint64_t deadline_ns, uint32_t *ret_keys,
                              hf_error *err) HF_MUST_CHECK;

#endif
