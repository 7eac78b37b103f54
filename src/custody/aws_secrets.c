/* AWS Secrets Manager as a back end of custody: finds secrets, reads many at once. */
#include <sodium.h>

#include "crypto/crypto.h"
#include "custody/aws_secrets.h"
#include "custody/awskms_internal.h"

#define SECRET_MAX_BYTES 65536 /* what Secrets Manager takes */
#define PAGE 100               /* secrets a ListSecrets */
#define BATCH 20               /* secrets a BatchGetSecretValue */
/* Secrets in hand at a time: so many batches are asked at once. */
#define CHUNK (16 * BATCH)
#define SECRETS_MAX 100000
#define PROBE_EVERY_NS HF_NS_PER_SECOND
#define PROBE_NS HF_NS_PER_SECOND

typedef struct secrets {
    hf_custody custody; /* first */
    hf_aws_secrets_config config;
    hf_aws_service *service;
    bool one_by_one; /* BatchGetSecretValue is not to be had; list alone uses it */
    uint64_t probed_ns;
} secrets;

/* ---- which secrets ------------------------------------------------------------------------ */

/* {"Key": name, "Values": [...]}, added to filters when there are any. */
static bool add_filter(json_t *filters, const char *name, const char *values, size_t stride,
                       size_t n)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        ok = json_array_append_new(list, json_string(values + i * stride)) == 0;
    }
    ok = ok && (n == 0 || json_array_append_new(
                              filters, json_pack("{s:s, s:O}", "Key", name, "Values", list)) == 0);
    json_decref(list);
    return ok;
}

static json_t *filters_of(const hf_aws_secrets_config *config)
{
    json_t *filters = json_array();
    if (!add_filter(filters, "name", config->prefixes[0], sizeof config->prefixes[0],
                    config->prefix_count) ||
        !add_filter(filters, "tag-key", config->tag_keys[0], sizeof config->tag_keys[0],
                    config->tag_key_count) ||
        !add_filter(filters, "tag-value", config->tag_values[0], sizeof config->tag_values[0],
                    config->tag_value_count)) {
        json_decref(filters);
        return NULL;
    }
    return filters;
}

/* Filters of names know no upper case and split words: the beginning is compared here again. */
static bool has_prefix(const hf_aws_secrets_config *config, const char *name)
{
    for (size_t i = 0; i < config->prefix_count; i++) {
        if (strncmp(name, config->prefixes[i], strlen(config->prefixes[i])) == 0) {
            return true;
        }
    }
    return config->prefix_count == 0;
}

static hf_status take_page(const secrets *all, const json_t *answer, json_t *ids, hf_error *err)
{
    const json_t *list = json_object_get(answer, "SecretList");
    if (!json_is_array(list)) {
        return hf_fail(err, HF_UNAVAILABLE, "Secrets Manager answered without a list");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        json_t *arn = json_object_get(entry, "ARN");
        const char *name = json_string_value(json_object_get(entry, "Name"));
        if (name == NULL || !json_is_string(arn) || !has_prefix(&all->config, name)) {
            continue;
        }
        if (json_array_size(ids) >= SECRETS_MAX) {
            return hf_fail(err, HF_LIMIT, "more than %d secrets", SECRETS_MAX);
        }
        if (json_array_append(ids, arn) != 0) {
            return hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    return hf_ok();
}

static hf_status find_by_filter(secrets *all, json_t *ids, uint64_t deadline_ns, hf_error *err)
{
    json_t *token = NULL;
    hf_status st = hf_ok();
    do {
        json_t *answer = NULL;
        json_t *body =
            json_pack("{s:i, s:o}", "MaxResults", PAGE, "Filters", filters_of(&all->config));
        if (body != NULL && token != NULL) {
            (void)json_object_set(body, "NextToken", token);
        }
        st = hf_aws_ask_one(all->service, "ListSecrets", body, deadline_ns, &answer, err);
        if (!hf_failed(st)) {
            st = take_page(all, answer, ids, err);
        }
        json_t *next = json_object_get(answer, "NextToken");
        if (!hf_failed(st) && json_is_string(next) && token != NULL && json_equal(next, token)) {
            st = hf_fail(err, HF_UNAVAILABLE, "Secrets Manager lists the same page again");
        }
        json_decref(token);
        token = json_is_string(next) && !hf_failed(st) ? json_incref(next) : NULL;
        json_decref(answer);
    } while (token != NULL);
    return st;
}

static hf_status find_ids(secrets *all, uint64_t deadline_ns, json_t **ret_ids, hf_error *err)
{
    const hf_aws_secrets_config *config = &all->config;
    json_t *ids = json_array();
    hf_status st = ids != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
    for (size_t i = 0; i < config->name_count && !hf_failed(st); i++) {
        if (json_array_append_new(ids, json_string(config->names[i])) != 0) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    for (size_t i = 0; i < config->secret_count && !hf_failed(st); i++) {
        if (json_array_append_new(ids, json_string(config->secrets[i].path)) != 0) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    if (!hf_failed(st) &&
        config->prefix_count + config->tag_key_count + config->tag_value_count > 0) {
        st = find_by_filter(all, ids, deadline_ns, err);
    }
    if (hf_failed(st)) {
        json_decref(ids);
        return st;
    }
    *ret_ids = ids;
    return hf_ok();
}

/* ---- what is in them ---------------------------------------------------------------------- */

typedef struct opening {
    const secrets *all;
    const hf_custody_visitor *visitor;
    const char *arn;
    const char *name;
} opening;

static void name_of(const opening *at, const char *where, char ret_name[HF_CUSTODY_NAME_LEN])
{
    hf_status st = hf_str_format(ret_name, HF_CUSTODY_NAME_LEN, "%.180s%s%s", at->name,
                                 where[0] != '\0' ? " " : "", where);
    HF_ASSERT(!hf_failed(st));
}

static void refuse_key(void *context, const char *where, const char *why)
{
    const opening *at = context;
    char name[HF_CUSTODY_NAME_LEN];
    name_of(at, where, name);
    at->visitor->failed(at->visitor->context, name, why);
}

/* By secret and public key: lines may be added above, and it is the same key still. */
static void source_id_of(const char *arn, const hf_custody_key *key,
                         uint8_t ret_id[HF_SOURCE_ID_LEN])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, HF_SOURCE_ID_LEN);
    (void)crypto_generichash_update(&state, (const uint8_t *)arn, strlen(arn) + 1);
    (void)crypto_generichash_update(&state, key->public_key, key->public_len);
    (void)crypto_generichash_final(&state, ret_id, HF_SOURCE_ID_LEN);
}

static hf_status take_key(void *context, const char *where,
                          const uint8_t secret[HF_CUSTODY_SECRET_BYTES], hf_error *err)
{
    const opening *at = context;
    hf_custody_key key = {.type = at->all->config.key_type};
    hf_status st = hf_custody_public_of(key.type, secret, key.public_key, &key.public_len);
    if (hf_failed(st)) {
        refuse_key(context, where, "not a secret key of its type (zero, or beyond the curve)");
        return hf_ok();
    }
    memcpy(key.secret, secret, sizeof key.secret);
    source_id_of(at->arn, &key, key.source_id);
    name_of(at, where, key.name);
    st = at->visitor->key(at->visitor->context, &key);
    hf_wipe(&key, sizeof key);
    return hf_failed(st) ? hf_fail(err, st.code, "the listing was stopped") : st;
}

static hf_status read_text(opening *at, hf_bytes text, hf_error *err)
{
    hf_error why = {0};
    hf_status st = hf_aws_secret_read(text, take_key, refuse_key, at, &why);
    if (st.code == HF_INVALID_INPUT || st.code == HF_LIMIT) {
        refuse_key(at, "", why.msg);
        return hf_ok();
    }
    return hf_failed(st) ? hf_fail(err, st.code, "%s", why.msg) : st;
}

/* value: what GetSecretValue answers, or an entry of SecretValues. */
static hf_status read_value(const secrets *all, const hf_custody_visitor *visitor,
                            const json_t *value, hf_error *err)
{
    const json_t *text = json_object_get(value, "SecretString");
    opening at = {all, visitor, json_string_value(json_object_get(value, "ARN")),
                  json_string_value(json_object_get(value, "Name"))};
    hf_status st = hf_ok();
    if (at.arn == NULL || at.name == NULL) {
        return hf_fail(err, HF_UNAVAILABLE, "Secrets Manager answered without ARN and name");
    }
    if (json_is_string(text)) {
        return read_text(&at, hf_bytes_from(json_string_value(text), json_string_length(text)),
                         err);
    }
    uint8_t *binary = malloc(SECRET_MAX_BYTES);
    size_t len = 0;
    if (binary == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    if (hf_failed(hf_aws_read_base64(value, "SecretBinary", binary, SECRET_MAX_BYTES, &len))) {
        refuse_key(&at, "", "neither text nor bytes in it");
    } else {
        st = read_text(&at, hf_bytes_from(binary, len), err);
    }
    hf_wipe(binary, SECRET_MAX_BYTES);
    free(binary);
    return st;
}

/* ---- reading many ------------------------------------------------------------------------- */

static hf_status read_one_by_one(secrets *all, json_t *const *ids, size_t n,
                                 const hf_custody_visitor *visitor, uint64_t deadline_ns,
                                 hf_error *err)
{
    HF_ASSERT(n > 0);
    hf_aws_question *questions = calloc(n, sizeof *questions);
    hf_status st = questions != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
    for (size_t i = 0; i < n && questions != NULL; i++) {
        questions[i].operation = "GetSecretValue";
        questions[i].body =
            json_pack("{s:O, s:s}", "SecretId", ids[i], "VersionStage", "AWSCURRENT");
    }
    hf_aws_ask(all->service, questions, questions != NULL ? n : 0, deadline_ns);
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        const hf_aws_question *question = &questions[i];
        if (!hf_failed(question->status)) {
            st = read_value(all, visitor, question->answer, err);
        } else if (question->status.code == HF_UNAVAILABLE || question->status.code == HF_NOMEM) {
            st = hf_fail(err, question->status.code, "%s", question->err.msg);
        } else {
            visitor->failed(visitor->context, json_string_value(ids[i]), question->err.msg);
        }
    }
    if (questions != NULL) {
        hf_aws_questions_done(questions, n);
    }
    free(questions);
    return st;
}

/* One batch in hand: which of its secrets have been answered for. */
typedef struct batch {
    json_t *const *ids;
    size_t count;
    bool seen[BATCH];
} batch;

static bool is_id_of(const char *id, const json_t *value)
{
    const char *arn = json_string_value(json_object_get(value, "ARN"));
    const char *name = json_string_value(json_object_get(value, "Name"));
    const char *asked = json_string_value(json_object_get(value, "SecretId"));
    return (arn != NULL && strcmp(arn, id) == 0) || (name != NULL && strcmp(name, id) == 0) ||
           (asked != NULL && strcmp(asked, id) == 0);
}

static void note_seen(batch *one, const json_t *value)
{
    for (size_t i = 0; i < one->count; i++) {
        one->seen[i] = one->seen[i] || is_id_of(json_string_value(one->ids[i]), value);
    }
}

static hf_status take_batch(const secrets *all, batch *one, const json_t *answer,
                            const hf_custody_visitor *visitor, hf_error *err)
{
    const json_t *values = json_object_get(answer, "SecretValues");
    const json_t *errors = json_object_get(answer, "Errors");
    hf_status st = hf_ok();
    for (size_t i = 0; i < json_array_size(values) && !hf_failed(st); i++) {
        note_seen(one, json_array_get(values, i));
        st = read_value(all, visitor, json_array_get(values, i), err);
    }
    for (size_t i = 0; i < json_array_size(errors) && !hf_failed(st); i++) {
        const json_t *entry = json_array_get(errors, i);
        const char *id = json_string_value(json_object_get(entry, "SecretId"));
        const char *code = json_string_value(json_object_get(entry, "ErrorCode"));
        char why[120];
        char clean[64];
        hf_str_sanitize(clean, sizeof clean, code != NULL ? code : "refused");
        st = hf_str_format(why, sizeof why, "Secrets Manager says %s", clean);
        HF_ASSERT(!hf_failed(st));
        note_seen(one, entry);
        visitor->failed(visitor->context, id != NULL ? id : "a secret", why);
    }
    return st;
}

/* Those that a batch was too long for, or did not speak of: each by itself. */
static hf_status take_rest(secrets *all, const batch *one, const hf_custody_visitor *visitor,
                           uint64_t deadline_ns, hf_error *err)
{
    json_t *rest[BATCH];
    size_t n = 0;
    for (size_t i = 0; i < one->count; i++) {
        if (!one->seen[i]) {
            rest[n++] = one->ids[i];
        }
    }
    return n == 0 ? hf_ok() : read_one_by_one(all, rest, n, visitor, deadline_ns, err);
}

static json_t *batch_body(const batch *one)
{
    json_t *list = json_array();
    for (size_t i = 0; i < one->count && list != NULL; i++) {
        if (json_array_append(list, one->ids[i]) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list == NULL ? NULL : json_pack("{s:o}", "SecretIdList", list);
}

/* The service is older than that operation, or the role may read secrets and not batches. */
static bool lacks_batches(const hf_aws_question *question)
{
    return question->status.code == HF_DENIED;
}

static hf_status read_batches(secrets *all, json_t *const *ids, size_t n,
                              const hf_custody_visitor *visitor, uint64_t deadline_ns,
                              hf_error *err)
{
    batch batches[CHUNK / BATCH] = {0};
    hf_aws_question *questions = calloc(CHUNK / BATCH, sizeof *questions);
    size_t count = (n + BATCH - 1) / BATCH;
    hf_status st = questions != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
    for (size_t i = 0; i < count && questions != NULL; i++) {
        size_t left = n - i * BATCH;
        batches[i] = (batch){.ids = ids + i * BATCH, .count = left < BATCH ? left : BATCH};
        questions[i].operation = "BatchGetSecretValue";
        questions[i].body = batch_body(&batches[i]);
    }
    hf_aws_ask(all->service, questions, questions != NULL ? count : 0, deadline_ns);
    for (size_t i = 0; i < count && !hf_failed(st); i++) {
        const hf_aws_question *question = &questions[i];
        all->one_by_one = all->one_by_one || lacks_batches(question);
        if (question->status.code == HF_UNAVAILABLE || question->status.code == HF_NOMEM) {
            st = hf_fail(err, question->status.code, "%s", question->err.msg);
        } else if (!hf_failed(question->status)) {
            st = take_batch(all, &batches[i], question->answer, visitor, err);
        }
        if (!hf_failed(st)) {
            st = take_rest(all, &batches[i], visitor, deadline_ns, err);
        }
    }
    if (questions != NULL) {
        hf_aws_questions_done(questions, count);
    }
    free(questions);
    return st;
}

static hf_status list(hf_custody *custody, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                      hf_error *err)
{
    secrets *all = (secrets *)custody;
    json_t *chunk[CHUNK];
    json_t *ids = NULL;
    hf_status st = find_ids(all, deadline_ns, &ids, err);
    for (size_t first = 0; !hf_failed(st) && first < json_array_size(ids); first += CHUNK) {
        size_t n = 0;
        for (; n < CHUNK && first + n < json_array_size(ids); n++) {
            chunk[n] = json_array_get(ids, first + n);
        }
        st = all->one_by_one ? read_one_by_one(all, chunk, n, visitor, deadline_ns, err)
                             : read_batches(all, chunk, n, visitor, deadline_ns, err);
    }
    json_decref(ids);
    return st;
}

/* ---- the rest ----------------------------------------------------------------------------- */

static bool is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN])
{
    secrets *all = (secrets *)custody;
    bool well = hf_aws_service_is_well(all->service, ret_detail, HF_DETAIL_LEN);
    uint64_t now_ns = hf_time_mono_ns();
    if (!well && now_ns - all->probed_ns >= PROBE_EVERY_NS) {
        all->probed_ns = now_ns;
        /* A refusal is an answer as well: it is there. */
        hf_status st =
            hf_aws_ask_one(all->service, "ListSecrets", json_pack("{s:i}", "MaxResults", 1),
                           now_ns + PROBE_NS, NULL, NULL);
        well = hf_aws_service_is_well(all->service, ret_detail, HF_DETAIL_LEN) || !hf_failed(st);
    }
    if (well) {
        hf_status st = hf_str_format(ret_detail, HF_DETAIL_LEN, "AWS Secrets Manager in %s answers",
                                     hf_aws_service_region(all->service));
        HF_ASSERT(!hf_failed(st));
    }
    return well;
}

static void close_secrets(hf_custody *custody)
{
    secrets *all = (secrets *)custody;
    hf_aws_service_close(all->service);
    free(all);
}

static const hf_custody_ops ops = {
    .list = list,
    .sign = hf_custody_never_signs,
    .wrap = hf_custody_never_wraps,
    .unwrap = hf_custody_never_wraps,
    .is_healthy = is_healthy,
    .close = close_secrets,
};

hf_status hf_custody_aws_secrets_open(const hf_aws_secrets_config *config, hf_custody **ret_custody,
                                      hf_error *err)
{
    HF_ASSERT(config->name_count <= HF_AWS_SECRET_NAMES_MAX &&
              config->prefix_count <= HF_AWS_SECRET_FILTERS_MAX &&
              config->tag_key_count <= HF_AWS_SECRET_FILTERS_MAX &&
              config->tag_value_count <= HF_AWS_SECRET_FILTERS_MAX);
    if (config->name_count + config->secret_count + config->prefix_count + config->tag_key_count +
            config->tag_value_count ==
        0) {
        return hf_fail(err, HF_USAGE,
                       "which secrets? secret_names, name_prefixes, tag_keys or tag_values");
    }
    if (config->key_type == HF_CUSTODY_P256 || config->key_type >= HF_CUSTODY_TYPE_COUNT) {
        return hf_fail(err, HF_USAGE, "key_type: BLS, SECP256K1 or ED25519");
    }
    secrets *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    all->custody.ops = &ops;
    all->config = *config;
    hf_status st = hf_aws_service_open("secretsmanager", &config->place, &all->service, err);
    if (hf_failed(st)) {
        close_secrets(&all->custody);
        return st;
    }
    *ret_custody = &all->custody;
    return hf_ok();
}
