/* Secrets in memory: constant-time comparison, randomness, and the locked slab that holds keys. */
#include "crypto.h"

#include <errno.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Slots begin on this boundary, which is enough for any scalar or vector the libraries use. */
#define SLOT_ALIGN 64
/* Far beyond any sensible number of keys; keeps the size arithmetic from overflowing. */
#define SLOTS_MAX (1U << 24)
#define SLOT_BYTES_MAX (1U << 16)
#define RESIDENT_PAGES 256 /* looked at in one go */
#ifdef HF_SANITIZED        /* sanitizers only pretend to lock */
#define SANITIZED true
#else
#define SANITIZED false
#endif

struct hf_slab {
    uint8_t *map; /* guard page, slots, guard page */
    size_t map_len;
    uint8_t *slots;
    size_t slots_len; /* whole pages */
    size_t slot_bytes;
    size_t slot_count;
    bool locked;
    bool *taken;          /* by slot: catches a double release */
    uint32_t *free_slots; /* a stack of free slot numbers */
    size_t free_count;
};

bool hf_secret_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

void hf_random(void *ret_bytes, size_t len)
{
    HF_ASSERT(sodium_init() >= 0); /* cheap and safe from any thread once it ran */
    randombytes_buf(ret_bytes, len);
}

void hf_random_text(char ret_text[HF_RANDOM_TEXT_LEN])
{
    uint8_t bytes[32];
    hf_random(bytes, sizeof bytes);
    (void)sodium_bin2base64(ret_text, HF_RANDOM_TEXT_LEN, bytes, sizeof bytes,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    hf_wipe(bytes, sizeof bytes);
}

static hf_status slab_fail_lock(size_t len, int error, hf_error *err)
{
    struct rlimit limit = {0};
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (error == ENOMEM || error == EPERM || error == EAGAIN) {
        return hf_fail(err, HF_LIMIT,
                       "cannot lock %zu KiB for keys, the limit is %llu KiB: set "
                       "LimitMEMLOCK=infinity in the service unit, or ulimit -l unlimited",
                       len / 1024, (unsigned long long)(limit.rlim_cur / 1024));
    }
    return hf_fail(err, HF_LIMIT, "cannot lock %zu KiB for keys: mlock: %s", len / 1024,
                   strerror(error));
}

/*
 * That mlock said yes is not taken for it: some sandboxes pretend. Each page must be in memory now,
 * none of it touched yet.
 */
static hf_status slab_look_resident(const hf_slab *slab, hf_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char resident[RESIDENT_PAGES];
    for (size_t done = 0; done < slab->slots_len; done += sizeof resident * page) {
        size_t left = slab->slots_len - done;
        size_t pages = left / page < sizeof resident ? left / page : sizeof resident;
        if (mincore(slab->slots + done, pages * page, resident) != 0) {
            return hf_fail(err, HF_UNAVAILABLE,
                           "cannot see whether keys stay in memory: mincore: %s; a service unit "
                           "has to have it in SystemCallFilter=",
                           strerror(errno));
        }
        for (size_t i = 0; i < pages; i++) {
            if ((resident[i] & 1) == 0) {
                return hf_fail(err, HF_UNAVAILABLE,
                               "mlock says yes and does not lock: this sandbox or emulator cannot "
                               "keep keys in memory");
            }
        }
    }
    return hf_ok();
}

/*
 * The soft limit may be below what is permitted: it is raised to the hard one, and left there for
 * the next slab.
 */
static bool slab_lock(const hf_slab *slab)
{
    struct rlimit limit;
    if (mlock(slab->slots, slab->slots_len) == 0) {
        return true;
    }
    int saved = errno;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == limit.rlim_max) {
        errno = saved;
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        errno = saved;
        return false;
    }
    return mlock(slab->slots, slab->slots_len) == 0;
}

/* Locks the slots and keeps them out of core dumps and forked children. */
static hf_status slab_protect(hf_slab *slab, bool require_lock, hf_error *err)
{
    slab->locked = slab_lock(slab);
    if (!slab->locked && require_lock) {
        return slab_fail_lock(slab->slots_len, errno, err);
    }
    if (slab->locked && !SANITIZED) {
        hf_status st = slab_look_resident(slab, err);
        slab->locked = !hf_failed(st);
        if (hf_failed(st) && require_lock) {
            return st;
        }
    }
    if (madvise(slab->slots, slab->slots_len, MADV_DONTDUMP) != 0 && require_lock) {
        return hf_fail(err, HF_UNAVAILABLE, "cannot keep keys out of core dumps: madvise: %s",
                       strerror(errno));
    }
    if (madvise(slab->slots, slab->slots_len, MADV_WIPEONFORK) != 0 && require_lock) {
        return hf_fail(err, HF_UNAVAILABLE, "cannot keep keys out of child processes: madvise: %s",
                       strerror(errno));
    }
    return hf_ok();
}

static hf_status slab_map(hf_slab *slab, hf_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    slab->slots_len = (slab->slot_bytes * slab->slot_count + page - 1) / page * page;
    slab->map_len = slab->slots_len + 2 * page;
    void *map =
        mmap(NULL, slab->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return hf_fail(err, HF_NOMEM, "cannot map %zu KiB for keys: %s", slab->map_len / 1024,
                       strerror(errno));
    }
    slab->map = map;
    slab->slots = slab->map + page;
    if (mprotect(slab->slots, slab->slots_len, PROT_READ | PROT_WRITE) != 0) {
        return hf_fail(err, HF_NOMEM, "cannot map %zu KiB for keys: %s", slab->map_len / 1024,
                       strerror(errno));
    }
    return hf_ok();
}

/* Small slots pack tightly: 10,000 keys of 32 bytes take 320 KB of locked memory. */
static size_t aligned_slot(size_t slot_bytes)
{
    size_t align = slot_bytes < SLOT_ALIGN ? SLOT_ALIGN / 4 : SLOT_ALIGN;
    return (slot_bytes + align - 1) / align * align;
}

size_t hf_slab_locked_bytes(size_t slot_bytes, size_t slots_max)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (aligned_slot(slot_bytes) * slots_max + page - 1) / page * page;
}

hf_status hf_slab_new(size_t slot_bytes, size_t slots_max, bool require_lock, hf_slab **ret_slab,
                      hf_error *err)
{
    HF_ASSERT(slot_bytes > 0 && slot_bytes <= SLOT_BYTES_MAX);
    HF_ASSERT(slots_max > 0 && slots_max <= SLOTS_MAX);
    hf_status st;
    hf_slab *slab = calloc(1, sizeof *slab);
    if (slab == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    slab->slot_bytes = aligned_slot(slot_bytes);
    slab->slot_count = slots_max;
    slab->taken = calloc(slots_max, sizeof *slab->taken);
    slab->free_slots = calloc(slots_max, sizeof *slab->free_slots);
    if (slab->taken == NULL || slab->free_slots == NULL) {
        st = hf_fail(err, HF_NOMEM, "out of memory");
        goto out;
    }
    st = slab_map(slab, err);
    if (hf_failed(st)) {
        goto out;
    }
    st = slab_protect(slab, require_lock, err);
    if (hf_failed(st)) {
        goto out;
    }
    for (size_t i = 0; i < slots_max; i++) {
        slab->free_slots[i] = (uint32_t)(slots_max - 1 - i);
    }
    slab->free_count = slots_max;
    *ret_slab = slab;
    slab = NULL;
out:
    hf_slab_free(slab);
    return st;
}

void hf_slab_free(hf_slab *slab)
{
    if (slab == NULL) {
        return;
    }
    for (size_t i = 0; slab->taken != NULL && i < slab->slot_count; i++) {
        if (slab->taken[i]) {
            hf_wipe(slab->slots + i * slab->slot_bytes, slab->slot_bytes);
        }
    }
    if (slab->map != NULL) {
        (void)munmap(slab->map, slab->map_len);
    }
    free(slab->taken);
    free(slab->free_slots);
    free(slab);
}

bool hf_slab_is_locked(const hf_slab *slab)
{
    return slab->locked;
}

void *hf_slab_alloc(hf_slab *slab)
{
    if (slab->free_count == 0) {
        return NULL;
    }
    size_t index = slab->free_slots[--slab->free_count];
    HF_ASSERT(index < slab->slot_count && !slab->taken[index]);
    slab->taken[index] = true;
    return slab->slots + index * slab->slot_bytes;
}

void hf_slab_release(hf_slab *slab, void *slot)
{
    if (slot == NULL) {
        return;
    }
    size_t offset = (size_t)((uint8_t *)slot - slab->slots);
    size_t index = offset / slab->slot_bytes;
    HF_ASSERT(offset % slab->slot_bytes == 0 && index < slab->slot_count && slab->taken[index]);
    hf_wipe(slot, slab->slot_bytes);
    slab->taken[index] = false;
    slab->free_slots[slab->free_count++] = (uint32_t)index;
}
