/*
 * The signing pool. Requests meet by signing root: a group holds the root's point on the curve,
 * computed once, and the requests that are ready to be signed with it, which go to
 * hf_bls_sign_many together. Hashing needs no key, so it runs while the record is being committed.
 * A point that several requests need gets a table, which makes each of their signatures cheaper.
 */
#include "keeper/keeper_internal.h"
#include "keeper/pulse.h"

/* So many requests on one root make good what its table costs. */
#define TABLE_WORTH 4
/* Points kept for roots that no request uses at the moment. */
#define IDLE_GROUPS 512
/* Requests one thread takes from a group at once: small enough to share a burst among threads. */
#define SHARE_MAX 32

typedef enum point_state { POINT_NONE, POINT_BEING_HASHED, POINT_READY } point_state;

struct hf_root_group {
    uint8_t root[HF_ROOT_BYTES];
    hf_bls_point point;
    hf_bls_table *table; /* NULL: none, or not yet */
    bool in_making;      /* a thread makes the table */
    point_state state;
    uint32_t users; /* requests expected or ready */
    uint32_t ready_count;
    bool in_ready;
    bool in_hash;
    bool in_table;
    hf_request *ready_head;
    hf_request *ready_tail;
    hf_root_group *chain; /* hash table */
    hf_root_group *ready_next;
    hf_root_group *hash_next;
    hf_root_group *hash_prev;
    hf_root_group *idle_next;
    hf_root_group *idle_prev;
};

/* ---- groups: all under signers->lock --------------------------------------------------------- */

static size_t bucket_of(const hf_signers *signers, const uint8_t root[HF_ROOT_BYTES])
{
    return (size_t)hf_le64_get(root) & (signers->bucket_count - 1);
}

static void idle_unlink(hf_signers *signers, hf_root_group *group)
{
    *(group->idle_prev != NULL ? &group->idle_prev->idle_next : &signers->idle_head) =
        group->idle_next;
    *(group->idle_next != NULL ? &group->idle_next->idle_prev : &signers->idle_tail) =
        group->idle_prev;
    group->idle_prev = NULL;
    group->idle_next = NULL;
}

/* Oldest at the head. A group without a point is worth nothing: it goes to the head. */
static void idle_link(hf_signers *signers, hf_root_group *group)
{
    if (group->state == POINT_READY && signers->idle_tail != NULL) {
        group->idle_prev = signers->idle_tail;
        signers->idle_tail->idle_next = group;
        signers->idle_tail = group;
        return;
    }
    group->idle_next = signers->idle_head;
    if (signers->idle_head != NULL) {
        signers->idle_head->idle_prev = group;
    } else {
        signers->idle_tail = group;
    }
    signers->idle_head = group;
}

static void table_remove(hf_signers *signers, hf_root_group *group)
{
    hf_root_group **link = &signers->buckets[bucket_of(signers, group->root)];
    while (*link != group) {
        HF_ASSERT(*link != NULL);
        link = &(*link)->chain;
    }
    *link = group->chain;
    group->in_table = false;
}

static void give_table_back(hf_signers *signers, hf_root_group *group)
{
    if (group->table != NULL) {
        signers->tables[signers->tables_free++] = group->table;
        group->table = NULL;
    }
}

/* A table for the group, if need be from the group that has been idle for the longest time. */
static hf_bls_table *take_table(hf_signers *signers)
{
    for (hf_root_group *idle = signers->idle_head; signers->tables_free == 0 && idle != NULL;
         idle = idle->idle_next) {
        give_table_back(signers, idle);
    }
    return signers->tables_free > 0 ? signers->tables[--signers->tables_free] : NULL;
}

/* The oldest idle group that no thread is hashing, for another root. */
static hf_root_group *reuse_group(hf_signers *signers, const uint8_t root[HF_ROOT_BYTES])
{
    hf_root_group *group = signers->idle_head;
    while (group != NULL && group->state == POINT_BEING_HASHED) {
        group = group->idle_next;
    }
    HF_ASSERT(group != NULL); /* there are more groups than requests and threads together */
    if (group->in_table) {
        table_remove(signers, group);
    }
    memcpy(group->root, root, HF_ROOT_BYTES);
    group->state = POINT_NONE;
    give_table_back(signers, group);
    size_t bucket = bucket_of(signers, root);
    group->chain = signers->buckets[bucket];
    signers->buckets[bucket] = group;
    group->in_table = true;
    return group;
}

static hf_root_group *find_group(hf_signers *signers, const uint8_t root[HF_ROOT_BYTES])
{
    hf_root_group *group = signers->buckets[bucket_of(signers, root)];
    while (group != NULL && !hf_bytes_equal(group->root, root, HF_ROOT_BYTES)) {
        group = group->chain;
    }
    return group;
}

static void queue_for_signing(hf_signers *signers, hf_root_group *group)
{
    if (group->in_ready || group->state == POINT_BEING_HASHED) {
        return;
    }
    group->in_ready = true;
    group->ready_next = NULL;
    if (signers->ready.head == NULL) {
        signers->ready.head = group;
    } else {
        signers->ready.tail->ready_next = group;
    }
    signers->ready.tail = group;
}

static void queue_for_hashing(hf_signers *signers, hf_root_group *group)
{
    if (group->in_hash || group->state != POINT_NONE) {
        return;
    }
    group->in_hash = true;
    group->hash_next = NULL;
    group->hash_prev = signers->hash.tail;
    *(signers->hash.tail != NULL ? &signers->hash.tail->hash_next : &signers->hash.head) = group;
    signers->hash.tail = group;
}

static void leave_hash_queue(hf_signers *signers, hf_root_group *group)
{
    hf_root_group *next = group->hash_next;
    hf_root_group *prev = group->hash_prev;
    *(prev != NULL ? &prev->hash_next : &signers->hash.head) = next;
    *(next != NULL ? &next->hash_prev : &signers->hash.tail) = prev;
    group->in_hash = false;
}

static void leave_group(hf_signers *signers, hf_root_group *group, uint32_t n)
{
    HF_ASSERT(group->users >= n);
    group->users -= n;
    if (group->users == 0) {
        if (group->in_hash) { /* all its requests were refused: nobody needs the point */
            leave_hash_queue(signers, group);
        }
        idle_link(signers, group);
    }
}

static void wake_one(hf_signers *signers)
{
    if (signers->waiting > 0) {
        (void)pthread_cond_signal(&signers->work);
    }
}

/* ---- the doors ------------------------------------------------------------------------------- */

void hf_signers_expect(hf_keeper *keeper, hf_request *request, const uint8_t root[HF_ROOT_BYTES])
{
    hf_signers *signers = &keeper->signers;
    (void)pthread_mutex_lock(&signers->lock);
    hf_root_group *group = find_group(signers, root);
    bool is_new = group == NULL;
    if (is_new) {
        group = reuse_group(signers, root);
    }
    if (group->users++ == 0) {
        idle_unlink(signers, group);
    }
    request->group = group;
    queue_for_hashing(signers, group);
    (void)pthread_mutex_unlock(&signers->lock);
    hf_meter_add(is_new ? &keeper->meter.now.hash_cache_misses : &keeper->meter.now.hash_cache_hits,
                 1);
}

void hf_signers_wake(hf_keeper *keeper)
{
    hf_signers *signers = &keeper->signers;
    (void)pthread_mutex_lock(&signers->lock);
    unsigned wanted = 0;
    for (hf_root_group *group = signers->hash.head; group != NULL && wanted < signers->waiting;) {
        wanted++;
        group = group->hash_next;
    }
    (void)pthread_mutex_unlock(&signers->lock);
    for (; wanted > 0; wanted--) {
        (void)pthread_cond_signal(&signers->work);
    }
}

void hf_signers_sign(hf_keeper *keeper, hf_request *list)
{
    hf_signers *signers = &keeper->signers;
    (void)pthread_mutex_lock(&signers->lock);
    while (list != NULL) {
        hf_request *request = list;
        list = request->next;
        hf_root_group *group = request->group;
        request->next = NULL;
        if (group->ready_head == NULL) {
            group->ready_head = request;
        } else {
            group->ready_tail->next = request;
        }
        group->ready_tail = request;
        group->ready_count++;
        (void)atomic_fetch_add(&signers->backlog, 1);
        queue_for_signing(signers, group);
        wake_one(signers);
    }
    (void)pthread_mutex_unlock(&signers->lock);
}

void hf_signers_forget(hf_keeper *keeper, hf_request *list)
{
    hf_signers *signers = &keeper->signers;
    (void)pthread_mutex_lock(&signers->lock);
    for (; list != NULL; list = list->next) {
        leave_group(signers, list->group, 1);
        list->group = NULL;
    }
    (void)pthread_mutex_unlock(&signers->lock);
}

uint32_t hf_signers_backlog(const hf_keeper *keeper)
{
    return atomic_load(&keeper->signers.backlog) / keeper->config.sign_threads;
}

/* ---- the threads ----------------------------------------------------------------------------- */

static hf_root_group *pop_ready(hf_signers *signers)
{
    hf_root_group *group = signers->ready.head;
    if (group != NULL) {
        signers->ready.head = group->ready_next;
        group->in_ready = false;
    }
    return group;
}

static hf_root_group *pop_hash(hf_signers *signers)
{
    hf_root_group *group = signers->hash.head;
    if (group != NULL) {
        leave_hash_queue(signers, group);
    }
    return group;
}

/* Called and returns with the lock held, as the next two; not held while calculating. */
static void hash_group(hf_signers *signers, hf_root_group *group)
{
    group->state = POINT_BEING_HASHED;
    (void)pthread_mutex_unlock(&signers->lock);
    hf_bls_hash(group->root, &group->point);
    (void)pthread_mutex_lock(&signers->lock);
    group->state = POINT_READY;
    if (group->ready_head != NULL) {
        queue_for_signing(signers, group);
    }
}

static void make_table(hf_signers *signers, hf_root_group *group)
{
    hf_bls_table *table = group->in_making || group->table != NULL ? NULL : take_table(signers);
    if (table == NULL) {
        return;
    }
    group->in_making = true;
    group->users++; /* the point stays what it is */
    (void)pthread_mutex_unlock(&signers->lock);
    hf_bls_table_build(&group->point, table);
    (void)pthread_mutex_lock(&signers->lock);
    group->in_making = false;
    group->table = table;
    leave_group(signers, group, 1);
}

/* A fair share of the ready requests: threads divide a burst on one root between them. */
static size_t take_ready(hf_signers *signers, hf_root_group *group, hf_request *ret[SHARE_MAX])
{
    size_t share = (group->ready_count + signers->thread_count - 1) / signers->thread_count;
    size_t n = 0;
    while (n < share && n < SHARE_MAX) {
        hf_request *request = group->ready_head;
        group->ready_head = request->next;
        group->ready_count--;
        ret[n++] = request;
    }
    (void)atomic_fetch_sub(&signers->backlog, (uint32_t)n);
    if (group->ready_head != NULL) {
        queue_for_signing(signers, group);
        wake_one(signers);
    }
    return n;
}

/* Without the lock. */
static void sign_requests(hf_keeper *keeper, const hf_bls_point *point, const hf_bls_table *table,
                          hf_request *const requests[], size_t n)
{
    const hf_bls_key *keys[SHARE_MAX];
    uint8_t signatures[SHARE_MAX][HF_BLS_SIGNATURE_BYTES];
    for (size_t i = 0; i < n; i++) {
        keys[i] = &requests[i]->key->secret->bls;
    }
    uint64_t start = hf_time_mono_ns();
    hf_bls_sign_many(point, table, keys, n, signatures);
    uint64_t each = (hf_time_mono_ns() - start) / n;
    for (size_t i = 0; i < n; i++) {
        hf_request *request = requests[i];
        hf_meter_observe(&keeper->meter.now.duration[request->operation][HF_STAGE_SIGN], each);
        memcpy(request->reply.signature, signatures[i], HF_BLS_SIGNATURE_BYTES);
        hf_request_finish(keeper, request, HF_REASON_OK, "");
    }
}

/* Called and returns with the lock held. */
static void sign_group(hf_keeper *keeper, hf_root_group *group)
{
    hf_signers *signers = &keeper->signers;
    hf_request *requests[SHARE_MAX];
    if (group->ready_head != NULL && group->users >= TABLE_WORTH) {
        make_table(signers, group);
    }
    if (group->ready_head == NULL) {
        return;
    }
    size_t n = take_ready(signers, group, requests);
    HF_ASSERT(n > 0); /* one is in ready_head */
    const hf_bls_table *table = group->table;
    (void)pthread_mutex_unlock(&signers->lock);
    sign_requests(keeper, &group->point, table, requests, n);
    (void)pthread_mutex_lock(&signers->lock);
    leave_group(signers, group, (uint32_t)n);
}

bool hf_signers_sign_here(hf_keeper *keeper, hf_request *request)
{
    hf_signers *signers = &keeper->signers;
    hf_root_group *group = request->group;
    (void)pthread_mutex_lock(&signers->lock);
    bool is_hashed = group->state == POINT_READY;
    const hf_bls_table *table = group->table;
    (void)pthread_mutex_unlock(&signers->lock);
    if (!is_hashed) {
        return false;
    }
    sign_requests(keeper, &group->point, table, &request, 1);
    (void)pthread_mutex_lock(&signers->lock);
    leave_group(signers, group, 1);
    (void)pthread_mutex_unlock(&signers->lock);
    return true;
}

static void work_once(hf_keeper *keeper)
{
    hf_signers *signers = &keeper->signers;
    hf_root_group *group = pop_ready(signers);
    if (group != NULL) {
        if (group->state == POINT_NONE) {
            hash_group(signers, group);
        } else {
            sign_group(keeper, group);
        }
        return;
    }
    group = pop_hash(signers);
    if (group != NULL) {
        if (group->state == POINT_NONE) {
            hash_group(signers, group);
        }
        return;
    }
    signers->waiting++;
    hf_pulse_rest();
    (void)pthread_cond_wait(&signers->work, &signers->lock);
    signers->waiting--;
}

static void *signer_main(void *context)
{
    hf_keeper *keeper = context;
    hf_signers *signers = &keeper->signers;
    hf_pulse_join("signer");
    (void)pthread_mutex_lock(&signers->lock);
    while (!signers->stop) {
        hf_pulse_turn();
        work_once(keeper);
    }
    (void)pthread_mutex_unlock(&signers->lock);
    return NULL;
}

static hf_status make_room_for_tables(hf_signers *signers)
{
    size_t size = hf_bls_table_size();
    if (posix_memalign(&signers->table_memory, HF_BLS_TABLE_ALIGN, HF_TABLES * size) != 0) {
        return (hf_status){HF_NOMEM};
    }
    for (size_t i = 0; i < HF_TABLES; i++) {
        void *table = (uint8_t *)signers->table_memory + i * size;
        signers->tables[signers->tables_free++] = table;
    }
    return hf_ok();
}

hf_status hf_signers_init(hf_keeper *keeper, size_t max_requests, unsigned threads)
{
    hf_signers *signers = &keeper->signers;
    size_t count = max_requests + IDLE_GROUPS;
    /* Held for less than a microsecond at a time: spinning a little is cheaper than sleeping. */
    pthread_mutexattr_t attr;
    (void)pthread_mutexattr_init(&attr);
    (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    (void)pthread_mutex_init(&signers->lock, &attr);
    (void)pthread_mutexattr_destroy(&attr);
    (void)pthread_cond_init(&signers->work, NULL);
    signers->bucket_count = 1024;
    while (signers->bucket_count < 2 * count) {
        signers->bucket_count *= 2;
    }
    signers->buckets = calloc(signers->bucket_count, sizeof *signers->buckets);
    if (signers->buckets == NULL || hf_failed(make_room_for_tables(signers)) ||
        posix_memalign((void **)&signers->groups, _Alignof(hf_root_group),
                       count * sizeof *signers->groups) != 0) {
        return (hf_status){HF_NOMEM};
    }
    for (size_t i = 0; i < count; i++) {
        signers->groups[i] = (hf_root_group){0};
        idle_link(signers, &signers->groups[i]);
    }
    for (unsigned i = 0; i < threads && i < HF_SIGN_THREADS_MAX; i++) {
        if (pthread_create(&signers->threads[i], NULL, signer_main, keeper) != 0) {
            return (hf_status){HF_NOMEM};
        }
        (void)pthread_mutex_lock(&signers->lock);
        signers->thread_count = i + 1;
        (void)pthread_mutex_unlock(&signers->lock);
    }
    return hf_ok();
}

void hf_signers_stop(hf_keeper *keeper)
{
    hf_signers *signers = &keeper->signers;
    (void)pthread_mutex_lock(&signers->lock);
    signers->stop = true;
    (void)pthread_cond_broadcast(&signers->work);
    (void)pthread_mutex_unlock(&signers->lock);
    for (unsigned i = 0; i < signers->thread_count; i++) {
        (void)pthread_join(signers->threads[i], NULL);
    }
    free(signers->table_memory);
    free(signers->groups);
    free(signers->buckets);
}
