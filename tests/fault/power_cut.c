/*
 * The power goes at any moment. fsync and fdatasync are this program's own: they note what of the
 * store's files is safe. From that, and any part of what was written since, images of the disk are
 * made as a power cut would leave it: after decisions, and in the middle of commits, checkpoints
 * and prunings. Each image has to open, and to hold everything that was allowed until then.
 *
 *   power_cut [BATCHES [SEED]]
 */
#include "protect/protect.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS 5
#define BATCH_MAX 12
#define BLOCK_BYTES 512 /* what a disk writes whole */
#define FILE_BYTES_MAX ((size_t)32 << 20)
#define MESSAGES_MAX 400000
#define KEEP_EPOCHS 40
#define SLOTS_PER_EPOCH 32
#define BATCHES_A_EPOCH 4
/* One in so many: images after a decision, images in the middle, prunings. */
#define IMAGE_EVERY 8
#define MIDST_EVERY 10
#define PRUNE_EVERY 60

typedef struct tracked_file {
    char path[256];
    char image[256];
    uint8_t *safe; /* what the last sync made durable */
    size_t safe_len;
} tracked_file;

static char folder[] = "/tmp/holdfast-power-XXXXXX";
static char image_folder[] = "/tmp/holdfast-image-XXXXXX";
static tracked_file files[2];
static hf_sqlite_config config;
static hf_sqlite_config image_config;
static uint64_t rng;
static bool is_watching;
static hf_message *allowed; /* sorted when an image is judged */
static size_t allowed_count;
static bool is_sorted;
static unsigned long images;
static unsigned long midst_images;

int fsync(int fd);
int fdatasync(int fd);

static void fail(const char *what, const hf_error *err)
{
    (void)fprintf(stderr, "power_cut: %s%s%s\n", what, err != NULL ? ": " : "",
                  err != NULL ? err->msg : "");
    exit(1);
}

/* xorshift64*: the run can be repeated from its seed */
static uint64_t next_random(void)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return rng * UINT64_C(2685821657736338717);
}

static bool one_in(uint64_t n)
{
    return (next_random() >> 11) % n == 0;
}

/* ---- the disk -------------------------------------------------------------------------------- */

/* The whole file; NULL when there is none. */
static uint8_t *read_whole(const char *path, size_t *ret_len)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &info) != 0 || info.st_size < 0 || (size_t)info.st_size > FILE_BYTES_MAX) {
        fail("a file of an impossible size", NULL);
    }
    size_t len = (size_t)info.st_size;
    uint8_t *content = malloc(len + 1);
    if (content == NULL || pread(fd, content, len, 0) != (ssize_t)len) {
        fail("a file cannot be read", NULL);
    }
    (void)close(fd);
    *ret_len = len;
    return content;
}

static tracked_file *find_tracked(int fd)
{
    char link[64];
    char path[256];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    for (size_t i = 0; n > 0 && i < HF_ARRAY_LEN(files); i++) {
        path[n] = '\0';
        if (strcmp(path, files[i].path) == 0) {
            return &files[i];
        }
    }
    return NULL;
}

static void write_whole(const char *path, const uint8_t *content, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, content, len) != (ssize_t)len) {
        fail("an image cannot be written", NULL);
    }
    (void)close(fd);
}

typedef enum loss { LOSE_ALL, LOSE_NOTHING, LOSE_SOME } loss;

/* The file as the disk may have it: what is safe, and of what came later nothing, all, or a part
 * of its blocks in any order. */
static void make_image_of(const tracked_file *file, loss how)
{
    size_t len = 0;
    uint8_t *content = read_whole(file->path, &len);
    (void)unlink(file->image);
    if (content == NULL) {
        return;
    }
    size_t image_len = how == LOSE_ALL || (how == LOSE_SOME && one_in(2)) ? file->safe_len : len;
    uint8_t *image = calloc(1, image_len + 1);
    if (image == NULL) {
        fail("no memory", NULL);
    }
    for (size_t at = 0; at < image_len; at += BLOCK_BYTES) {
        bool is_new = how == LOSE_NOTHING || (how == LOSE_SOME && one_in(2));
        const uint8_t *from = is_new ? content : file->safe;
        size_t from_len = is_new ? len : file->safe_len;
        size_t part = image_len - at < BLOCK_BYTES ? image_len - at : BLOCK_BYTES;
        if (at < from_len) {
            memcpy(image + at, from + at, part < from_len - at ? part : from_len - at);
        }
    }
    if (image_len > 0 || file->safe_len > 0) {
        write_whole(file->image, image, image_len);
    }
    free(image);
    free(content);
}

/* ---- the judgement --------------------------------------------------------------------------- */

#define COMPARE(a, b) ((a) < (b) ? -1 : 1)

static int compare(const void *left, const void *right)
{
    const hf_message *a = left;
    const hf_message *b = right;
    if (a->kind != b->kind) {
        return COMPARE(a->kind, b->kind);
    }
    if (a->pubkey[0] != b->pubkey[0]) {
        return COMPARE(a->pubkey[0], b->pubkey[0]);
    }
    if (a->target != b->target) {
        return COMPARE(a->target, b->target);
    }
    return a->slot == b->slot ? 0 : COMPARE(a->slot, b->slot);
}

typedef struct tally {
    bool *seen; /* by place in allowed */
    hf_watermark floors[KEYS];
} tally;

static hf_status take_record(void *context, const hf_message *message)
{
    tally *t = context;
    const hf_message *known = bsearch(message, allowed, allowed_count, sizeof *allowed, compare);
    if (message->has_root != 0) {
        if (known != NULL && known->source == message->source &&
            hf_bytes_equal(known->signing_root, message->signing_root, HF_ROOT_BYTES)) {
            t->seen[known - allowed] = true;
        }
        return hf_ok();
    }
    hf_watermark *floor = &t->floors[message->pubkey[0] % KEYS];
    if (message->kind == HF_MESSAGE_BLOCK) {
        floor->has_slot = 1;
        floor->slot = message->slot;
    } else {
        floor->has_epochs = 1;
        floor->target = message->target;
    }
    return hf_ok();
}

static bool is_below(const hf_watermark *floor, const hf_message *message)
{
    return message->kind == HF_MESSAGE_BLOCK
               ? floor->has_slot && message->slot <= floor->slot
               : floor->has_epochs && message->target <= floor->target;
}

static void judge_records(void)
{
    hf_error err = {0};
    tally t = {.seen = calloc(allowed_count + 1, sizeof *t.seen)};
    if (t.seen == NULL) {
        fail("no memory", NULL);
    }
    if (!is_sorted) {
        qsort(allowed, allowed_count, sizeof *allowed, compare);
        is_sorted = true;
    }
    if (hf_failed(hf_store_export_sqlite(&image_config, NULL, 0, take_record, &t, &err))) {
        fail("an image cannot be read", &err);
    }
    for (size_t i = 0; i < allowed_count; i++) {
        if (!t.seen[i] && !is_below(&t.floors[allowed[i].pubkey[0] % KEYS], &allowed[i])) {
            fail("ALLOWED, AND LOST by a power cut", NULL);
        }
    }
    free(t.seen);
}

/* Opens the image as a start after the power cut would. */
static void judge_image(void)
{
    static const loss losses[] = {LOSE_ALL, LOSE_NOTHING, LOSE_SOME, LOSE_SOME};
    loss how = losses[(next_random() >> 11) % HF_ARRAY_LEN(losses)];
    hf_store *store = NULL;
    hf_error err = {0};
    is_watching = false; /* the image's own syncs are none of ours */
    for (size_t i = 0; i < HF_ARRAY_LEN(files); i++) {
        make_image_of(&files[i], how);
    }
    if (hf_failed(hf_store_open_sqlite(&image_config, &store, &err))) {
        fail("an image does not open", &err);
    }
    judge_records();
    if (allowed_count > 0) {
        hf_message other = allowed[(next_random() >> 11) % allowed_count];
        hf_verdict verdict = HF_VERDICT_ALLOW;
        other.signing_root[0] ^= 0x80;
        if (hf_failed(store->ops->decide(store, &other, 1, &verdict, &err)) ||
            hf_verdict_allows(verdict)) {
            fail("A CONFLICT IS ALLOWED after a power cut", &err);
        }
    }
    store->ops->close(store);
    is_watching = true;
    images++;
}

/* ---- the system calls ------------------------------------------------------------------------ */

static int sync_file(int fd)
{
    int saved = errno;
    tracked_file *file = is_watching ? find_tracked(fd) : NULL;
    if (file != NULL) {
        if (one_in(MIDST_EVERY)) {
            midst_images++;
            judge_image(); /* cut before the sync is through */
        }
        free(file->safe);
        file->safe = read_whole(file->path, &file->safe_len);
        if (one_in(MIDST_EVERY)) {
            midst_images++;
            judge_image();
        }
    }
    errno = saved;
    return 0; /* the real disk has nothing to do with it */
}

int fsync(int fd)
{
    return sync_file(fd);
}

int fdatasync(int fd)
{
    return sync_file(fd);
}

/* ---- the load -------------------------------------------------------------------------------- */

static hf_message random_message(uint64_t epoch)
{
    hf_message message = {.has_root = 1};
    memset(message.pubkey, (int)((next_random() >> 11) % KEYS), sizeof message.pubkey);
    for (size_t i = 0; i < HF_ROOT_BYTES; i++) {
        message.signing_root[i] = (uint8_t)((next_random() >> 24) & 0x7f);
    }
    if (one_in(3)) {
        message.kind = HF_MESSAGE_BLOCK;
        message.slot = epoch * SLOTS_PER_EPOCH + (next_random() >> 11) % SLOTS_PER_EPOCH;
    } else {
        message.kind = HF_MESSAGE_ATTESTATION;
        message.target = epoch + (next_random() >> 11) % 3;
        message.source = message.target - 1 - (one_in(4) ? 1 : 0);
    }
    return message;
}

static unsigned long decide_batch(hf_store *store, uint64_t epoch)
{
    hf_message messages[BATCH_MAX];
    hf_verdict verdicts[BATCH_MAX];
    hf_error err = {0};
    unsigned long refused = 0;
    size_t n = 1 + (next_random() >> 11) % BATCH_MAX;
    for (size_t i = 0; i < n; i++) {
        messages[i] = random_message(epoch);
    }
    if (hf_failed(store->ops->decide(store, messages, n, verdicts, &err))) {
        fail("no decision", &err);
    }
    for (size_t i = 0; i < n; i++) {
        if (verdicts[i] != HF_VERDICT_ALLOW) {
            refused++;
        } else if (allowed_count < MESSAGES_MAX) {
            allowed[allowed_count++] = messages[i];
            is_sorted = false;
        }
    }
    return refused;
}

static void prune(hf_store *store)
{
    hf_prune_report report = {.more = true};
    hf_error err = {0};
    while (report.more) {
        if (hf_failed(store->ops->prune(store, KEEP_EPOCHS, SLOTS_PER_EPOCH, &report, &err))) {
            fail("no pruning", &err);
        }
    }
}

static void prepare(hf_sqlite_config *ret_config, char *dir, char *ret_path, char *ret_wal)
{
    if (mkdtemp(dir) == NULL ||
        hf_failed(
            hf_str_format(ret_config->path, sizeof ret_config->path, "%s/slashing.sqlite", dir)) ||
        hf_failed(hf_str_format(ret_path, 256, "%s", ret_config->path)) ||
        hf_failed(hf_str_format(ret_wal, 256, "%s-wal", ret_config->path))) {
        fail("no folder", NULL);
    }
}

static void remove_folder(const char *dir)
{
    static const char *const names[] = {"slashing.sqlite", "slashing.sqlite-wal",
                                        "slashing.sqlite-shm"};
    char path[300];
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

static hf_store *open_store(void)
{
    hf_store *store = NULL;
    hf_error err = {0};
    prepare(&config, folder, files[0].path, files[1].path);
    prepare(&image_config, image_folder, files[0].image, files[1].image);
    config.create = true;
    if (hf_failed(hf_store_open_sqlite(&config, &store, &err))) {
        fail("no store", &err);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(files); i++) {
        files[i].safe = read_whole(files[i].path, &files[i].safe_len); /* a start is not cut here */
    }
    is_watching = true;
    return store;
}

int main(int argc, char **argv)
{
    uint64_t batches = 1500;
    uint64_t seed = (uint64_t)hf_time_unix_ms();
    if ((argc > 1 && hf_failed(hf_num_parse_u64(argv[1], strlen(argv[1]), &batches))) ||
        (argc > 2 && hf_failed(hf_num_parse_u64(argv[2], strlen(argv[2]), &seed)))) {
        fail("usage: power_cut [BATCHES [SEED]]", NULL);
    }
    (void)printf("power_cut: seed %llu\n", (unsigned long long)seed);
    rng = seed * 7919 + 1;
    allowed = calloc(MESSAGES_MAX, sizeof *allowed);
    if (allowed == NULL) {
        fail("no memory", NULL);
    }
    hf_store *store = open_store();
    unsigned long refused = 0;
    for (uint64_t i = 0; i < batches; i++) {
        refused += decide_batch(store, 10 + i / BATCHES_A_EPOCH);
        if (one_in(PRUNE_EVERY)) {
            prune(store);
        }
        if (one_in(IMAGE_EVERY)) {
            judge_image();
        }
    }
    is_watching = false;
    store->ops->close(store);
    remove_folder(folder);
    remove_folder(image_folder);
    if (refused == 0 || midst_images == 0) {
        fail("the test did not test: nothing was refused, or nothing was cut", NULL);
    }
    (void)printf("power_cut: %zu messages allowed, %lu refused; %lu images, %lu of them from the "
                 "midst of a commit, hold all of them (seed %llu)\n",
                 allowed_count, refused, images, midst_images, (unsigned long long)seed);
    free(allowed);
    free(files[0].safe);
    free(files[1].safe);
    return 0;
}
