/*
 * load: a validator client's requests, prepared beforehand, against a signer on 127.0.0.1.
 *
 *   load run   ...  closed loop: each of `connections` sends its next request when it has an answer
 *   load burst ...  `size` requests at once on as many open connections, `rounds` times
 *   load idle  ...  one request at a time after a pause, beside one signature and one fdatasync
 *
 * Arguments are name=value (see the table). It says "ready", waits for a line on standard input,
 * runs, checks every status and a sample of the signatures, and prints one JSON object.
 */
#include "base/base.h"
#include "duties.h"
#include "http.h"
#include "plain.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#define REQUEST_BYTES 2048
#define MAX_CONNECTIONS 4096
#define MAX_JOBS 4000000
#define SAMPLES 64
#define PROBE_BYTES 4096
#define EVENTS 256
#define ANSWER_TIMEOUT_MS 30000

typedef struct plan {
    uint64_t port;
    uint64_t keys; /* how many keys take turns */
    uint64_t first_key;
    uint64_t first_target; /* epoch of each key's first vote */
    uint64_t shared;       /* 1: all keys of a turn vote for the same, one root */
    uint64_t count;        /* run: requests */
    uint64_t connections;  /* run */
    uint64_t size;         /* burst */
    uint64_t rounds;       /* burst, idle */
    uint64_t pause_ms;     /* before each burst and each idle request */
    const char *probe;     /* idle: a file on the disk of the signer's store */
} plan;

typedef struct job {
    char *text;
    size_t len;
    double latency_ms;
    unsigned status;
    uint64_t key;
    uint64_t target;
    uint64_t mark;
    char *answer; /* kept for samples alone */
} job;

typedef struct load {
    plan plan;
    char (*pubkeys)[2 * HF_BLS_PUBKEY_BYTES + 1];
    job *jobs;
    size_t job_count;
    bench_connection *connections;
    size_t connection_count;
    int epoll_fd;
    uint64_t wall_ns;
} load;

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *must_alloc(size_t n, size_t size)
{
    void *memory = calloc(n, size); /* NOLINT(clang-analyzer-*): no caller passes n 0 */
    if (memory == NULL) {
        give_up("memory");
    }
    return memory;
}

static void parse_plan(int argc, char **argv, plan *p)
{
    const struct {
        const char *name;
        uint64_t *value;
    } table[] = {
        {"port", &p->port},         {"keys", &p->keys},     {"first_key", &p->first_key},
        {"shared", &p->shared},     {"count", &p->count},   {"first_target", &p->first_target},
        {"size", &p->size},         {"rounds", &p->rounds}, {"connections", &p->connections},
        {"pause_ms", &p->pause_ms},
    };
    for (int i = 2; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        size_t len = equals == NULL ? 0 : (size_t)(equals - argv[i]);
        bool is_known = len == 5 && strncmp(argv[i], "probe", 5) == 0;
        if (is_known) {
            p->probe = equals + 1;
        }
        for (size_t j = 0; equals != NULL && j < HF_ARRAY_LEN(table); j++) {
            if (strlen(table[j].name) == len && strncmp(argv[i], table[j].name, len) == 0) {
                *table[j].value = bench_number(table[j].name, equals + 1);
                is_known = true;
            }
        }
        if (!is_known) {
            (void)fprintf(stderr, "load: unknown argument %s\n", argv[i]);
            exit(2);
        }
    }
}

static void prepare_keys(load *l)
{
    l->pubkeys = must_alloc(l->plan.keys, sizeof *l->pubkeys);
    for (uint64_t i = 0; i < l->plan.keys; i++) {
        hf_bls_key key;
        uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
        bench_key(l->plan.first_key + i, &key);
        hf_bls_pubkey(&key, pubkey);
        hf_hex_encode(pubkey, sizeof pubkey, l->pubkeys[i]);
    }
}

/* turn: what the requests of one shared root have in common. */
static void prepare_jobs(load *l, size_t count, size_t turn)
{
    static char text[REQUEST_BYTES];
    if (count == 0 || count > MAX_JOBS || l->plan.keys == 0) {
        (void)fprintf(stderr, "load: keys and the number of requests must be set\n");
        exit(2);
    }
    l->jobs = must_alloc(count, sizeof *l->jobs);
    l->job_count = count;
    for (size_t i = 0; i < count; i++) {
        job *j = &l->jobs[i];
        hf_attestation_data data;
        j->key = i % l->plan.keys;
        j->target = l->plan.first_target + i / l->plan.keys;
        j->mark = l->plan.shared != 0 ? i / turn : i;
        bench_attestation(j->target, j->mark, &data);
        HF_ASSERT(!hf_failed(bench_request(l->pubkeys[j->key], &data, getenv("HF_BENCH_TOKEN"),
                                           text, sizeof text, &j->len)));
        j->text = must_alloc(1, j->len + 1);
        memcpy(j->text, text, j->len);
    }
}

static void open_connections(load *l, size_t count)
{
    if (count == 0 || count > MAX_CONNECTIONS) {
        (void)fprintf(stderr, "load: 1 to %d connections\n", MAX_CONNECTIONS);
        exit(2);
    }
    l->connections = must_alloc(count, sizeof *l->connections);
    l->connection_count = count;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < count; i++) {
        if (hf_failed(bench_connect((uint16_t)l->plan.port, &l->connections[i]))) {
            give_up("connect");
        }
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->connections[i].fd, &event) != 0) {
            give_up("epoll_ctl");
        }
    }
}

static void begin(load *l, bench_connection *c, size_t number)
{
    c->job = number;
    if (bench_send(c, l->jobs[number].text, l->jobs[number].len) == BENCH_BROKEN) {
        give_up("send");
    }
    HF_ASSERT(c->out_len == 0); /* a request is far smaller than a socket's buffer */
}

static bool is_sample(const load *l, size_t number)
{
    size_t step = l->job_count / SAMPLES;
    return step == 0 || number % step == 0;
}

/* Takes what came on one connection; true when its answer is complete. since_ns 0: since sent. */
static bool collect(load *l, bench_connection *c, uint64_t since_ns)
{
    const char *body = NULL;
    job *j = &l->jobs[c->job];
    bench_progress progress = bench_receive(c, &j->status, &body);
    if (progress == BENCH_BROKEN) {
        give_up("the signer closed the connection");
    }
    if (progress == BENCH_MORE) {
        return false;
    }
    j->latency_ms = (double)(hf_time_mono_ns() - (since_ns != 0 ? since_ns : c->sent_ns)) / 1e6;
    if (is_sample(l, c->job) || j->status != 200) {
        free(j->answer);
        j->answer = strdup(body);
    }
    return true;
}

static void run_closed_loop(load *l)
{
    size_t next = 0;
    size_t done = 0;
    struct epoll_event events[EVENTS];
    for (size_t i = 0; i < l->connection_count && next < l->job_count; i++) {
        begin(l, &l->connections[i], next++);
    }
    while (done < l->job_count) {
        int n = epoll_wait(l->epoll_fd, events, EVENTS, ANSWER_TIMEOUT_MS);
        if (n == 0) {
            errno = ETIMEDOUT;
        }
        if (n <= 0) {
            give_up("waiting for answers");
        }
        for (int i = 0; i < n; i++) {
            bench_connection *c = &l->connections[events[i].data.u64];
            if (collect(l, c, 0)) {
                done++;
                if (next < l->job_count) {
                    begin(l, c, next++);
                }
            }
        }
    }
}

static void pause_ms(uint64_t ms)
{
    struct timespec wait = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000L};
    (void)nanosleep(&wait, NULL);
}

/* All of a burst count from its beginning, the time to send them included. */
static void run_bursts(load *l)
{
    struct epoll_event events[EVENTS];
    for (size_t round = 0; round < l->plan.rounds; round++) {
        pause_ms(l->plan.pause_ms);
        uint64_t start = hf_time_mono_ns();
        for (size_t i = 0; i < l->plan.size; i++) {
            begin(l, &l->connections[i], round * l->plan.size + i);
        }
        size_t left = l->plan.size;
        while (left > 0) {
            int n = epoll_wait(l->epoll_fd, events, EVENTS, ANSWER_TIMEOUT_MS);
            if (n <= 0) {
                give_up("waiting for a burst's answers");
            }
            for (int i = 0; i < n; i++) {
                if (collect(l, &l->connections[events[i].data.u64], start)) {
                    left--;
                }
            }
        }
    }
}

/* ---- idle --------------------------------------------------------------------------------- */

typedef struct idle {
    double *request_ms;
    double *sign_ms;
    double *sync_ms;      /* rewriting a block of a file, as a log that is reused does */
    double *reference_ms; /* one signature and one such write, together */
} idle;

static double since_ms(uint64_t start_ns)
{
    return (double)(hf_time_mono_ns() - start_ns) / 1e6;
}

static int open_probe(const char *path)
{
    static const uint8_t block[PROBE_BYTES];
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || hf_failed(hf_file_write_all(fd, block, sizeof block)) || fsync(fd) != 0) {
        give_up("probe file");
    }
    return fd;
}

static void sync_here(int fd, uint64_t number)
{
    uint8_t block[PROBE_BYTES];
    memset(block, (int)(number & 0xff), sizeof block);
    if (pwrite(fd, block, sizeof block, 0) != (ssize_t)sizeof block || fdatasync(fd) != 0) {
        give_up("fdatasync");
    }
}

/* In turns, each after the same pause, so that both meet the same machine. */
static void run_idle(load *l, idle *m)
{
    int fd = open_probe(l->plan.probe);
    hf_bls_key key;
    bench_key(0, &key);
    bench_connection *c = &l->connections[0];
    for (size_t i = 0; i < l->plan.rounds; i++) {
        pause_ms(l->plan.pause_ms);
        uint64_t start = hf_time_mono_ns();
        sync_here(fd, i);
        m->sync_ms[i] = since_ms(start);
        uint64_t middle = hf_time_mono_ns();
        bench_plain_sign(&key, i);
        m->sign_ms[i] = since_ms(middle);
        m->reference_ms[i] = since_ms(start);

        pause_ms(l->plan.pause_ms);
        begin(l, c, i);
        do {
            struct pollfd wait = {.fd = c->fd, .events = POLLIN};
            if (poll(&wait, 1, ANSWER_TIMEOUT_MS) != 1) {
                give_up("waiting for an answer");
            }
        } while (!collect(l, c, 0));
        m->request_ms[i] = l->jobs[i].latency_ms;
    }
    (void)close(fd);
}

static void print_sorted(const char *name, double *values, size_t n)
{
    bench_sort(values, n);
    printf("\"%s_p50\":%.4f,", name, bench_percentile(values, n, 0.5));
}

/* ---- results ------------------------------------------------------------------------------ */

static bool is_signature_good(const load *l, const job *j)
{
    hf_attestation_data data;
    uint8_t root[HF_ROOT_BYTES];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    uint8_t signature[HF_BLS_SIGNATURE_BYTES];
    const char *hex = j->answer == NULL ? NULL : strstr(j->answer, "0x");
    if (hex == NULL || strlen(hex) < 2 + 2 * sizeof signature ||
        hf_failed(hf_hex_decode(hex, 2 + 2 * sizeof signature, signature, sizeof signature)) ||
        hf_failed(hf_hex_decode(l->pubkeys[j->key], 2 * sizeof pubkey, pubkey, sizeof pubkey))) {
        return false;
    }
    bench_attestation(j->target, j->mark, &data);
    bench_signing_root(&data, root);
    return hf_bls_verify(pubkey, root, signature);
}

/* Prints the common part of the result; false when any answer was wrong. */
static bool print_result(load *l)
{
    size_t ok = 0;
    size_t verified = 0;
    size_t wrong = 0;
    double *latency = must_alloc(l->job_count, sizeof *latency);
    for (size_t i = 0; i < l->job_count; i++) {
        const job *j = &l->jobs[i];
        latency[i] = j->latency_ms;
        if (j->status != 200) {
            if (i - ok < 3) {
                (void)fprintf(stderr, "load: request %zu: %u %s\n", i, j->status, j->answer);
            }
            continue;
        }
        ok++;
        if (is_sample(l, i)) {
            bool good = is_signature_good(l, j);
            verified += good;
            wrong += !good;
        }
    }
    bench_sort(latency, l->job_count);
    printf(
        "\"requests\":%zu,\"signed\":%zu,\"verified\":%zu,\"wrong_signatures\":%zu,"
        "\"wall_seconds\":%.6f,\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f}\n",
        l->job_count, ok, verified, wrong, (double)l->wall_ns / 1e9,
        bench_percentile(latency, l->job_count, 0.5), bench_percentile(latency, l->job_count, 0.9),
        bench_percentile(latency, l->job_count, 0.99), bench_percentile(latency, l->job_count, 1));
    free(latency);
    return ok == l->job_count && wrong == 0;
}

static void wait_for_go(void)
{
    printf("ready\n");
    (void)fflush(stdout);
    if (getchar() == EOF) {
        exit(1);
    }
}

static void load_done(load *l)
{
    for (size_t i = 0; i < l->job_count; i++) {
        free(l->jobs[i].text);
        free(l->jobs[i].answer);
    }
    for (size_t i = 0; i < l->connection_count; i++) {
        (void)close(l->connections[i].fd);
    }
    free(l->jobs);
    free(l->connections);
    free(l->pubkeys);
}

static void idle_all(load *l)
{
    size_t n = l->plan.rounds;
    double *values = must_alloc(4 * n, sizeof *values);
    idle m = {values, values + n, values + 2 * n, values + 3 * n};
    prepare_jobs(l, n, 1);
    open_connections(l, 1);
    wait_for_go();
    run_idle(l, &m);
    printf("{");
    print_sorted("request_ms", m.request_ms, n);
    print_sorted("sign_ms", m.sign_ms, n);
    print_sorted("fdatasync_ms", m.sync_ms, n);
    print_sorted("reference_ms", m.reference_ms, n);
    free(values);
}

int main(int argc, char **argv)
{
    load l = {.plan = {.port = 9000, .keys = 1, .first_target = 1, .rounds = 1, .size = 1}};
    if (argc < 2) {
        (void)fprintf(stderr, "usage: load run|burst|idle name=value...\n");
        return 2;
    }
    parse_plan(argc, argv, &l.plan);
    prepare_keys(&l);
    if (strcmp(argv[1], "idle") == 0) {
        idle_all(&l);
    } else {
        bool is_burst = strcmp(argv[1], "burst") == 0;
        prepare_jobs(&l, is_burst ? l.plan.size * l.plan.rounds : l.plan.count,
                     is_burst ? l.plan.size : l.plan.keys);
        open_connections(&l, is_burst ? l.plan.size : l.plan.connections);
        wait_for_go();
        uint64_t start = hf_time_mono_ns();
        if (is_burst) {
            run_bursts(&l);
        } else {
            run_closed_loop(&l);
        }
        l.wall_ns = hf_time_mono_ns() - start;
        printf("{");
    }
    bool good = print_result(&l);
    load_done(&l);
    return good ? 0 : 1;
}
