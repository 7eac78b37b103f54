/* Asking a service of AWS: a few clients shared by all threads, rounds of requests, patience. */
#include <malloc.h>
#include <pthread.h>

#include "crypto/crypto.h"
#include "custody/aws_service.h"
#include "net/net.h"

/* Threads that ask at once; others wait for a client, within their deadline. */
#define CLIENTS 8
/* Twenty secrets of 64 KiB, in base64 or escaped. */
#define ANSWER_MAX_BYTES (4U << 20)
/* Requests in a round: halved when one of them is throttled, doubled when none is. */
#define ROUND_FIRST 128
#define ROUND_LEAST 4
#define ROUND_MOST 512
/* One request that gets no answer does not hold up the others for longer. */
#define ROUND_NS (5 * HF_NS_PER_SECOND)
/* How often one question is sent. */
#define TRIES_THROTTLED 12
#define TRIES_ILL 4
#define TRIES_UNREACHED 3
#define PAUSE_FIRST_NS (50 * HF_NS_PER_MS)
#define PAUSE_MAX_NS (3 * HF_NS_PER_SECOND)
/* Credentials that were only just fetched are not asked for again at once (net); this is later. */
#define CREDENTIALS_PAUSE_NS (200 * HF_NS_PER_MS)
#define CREDENTIALS_TRIES 15
#define WHERE_LEN 120

struct hf_aws_service {
    const char *name;   /* of the signature */
    const char *target; /* of X-Amz-Target */
    char where[WHERE_LEN];
    char region[HF_AWS_REGION_LEN];
    char url[HF_AWS_URL_LEN + 64];

    pthread_mutex_t lock; /* of all below; no other lock is taken inside */
    pthread_cond_t freed;
    hf_net *clients[CLIENTS];
    bool client_taken[CLIENTS];
    hf_aws *aws;
    bool aws_taken;
    uint64_t generation; /* one more with each new credentials */
    char last_id[HF_AWS_KEY_ID_LEN];
    bool unwell;
    char detail[HF_ERROR_MSG_LEN];
};

/* ---- sharing ------------------------------------------------------------------------------ */

/* With the lock held; false when the deadline has come. */
static bool wait_for_free(hf_aws_service *service, uint64_t deadline_ns)
{
    const struct timespec at = {.tv_sec = (time_t)(deadline_ns / HF_NS_PER_SECOND),
                                .tv_nsec = (long)(deadline_ns % HF_NS_PER_SECOND)};
    return pthread_cond_timedwait(&service->freed, &service->lock, &at) == 0;
}

/* -1: none in time. */
static int take_client(hf_aws_service *service, uint64_t deadline_ns)
{
    int found = -1;
    bool in_time = true;
    (void)pthread_mutex_lock(&service->lock);
    while (found < 0 && in_time) {
        for (int i = 0; i < CLIENTS && found < 0; i++) {
            found = service->client_taken[i] ? -1 : i;
        }
        in_time = found >= 0 || wait_for_free(service, deadline_ns);
    }
    if (found >= 0) {
        service->client_taken[found] = true;
    }
    (void)pthread_mutex_unlock(&service->lock);
    return found;
}

static void give_client(hf_aws_service *service, int client)
{
    (void)pthread_mutex_lock(&service->lock);
    service->client_taken[client] = false;
    (void)pthread_cond_broadcast(&service->freed);
    (void)pthread_mutex_unlock(&service->lock);
}

static bool take_aws(hf_aws_service *service, uint64_t deadline_ns)
{
    bool in_time = true;
    (void)pthread_mutex_lock(&service->lock);
    while (service->aws_taken && in_time) {
        in_time = wait_for_free(service, deadline_ns);
    }
    bool taken = !service->aws_taken;
    service->aws_taken = true;
    (void)pthread_mutex_unlock(&service->lock);
    return taken;
}

static void give_aws(hf_aws_service *service)
{
    (void)pthread_mutex_lock(&service->lock);
    service->aws_taken = false;
    (void)pthread_cond_broadcast(&service->freed);
    (void)pthread_mutex_unlock(&service->lock);
}

/* A copy of what is valid now; the caller wipes it. The generation says which they are. */
static hf_status get_credentials(hf_aws_service *service, uint64_t deadline_ns,
                                 hf_aws_credentials *ret_credentials, uint64_t *ret_generation,
                                 hf_error *err)
{
    const hf_aws_credentials *now = NULL;
    if (!take_aws(service, deadline_ns)) {
        return hf_fail(err, HF_UNAVAILABLE, "AWS credentials: not there in time");
    }
    hf_status st = hf_aws_get(service->aws, deadline_ns, &now, err);
    if (!hf_failed(st)) {
        *ret_credentials = *now;
        if (strcmp(service->last_id, now->access_key_id) != 0) {
            hf_str_cut(service->last_id, sizeof service->last_id, now->access_key_id);
            service->generation++;
        }
        *ret_generation = service->generation;
    }
    give_aws(service);
    return st;
}

/* Only those that were refused are thrown away: another thread may have fetched new ones. */
static void reject_credentials(hf_aws_service *service, uint64_t generation, uint64_t deadline_ns)
{
    if (take_aws(service, deadline_ns)) {
        if (service->generation == generation) {
            hf_aws_reject(service->aws);
            service->generation++;
        }
        give_aws(service);
    }
}

static void note_health(hf_aws_service *service, const hf_error *trouble)
{
    (void)pthread_mutex_lock(&service->lock);
    service->unwell = trouble != NULL;
    hf_str_cut(service->detail, sizeof service->detail, trouble != NULL ? trouble->msg : "");
    (void)pthread_mutex_unlock(&service->lock);
}

bool hf_aws_service_is_well(hf_aws_service *service, char *ret_detail, size_t len)
{
    (void)pthread_mutex_lock(&service->lock);
    bool well = !service->unwell;
    hf_str_cut(ret_detail, len, service->detail);
    (void)pthread_mutex_unlock(&service->lock);
    return well;
}

/* ---- one round: some of the questions, each sent once ------------------------------------- */

typedef struct sending {
    hf_net_exchange exchange;
    char target[96];
    char *body;
} sending;

typedef struct run {
    hf_aws_service *service;
    hf_aws_question *questions;
    size_t *open; /* those without a final status, by number */
    size_t open_count;
    uint64_t deadline_ns;
    hf_net *client;
    sending *sendings; /* ROUND_MOST, or as many as there are questions */
    hf_aws_credentials credentials;
    uint64_t generation;
    bool refetched;
    /* of the round */
    bool throttled;
    bool ill;
    bool refused; /* the credentials were */
    bool unreached;
    bool answered; /* something was */
} run;

static bool prepare(run *all, sending *out, hf_aws_question *question,
                    const hf_net_signing *signing)
{
    *out =
        (sending){.body = question->body != NULL ? json_dumps(question->body, JSON_COMPACT) : NULL};
    if (out->body == NULL ||
        hf_failed(hf_str_format(out->target, sizeof out->target, "X-Amz-Target: %s.%s",
                                all->service->target, question->operation))) {
        return false;
    }
    out->exchange =
        (hf_net_exchange){.method = "POST",
                          .url = all->service->url,
                          .headers = {"Content-Type: application/x-amz-json-1.1", out->target},
                          .body = hf_bytes_from(out->body, strlen(out->body)),
                          .signing = signing,
                          .max_answer_bytes = ANSWER_MAX_BYTES};
    question->tries++;
    return true;
}

static void sending_done(sending *out)
{
    hf_net_exchange_done(&out->exchange);
    if (out->body != NULL) {
        hf_wipe(out->body, strlen(out->body));
    }
    free(out->body);
    out->body = NULL;
}

static hf_aws_advice take_answer(const char *where, hf_aws_question *question,
                                 const hf_net_exchange *exchange)
{
    json_error_t problem;
    question->fault[0] = '\0';
    if (hf_failed(exchange->result)) {
        question->status = hf_fail(&question->err, HF_UNAVAILABLE, "%s: %s: %s", where,
                                   question->operation, exchange->detail);
        return exchange->result.code == HF_UNAVAILABLE ? HF_AWS_ILL : HF_AWS_FINAL;
    }
    hf_bytes text = hf_bytes_from(hf_buf_peek(exchange->answer), hf_buf_len(exchange->answer));
    if (exchange->http_status != 200) {
        return hf_aws_take_fault(question, where, exchange->http_status, text);
    }
    json_t *answer = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(answer)) {
        json_decref(answer);
        question->status = hf_fail(&question->err, HF_UNAVAILABLE, "%s: %s: its answer is not JSON",
                                   where, question->operation);
        return HF_AWS_ILL;
    }
    question->status = hf_ok();
    question->answer = answer;
    return HF_AWS_FINAL;
}

/* Is this question settled? */
static bool settle(run *all, hf_aws_question *question, const hf_net_exchange *exchange)
{
    bool unreached = exchange->result.code == HF_UNAVAILABLE;
    hf_aws_advice advice = take_answer(all->service->where, question, exchange);
    all->unreached = all->unreached || unreached;
    all->answered = all->answered || !hf_failed(exchange->result);
    switch (advice) {
    case HF_AWS_FINAL:
        return true;
    case HF_AWS_AGAIN:
        all->throttled = true;
        return question->tries >= TRIES_THROTTLED;
    case HF_AWS_ILL:
        all->ill = true;
        return question->tries >= (unreached ? TRIES_UNREACHED : TRIES_ILL);
    case HF_AWS_CREDENTIALS:
        all->refused = true;
        return all->refetched;
    }
    return true;
}

/* Sends the first n of the open ones and drops from them what is settled. */
static void send_round(run *all, size_t n)
{
    const hf_net_signing signing = {&all->credentials, all->service->region, all->service->name};
    hf_net_exchange *exchanges = calloc(n, sizeof *exchanges);
    size_t kept = 0;
    size_t sent = 0;
    for (; sent < n && exchanges != NULL; sent++) {
        if (!prepare(all, &all->sendings[sent], &all->questions[all->open[sent]], &signing)) {
            sending_done(&all->sendings[sent]);
            break;
        }
        exchanges[sent] = all->sendings[sent].exchange;
    }
    uint64_t until_ns = hf_time_mono_ns() + ROUND_NS;
    if (sent > 0) {
        hf_net_run(all->client, exchanges, sent,
                   until_ns < all->deadline_ns ? until_ns : all->deadline_ns);
    }
    for (size_t i = 0; i < all->open_count; i++) {
        hf_aws_question *question = &all->questions[all->open[i]];
        bool settled = false;
        if (i < sent) {
            settled = settle(all, question, &exchanges[i]);
            all->sendings[i].exchange = exchanges[i];
            sending_done(&all->sendings[i]);
        } else if (i < n) {
            question->status = hf_fail(&question->err, HF_NOMEM, "out of memory");
            settled = true;
        }
        if (!settled) {
            all->open[kept++] = all->open[i];
        }
    }
    all->open_count = kept;
    free(exchanges);
}

/* ---- all rounds --------------------------------------------------------------------------- */

static void fail_open(run *all, const hf_error *why)
{
    for (size_t i = 0; i < all->open_count; i++) {
        hf_aws_question *question = &all->questions[all->open[i]];
        question->status = (hf_status){why->code};
        question->err = *why;
    }
    all->open_count = 0;
}

/* Full jitter: of many who were turned away together no two come back together. */
static bool pause_before(uint64_t most_ns, uint64_t deadline_ns)
{
    uint64_t chance;
    hf_random(&chance, sizeof chance);
    uint64_t until_ns = hf_time_mono_ns() + most_ns / 4 + chance % (most_ns - most_ns / 4);
    if (until_ns >= deadline_ns) {
        return false;
    }
    for (uint64_t now_ns = hf_time_mono_ns(); now_ns < until_ns; now_ns = hf_time_mono_ns()) {
        uint64_t left_ns = until_ns - now_ns;
        hf_time_sleep_ns(left_ns < HF_NS_PER_SECOND ? left_ns : HF_NS_PER_SECOND - 1);
    }
    return true;
}

/* Fetches credentials; a second time, when they were only just fetched, with a little patience. */
static bool fetch_credentials(run *all)
{
    hf_error err = {0};
    for (unsigned tries = 0; tries < CREDENTIALS_TRIES; tries++) {
        hf_status st = get_credentials(all->service, all->deadline_ns, &all->credentials,
                                       &all->generation, &err);
        if (!hf_failed(st)) {
            return true;
        }
        if (!all->refetched || !pause_before(CREDENTIALS_PAUSE_NS, all->deadline_ns)) {
            break;
        }
    }
    note_health(all->service, &err);
    fail_open(all, &err);
    return false;
}

/* After a round: is there a next one, and how large? */
static bool go_on(run *all, size_t *round, uint64_t *pause_ns)
{
    if (all->refused && !all->refetched) {
        reject_credentials(all->service, all->generation, all->deadline_ns);
        all->refetched = true;
        return fetch_credentials(all);
    }
    if (!all->throttled && !all->ill) {
        *round = *round * 2 > ROUND_MOST ? ROUND_MOST : *round * 2;
        *pause_ns = PAUSE_FIRST_NS;
        return true;
    }
    *round = *round / 2 < ROUND_LEAST ? ROUND_LEAST : *round / 2;
    if (!pause_before(*pause_ns, all->deadline_ns)) {
        hf_error late = {0};
        hf_error_set(&late, HF_UNAVAILABLE, "%s: %s, and the time is up", all->service->where,
                     all->throttled ? "requests are throttled" : "it is not well");
        fail_open(all, &late);
        return false;
    }
    *pause_ns = *pause_ns * 2 > PAUSE_MAX_NS ? PAUSE_MAX_NS : *pause_ns * 2;
    return true;
}

static void run_rounds(run *all)
{
    size_t round = ROUND_FIRST;
    uint64_t pause_ns = PAUSE_FIRST_NS;
    while (all->open_count > 0) {
        hf_aws_question *first = &all->questions[all->open[0]];
        size_t n = all->open_count < round ? all->open_count : round;
        all->throttled = all->ill = all->refused = all->unreached = all->answered = false;
        send_round(all, n);
        bool settled_first = all->open_count == 0 || &all->questions[all->open[0]] != first;
        bool failed_first = settled_first && first->status.code == HF_UNAVAILABLE;
        bool nobody = all->unreached && !all->answered;
        note_health(all->service, nobody || failed_first ? &first->err : NULL);
        if (nobody && failed_first) {
            fail_open(all, &first->err); /* the rest need not find out one by one */
        }
        if (all->open_count > 0 && !go_on(all, &round, &pause_ns)) {
            return;
        }
    }
}

void hf_aws_ask(hf_aws_service *service, hf_aws_question *questions, size_t n, uint64_t deadline_ns)
{
    run all = {.service = service, .questions = questions, .deadline_ns = deadline_ns};
    hf_error err = {0};
    size_t places = n < ROUND_MOST ? n : ROUND_MOST;
    if (n == 0) {
        return;
    }
    int client = take_client(service, deadline_ns);
    all.open = calloc(n, sizeof *all.open);
    all.sendings = calloc(places, sizeof *all.sendings);
    if (client < 0 || all.open == NULL || all.sendings == NULL) {
        hf_error_set(&err, client < 0 ? HF_UNAVAILABLE : HF_NOMEM, "%s: %s", service->where,
                     client < 0 ? "too many requests at once" : "out of memory");
        for (size_t i = 0; i < n; i++) {
            questions[i].status = (hf_status){err.code};
            questions[i].err = err;
        }
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        questions[i].tries = 0;
        all.open[all.open_count++] = i;
    }
    all.client = service->clients[client];
    if (fetch_credentials(&all)) {
        run_rounds(&all);
    }
out:
    if (client >= 0) {
        give_client(service, client);
    }
    hf_wipe(&all.credentials, sizeof all.credentials);
    free(all.open);
    free(all.sendings);
}

void hf_aws_questions_done(hf_aws_question *questions, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_decref(questions[i].body);
        json_decref(questions[i].answer);
        questions[i].body = NULL;
        questions[i].answer = NULL;
    }
}

hf_status hf_aws_ask_one(hf_aws_service *service, const char *operation, json_t *take_body,
                         uint64_t deadline_ns, json_t **ret_answer, hf_error *err)
{
    hf_aws_question question = {.operation = operation, .body = take_body};
    hf_aws_ask(service, &question, 1, deadline_ns);
    hf_status st = question.status;
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "%s", question.err.msg);
    } else if (ret_answer != NULL) {
        *ret_answer = question.answer;
        question.answer = NULL;
    }
    hf_aws_questions_done(&question, 1);
    return st;
}

/* ---- life --------------------------------------------------------------------------------- */

static void free_wiped(void *ptr)
{
    if (ptr != NULL) {
        hf_wipe(ptr, malloc_usable_size(ptr));
    }
    free(ptr);
}

static bool is_region(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

static hf_status find_place(hf_aws_service *service, const hf_aws_place *place, hf_error *err)
{
    hf_status st = hf_ok();
    if (place->region[0] != '\0') {
        st = hf_str_copy(service->region, sizeof service->region, place->region);
    } else {
        st = hf_aws_find_region(service->region, sizeof service->region, err);
    }
    if (hf_failed(st)) {
        return st.code == HF_NOT_FOUND ? (hf_status){HF_USAGE} : st;
    }
    if (!is_region(service->region)) {
        return hf_fail(err, HF_USAGE, "not the name of an AWS region");
    }
    if (place->endpoint_url[0] != '\0') {
        st = hf_net_check_url(place->endpoint_url, err);
        return hf_failed(st)
                   ? hf_error_wrap(err, st, "endpoint_url")
                   : hf_str_format(service->url, sizeof service->url, "%s%s", place->endpoint_url,
                                   hf_str_has_suffix(place->endpoint_url, "/") ? "" : "/");
    }
    return hf_str_format(service->url, sizeof service->url, "https://%s.%s.amazonaws.com%s/",
                         service->name, service->region,
                         strncmp(service->region, "cn-", 3) == 0 ? ".cn" : "");
}

static hf_status make_parts(hf_aws_service *service, const hf_aws_place *place, hf_error *err)
{
    hf_net_config config = {0};
    hf_status st = find_place(service, place, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_str_format(service->where, sizeof service->where, "AWS %s in %s",
                       strcmp(service->name, "kms") == 0 ? "KMS" : "Secrets Manager",
                       service->region);
    if (!hf_failed(st)) {
        st = hf_str_copy(config.ca_file, sizeof config.ca_file, place->ca_file);
    }
    if (!hf_failed(st)) {
        st = hf_aws_new(&config, service->region, &service->aws, err);
    }
    if (!hf_failed(st) && place->credentials != NULL) {
        hf_aws_set_credentials(service->aws, place->credentials);
    }
    if (!hf_failed(st) && place->role_arn[0] != '\0') {
        st = hf_aws_set_role(service->aws, place->role_arn, err);
    }
    for (size_t i = 0; i < CLIENTS && !hf_failed(st); i++) {
        st = hf_net_new(&config, &service->clients[i], err);
    }
    return st;
}

static bool make_lock(hf_aws_service *service)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(&service->freed, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    if (made && pthread_mutex_init(&service->lock, NULL) != 0) {
        (void)pthread_cond_destroy(&service->freed);
        made = false;
    }
    return made;
}

hf_status hf_aws_service_open(const char *name, const hf_aws_place *place,
                              hf_aws_service **ret_service, hf_error *err)
{
    bool is_kms = strcmp(name, "kms") == 0;
    json_set_alloc_funcs(malloc, free_wiped);
    hf_aws_service *service = calloc(1, sizeof *service);
    if (service == NULL || !make_lock(service)) {
        free(service);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    service->name = is_kms ? "kms" : "secretsmanager";
    service->target = is_kms ? "TrentService" : "secretsmanager";
    hf_status st = make_parts(service, place, err);
    if (hf_failed(st)) {
        hf_aws_service_close(service);
        return st;
    }
    *ret_service = service;
    return hf_ok();
}

void hf_aws_service_close(hf_aws_service *service)
{
    if (service == NULL) {
        return;
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        hf_net_free(service->clients[i]);
    }
    hf_aws_free(service->aws);
    (void)pthread_cond_destroy(&service->freed);
    (void)pthread_mutex_destroy(&service->lock);
    free(service);
}

const char *hf_aws_service_region(const hf_aws_service *service)
{
    return service->region;
}
