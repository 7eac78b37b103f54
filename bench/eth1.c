/*
 * eth1: eth_sign over JSON-RPC against a signer on 127.0.0.1, and what libsecp256k1 gives alone.
 *
 *   eth1 loop SECONDS THREADS         recoverable signatures by the library itself
 *   eth1 load PORT COUNT CONNECTIONS BATCH
 *                                     each connection sends its next BATCH calls, in one request,
 *                                     when it has an answer
 *
 * load says "ready", waits for a line on standard input, runs, checks every status, recovers the
 * signer of a sample, and prints one JSON object. The key is the one of bench.py.
 */
#include "eth1/eth1.h"
#include "base/base.h"
#include "crypto/crypto.h"
#include "duties.h"
#include "http.h"

#include <errno.h>
#include <pthread.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#define MAX_THREADS 64
#define MAX_CONNECTIONS 1024
#define LOOP_BATCH 64 /* between two looks at the clock */
#define SAMPLE_EVERY 199
#define ERRORS_SHOWN 3
#define EVENTS 256
#define REQUEST_BYTES 4096
#define CALL_BYTES 224
#define BATCH_MAX 16 /* their answer fits bench_connection */
#define ANSWER_TIMEOUT_MS 30000

static const uint8_t secret[32] = {[31] = 7};

/* ---- loop -------------------------------------------------------------------------------------
 */

typedef struct worker {
    pthread_t thread;
    uint64_t first;
    uint64_t until_ns;
    uint64_t done;
} worker;

static void *sign_loop(void *context)
{
    worker *self = context;
    secp256k1_context *library = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    HF_ASSERT(secp256k1_context_randomize(library, secret) == 1);
    while (hf_time_mono_ns() < self->until_ns) {
        for (unsigned i = 0; i < LOOP_BATCH; i++) {
            uint8_t digest[32] = {0};
            secp256k1_ecdsa_recoverable_signature signature;
            uint8_t compact[64];
            int recovery;
            hf_le64_put(digest, self->first + self->done++);
            HF_ASSERT(secp256k1_ecdsa_sign_recoverable(library, &signature, digest, secret, NULL,
                                                       NULL) == 1);
            (void)secp256k1_ecdsa_recoverable_signature_serialize_compact(library, compact,
                                                                          &recovery, &signature);
            __asm__ volatile("" : : "r"(compact) : "memory"); /* the result counts as used */
        }
    }
    secp256k1_context_destroy(library);
    return NULL;
}

static int run_loop(uint64_t seconds, uint64_t threads)
{
    static worker workers[MAX_THREADS];
    struct rusage use;
    uint64_t start = hf_time_mono_ns();
    uint64_t done = 0;
    HF_ASSERT(threads > 0 && threads <= MAX_THREADS);
    for (uint64_t i = 0; i < threads; i++) {
        workers[i].first = i << 40;
        workers[i].until_ns = start + seconds * HF_NS_PER_SECOND;
        HF_ASSERT(pthread_create(&workers[i].thread, NULL, sign_loop, &workers[i]) == 0);
    }
    for (uint64_t i = 0; i < threads; i++) {
        HF_ASSERT(pthread_join(workers[i].thread, NULL) == 0);
        done += workers[i].done;
    }
    HF_ASSERT(getrusage(RUSAGE_SELF, &use) == 0);
    double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                 (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    printf("{\"signatures\":%llu,\"cpu_seconds\":%.6f,\"wall_seconds\":%.6f}\n",
           (unsigned long long)done, cpu, (double)(hf_time_mono_ns() - start) / 1e9);
    return 0;
}

/* ---- load -------------------------------------------------------------------------------------
 */

typedef struct load {
    hf_secp256k1 *secp;
    uint8_t address[HF_ADDRESS_BYTES];
    bench_connection *connections;
    char (*texts)[REQUEST_BYTES]; /* by connection */
    uint64_t count;               /* requests */
    uint64_t batch;
    uint64_t begun;
    uint64_t done;
    uint64_t good;
    uint64_t verified;
    uint64_t wrong;
    double *latency_ms;
} load;

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "eth1: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void message_of(uint64_t number, uint8_t ret[32])
{
    memset(ret, 0x5a, 32);
    hf_le64_put(ret, number);
}

/* Call number of all: its message is made of that. Returns its length. */
static size_t write_call(const load *l, uint64_t number, char out[CALL_BYTES])
{
    uint8_t message[32];
    char hex[65];
    char address[41];
    message_of(number, message);
    hf_hex_encode(message, sizeof message, hex);
    hf_hex_encode(l->address, sizeof l->address, address);
    int len = snprintf(out, CALL_BYTES,
                       "{\"jsonrpc\":\"2.0\",\"id\":%llu,\"method\":\"eth_sign\",\"params\":["
                       "\"0x%s\",\"0x%s\"]}",
                       (unsigned long long)number, address, hex);
    HF_ASSERT(len > 0 && len < CALL_BYTES);
    return (size_t)len;
}

static void begin(load *l, size_t place)
{
    static char body[REQUEST_BYTES];
    bench_connection *c = &l->connections[place];
    const char *token = getenv("HF_BENCH_TOKEN");
    size_t body_len = 0;
    for (uint64_t i = 0; i < l->batch; i++) {
        if (l->batch > 1) {
            body[body_len++] = i == 0 ? '[' : ',';
        }
        body_len += write_call(l, l->begun * l->batch + i, body + body_len);
    }
    if (l->batch > 1) {
        body[body_len++] = ']';
    }
    int len = snprintf(l->texts[place], REQUEST_BYTES,
                       "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s%s%s"
                       "Content-Length: %zu\r\n\r\n%.*s",
                       token == NULL ? "" : "Authorization: Bearer ", token == NULL ? "" : token,
                       token == NULL ? "" : "\r\n", body_len, (int)body_len, body);
    HF_ASSERT(len > 0 && len < REQUEST_BYTES);
    c->job = l->begun++;
    if (bench_send(c, l->texts[place], (size_t)len) == BENCH_BROKEN || c->out_len != 0) {
        give_up("send");
    }
}

static bool is_good(const load *l, uint64_t number, const char *body)
{
    static const char result[] = "\"result\":\"0x";
    const char *hex = strstr(body, result);
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES];
    uint8_t message[32];
    uint8_t digest[HF_KECCAK_BYTES];
    uint8_t signer[HF_ADDRESS_BYTES];
    message_of(number, message);
    return hex != NULL && strlen(hex) > sizeof result + 2 * sizeof signature &&
           !hf_failed(hf_hex_decode(hex + sizeof result - 1, 2 * sizeof signature, signature,
                                    sizeof signature)) &&
           !hf_failed(hf_eth1_hash_message(hf_bytes_from(message, sizeof message), digest)) &&
           !hf_failed(hf_secp256k1_recover(l->secp, digest, signature, signer)) &&
           hf_bytes_equal(signer, l->address, sizeof signer);
}

static void take(load *l, size_t place)
{
    bench_connection *c = &l->connections[place];
    unsigned status = 0;
    const char *body = NULL;
    bench_progress progress = bench_receive(c, &status, &body);
    if (progress == BENCH_BROKEN) {
        give_up("the signer closed the connection");
    }
    if (progress == BENCH_MORE) {
        return;
    }
    l->latency_ms[l->done++] = (double)(hf_time_mono_ns() - c->sent_ns) / 1e6;
    uint64_t results = 0;
    for (const char *at = body; (at = strstr(at, "\"result\":")) != NULL; at++) {
        results++;
    }
    bool is_signed = status == 200 && results == l->batch;
    l->good += is_signed;
    if (!is_signed && l->done - l->good <= ERRORS_SHOWN) {
        (void)fprintf(stderr, "eth1: %u %s\n", status, body);
    } else if (is_signed && c->job % SAMPLE_EVERY == 0) {
        bool good = is_good(l, c->job * l->batch, body);
        l->verified += good;
        l->wrong += !good;
    }
    if (l->begun < l->count) {
        begin(l, place);
    }
}

static void run_closed_loop(load *l, uint16_t port, size_t connections)
{
    struct epoll_event events[EVENTS];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        if (hf_failed(bench_connect(port, &l->connections[i])) ||
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, l->connections[i].fd, &event) != 0) {
            give_up("connect");
        }
    }
    printf("ready\n");
    (void)fflush(stdout);
    if (getchar() == EOF) {
        exit(1);
    }
    uint64_t start = hf_time_mono_ns();
    for (size_t i = 0; i < connections && l->begun < l->count; i++) {
        begin(l, i);
    }
    while (l->done < l->count) {
        int n = epoll_wait(epoll_fd, events, EVENTS, ANSWER_TIMEOUT_MS);
        if (n <= 0) {
            give_up("waiting for answers");
        }
        for (int i = 0; i < n; i++) {
            take(l, events[i].data.u64);
        }
    }
    double wall = (double)(hf_time_mono_ns() - start) / 1e9;
    bench_sort(l->latency_ms, l->count);
    printf("{\"requests\":%llu,\"signed\":%llu,\"verified\":%llu,\"wrong_signatures\":%llu,"
           "\"wall_seconds\":%.6f,\"p50_ms\":%.4f,\"p99_ms\":%.4f}\n",
           (unsigned long long)l->count, (unsigned long long)l->good * l->batch,
           (unsigned long long)l->verified, (unsigned long long)l->wrong, wall,
           bench_percentile(l->latency_ms, l->count, 0.5),
           bench_percentile(l->latency_ms, l->count, 0.99));
}

static int run_load(uint64_t port, uint64_t count, uint64_t connections, uint64_t batch)
{
    load l = {.count = count, .batch = batch};
    hf_secp256k1_key key;
    uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES];
    HF_ASSERT(count > 0 && connections > 0 && connections <= MAX_CONNECTIONS && batch > 0 &&
              batch <= BATCH_MAX);
    HF_ASSERT(!hf_failed(hf_secp256k1_new(&l.secp)) &&
              !hf_failed(hf_secp256k1_key_from_bytes(l.secp, secret, &key)));
    hf_secp256k1_pubkey(l.secp, &key, pubkey);
    hf_secp256k1_address(pubkey, l.address);
    l.connections = calloc(connections, sizeof *l.connections);
    l.texts = calloc(connections, sizeof *l.texts);
    l.latency_ms = calloc(count, sizeof *l.latency_ms);
    HF_ASSERT(l.connections != NULL && l.texts != NULL && l.latency_ms != NULL);
    run_closed_loop(&l, (uint16_t)port, connections);
    free(l.connections);
    free(l.texts);
    free(l.latency_ms);
    hf_secp256k1_free(l.secp);
    return l.good == l.count && l.wrong == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "loop") == 0) {
        return run_loop(bench_number("SECONDS", argv[2]), bench_number("THREADS", argv[3]));
    }
    if (argc == 6 && strcmp(argv[1], "load") == 0) {
        return run_load(bench_number("PORT", argv[2]), bench_number("COUNT", argv[3]),
                        bench_number("CONNECTIONS", argv[4]), bench_number("BATCH", argv[5]));
    }
    (void)fprintf(stderr,
                  "usage: eth1 loop SECONDS THREADS | eth1 load PORT COUNT CONNECTIONS BATCH\n");
    return 2;
}
