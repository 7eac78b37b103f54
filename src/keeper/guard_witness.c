/*
 * The witnesses of the store's mark.
 *
 * In memory: a page that the supervisor opened on a file system of memory. It survives this process
 * and not the machine, and no copy of a disk holds it. On the disk: DATA_DIR/start_guard, two slots
 * that are written in turn, each with a checksum, so that one is whole at any moment.
 */
#include "keeper/guard.h"

#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY_MAGIC UINT64_C(0x48464d574954310a) /* "HFMWIT1\n" */
#define DISK_MAGIC UINT64_C(0x48464457495431aa)
#define DISK_SLOTS 2
#define DISK_SLOT_BYTES 512 /* a sector: written whole or not at all */

typedef struct hf_memory_witness {
    _Atomic uint64_t magic; /* 0 while the rest is being written */
    hf_witness start;       /* as of this run's start */
    _Atomic uint64_t vote_id;
    _Atomic uint64_t block_id;
    _Atomic uint64_t file_stamp;
    _Atomic uint64_t copying_ms;
} hf_memory_witness;

typedef struct disk_slot {
    uint64_t magic;
    uint64_t turn; /* the greater one is the newer */
    hf_witness witness;
    uint8_t checksum[32]; /* of all above */
} disk_slot;
_Static_assert(sizeof(disk_slot) <= DISK_SLOT_BYTES, "a slot is one sector");

/* ---- opening -------------------------------------------------------------------------------- */

static hf_status map_memory(hf_witnesses *witnesses, int fd, hf_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_size < (off_t)sizeof(hf_memory_witness)) {
        return hf_fail(err, HF_IO, "the start guard's page in memory is too small");
    }
    void *page = mmap(NULL, sizeof(hf_memory_witness), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return hf_fail(err, HF_IO, "the start guard's page in memory: %s", strerror(errno));
    }
    witnesses->memory = page;
    return hf_ok();
}

hf_status hf_witnesses_open(hf_witnesses *witnesses, const char *data_dir, int memory_fd,
                            hf_error *err)
{
    char path[HF_PATH_LEN + sizeof "/start_guard"];
    hf_status st = hf_str_format(path, sizeof path, "%s/start_guard", data_dir);
    *witnesses = (hf_witnesses){.disk_fd = -1};
    if (!hf_failed(st)) {
        witnesses->disk_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    if (witnesses->disk_fd < 0) {
        st = hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    if (!hf_failed(st) && memory_fd >= 0) {
        st = map_memory(witnesses, memory_fd, err);
    }
    if (memory_fd >= 0) {
        (void)close(memory_fd);
    }
    return st;
}

void hf_witnesses_close(hf_witnesses *witnesses)
{
    if (witnesses->disk_fd >= 0) {
        (void)close(witnesses->disk_fd);
        witnesses->disk_fd = -1;
    }
    if (witnesses->memory != NULL) {
        (void)munmap(witnesses->memory, sizeof *witnesses->memory);
        witnesses->memory = NULL;
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

static void checksum(const disk_slot *slot, uint8_t ret_digest[32])
{
    hf_sha256(slot, offsetof(disk_slot, checksum), ret_digest);
}

static bool read_slot(int fd, int index, disk_slot *ret_slot)
{
    uint8_t digest[32];
    ssize_t n = pread(fd, ret_slot, sizeof *ret_slot, (off_t)index * DISK_SLOT_BYTES);
    if (n != (ssize_t)sizeof *ret_slot || ret_slot->magic != DISK_MAGIC) {
        return false;
    }
    checksum(ret_slot, digest);
    return hf_bytes_equal(digest, ret_slot->checksum, sizeof digest);
}

hf_witness_state hf_witness_read_disk(hf_witnesses *witnesses, hf_witness *ret_witness)
{
    struct stat info;
    hf_witness_state state = HF_WITNESS_UNREADABLE;
    if (fstat(witnesses->disk_fd, &info) == 0 && info.st_size == 0) {
        return HF_WITNESS_ABSENT; /* hf_witnesses_open made it */
    }
    for (int i = 0; i < DISK_SLOTS; i++) {
        disk_slot slot;
        if (read_slot(witnesses->disk_fd, i, &slot) && slot.turn >= witnesses->disk_turn) {
            witnesses->disk_turn = slot.turn;
            *ret_witness = slot.witness;
            state = HF_WITNESS_PRESENT;
        }
    }
    return state;
}

static bool is_zero(const hf_memory_witness *memory)
{
    static const uint8_t zeros[sizeof(hf_memory_witness)];
    return hf_bytes_equal(memory, zeros, sizeof zeros);
}

hf_witness_state hf_witness_read_memory(const hf_witnesses *witnesses, hf_witness *ret_witness)
{
    const hf_memory_witness *memory = witnesses->memory;
    if (memory == NULL || is_zero(memory)) {
        return HF_WITNESS_ABSENT;
    }
    if (atomic_load(&memory->magic) != MEMORY_MAGIC) {
        return HF_WITNESS_UNREADABLE;
    }
    *ret_witness = memory->start;
    ret_witness->vote_id = atomic_load(&memory->vote_id);
    ret_witness->block_id = atomic_load(&memory->block_id);
    ret_witness->file_stamp = atomic_load(&memory->file_stamp);
    return HF_WITNESS_PRESENT;
}

_Atomic uint64_t *hf_witness_copying(const hf_witnesses *witnesses)
{
    return witnesses->memory != NULL ? &witnesses->memory->copying_ms : NULL;
}

/* ---- writing -------------------------------------------------------------------------------- */

void hf_witness_advance(hf_witnesses *witnesses, const hf_store_mark *mark)
{
    hf_memory_witness *memory = witnesses->memory;
    if (memory != NULL) {
        atomic_store(&memory->vote_id, mark->vote_id);
        atomic_store(&memory->block_id, mark->block_id);
        atomic_store(&memory->file_stamp, mark->file_stamp);
        atomic_store(&memory->copying_ms, 0);
    }
}

hf_status hf_witness_write_disk(hf_witnesses *witnesses, const hf_witness *witness, bool is_last,
                                hf_error *err)
{
    uint8_t sector[DISK_SLOT_BYTES] = {0};
    disk_slot slot = {.magic = DISK_MAGIC, .turn = witnesses->disk_turn + 1, .witness = *witness};
    off_t at = (off_t)(slot.turn % DISK_SLOTS) * DISK_SLOT_BYTES;
    checksum(&slot, slot.checksum);
    memcpy(sector, &slot, sizeof slot);
    if (pwrite(witnesses->disk_fd, sector, sizeof sector, at) != (ssize_t)sizeof sector ||
        (is_last && fsync(witnesses->disk_fd) != 0)) {
        return hf_fail(err, HF_IO, "start_guard: cannot be written: %s", strerror(errno));
    }
    witnesses->disk_turn = slot.turn;
    witnesses->on_disk = *witness;
    return hf_ok();
}

hf_status hf_witness_begin(hf_witnesses *witnesses, const hf_witness *witness, hf_error *err)
{
    hf_memory_witness *memory = witnesses->memory;
    hf_status st = hf_witness_write_disk(witnesses, witness, true, err);
    if (!hf_failed(st) && memory != NULL) {
        const hf_store_mark mark = {.vote_id = witness->vote_id,
                                    .block_id = witness->block_id,
                                    .file_stamp = witness->file_stamp};
        atomic_store(&memory->magic, 0);
        memory->start = *witness;
        hf_witness_advance(witnesses, &mark);
        atomic_store(&memory->magic, MEMORY_MAGIC);
    }
    return st;
}
