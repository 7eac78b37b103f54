/* The key table: who may sign. Touched by the intake thread alone, but for the reference counts. */
#include "keeper/keeper_internal.h"

#define SOURCES_FIRST 64

struct hf_key_source_state {
    uint8_t source_id[HF_SOURCE_ID_LEN];
    uint64_t stamp;
    uint32_t seen_in;    /* the last load that named it */
    uint32_t loaded_in;  /* the last load that brought keys from it; 0: none */
    uint32_t deleted_in; /* the load during or after which its file was deleted; 0: it was not */
};

hf_status hf_keyring_init(hf_keyring *ring, size_t max_keys, bool require_lock, hf_error *err)
{
    *ring = (hf_keyring){.max = max_keys};
    ring->bucket_count = 64;
    while (ring->bucket_count < 2 * max_keys) {
        ring->bucket_count *= 2;
    }
    hf_status st = hf_slab_new(sizeof(hf_key_slot), max_keys, require_lock, &ring->slab, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_secp256k1_new(&ring->secp);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "libsecp256k1 could not be prepared");
    }
    ring->buckets = calloc(ring->bucket_count, sizeof *ring->buckets);
    ring->order = calloc(max_keys, sizeof(hf_key *));
    if (ring->buckets == NULL || ring->order == NULL) {
        return hf_fail(err, HF_NOMEM, "no memory for a table of %zu keys", max_keys);
    }
    return hf_ok();
}

void hf_keyring_done(hf_keyring *ring)
{
    while (ring->count > 0) {
        hf_keyring_remove(ring, ring->order[ring->count - 1]);
    }
    (void)hf_keyring_reap(ring);
    free(ring->buckets);
    free(ring->order);
    free(ring->sources);
    hf_slab_free(ring->slab);
    hf_secp256k1_free(ring->secp);
    *ring = (hf_keyring){0};
}

/* Compressed curve points and hashes: their middle bytes are as good as random. */
static hf_key **bucket_at(const hf_keyring *ring, const uint8_t middle[8])
{
    return &ring->buckets[(size_t)hf_le64_get(middle) & (ring->bucket_count - 1)];
}

static hf_key **bucket_of_pubkey(const hf_keyring *ring, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    return bucket_at(ring, pubkey + 16);
}

static hf_key **bucket_of_address(const hf_keyring *ring, const uint8_t address[HF_ADDRESS_BYTES])
{
    return bucket_at(ring, address + 8);
}

static hf_key **bucket_of(const hf_keyring *ring, const hf_key *key)
{
    return key->type == HF_KEY_TYPE_BLS ? bucket_of_pubkey(ring, key->pubkey)
                                        : bucket_of_address(ring, key->address);
}

hf_key *hf_keyring_find(const hf_keyring *ring, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    for (hf_key *key = *bucket_of_pubkey(ring, pubkey); key != NULL; key = key->next) {
        if (key->type == HF_KEY_TYPE_BLS &&
            hf_bytes_equal(key->pubkey, pubkey, HF_BLS_PUBKEY_BYTES)) {
            return key;
        }
    }
    return NULL;
}

hf_key *hf_keyring_find_address(const hf_keyring *ring, const uint8_t address[HF_ADDRESS_BYTES])
{
    for (hf_key *key = *bucket_of_address(ring, address); key != NULL; key = key->next) {
        if (key->type == HF_KEY_TYPE_SECP256K1 &&
            hf_bytes_equal(key->address, address, HF_ADDRESS_BYTES)) {
            return key;
        }
    }
    return NULL;
}

hf_key *hf_keyring_find_same(const hf_keyring *ring, const hf_key *key)
{
    return key->type == HF_KEY_TYPE_BLS ? hf_keyring_find(ring, key->pubkey)
                                        : hf_keyring_find_address(ring, key->address);
}

bool hf_keyring_has_twin(const hf_keyring *ring, const hf_key *key)
{
    const hf_key *old = hf_keyring_find_same(ring, key);
    return old != NULL && old->load == ring->load;
}

void hf_key_name(const hf_key *key, char ret_name[HF_KEY_NAME_LEN])
{
    memcpy(ret_name, "0x", 2);
    if (key->type == HF_KEY_TYPE_BLS) {
        hf_hex_encode(key->pubkey, HF_BLS_PUBKEY_BYTES, ret_name + 2);
    } else {
        hf_hex_encode(key->address, HF_ADDRESS_BYTES, ret_name + 2);
    }
}

/* Who the key is, by itself. CRYPTO when it is no key of its type. */
static hf_status take_secret(const hf_keyring *ring, hf_key *key,
                             const uint8_t secret[HF_BLS_SECRET_BYTES])
{
    if (key->type == HF_KEY_TYPE_BLS) {
        hf_status st = hf_bls_key_from_bytes(secret, &key->secret->bls);
        if (!hf_failed(st)) {
            hf_bls_pubkey(&key->secret->bls, key->pubkey);
        }
        return st;
    }
    hf_status st = hf_secp256k1_key_from_bytes(ring->secp, secret, &key->secret->secp256k1);
    if (!hf_failed(st)) {
        hf_secp256k1_pubkey(ring->secp, &key->secret->secp256k1, key->point);
        hf_secp256k1_address(key->point, key->address);
    }
    return st;
}

hf_status hf_key_new(hf_keyring *ring, const hf_msg_key *frame, hf_key **ret_key)
{
    if (frame->backend >= HF_BACKEND_COUNT || frame->key_type >= HF_KEY_TYPE_COUNT) {
        return (hf_status){HF_INVALID_INPUT};
    }
    hf_key *key = calloc(1, sizeof *key);
    if (key == NULL) {
        return (hf_status){HF_NOMEM};
    }
    hf_status st = {HF_LIMIT};
    key->secret = hf_slab_alloc(ring->slab);
    if (key->secret == NULL) {
        goto fail;
    }
    key->type = (hf_key_type)frame->key_type;
    st = take_secret(ring, key, frame->secret);
    if (hf_failed(st)) {
        goto fail;
    }
    memcpy(key->source_id, frame->source_id, HF_SOURCE_ID_LEN);
    key->backend = frame->backend;
    key->source = frame->source;
    key->load = ring->load;
    *ret_key = key;
    return hf_ok();
fail:
    hf_key_free(ring, key);
    return st;
}

hf_status hf_key_new_bound(hf_keyring *ring, hf_key_type type, const uint8_t *name,
                           const uint8_t secret[HF_BLS_SECRET_BYTES], uint32_t backend,
                           hf_key **ret_key)
{
    hf_status st = {HF_LIMIT};
    hf_key *key = calloc(1, sizeof *key);
    if (key == NULL) {
        return (hf_status){HF_NOMEM};
    }
    key->secret = hf_slab_alloc(ring->slab);
    if (key->secret == NULL) {
        goto fail;
    }
    key->type = type;
    key->backend = backend;
    key->source = HF_SOURCE_NONE;
    key->load = ring->load;
    if (type == HF_KEY_TYPE_BLS) {
        st = hf_bls_key_from_bytes(secret, &key->secret->bls);
        memcpy(key->pubkey, name, HF_BLS_PUBKEY_BYTES);
    } else {
        st = hf_secp256k1_key_from_bytes(ring->secp, secret, &key->secret->secp256k1);
        memcpy(key->address, name, HF_ADDRESS_BYTES);
    }
    if (!hf_failed(st) && type == HF_KEY_TYPE_SECP256K1) {
        hf_secp256k1_pubkey(ring->secp, &key->secret->secp256k1, key->point);
    }
    if (hf_failed(st)) {
        goto fail;
    }
    *ret_key = key;
    return hf_ok();
fail:
    hf_key_free(ring, key);
    return st;
}

hf_status hf_key_new_remote(hf_keyring *ring, hf_bytes sec1, hf_key **ret_key)
{
    hf_key *key = calloc(1, sizeof *key);
    if (key == NULL) {
        return (hf_status){HF_NOMEM};
    }
    key->type = HF_KEY_TYPE_SECP256K1;
    key->source = HF_SOURCE_NONE;
    hf_status st = hf_secp256k1_pubkey_parse(ring->secp, sec1, key->point);
    if (hf_failed(st)) {
        free(key);
        return st;
    }
    hf_secp256k1_address(key->point, key->address);
    *ret_key = key;
    return hf_ok();
}

void hf_key_free(hf_keyring *ring, hf_key *key)
{
    if (key == NULL) {
        return;
    }
    if (key->secret != NULL) {
        hf_slab_release(ring->slab, key->secret);
    }
    free(key);
}

static hf_key_source_state *find_source(const hf_keyring *ring,
                                        const uint8_t source_id[HF_SOURCE_ID_LEN]);

/*
 * The same key again. Its file may have a new name: then the key follows the file. Or there are two
 * places: then a configured file counts before an imported one, and any before a sealed record,
 * which can be deleted over HTTP, and the key would be back with the next start.
 */
static void adopt(hf_keyring *ring, hf_key *old, const hf_key *again)
{
    if (old->is_of_custody) {
        ring->has_covered = true;
        return;
    }
    const hf_key_source_state *source = find_source(ring, old->source_id);
    bool has_both = old->backend == HF_BACKEND_SEALED ||
                    (source != NULL && source->seen_in == ring->load &&
                     !hf_bytes_equal(old->source_id, again->source_id, HF_SOURCE_ID_LEN));
    ring->has_covered = ring->has_covered || has_both;
    if (again->backend == HF_BACKEND_SEALED ||
        (has_both && again->backend == HF_BACKEND_IMPORTED && old->backend != HF_BACKEND_SEALED)) {
        return;
    }
    bool can_be_deleted = old->backend == HF_BACKEND_IMPORTED || old->backend == HF_BACKEND_SEALED;
    if (old->load != ring->load || (has_both && can_be_deleted)) {
        memcpy(old->source_id, again->source_id, HF_SOURCE_ID_LEN);
        ring->by_backend[old->backend]--;
        ring->by_backend[again->backend]++;
        old->backend = again->backend;
        old->source = again->source;
        old->load = ring->load;
    }
}

static void order_add(hf_keyring *ring, hf_key *key)
{
    ring->order[ring->count] = key;
    if (key->type == HF_KEY_TYPE_BLS) {
        ring->order[ring->count] = ring->order[ring->bls_count];
        ring->order[ring->bls_count++] = key;
    }
    ring->count++;
}

/* The last of its type fills the gap, and the last of all that one's. */
static void order_remove(hf_keyring *ring, const hf_key *key)
{
    size_t place = 0;
    while (ring->order[place] != key) {
        place++;
    }
    if (key->type == HF_KEY_TYPE_BLS) {
        ring->order[place] = ring->order[--ring->bls_count];
        place = ring->bls_count;
    }
    ring->order[place] = ring->order[--ring->count];
}

hf_status hf_keyring_add(hf_keyring *ring, hf_key *take_key)
{
    hf_key *old = hf_keyring_find_same(ring, take_key);
    if (old != NULL) {
        adopt(ring, old, take_key);
        hf_key_free(ring, take_key);
        return (hf_status){HF_CONFLICT};
    }
    if (ring->count == ring->max) {
        hf_key_free(ring, take_key);
        return (hf_status){HF_LIMIT};
    }
    hf_key **bucket = bucket_of(ring, take_key);
    take_key->next = *bucket;
    *bucket = take_key;
    order_add(ring, take_key);
    ring->by_backend[take_key->backend]++;
    ring->generation++;
    return hf_ok();
}

void hf_keyring_remove(hf_keyring *ring, hf_key *key)
{
    hf_key **link = bucket_of(ring, key);
    while (*link != key) {
        HF_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = key->next;
    order_remove(ring, key);
    ring->by_backend[key->backend]--;
    ring->generation++;
    key->is_removed = true;
    key->next = ring->removed;
    ring->removed = key;
}

bool hf_keyring_reap(hf_keyring *ring)
{
    for (hf_key **link = &ring->removed; *link != NULL;) {
        hf_key *key = *link;
        if (atomic_load(&key->refs) != 0) {
            link = &key->next;
            continue;
        }
        *link = key->next;
        hf_key_free(ring, key);
    }
    return ring->removed == NULL;
}

bool hf_keyring_is_waiting(const hf_keyring *ring, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    for (const hf_key *key = ring->removed; key != NULL; key = key->next) {
        if (key->type == HF_KEY_TYPE_BLS &&
            hf_bytes_equal(key->pubkey, pubkey, HF_BLS_PUBKEY_BYTES)) {
            return true;
        }
    }
    return false;
}

/* ---- loads ----------------------------------------------------------------------------------- */

/* Open addressing over source ids, which are hashes already. */
static hf_key_source_state *source_slot(const hf_keyring *ring,
                                        const uint8_t source_id[HF_SOURCE_ID_LEN])
{
    size_t mask = ring->source_max - 1;
    size_t i = (size_t)hf_le64_get(source_id) & mask;
    while (ring->sources[i].seen_in != 0 &&
           !hf_bytes_equal(ring->sources[i].source_id, source_id, HF_SOURCE_ID_LEN)) {
        i = (i + 1) & mask;
    }
    return &ring->sources[i];
}

static bool grow_sources(hf_keyring *ring)
{
    hf_keyring bigger = *ring;
    bigger.source_max = ring->source_max == 0 ? SOURCES_FIRST : 2 * ring->source_max;
    bigger.sources = calloc(bigger.source_max, sizeof *bigger.sources);
    if (bigger.sources == NULL) {
        return false;
    }
    for (size_t i = 0; i < ring->source_max; i++) {
        if (ring->sources[i].seen_in != 0) {
            *source_slot(&bigger, ring->sources[i].source_id) = ring->sources[i];
        }
    }
    free(ring->sources);
    *ring = bigger;
    return true;
}

static hf_key_source_state *find_source(const hf_keyring *ring,
                                        const uint8_t source_id[HF_SOURCE_ID_LEN])
{
    if (ring->source_max == 0) {
        return NULL;
    }
    hf_key_source_state *slot = source_slot(ring, source_id);
    return slot->seen_in != 0 ? slot : NULL;
}

/* NULL when memory is short or there are more files than keys could be. */
static hf_key_source_state *make_source(hf_keyring *ring, const uint8_t source_id[HF_SOURCE_ID_LEN])
{
    hf_key_source_state *found = find_source(ring, source_id);
    if (found != NULL) {
        return found;
    }
    if (2 * ring->source_count >= ring->source_max &&
        (ring->source_count > 2 * ring->max || !grow_sources(ring))) {
        return NULL;
    }
    hf_key_source_state *slot = source_slot(ring, source_id);
    memcpy(slot->source_id, source_id, HF_SOURCE_ID_LEN);
    ring->source_count++;
    return slot;
}

/* Files that the last load did not name, or that were deleted since, take no place for ever. */
static void drop_sources(hf_keyring *ring)
{
    hf_keyring fresh = *ring;
    fresh.sources = ring->source_max == 0 ? NULL : calloc(ring->source_max, sizeof *fresh.sources);
    if (fresh.sources == NULL) {
        return; /* the next load will have the memory */
    }
    fresh.source_count = 0;
    for (size_t i = 0; i < ring->source_max; i++) {
        const hf_key_source_state *source = &ring->sources[i];
        if (source->seen_in != 0 && source->seen_in == ring->load && source->deleted_in == 0) {
            *source_slot(&fresh, source->source_id) = *source;
            fresh.source_count++;
        }
    }
    free(ring->sources);
    *ring = fresh;
}

void hf_keyring_load_begin(hf_keyring *ring)
{
    drop_sources(ring);
    ring->load++;
}

bool hf_keyring_source_known(hf_keyring *ring, const hf_msg_source *frame)
{
    hf_key_source_state *source = make_source(ring, frame->source_id);
    if (source == NULL) {
        return false;
    }
    source->seen_in = ring->load;
    return source->loaded_in != 0 && source->stamp == frame->stamp;
}

void hf_keyring_source_loaded(hf_keyring *ring, const hf_msg_key *frame)
{
    hf_key_source_state *source = make_source(ring, frame->source_id);
    if (source != NULL) {
        source->seen_in = ring->load;
        source->loaded_in = ring->load;
        source->deleted_in = 0;
        source->stamp = frame->stamp;
    }
}

void hf_keyring_source_deleted(hf_keyring *ring, const uint8_t source_id[HF_SOURCE_ID_LEN])
{
    hf_key_source_state *source = find_source(ring, source_id);
    if (source != NULL) {
        source->deleted_in = ring->load;
    }
}

bool hf_keyring_source_is_deleted(const hf_keyring *ring, const uint8_t source_id[HF_SOURCE_ID_LEN])
{
    const hf_key_source_state *source = find_source(ring, source_id);
    return source != NULL && source->deleted_in == ring->load;
}

/*
 * A key stays when its file was named in this load and either was not read again or brought the
 * key again. A file that is gone takes its key with it: someone may have moved the key to another
 * machine, and two signers are worse than a missed duty. A file that is there but failed keeps it.
 */
static bool is_still_backed(const hf_keyring *ring, const hf_key *key)
{
    if (key->backend == HF_BACKEND_SEALED || key->is_of_custody) {
        return true; /* loads are about files */
    }
    const hf_key_source_state *source = find_source(ring, key->source_id);
    if (source == NULL || source->seen_in != ring->load) {
        return false;
    }
    return source->loaded_in != ring->load || key->load == ring->load;
}

size_t hf_keyring_load_end(hf_keyring *ring)
{
    size_t dropped = 0;
    for (size_t i = ring->count; i > 0; i--) {
        hf_key *key = ring->order[i - 1];
        if (!is_still_backed(ring, key)) {
            hf_keyring_remove(ring, key);
            dropped++;
        }
    }
    return dropped;
}

bool hf_keyring_uncover(hf_keyring *ring)
{
    bool had = ring->has_covered;
    ring->has_covered = false;
    for (size_t i = 0; had && i < ring->source_max; i++) {
        ring->sources[i].stamp = 0;
        ring->sources[i].loaded_in = 0;
    }
    return had;
}
