/*
 * Policies that were applied while the signer runs: records, each with a MAC under the key of the
 * tokens' records, so that nobody who can write to the database gives a token other rights. The
 * half of the thread that does the jobs; what it reads goes over to the intake thread as a whole.
 */
#include "keeper/keeper_internal.h"

#define READ_AGAIN_NS HF_NS_PER_SECOND
#define TRIES 3 /* to change a record that others change too */
#define PURPOSE "holdfast policy"

struct hf_policy_set {
    hf_policy *policies[HF_BOOK_POLICIES_MAX];
    uint64_t versions[HF_BOOK_POLICIES_MAX]; /* of the records */
    size_t count;
};

void hf_policy_set_free(hf_policy_set *set)
{
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        hf_policy_free(set->policies[i]);
    }
    free(set);
}

const hf_policy *hf_policy_set_at(const hf_policy_set *set, size_t i)
{
    return set != NULL && i < set->count ? set->policies[i] : NULL;
}

const hf_policy *hf_policy_set_find(const hf_policy_set *set, const char *name)
{
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        if (strcmp(set->policies[i]->name, name) == 0) {
            return set->policies[i];
        }
    }
    return NULL;
}

static uint64_t version_of(const hf_policy_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->policies[i]->name, name) == 0) {
            return set->versions[i];
        }
    }
    return 0;
}

/* ---- records ------------------------------------------------------------------------------ */

static void id_of(const char *name, uint8_t ret_id[HF_RECORD_ID_BYTES])
{
    memset(ret_id, 0, HF_RECORD_ID_BYTES);
    memcpy(ret_id, name, strnlen(name, HF_RECORD_ID_BYTES));
}

static void authenticate(const hf_keeper *keeper, const uint8_t id[HF_RECORD_ID_BYTES],
                         uint64_t version, hf_bytes data, uint8_t ret_mac[HF_HMAC_BYTES])
{
    uint8_t number[8];
    hf_le64_put(number, version);
    const hf_bytes parts[] = {hf_bytes_from(PURPOSE, sizeof PURPOSE),
                              hf_bytes_from(id, HF_RECORD_ID_BYTES),
                              hf_bytes_from(number, sizeof number), data};
    hf_hmac_sha256(keeper->tokens.keys.record, parts, HF_ARRAY_LEN(parts), ret_mac);
}

typedef struct reading {
    const hf_keeper *keeper;
    hf_policy_set *set;
} reading;

static hf_status open_record(const hf_keeper *keeper, const hf_record *record,
                             hf_policy **ret_policy, hf_error *err)
{
    uint8_t mac[HF_HMAC_BYTES];
    uint8_t id[HF_RECORD_ID_BYTES];
    hf_policy *policy = NULL;
    if (record->len <= sizeof mac) {
        return hf_fail(err, HF_CORRUPT, "the record is too short");
    }
    hf_bytes data = hf_bytes_from(record->data, record->len - sizeof mac);
    authenticate(keeper, record->id, record->version, data, mac);
    if (!hf_secret_equal(mac, record->data + data.len, sizeof mac)) {
        return hf_fail(err, HF_CORRUPT,
                       "the record is not one that a signer with this token key wrote");
    }
    hf_status st = hf_policy_decode(data, &policy, err);
    if (hf_failed(st)) {
        return st;
    }
    id_of(policy->name, id);
    if (!hf_bytes_equal(id, record->id, sizeof id)) {
        hf_policy_free(policy);
        return hf_fail(err, HF_CORRUPT, "the record has another policy's name");
    }
    *ret_policy = policy;
    return st;
}

static hf_status read_one(void *context, const hf_record *record)
{
    reading *r = context;
    hf_error err = {.code = HF_OK};
    hf_policy *policy = NULL;
    char name[HF_RECORD_ID_BYTES + 1] = {0};
    if (r->set->count == HF_BOOK_POLICIES_MAX) {
        return (hf_status){HF_LIMIT};
    }
    if (hf_failed(open_record(r->keeper, record, &policy, &err))) {
        /* That one allows nothing, and tokens that name it may nothing; the others count. */
        memcpy(name, record->id, HF_RECORD_ID_BYTES);
        hf_log(HF_LOG_BROKEN, "policy_record_refused", "%s: %s", name, err.msg);
        return hf_ok();
    }
    r->set->versions[r->set->count] = record->version;
    r->set->policies[r->set->count++] = policy;
    return hf_ok();
}

/* Reads all and hands them over. */
static hf_status read_all(hf_keeper *keeper, hf_store *store, hf_error *err)
{
    hf_policies *policies = &keeper->policies;
    uint64_t generation = 0;
    reading r = {.keeper = keeper, .set = calloc(1, sizeof *r.set)};
    hf_policy_set *unseen = NULL;
    if (r.set == NULL) {
        return hf_fail(err, HF_NOMEM, "not enough memory");
    }
    hf_status st = store->ops->records(store, HF_RECORD_POLICY, read_one, &r, &generation, err);
    if (hf_failed(st)) {
        hf_policy_set_free(r.set);
        return st;
    }
    policies->is_read = true;
    (void)pthread_mutex_lock(&policies->lock);
    unseen = policies->fresh;
    policies->fresh = r.set;
    atomic_store(&policies->has_news, true);
    (void)pthread_mutex_unlock(&policies->lock);
    atomic_store(&policies->generation, generation); /* last: who waits for it then has them */
    hf_policy_set_free(unseen);
    return st;
}

void hf_policies_look(hf_keeper *keeper, hf_store *store)
{
    hf_policies *policies = &keeper->policies;
    hf_error err = {.code = HF_OK};
    bool is_known = policies->is_read && store->ops->generation(store) == policies->generation;
    if (is_known || (!policies->is_read && hf_time_mono_ns() < policies->retry_ns)) {
        return;
    }
    if (hf_failed(read_all(keeper, store, &err))) {
        policies->is_read = false;
        policies->retry_ns = hf_time_mono_ns() + READ_AGAIN_NS;
    }
}

/* ---- changing ----------------------------------------------------------------------------- */

/* The version of the record now; reads without handing over what others may change meanwhile. */
static hf_status current_version(hf_keeper *keeper, hf_store *store, const char *name,
                                 uint64_t *ret_version, hf_error *err)
{
    uint64_t generation = 0;
    reading r = {.keeper = keeper, .set = calloc(1, sizeof *r.set)};
    if (r.set == NULL) {
        return hf_fail(err, HF_NOMEM, "not enough memory");
    }
    hf_status st = store->ops->records(store, HF_RECORD_POLICY, read_one, &r, &generation, err);
    *ret_version = version_of(r.set, name);
    if (!hf_failed(st) && *ret_version == 0 && r.set->count == HF_BOOK_POLICIES_MAX) {
        st = hf_fail(err, HF_LIMIT, "there are %d policies already", HF_BOOK_POLICIES_MAX);
    }
    hf_policy_set_free(r.set);
    return st;
}

/* bytes NULL: a removal. */
static hf_status change_once(hf_keeper *keeper, hf_store *store, const char *name,
                             const uint8_t *bytes, size_t len, hf_error *err)
{
    hf_record_change change = {.record = {.kind = HF_RECORD_POLICY}, .is_removal = bytes == NULL};
    hf_status st = current_version(keeper, store, name, &change.expected, err);
    if (hf_failed(st)) {
        return st;
    }
    if (bytes == NULL && change.expected == 0) {
        return hf_fail(err, HF_NOT_FOUND, "no applied policy has this name");
    }
    id_of(name, change.record.id);
    uint8_t *data = malloc(len + HF_HMAC_BYTES);
    if (data == NULL) {
        return hf_fail(err, HF_NOMEM, "not enough memory");
    }
    if (bytes != NULL) {
        memcpy(data, bytes, len);
        authenticate(keeper, change.record.id, change.expected + 1, hf_bytes_from(data, len),
                     data + len);
        change.record.data = data;
        change.record.len = (uint32_t)(len + HF_HMAC_BYTES);
    }
    st = store->ops->change_records(store, &change, 1, err);
    free(data);
    return st;
}

static void change(hf_keeper *keeper, hf_store *store, hf_peer *peer, const hf_msg_policy_ask *ask,
                   const uint8_t *bytes)
{
    hf_error err = {.code = HF_OK};
    hf_status st = {HF_CONFLICT};
    for (int i = 0; i < TRIES && st.code == HF_CONFLICT; i++) {
        st = change_once(keeper, store, ask->name, bytes, ask->len, &err);
    }
    if (!hf_failed(st)) {
        st = read_all(keeper, store, &err); /* before the answer: the next question counts it */
    }
    if (!hf_failed(st)) {
        const hf_pass *pass = &keeper->jobs.asker;
        hf_auditor_note(keeper, HF_AUDIT_POLICY, pass, "done", "policy %s was %s", ask->name,
                        bytes == NULL ? "deleted" : "applied");
        hf_log(HF_LOG_UNUSUAL, bytes == NULL ? "policy_deleted" : "policy_applied", "%s by %s",
               ask->name, pass->accessor);
    }
    hf_reason reason = !hf_failed(st)            ? HF_REASON_OK
                       : st.code == HF_NOT_FOUND ? HF_REASON_NOT_FOUND
                       : st.code == HF_LIMIT || st.code == HF_CONFLICT
                           ? HF_REASON_BUSY
                           : HF_REASON_STORE_UNAVAILABLE;
    hf_peer_send_result(keeper, peer, ask->header.request_id, reason, 0,
                        hf_failed(st) ? err.msg : "");
}

void hf_policies_put(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame)
{
    const hf_msg_policy_ask *ask = frame; /* and the encoding behind it: policies_manage.c */
    change(keeper, store, peer, ask, (const uint8_t *)(ask + 1));
}

void hf_policies_delete(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame)
{
    const hf_msg_policy_ask *ask = frame;
    change(keeper, store, peer, ask, NULL);
}
