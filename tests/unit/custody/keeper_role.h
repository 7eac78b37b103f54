/* Runs the real holdfast-loader with this test in the keeper's place. */
#ifndef HF_TEST_CUSTODY_KEEPER_ROLE_H
#define HF_TEST_CUSTODY_KEEPER_ROLE_H

#include "fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define KEYS_MAX 64
#define RUN_TIMEOUT_MS 60000
#define POLL_MS 5
#define MIB (UINT64_C(1) << 20)

extern const char *loader_path;

/* What the keeper saw of one run. */
typedef struct run {
    pid_t pid;
    int control; /* our end; while it is open the supervisor lives */
    int keeper;
    int exit_status;
    bool is_begun;
    bool is_done;
    bool is_persisted;
    bool is_killed; /* a child of it was */
    uint32_t announced;
    uint32_t done_failed;
    size_t source_count;
    size_t key_count;
    hf_msg_key keys[KEYS_MAX];
    size_t failure_count;
    hf_msg_key_failed failures[KEYS_MAX];
} run;

typedef struct answers {
    const run *known;              /* sources whose keys arrived in that run are known */
    hf_key_outcome import_outcome; /* what an offered import is answered */
    int kill_with;                 /* a signal for the first child that is seen; 0: none */
    bool kill_survey;              /* before the first question, not after it */
} answers;

/* One at a time: it is too large for a stack. */
static inline hf_msg_loader_config *plain_config(const fixture *f)
{
    static hf_msg_loader_config config;
    memset(&config, 0, sizeof config);
    hf_frame_init(&config, HF_MSG_LOADER_CONFIG, 0);
    config.hardening = (hf_hardening_config){.seccomp = HF_PROTECT_PREFER,
                                             .landlock = HF_PROTECT_PREFER,
                                             .mlock = HF_PROTECT_PREFER,
                                             .no_dump = HF_PROTECT_PREFER};
#ifdef HF_SANITIZED
    /* The leak check at the end traces its process and reads /proc. */
    config.hardening.no_dump = HF_PROTECT_OFF;
    config.hardening.landlock = HF_PROTECT_OFF;
#endif
    config.log.least = HF_LOG_INFO;
    config.workers = 2;
    config.kdf_memory_bytes = 64 * MIB;
    assert_false(
        hf_failed(hf_str_copy(config.imported_dir, sizeof config.imported_dir, at(f, "imported"))));
    return &config;
}

static inline void add_source(hf_msg_loader_config *config, hf_key_source source)
{
    config->sources[config->source_count++] = source;
}

static inline _Noreturn void become_loader(int control, int keeper, int import)
{
    /* Far above the places first, so that none overwrites another. */
    const int given[3] = {control, keeper, import};
    int moved[3];
    for (int i = 0; i < 3; i++) {
        moved[i] = given[i] < 0 ? -1 : fcntl(given[i], F_DUPFD, 20);
    }
    for (int i = 0; i < 3; i++) {
        if (moved[i] >= 0) {
            (void)dup2(moved[i], HF_FD_CONTROL + i);
        }
    }
    (void)execl(loader_path, loader_path, (char *)NULL);
    _exit(127);
}

static inline void start_loader(run *r, const hf_msg_loader_config *config, int import)
{
    int control[2];
    int keeper[2];
    memset(r, 0, sizeof *r);
    assert_false(hf_failed(hf_channel_pair(false, control)));
    assert_false(hf_failed(hf_channel_pair(false, keeper)));
    assert_false(hf_failed(hf_frame_send(control[0], config)));
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid == 0) {
        become_loader(control[1], keeper[1], import);
    }
    (void)close(control[1]);
    (void)close(keeper[1]);
    r->keeper = keeper[0];
    r->control = control[0];
}

static inline bool was_loaded(const run *known, const hf_msg_source *source)
{
    for (size_t i = 0; known != NULL && i < known->key_count; i++) {
        if (known->keys[i].stamp == source->stamp &&
            hf_bytes_equal(known->keys[i].source_id, source->source_id, HF_SOURCE_ID_LEN)) {
            return true;
        }
    }
    return false;
}

static inline void take_key(run *r, const hf_msg_key *frame, hf_channel channel, const answers *a)
{
    assert_true(r->key_count < KEYS_MAX);
    r->keys[r->key_count++] = *frame;
    if (channel == HF_CHANNEL_IMPORT) {
        hf_msg_result result = {.reason = HF_REASON_OK, .value = a->import_outcome};
        hf_frame_init(&result, HF_MSG_RESULT, frame->header.request_id);
        assert_false(hf_failed(hf_frame_send(r->keeper, &result)));
    }
}

static inline void answer_source(run *r, const hf_msg_source *frame, const answers *a)
{
    hf_msg_source_reply reply = {.known = was_loaded(a->known, frame)};
    assert_true(r->is_begun);
    hf_frame_init(&reply, HF_MSG_SOURCE_REPLY, frame->header.request_id);
    r->source_count++;
    assert_false(hf_failed(hf_frame_send(r->keeper, &reply)));
}

static inline void take_frame(run *r, const void *frame, size_t len, hf_channel channel,
                              const answers *a)
{
    const hf_frame_header *header = frame;
    assert_true(hf_frame_is_acceptable(frame, len, channel, true));
    if (header->type == HF_MSG_LOAD_BEGIN) {
        r->is_begun = true;
        r->announced = ((const hf_msg_load_count *)frame)->count;
    } else if (header->type == HF_MSG_SOURCE) {
        answer_source(r, frame, a);
    } else if (header->type == HF_MSG_KEY) {
        take_key(r, frame, channel, a);
    } else if (header->type == HF_MSG_KEY_FAILED) {
        assert_true(r->failure_count < KEYS_MAX);
        r->failures[r->failure_count++] = *(const hf_msg_key_failed *)frame;
    } else if (header->type == HF_MSG_KEY_PERSISTED) {
        r->is_persisted = true;
    } else {
        assert_int_equal(header->type, HF_MSG_LOAD_DONE);
        r->is_done = true;
        r->done_failed = ((const hf_msg_load_count *)frame)->count;
    }
}

/* The first child of the loader, while it has one; 0 otherwise. */
static inline pid_t first_worker(const run *r)
{
    char path[64];
    char text[64] = "";
    uint64_t pid = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", r->pid, r->pid);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    (void)close(fd);
    size_t digits = n > 0 ? strspn(text, "0123456789") : 0;
    return hf_failed(hf_num_parse_u64(text, digits, &pid)) ? 0 : (pid_t)pid;
}

static inline void end_run(run *r)
{
    int status = 0;
    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    r->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    (void)close(r->keeper);
    (void)close(r->control);
}

static inline void play_keeper(run *r, hf_channel channel, const answers *a)
{
    static _Alignas(16) uint8_t buf[HF_IPC_MAX_BYTES];
    int kill_with = a->kill_with;
    for (int waited_ms = 0; waited_ms < RUN_TIMEOUT_MS;) {
        struct pollfd ready = {.fd = r->keeper, .events = POLLIN};
        size_t len = 0;
        if (poll(&ready, 1, POLL_MS) == 0) {
            waited_ms += POLL_MS;
            bool is_time = kill_with != 0 && (r->source_count == 0) == a->kill_survey;
            pid_t worker = is_time ? first_worker(r) : 0;
            if (worker != 0) {
                assert_int_equal(kill(worker, kill_with), 0);
                kill_with = 0;
                r->is_killed = true;
            }
            continue;
        }
        if (hf_failed(hf_frame_recv(r->keeper, buf, &len, NULL))) {
            end_run(r);
            return;
        }
        take_frame(r, buf, len, channel, a);
    }
    fail_msg("the loader neither worked nor ended");
}

static inline void load_with(run *r, const hf_msg_loader_config *config, const answers *a)
{
    start_loader(r, config, -1);
    play_keeper(r, HF_CHANNEL_LOADER, a);
}

/* A load that comes to its end, with whatever failures. */
static inline void load_all(run *r, const hf_msg_loader_config *config)
{
    const answers none = {.known = NULL};
    load_with(r, config, &none);
    assert_int_equal(r->exit_status, 0);
    assert_true(r->is_done);
    assert_int_equal(r->done_failed, r->failure_count);
}

/* How often the run brought the key with this number. */
static inline size_t count_key(const run *r, uint32_t number)
{
    hf_bls_key key = numbered_key(number);
    uint8_t secret[HF_BLS_SECRET_BYTES];
    size_t n = 0;
    hf_bls_key_to_bytes(&key, secret);
    for (size_t i = 0; i < r->key_count; i++) {
        n += hf_bytes_equal(r->keys[i].secret, secret, sizeof secret);
    }
    return n;
}

static inline void assert_failure(const run *r, const char *name, const char *detail)
{
    for (size_t i = 0; i < r->failure_count; i++) {
        if (strcmp(r->failures[i].name, name) != 0) {
            continue;
        }
        if (strstr(r->failures[i].detail, detail) == NULL) {
            fail_msg("%s: \"%s\" does not say \"%s\"", name, r->failures[i].detail, detail);
        }
        return;
    }
    fail_msg("%s was not reported; %zu others were, the first: %s", name, r->failure_count,
             r->failure_count > 0 ? r->failures[0].name : "none");
}

#endif
