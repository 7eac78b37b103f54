/* Requests to DynamoDB: signed, many at once, and what their answers mean. */
#include "protect/dynamodb_internal.h"

#define ANSWER_MAX_BYTES (20U << 20) /* a BatchGetItem may answer with 16 MB, base64 longer */
#define PAUSE_FIRST_NS (20 * HF_NS_PER_MS)
#define PAUSE_MAX_NS (500 * HF_NS_PER_MS)
#define TARGET "X-Amz-Target: DynamoDB_20120810."

uint64_t hf_dynamo_deadline(const hf_dynamo *store)
{
    uint32_t ms =
        store->config.deadline_ms != 0 ? store->config.deadline_ms : HF_DYNAMO_DEADLINE_MS;
    return hf_time_mono_ns() + ms * HF_NS_PER_MS;
}

/* ---- what an answer means ----------------------------------------------------------------- */

typedef struct fault {
    const char *type;
    hf_outcome outcome;
    const char *sentence;
} fault;

#define CREDENTIALS "the credentials are not valid, or no longer"

static const fault faults[] = {
    {"ConditionalCheckFailedException", HF_OUTCOME_CONDITION, "a condition does not hold"},
    {"TransactionConflictException", HF_OUTCOME_BUSY, "another write is under way"},
    {"ProvisionedThroughputExceededException", HF_OUTCOME_BUSY,
     "the table's throughput is exceeded: give it more, or on-demand capacity"},
    {"ThrottlingException", HF_OUTCOME_BUSY, "requests are throttled"},
    {"RequestLimitExceeded", HF_OUTCOME_BUSY, "the account's request limit is exceeded"},
    {"LimitExceededException", HF_OUTCOME_BUSY, "a limit of the account is exceeded"},
    {"ResourceInUseException", HF_OUTCOME_BUSY, "the table is being made or changed"},
    {"ResourceNotFoundException", HF_OUTCOME_NO_TABLE, "no such table"},
    {"AccessDeniedException", HF_OUTCOME_REFUSED,
     "access denied: the role needs GetItem, PutItem, UpdateItem, DeleteItem, Query, BatchGetItem,"
     " BatchWriteItem"},
    {"KMSAccessDeniedException", HF_OUTCOME_REFUSED, "access to the table's KMS key is denied"},
    {"ExpiredTokenException", HF_OUTCOME_REFUSED, CREDENTIALS},
    {"ExpiredToken", HF_OUTCOME_REFUSED, CREDENTIALS},
    {"UnrecognizedClientException", HF_OUTCOME_REFUSED, CREDENTIALS},
    {"InvalidClientTokenId", HF_OUTCOME_REFUSED, CREDENTIALS},
    {"InvalidSignatureException", HF_OUTCOME_REFUSED,
     "the signature is refused: check region, secret key and this machine's clock"},
    {"IncompleteSignatureException", HF_OUTCOME_REFUSED,
     "the signature is refused: check region, secret key and this machine's clock"},
    {"ItemCollectionSizeLimitExceededException", HF_OUTCOME_REFUSED,
     "a validator's records exceed 10 GB (a local index on the table?)"},
};

static const fault *find_fault(const char *type)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(faults); i++) {
        if (strcmp(faults[i].type, type) == 0) {
            return &faults[i];
        }
    }
    return NULL;
}

/* "com.amazonaws.dynamodb.v20120810#Name" or "Name". */
static const char *type_of(const json_t *answer)
{
    const char *type = json_string_value(json_object_get(answer, "__type"));
    const char *hash = type != NULL ? strrchr(type, '#') : NULL;
    return hash != NULL ? hash + 1 : (type != NULL ? type : "");
}

static void say(hf_call *call, const hf_dynamo *store, hf_outcome outcome, const char *sentence)
{
    call->outcome = outcome;
    hf_error_set(&call->err, HF_UNAVAILABLE, "DynamoDB table %.80s in %.40s: %s",
                 store->config.table, store->config.region, sentence);
}

static void take_failure(hf_call *call, const hf_dynamo *store, long http_status,
                         const json_t *answer)
{
    char sentence[200];
    char clean[64];
    const fault *known = find_fault(type_of(answer));
    if (known != NULL) {
        say(call, store, known->outcome, known->sentence);
        return;
    }
    hf_str_sanitize(clean, sizeof clean, type_of(answer));
    hf_status st =
        hf_str_format(sentence, sizeof sentence, "answered with status %ld %s", http_status, clean);
    HF_ASSERT(!hf_failed(st));
    /* A fault of the service may come after it did what was asked. */
    say(call, store, http_status >= 500 ? HF_OUTCOME_UNKNOWN : HF_OUTCOME_REFUSED, sentence);
}

static void take_answer(hf_call *call, const hf_dynamo *store, const hf_net_exchange *exchange)
{
    json_error_t problem;
    if (hf_failed(exchange->result)) {
        bool again = exchange->result.code == HF_UNAVAILABLE && !exchange->maybe_acted;
        say(call, store,
            exchange->maybe_acted ? HF_OUTCOME_UNKNOWN
                                  : (again ? HF_OUTCOME_BUSY : HF_OUTCOME_REFUSED),
            exchange->detail);
        return;
    }
    json_t *answer =
        json_loadb(hf_buf_text(exchange->answer), hf_buf_len(exchange->answer), 0, &problem);
    if (exchange->http_status == 200 && json_is_object(answer)) {
        call->outcome = HF_OUTCOME_DONE;
        call->answer = answer;
        return;
    }
    if (exchange->http_status == 200) {
        say(call, store, HF_OUTCOME_UNKNOWN, "its answer is not JSON");
    } else {
        take_failure(call, store, exchange->http_status, answer);
    }
    json_decref(answer);
}

/* ---- sending ------------------------------------------------------------------------------ */

typedef struct wire {
    hf_net_exchange *exchanges;
    char **bodies;
    char (*targets)[64];
} wire;

static void wire_done(wire *out, size_t n)
{
    for (size_t i = 0; i < n && out->exchanges != NULL; i++) {
        hf_net_exchange_done(&out->exchanges[i]);
    }
    for (size_t i = 0; i < n && out->bodies != NULL; i++) {
        free(out->bodies[i]);
    }
    free(out->exchanges);
    free(out->bodies);
    free(out->targets);
}

static bool wire_init(wire *out, const hf_dynamo *store, const hf_call *calls, size_t n,
                      const hf_net_signing *signing)
{
    *out = (wire){calloc(n, sizeof *out->exchanges), calloc(n, sizeof *out->bodies),
                  calloc(n, sizeof *out->targets)};
    if (out->exchanges == NULL || out->bodies == NULL || out->targets == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        out->bodies[i] = json_dumps(calls[i].body, JSON_COMPACT);
        if (out->bodies[i] == NULL ||
            hf_failed(hf_str_format(out->targets[i], sizeof out->targets[i], TARGET "%s",
                                    calls[i].operation))) {
            return false;
        }
        out->exchanges[i] = (hf_net_exchange){
            .method = "POST",
            .url = store->url,
            .headers = {"Content-Type: application/x-amz-json-1.0", out->targets[i]},
            .body = hf_bytes_from(out->bodies[i], strlen(out->bodies[i])),
            .signing = signing,
            .max_answer_bytes = ANSWER_MAX_BYTES};
    }
    return true;
}

static void refuse_all(hf_call *calls, size_t n, const hf_error *why)
{
    for (size_t i = 0; i < n; i++) {
        calls[i].outcome = HF_OUTCOME_REFUSED;
        calls[i].err = *why;
    }
}

static bool credentials_refused(const hf_call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (calls[i].outcome == HF_OUTCOME_REFUSED && strstr(calls[i].err.msg, CREDENTIALS)) {
            return true;
        }
    }
    return false;
}

void hf_dynamo_run(hf_dynamo *store, hf_call *calls, size_t n, uint64_t deadline_ns)
{
    hf_error err = {0};
    wire out = {0};
    const hf_aws_credentials *credentials;
    if (n == 0) {
        return;
    }
    hf_status st = hf_aws_get(store->aws, deadline_ns, &credentials, &err);
    if (hf_failed(st)) {
        refuse_all(calls, n, &err);
        return;
    }
    hf_net_signing signing = {credentials, store->config.region, "dynamodb"};
    if (!wire_init(&out, store, calls, n, &signing)) {
        hf_error_set(&err, HF_NOMEM, "slashing protection: out of memory");
        refuse_all(calls, n, &err);
        wire_done(&out, n);
        return;
    }
    hf_net_run(store->net, out.exchanges, n, deadline_ns);
    for (size_t i = 0; i < n; i++) {
        take_answer(&calls[i], store, &out.exchanges[i]);
        store->ready = store->ready && calls[i].outcome != HF_OUTCOME_NO_TABLE;
    }
    wire_done(&out, n);
    if (credentials_refused(calls, n)) {
        hf_aws_reject(store->aws);
    }
}

void hf_dynamo_calls_done(hf_call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_decref(calls[i].body);
        json_decref(calls[i].answer);
        calls[i].body = NULL;
        calls[i].answer = NULL;
    }
}

hf_status hf_dynamo_call_status(const hf_call *call, hf_error *err)
{
    return hf_fail(err, call->err.code == HF_OK ? HF_UNAVAILABLE : call->err.code, "%s",
                   call->err.msg);
}

bool hf_dynamo_pause(unsigned tries, uint64_t deadline_ns)
{
    uint64_t pause_ns = PAUSE_FIRST_NS << (tries < 5 ? tries : 5);
    uint64_t now_ns = hf_time_mono_ns();
    pause_ns = pause_ns > PAUSE_MAX_NS ? PAUSE_MAX_NS : pause_ns;
    /* Half of it by chance, so that many who were turned away do not come back together. */
    pause_ns = pause_ns / 2 + now_ns % (pause_ns / 2);
    if (now_ns + pause_ns >= deadline_ns) {
        return false;
    }
    hf_time_sleep_ns(pause_ns);
    return true;
}

hf_status hf_dynamo_one(hf_dynamo *store, const char *operation, json_t *take_body, bool again,
                        uint64_t deadline_ns, json_t **ret_answer, hf_error *err)
{
    hf_call call = {.operation = operation, .body = take_body};
    hf_status st = hf_ok();
    for (unsigned tries = 0;; tries++) {
        hf_dynamo_run(store, &call, 1, deadline_ns);
        bool passing =
            call.outcome == HF_OUTCOME_BUSY || (call.outcome == HF_OUTCOME_UNKNOWN && again);
        if (!passing || !hf_dynamo_pause(tries, deadline_ns)) {
            break;
        }
    }
    if (call.outcome != HF_OUTCOME_DONE) {
        st = hf_dynamo_call_status(&call, err);
        st = call.outcome == HF_OUTCOME_CONDITION ? (hf_status){HF_CONFLICT} : st;
        st = call.outcome == HF_OUTCOME_NO_TABLE ? (hf_status){HF_NOT_FOUND} : st;
    } else if (ret_answer != NULL) {
        *ret_answer = call.answer;
        call.answer = NULL;
    }
    hf_dynamo_calls_done(&call, 1);
    return st;
}

/* ---- many writes without condition -------------------------------------------------------- */

json_t *hf_dynamo_batch_body(const hf_dynamo *store, const json_t *requests, size_t first,
                             size_t count)
{
    json_t *list = json_array();
    for (size_t i = first; i < first + count; i++) {
        if (json_array_append(list, json_array_get(requests, i)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:{s:o}}", "RequestItems", store->config.table, list);
}

/* Adds to left what an answered or failed batch did not do. */
static hf_status take_left(const hf_dynamo *store, const hf_call *call, json_t *left, hf_error *err)
{
    if (call->outcome == HF_OUTCOME_REFUSED || call->outcome == HF_OUTCOME_NO_TABLE) {
        return hf_dynamo_call_status(call, err);
    }
    const json_t *source =
        call->outcome == HF_OUTCOME_DONE
            ? json_object_get(json_object_get(call->answer, "UnprocessedItems"),
                              store->config.table)
            : json_object_get(json_object_get(call->body, "RequestItems"), store->config.table);
    for (size_t i = 0; i < json_array_size(source); i++) {
        if (json_array_append(left, json_array_get(source, i)) != 0) {
            return hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    return hf_ok();
}

/* One round: up to 64 batches at once; *ret_left is what has to be done still. */
static hf_status write_round(hf_dynamo *store, const json_t *requests, json_t *left,
                             uint64_t deadline_ns, hf_error *err)
{
    size_t total = json_array_size(requests);
    size_t n = (total + HF_DYNAMO_BATCH_WRITE - 1) / HF_DYNAMO_BATCH_WRITE;
    hf_call *calls = calloc(n, sizeof *calls);
    hf_status st = hf_ok();
    if (calls == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        size_t first = i * HF_DYNAMO_BATCH_WRITE;
        size_t count =
            total - first < HF_DYNAMO_BATCH_WRITE ? total - first : HF_DYNAMO_BATCH_WRITE;
        calls[i].operation = "BatchWriteItem";
        calls[i].body = hf_dynamo_batch_body(store, requests, first, count);
    }
    hf_dynamo_run(store, calls, n, deadline_ns != 0 ? deadline_ns : hf_dynamo_deadline(store));
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = take_left(store, &calls[i], left, err);
    }
    if (!hf_failed(st) && json_array_size(left) > 0) {
        hf_error_set(err, HF_UNAVAILABLE, "%s",
                     calls[0].err.msg[0] != '\0' ? calls[0].err.msg : "DynamoDB is throttled");
    }
    hf_dynamo_calls_done(calls, n);
    free(calls);
    return st;
}

hf_status hf_dynamo_write_all(hf_dynamo *store, json_t *take_requests, uint64_t deadline_ns,
                              hf_error *err)
{
    json_t *requests = take_requests;
    hf_status st = hf_ok();
    hf_error passing = {0};
    uint64_t patience_ns =
        deadline_ns != 0 ? deadline_ns : hf_time_mono_ns() + HF_DYNAMO_PATIENCE_NS;
    for (unsigned tries = 0; json_array_size(requests) > 0; tries++) {
        json_t *left = json_array();
        size_t before = json_array_size(requests);
        st = left == NULL ? hf_fail(&passing, HF_NOMEM, "out of memory")
                          : write_round(store, requests, left, deadline_ns, &passing);
        json_decref(requests);
        requests = left;
        if (hf_failed(st)) {
            break;
        }
        if (json_array_size(left) < before && deadline_ns == 0) {
            patience_ns = hf_time_mono_ns() + HF_DYNAMO_PATIENCE_NS;
            tries = 0;
        }
        if (json_array_size(left) > 0 && !hf_dynamo_pause(tries, patience_ns)) {
            st = (hf_status){HF_UNAVAILABLE};
            break;
        }
    }
    json_decref(requests);
    return hf_failed(st) ? hf_fail(err, st.code, "%s", passing.msg) : st;
}
