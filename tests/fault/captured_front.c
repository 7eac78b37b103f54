/*
 * A captured front: this program stands in the supervisor's and the fronts' place and sends the
 * real keeper hostile and conflicting frames from several threads at once. Afterwards every
 * signature that came out is looked at: no two may be slashable together, none may belong to a
 * request that was refused, and the keeper must still be alive and answer.
 *
 *   captured_front KEEPER-BINARY [FRAMES [SEED]]
 */
#include "crypto/crypto.h"
#include "eth/eth.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRONTS 4
#define KEYS 6
#define SLOTS 40 /* a small world, so that messages collide */
#define EPOCHS 24
#define ROOTS 3
#define WINDOW 48 /* requests under way for each front */
#define VERIFY_EVERY 97

/* The leak checker of a sanitized keeper reads its own /proc: neither dumps nor files may be
 * closed. */
#ifdef HF_SANITIZED
#define UNLESS_SANITIZED(requirement) HF_PROTECT_OFF
#else
#define UNLESS_SANITIZED(requirement) (requirement)
#endif

typedef struct front {
    pthread_t thread;
    int fd;
    uint64_t seed;
    uint64_t frames;
    uint64_t answers;
    uint64_t signatures;
    uint64_t refusals;
    hf_msg_sign window[WINDOW]; /* what was asked, by request id modulo WINDOW */
    bool is_open[WINDOW];
    hf_message *out; /* slashable messages that were signed */
    size_t out_count;
    size_t out_max;
} front;

static uint8_t secrets[KEYS][HF_BLS_SECRET_BYTES];
static uint8_t pubkeys[KEYS][HF_BLS_PUBKEY_BYTES];
static const hf_network *network;
static front fronts[FRONTS];
static char data_dir[] = "/tmp/holdfast-captured-XXXXXX";

static void fail(const char *what)
{
    (void)fprintf(stderr, "captured_front: %s\n", what);
    exit(1);
}

/* xorshift64*: the run can be repeated from its seed */
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

static void random_bytes(uint64_t *state, void *out, size_t len)
{
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(next_random(state) >> 24);
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void fill_attestation(uint64_t *rng, hf_attestation_data *data)
{
    data->target.epoch = 1 + next_random(rng) % EPOCHS;
    data->source.epoch = next_random(rng) % 8 == 0 ? next_random(rng) % (EPOCHS + 2)
                                                   : next_random(rng) % (data->target.epoch + 1);
    data->slot = data->target.epoch * network->slots_per_epoch;
    data->beacon_block_root[0] = (uint8_t)(next_random(rng) % ROOTS);
}

static void fill_block(uint64_t *rng, hf_block_header *block)
{
    block->slot = next_random(rng) % SLOTS;
    block->body_root[0] = (uint8_t)(next_random(rng) % ROOTS);
}

static void fill_sign(front *f, hf_msg_sign *frame)
{
    uint64_t *rng = &f->seed;
    hf_eth_request *request = &frame->request;
    memset(frame, 0, sizeof *frame);
    hf_frame_init(frame, HF_MSG_SIGN, f->frames);
    frame->received_ns = hf_time_mono_ns();
    frame->decoded_ns = frame->received_ns;
    memcpy(request->pubkey, pubkeys[next_random(rng) % KEYS], HF_BLS_PUBKEY_BYTES);
    request->has_fork_info = 1;
    memcpy(request->fork_info.genesis_validators_root, network->genesis_validators_root,
           HF_ROOT_BYTES);
    uint64_t kind = next_random(rng) % 16;
    if (kind < 8) {
        request->operation = HF_OP_ATTESTATION;
        fill_attestation(rng, &request->fields.attestation);
    } else if (kind < 15) {
        request->operation = next_random(rng) % 2 == 0 ? HF_OP_BLOCK : HF_OP_BLOCK_V2;
        fill_block(rng, &request->fields.block);
    } else {
        request->operation = (uint32_t)(next_random(rng) % HF_OP_COUNT);
        random_bytes(rng, &request->fields, 64);
        if (request->operation == HF_OP_ATTESTATION || request->operation == HF_OP_BLOCK ||
            request->operation == HF_OP_BLOCK_V2) {
            request->operation = HF_OP_RANDAO_REVEAL;
        }
    }
}

/* Flips bits of a good frame: numbers out of range, unknown operations, other keys, flags of 2. */
static void spoil(front *f, hf_msg_sign *frame)
{
    uint8_t *bytes = (uint8_t *)frame;
    for (uint64_t n = 1 + next_random(&f->seed) % 4; n > 0; n--) {
        size_t at = sizeof(hf_frame_header) +
                    next_random(&f->seed) % (sizeof *frame - sizeof(hf_frame_header));
        bytes[at] ^= (uint8_t)(1U << (next_random(&f->seed) % 8));
    }
}

static bool send_raw(int fd, const void *bytes, size_t len)
{
    while (send(fd, bytes, len, MSG_NOSIGNAL) < 0) {
        if (errno == EAGAIN || errno == ENOBUFS) {
            struct pollfd p = {.fd = fd, .events = POLLOUT | POLLIN};
            (void)poll(&p, 1, 100);
            return false;
        }
        if (errno != EINTR) {
            fail("the keeper hung up");
        }
    }
    return true;
}

/* Random bytes with a good header now and then, of every type, on the wrong channel or not. */
static void send_garbage(front *f)
{
    static _Thread_local uint8_t bytes[HF_IPC_MAX_BYTES];
    uint64_t *rng = &f->seed;
    size_t len = next_random(rng) % 600;
    random_bytes(rng, bytes, len < 64 ? len : 64);
    uint16_t type = (uint16_t)(next_random(rng) % (HF_MSG_COUNT_TYPES + 3));
    if (next_random(rng) % 2 == 0 && type != HF_MSG_SIGN) {
        hf_frame_init(bytes, (hf_msg_type)type, UINT64_MAX);
        len = hf_frame_size(type) != 0 ? hf_frame_size(type) : len;
    }
    if (len > 0) {
        (void)send_raw(f->fd, bytes, len);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void keep(front *f, const hf_msg_sign *asked, const uint8_t root[HF_ROOT_BYTES])
{
    const hf_eth_request *request = &asked->request;
    hf_message *m = &f->out[f->out_count];
    if (f->out_count == f->out_max) {
        fail("too many signatures for the world's size");
    }
    memset(m, 0, sizeof *m);
    memcpy(m->pubkey, request->pubkey, HF_BLS_PUBKEY_BYTES);
    memcpy(m->signing_root, root, HF_ROOT_BYTES);
    if (request->operation == HF_OP_ATTESTATION) {
        m->kind = HF_MESSAGE_ATTESTATION;
        m->source = request->fields.attestation.source.epoch;
        m->target = request->fields.attestation.target.epoch;
    } else {
        m->kind = HF_MESSAGE_BLOCK;
        m->slot = request->fields.block.slot;
    }
    f->out_count++;
}

static bool is_slashable(uint32_t operation)
{
    return operation == HF_OP_ATTESTATION || operation == HF_OP_BLOCK ||
           operation == HF_OP_BLOCK_V2;
}

static void check_signature(front *f, const hf_msg_sign *asked, const hf_msg_sign_reply *reply)
{
    uint8_t root[HF_ROOT_BYTES];
    if (hf_failed(hf_eth_signing_root(network, &asked->request, root, NULL))) {
        fail("a signature came for a request without a root");
    }
    bool verify = f->signatures++ % VERIFY_EVERY == 0;
    if (verify && !hf_bls_verify(asked->request.pubkey, root, reply->signature)) {
        fail("a signature does not verify");
    }
    if (is_slashable(asked->request.operation)) {
        keep(f, asked, root);
    }
}

static void take_reply(front *f, const hf_msg_sign_reply *reply)
{
    size_t place = reply->header.request_id % WINDOW;
    const hf_msg_sign *asked = &f->window[place];
    if (!f->is_open[place] || asked->header.request_id != reply->header.request_id) {
        fail("an answer to nothing that was asked");
    }
    f->is_open[place] = false;
    f->answers++;
    if (reply->reason == HF_REASON_OK) {
        check_signature(f, asked, reply);
        return;
    }
    f->refusals++;
    if (!hf_bytes_is_zero(reply->signature, HF_BLS_SIGNATURE_BYTES)) {
        fail("a refusal carries a signature");
    }
}

static void read_answers(front *f, int wait_ms)
{
    static _Thread_local uint8_t inbox[HF_IPC_MAX_BYTES];
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    while (poll(&p, 1, wait_ms) > 0) {
        size_t len = 0;
        if (hf_failed(hf_frame_recv(f->fd, inbox, &len, NULL))) {
            fail("the keeper hung up");
        }
        if (!hf_frame_is_acceptable(inbox, len, HF_CHANNEL_FRONT, false)) {
            fail("the keeper sent a malformed frame");
        }
        const hf_frame_header *header = (const void *)inbox;
        if (header->type == HF_MSG_SIGN_REPLY) {
            take_reply(f, (const void *)inbox);
        }
        wait_ms = 0;
    }
}

static void wait_for_place(front *f, size_t place)
{
    for (int tries = 0; f->is_open[place]; tries++) {
        if (tries > 600) {
            fail("an answer never came");
        }
        read_answers(f, 100);
    }
}

static void *front_main(void *context)
{
    front *f = context;
    uint64_t goal = f->frames;
    for (f->frames = 1; f->frames <= goal; f->frames++) {
        if (next_random(&f->seed) % 12 == 0) {
            send_garbage(f);
            continue;
        }
        size_t place = f->frames % WINDOW;
        wait_for_place(f, place);
        hf_msg_sign *frame = &f->window[place];
        fill_sign(f, frame);
        if (next_random(&f->seed) % 10 == 0) {
            spoil(f, frame);
        }
        f->is_open[place] = send_raw(f->fd, frame, sizeof *frame);
        read_answers(f, 0);
    }
    for (size_t place = 0; place < WINDOW; place++) {
        wait_for_place(f, place);
    }
    return NULL;
}

/* ---- the judgement --------------------------------------------------------------------------- */

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t i = 0;
    while (i < len && a[i] == b[i]) {
        i++;
    }
    return i == len ? 0 : a[i] - b[i];
}

static uint64_t place_of(const hf_message *m)
{
    return m->kind == HF_MESSAGE_BLOCK ? m->slot : m->target;
}

/* Messages for one place of one key stand together, identical ones side by side. */
static int by_place(const void *left, const void *right)
{
    const hf_message *a = left;
    const hf_message *b = right;
    int order = compare_bytes(a->pubkey, b->pubkey, HF_BLS_PUBKEY_BYTES);
    order = order != 0 ? order : compare_u64(a->kind, b->kind);
    order = order != 0 ? order : compare_u64(place_of(a), place_of(b));
    return order != 0 ? order : compare_bytes(a->signing_root, b->signing_root, HF_ROOT_BYTES);
}

static int by_source(const void *left, const void *right)
{
    const hf_message *a = left;
    const hf_message *b = right;
    int order = compare_bytes(a->pubkey, b->pubkey, HF_BLS_PUBKEY_BYTES);
    order = order != 0 ? order : compare_u64(a->kind, b->kind);
    order = order != 0 ? order : compare_u64(a->source, b->source);
    return order != 0 ? order : compare_u64(b->target, a->target);
}

static _Noreturn void slashable(const char *how, uint64_t seed)
{
    (void)fprintf(stderr, "SLASHABLE PAIR: %s (seed %llu)\n", how, (unsigned long long)seed);
    exit(1);
}

/* Two blocks of one slot, two votes for one target; returns how many messages differ. */
static size_t judge_doubles(hf_message *all, size_t count, uint64_t seed)
{
    size_t distinct = count > 0;
    qsort(all, count, sizeof *all, by_place);
    for (size_t i = 1; i < count; i++) {
        const hf_message *a = &all[i - 1];
        const hf_message *b = &all[i];
        bool same_key = hf_bytes_equal(a->pubkey, b->pubkey, HF_BLS_PUBKEY_BYTES);
        bool same_root = hf_bytes_equal(a->signing_root, b->signing_root, HF_ROOT_BYTES);
        if (same_key && a->kind == b->kind && place_of(a) == place_of(b) && !same_root) {
            slashable("double", seed);
        }
        distinct += !same_key || a->kind != b->kind || !same_root;
    }
    return distinct;
}

/* A vote between a lower source and a higher target of the same key. */
static void judge_surrounds(hf_message *all, size_t count, uint64_t seed)
{
    uint64_t widest = 0;  /* highest target of the votes with a lower source */
    uint64_t pending = 0; /* of those with this source */
    const hf_message *last = NULL;
    qsort(all, count, sizeof *all, by_source);
    for (size_t i = 0; i < count; i++) {
        const hf_message *m = &all[i];
        if (m->kind != HF_MESSAGE_ATTESTATION) {
            continue;
        }
        if (last == NULL || !hf_bytes_equal(last->pubkey, m->pubkey, HF_BLS_PUBKEY_BYTES)) {
            widest = 0;
            pending = 0;
        } else if (last->source != m->source && pending > widest) {
            widest = pending;
        }
        if (m->target < widest) {
            slashable("surround", seed);
        }
        pending =
            last != NULL && last->source == m->source && pending > m->target ? pending : m->target;
        last = m;
    }
}

static void judge(uint64_t seed)
{
    size_t count = 0;
    uint64_t answers = 0;
    uint64_t signatures = 0;
    for (size_t f = 0; f < FRONTS; f++) {
        answers += fronts[f].answers;
        signatures += fronts[f].signatures;
        count += fronts[f].out_count;
    }
    hf_message *all = calloc(count + 1, sizeof *all);
    if (all == NULL) {
        fail("no memory");
    }
    size_t filled = 0;
    for (size_t f = 0; f < FRONTS; f++) {
        memcpy(all + filled, fronts[f].out, fronts[f].out_count * sizeof *all);
        filled += fronts[f].out_count;
    }
    size_t distinct = judge_doubles(all, count, seed);
    judge_surrounds(all, count, seed);
    if (distinct < KEYS || answers == signatures) {
        fail("the test did not test: nothing slashable was signed, or nothing refused");
    }
    (void)printf("captured_front: %llu answers, %llu signatures, %zu distinct slashable messages, "
                 "no conflict (seed %llu)\n",
                 (unsigned long long)answers, (unsigned long long)signatures, distinct,
                 (unsigned long long)seed);
    free(all);
}

/* ---- the keeper under test ------------------------------------------------------------------- */

static pid_t start_keeper(const char *binary, int control)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (control != HF_FD_CONTROL) {
            (void)dup2(control, HF_FD_CONTROL);
        } else {
            (void)fcntl(control, F_SETFD, 0);
        }
        (void)execl(binary, binary, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void send_config(int control)
{
    static hf_msg_keeper_config config;
    hf_frame_init(&config, HF_MSG_KEEPER_CONFIG, 0);
    config.network = *network;
    config.hardening = (hf_hardening_config){
        .seccomp = UNLESS_SANITIZED(HF_PROTECT_REQUIRE),
        .landlock = UNLESS_SANITIZED(HF_PROTECT_PREFER),
        .mlock = HF_PROTECT_PREFER,
        .no_dump = UNLESS_SANITIZED(HF_PROTECT_REQUIRE),
    };
    config.log.least = HF_LOG_BROKEN;
    config.max_in_flight = 160; /* less than the fronts ask for: OVERLOADED is part of the test */
    if (hf_failed(hf_str_copy(config.data_dir, HF_PATH_LEN, data_dir)) ||
        hf_failed(hf_str_format(config.store_path, HF_PATH_LEN, "%s/slashing.sqlite", data_dir)) ||
        hf_failed(hf_str_format(config.token_key_path, HF_PATH_LEN, "%s/token.key", data_dir)) ||
        hf_failed(hf_str_format(config.audit.path, HF_PATH_LEN, "%s/audit.log", data_dir)) ||
        hf_failed(hf_frame_send(control, &config))) {
        fail("no configuration sent");
    }
}

static void expect(int control, hf_msg_type type)
{
    static uint8_t inbox[HF_IPC_MAX_BYTES];
    struct pollfd p = {.fd = control, .events = POLLIN};
    size_t len = 0;
    const hf_frame_header *header = (const void *)inbox;
    if (poll(&p, 1, 20000) != 1 || hf_failed(hf_frame_recv(control, inbox, &len, NULL)) ||
        header->type != type) {
        fail("the keeper did not come up");
    }
}

static int open_channel(int control, hf_channel channel)
{
    int ends[2];
    hf_msg_new_channel frame = {.channel = channel};
    hf_frame_init(&frame, HF_MSG_NEW_CHANNEL, 0);
    if (hf_failed(hf_channel_pair(true, ends)) ||
        hf_failed(hf_frame_send_fd(control, &frame, ends[0]))) {
        fail("no channel");
    }
    (void)close(ends[0]);
    return ends[1];
}

static void bring_keys(int control)
{
    int loader = open_channel(control, HF_CHANNEL_LOADER);
    hf_msg_load_count count = {.count = KEYS};
    hf_frame_init(&count, HF_MSG_LOAD_BEGIN, 0);
    if (hf_failed(hf_frame_send(loader, &count))) {
        fail("no load");
    }
    for (size_t i = 0; i < KEYS; i++) {
        hf_msg_key frame = {.stamp = 1};
        hf_bls_key key;
        hf_frame_init(&frame, HF_MSG_KEY, 0);
        secrets[i][31] = (uint8_t)(i + 1);
        frame.source_id[0] = (uint8_t)(i + 1);
        memcpy(frame.secret, secrets[i], HF_BLS_SECRET_BYTES);
        if (hf_failed(hf_bls_key_from_bytes(secrets[i], &key)) ||
            hf_failed(hf_frame_send(loader, &frame))) {
            fail("no key");
        }
        hf_bls_pubkey(&key, pubkeys[i]);
    }
    hf_frame_init(&count, HF_MSG_LOAD_DONE, 0);
    count.count = 0;
    if (hf_failed(hf_frame_send(loader, &count))) {
        fail("no load");
    }
    (void)close(loader);
}

static void remove_data(void)
{
    static const char *const names[] = {"slashing.sqlite", "slashing.sqlite-wal",
                                        "slashing.sqlite-shm", "slashing.sqlite.lock"};
    char path[128];
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", data_dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(data_dir);
}

static void run_fronts(int control, uint64_t frames, uint64_t seed)
{
    for (size_t i = 0; i < FRONTS; i++) {
        front *f = &fronts[i];
        f->fd = open_channel(control, HF_CHANNEL_FRONT);
        f->seed = seed * 7919 + i + 1;
        f->frames = frames / FRONTS;
        f->out_max = frames / FRONTS + 1;
        f->out = calloc(f->out_max, sizeof *f->out);
        if (f->out == NULL || pthread_create(&f->thread, NULL, front_main, f) != 0) {
            fail("no memory");
        }
    }
    for (size_t i = 0; i < FRONTS; i++) {
        (void)pthread_join(fronts[i].thread, NULL);
    }
}

static void end_keeper(int control, pid_t pid)
{
    hf_msg_plain bye;
    int status = 0;
    hf_frame_init(&bye, HF_MSG_SHUTDOWN, 0);
    if (hf_failed(hf_frame_send(control, &bye)) || waitpid(pid, &status, 0) != pid) {
        fail("the keeper died");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)fprintf(stderr, "captured_front: the keeper ended with status %#x\n", status);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    uint64_t frames = 60000;
    uint64_t seed = (uint64_t)hf_time_unix_ms();
    if (argc < 2 || (argc > 2 && hf_failed(hf_num_parse_u64(argv[2], strlen(argv[2]), &frames))) ||
        (argc > 3 && hf_failed(hf_num_parse_u64(argv[3], strlen(argv[3]), &seed)))) {
        fail("usage: captured_front KEEPER-BINARY [FRAMES [SEED]]");
    }
    int control[2];
    network = hf_eth_network_find("mainnet");
    if (mkdtemp(data_dir) == NULL || hf_failed(hf_channel_pair(false, control))) {
        fail("no folder or socket");
    }
    (void)printf("captured_front: seed %llu\n", (unsigned long long)seed);
    pid_t pid = start_keeper(argv[1], control[0]);
    (void)close(control[0]);
    send_config(control[1]);
    expect(control[1], HF_MSG_READY);
    expect(control[1], HF_MSG_LOAD_WANTED);
    bring_keys(control[1]);
    run_fronts(control[1], frames, seed);
    end_keeper(control[1], pid);
    judge(seed);
    remove_data();
    return 0;
}
