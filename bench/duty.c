/*
 * bench_duty: duty signatures through libholdfast's signer.
 *   bench_duty URL NODES THREADS SECONDS MODE
 * MODE distinct: every duty is another. MODE same: all nodes, released together, ask for one duty
 * after the other with the same message; the loser is who gets a stored signature.
 * Prints one line of JSON. The signature is a real secp256k1 one.
 */
#include <pthread.h>

#include <holdfast/duty.h>

#include "base/base.h"
#include "crypto/crypto.h"

#define NODES_MAX 8
#define THREADS_MAX 256
#define SAMPLES_MAX 2000000

typedef struct worker {
    pthread_t thread;
    hf_duty_signer *signer;
    hf_secp256k1 *secp;
    size_t node;
    uint32_t lane; /* which of the threads of a node: the same duties on each node */
    uint64_t done, stored, failed;
} worker;

static hf_duty_signer *signers[NODES_MAX];
static worker workers[THREADS_MAX];
static pthread_barrier_t barriers[THREADS_MAX]; /* one a lane, for the nodes of it */
static uint64_t last_rounds[THREADS_MAX];       /* by lane, set by its first node */
static uint64_t end_ns, first_slot;
static bool same;
static uint32_t winner_us[SAMPLES_MAX], loser_us[SAMPLES_MAX];
static uint64_t winners, losers;
static hf_secp256k1_key key;

static int sign(void *context, const hf_duty *duty, const uint8_t *hash, uint8_t *signature)
{
    (void)duty;
    return hf_failed(hf_secp256k1_sign(context, &key, hash, signature)) ? HF_DUTY_SIGN_REFUSED
                                                                        : HF_DUTY_SIGN_DONE;
}

static void sample(uint32_t *samples, uint64_t *count, uint64_t ns)
{
    uint64_t at = __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    if (at < SAMPLES_MAX) {
        samples[at] = (uint32_t)(ns / 1000);
    }
}

/* Releases the nodes of a lane together. False in the round after the last, on all of them. */
static bool next_round(const worker *me, uint64_t round)
{
    if (!same) {
        return hf_time_mono_ns() < end_ns;
    }
    if (me->node == 0 && hf_time_mono_ns() >= end_ns) {
        __atomic_store_n(&last_rounds[me->lane], round, __ATOMIC_SEQ_CST);
    }
    (void)pthread_barrier_wait(&barriers[me->lane]);
    return round < __atomic_load_n(&last_rounds[me->lane], __ATOMIC_SEQ_CST);
}

static void *work(void *arg)
{
    worker *me = arg;
    hf_duty duty = {.type = HF_DUTY_ATTESTATION};
    uint8_t hash[HF_DUTY_HASH_BYTES] = {1};
    hf_duty_outcome outcome;
    hf_random(duty.validator, same ? 0 : sizeof(duty.validator));
    duty.validator[0] = (uint8_t)me->lane;
    duty.slot = (uint64_t)hf_time_unix_ms();
    if (same) {
        duty.slot = first_slot;
    }
    for (uint64_t round = 0; next_round(me, round); round++) {
        duty.slot++;
        uint64_t began = hf_time_mono_ns();
        hf_duty_result result = hf_duty_sign(me->signer, &duty, hash, sign, me->secp, &outcome);
        uint64_t took = hf_time_mono_ns() - began;
        if (result == HF_DUTY_OK) {
            me->done++;
            sample(winner_us, &winners, took);
        } else if (result == HF_DUTY_STORED) {
            me->stored++;
            sample(loser_us, &losers, took);
        } else if (me->failed++ == 0) {
            fprintf(stderr, "bench_duty: %s: %s\n", hf_duty_result_name(result), outcome.message);
        }
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_ms(uint32_t *samples, uint64_t count, uint64_t percent)
{
    size_t n = count < SAMPLES_MAX ? (size_t)count : SAMPLES_MAX;
    if (n == 0) {
        return 0;
    }
    qsort(samples, n, sizeof(*samples), by_value);
    size_t rank = (n - 1) * percent / 100;
    return samples[rank] / 1000.0;
}

static uint64_t number(const char *text, uint64_t most)
{
    uint64_t value = 0;
    if (hf_failed(hf_num_parse_u64(text, strlen(text), &value)) || value == 0 || value > most) {
        fprintf(stderr, "bench_duty: %s is not 1 to %llu\n", text, (unsigned long long)most);
        exit(2);
    }
    return value;
}

static void open_nodes(const char *url, size_t nodes)
{
    for (size_t i = 0; i < nodes; i++) {
        hf_duty_config config;
        hf_duty_error error;
        hf_duty_config_init(&config);
        config.enabled = true;
        if (hf_failed(hf_str_copy(config.database_url, sizeof(config.database_url), url)) ||
            hf_failed(hf_str_format(config.node_id, sizeof(config.node_id), "node-%zu", i))) {
            exit(2);
        }
        if (hf_duty_open(&config, &signers[i], &error) != HF_DUTY_OK) {
            fprintf(stderr, "bench_duty: %s\n", error.message);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: bench_duty URL NODES THREADS SECONDS distinct|same\n");
        return 2;
    }
    size_t nodes = number(argv[2], NODES_MAX),
           threads = number(argv[3], THREADS_MAX / NODES_MAX * 4);
    uint64_t seconds = number(argv[4], 3600);
    same = strcmp(argv[5], "same") == 0;
    uint8_t secret[32] = {[31] = 7};
    if (nodes * threads > THREADS_MAX) {
        return 2;
    }
    open_nodes(argv[1], nodes);
    first_slot = (uint64_t)hf_time_unix_ms();
    for (size_t i = 0; i < threads; i++) {
        (void)pthread_barrier_init(&barriers[i], NULL, (unsigned)nodes);
        last_rounds[i] = UINT64_MAX;
    }
    uint64_t began = hf_time_mono_ns();
    end_ns = began + seconds * HF_NS_PER_SECOND;
    for (size_t i = 0; i < nodes * threads; i++) {
        workers[i].signer = signers[i % nodes];
        workers[i].node = i % nodes;
        workers[i].lane = (uint32_t)(i / nodes);
        HF_ASSERT(!hf_failed(hf_secp256k1_new(&workers[i].secp)));
        HF_ASSERT(!hf_failed(hf_secp256k1_key_from_bytes(workers[i].secp, secret, &key)));
        HF_ASSERT(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    uint64_t done = 0, stored = 0, failed = 0, trips = 0;
    for (size_t i = 0; i < nodes * threads; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        done += workers[i].done;
        stored += workers[i].stored;
        failed += workers[i].failed;
    }
    double took = (double)(hf_time_mono_ns() - began) / (double)HF_NS_PER_SECOND;
    for (size_t i = 0; i < nodes; i++) {
        hf_duty_counters counters;
        hf_duty_counters_get(signers[i], &counters);
        trips += counters.round_trips;
        hf_duty_close(signers[i]);
    }
    printf("{\"nodes\": %zu, \"threads\": %zu, \"signatures_per_second\": %.0f, \"signed\": %llu,"
           " \"stored\": %llu, \"failed\": %llu, \"round_trips_per_signature\": %.3f,"
           " \"winner_p50_ms\": %.3f, \"winner_p99_ms\": %.3f,"
           " \"loser_p50_ms\": %.3f, \"loser_p99_ms\": %.3f}\n",
           nodes, threads, (double)done / took, (unsigned long long)done,
           (unsigned long long)stored, (unsigned long long)failed,
           done > 0 ? (double)trips / (double)done : 0, percentile_ms(winner_us, winners, 50),
           percentile_ms(winner_us, winners, 99), percentile_ms(loser_us, losers, 50),
           percentile_ms(loser_us, losers, 99));
    return failed == 0 ? 0 : 1;
}
