/*
 * loop: what the machine gives without Holdfast. `loop sign SECONDS THREADS` hashes and signs
 * distinct roots with blst itself; `loop scrypt SECONDS` derives EIP-2335's standard scrypt keys
 * on one core. Prints one JSON object.
 */
#include "base/base.h"
#include "duties.h"
#include "plain.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <sys/resource.h>

#define MAX_THREADS 64
#define BATCH 16 /* between two looks at the clock */

/* EIP-2335's standard parameters. */
#define SCRYPT_N 262144
#define SCRYPT_R 8
#define SCRYPT_P 1
#define SCRYPT_MAX_MEMORY (512UL << 20)

typedef struct worker {
    pthread_t thread;
    uint64_t first;
    uint64_t until_ns;
    uint64_t done;
} worker;

static void *sign_loop(void *context)
{
    worker *self = context;
    hf_bls_key key;
    bench_key(0, &key);
    while (hf_time_mono_ns() < self->until_ns) {
        for (unsigned i = 0; i < BATCH; i++) {
            bench_plain_sign(&key, self->first + self->done++);
        }
    }
    return NULL;
}

static double cpu_seconds(void)
{
    struct rusage use;
    HF_ASSERT(getrusage(RUSAGE_SELF, &use) == 0);
    return (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static int run_sign(uint64_t seconds, uint64_t threads)
{
    static worker workers[MAX_THREADS];
    if (threads == 0 || threads > MAX_THREADS) {
        (void)fprintf(stderr, "THREADS: 1 to %d\n", MAX_THREADS);
        return 2;
    }
    uint64_t start = hf_time_mono_ns();
    for (uint64_t i = 0; i < threads; i++) {
        workers[i].first = i << 40;
        workers[i].until_ns = start + seconds * 1000000000U;
        HF_ASSERT(pthread_create(&workers[i].thread, NULL, sign_loop, &workers[i]) == 0);
    }
    uint64_t done = 0;
    for (uint64_t i = 0; i < threads; i++) {
        HF_ASSERT(pthread_join(workers[i].thread, NULL) == 0);
        done += workers[i].done;
    }
    printf("{\"signatures\":%llu,\"cpu_seconds\":%.6f,\"wall_seconds\":%.6f}\n",
           (unsigned long long)done, cpu_seconds(), (double)(hf_time_mono_ns() - start) / 1e9);
    return 0;
}

static int run_scrypt(uint64_t seconds)
{
    static const char password[] = "password";
    uint8_t salt[32] = {0};
    uint8_t key[32];
    uint64_t start = hf_time_mono_ns();
    uint64_t now = start;
    uint64_t done = 0;
    while (now - start < seconds * 1000000000U) {
        hf_le64_put(salt, done++);
        HF_ASSERT(EVP_PBE_scrypt(password, sizeof password - 1, salt, sizeof salt, SCRYPT_N,
                                 SCRYPT_R, SCRYPT_P, SCRYPT_MAX_MEMORY, key, sizeof key) == 1);
        now = hf_time_mono_ns();
    }
    printf("{\"derivations\":%llu,\"wall_seconds\":%.6f}\n", (unsigned long long)done,
           (double)(now - start) / 1e9);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "sign") == 0) {
        return run_sign(bench_number("SECONDS", argv[2]), bench_number("THREADS", argv[3]));
    }
    if (argc == 3 && strcmp(argv[1], "scrypt") == 0) {
        return run_scrypt(bench_number("SECONDS", argv[2]));
    }
    (void)fprintf(stderr, "usage: loop sign SECONDS THREADS | loop scrypt SECONDS\n");
    return 2;
}
