/*
 * duty_node: one node that locks duties through libholdfast's interface, for the benchmark and for
 * the tests with nodes of the npm package.
 *
 *   duty_node serve CALLERS            one request a line on stdin, one JSON answer a line on
 * stdout: ID SLOT TYPE INDEX HASH SIGN_MS FAIL duty_node bench CALLERS SECONDS FIRST_SLOT     fresh
 * attestations as fast as they go; one JSON object
 *
 * VALIDATOR_HA_... in the environment say which database and which node id, as for an embedder.
 * The key and the rollup are those of tests/peers/aztec/driver.mjs.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <holdfast/duty.h>

#include "aztec/aztec.h"
#include "base/base.h"
#include "crypto/crypto.h"

#define CALLERS_MAX 256
#define SAMPLES_MAX 2000000
#define LINE_LEN 512
#define WARM_UP_SECONDS 1
#define KEY_BYTE 0x42 /* worthless: this byte, 32 times */
#define ROLLUP_BYTE 0x11

typedef struct caller {
    pthread_t thread;
    hf_secp256k1 *secp; /* one thread at a time */
    bool failed;
} caller;

typedef struct request {
    char id[64];
    hf_duty duty;
    uint8_t hash[HF_DUTY_HASH_BYTES];
    uint64_t sign_ms;
    bool fail;
    hf_secp256k1 *secp;
} request;

static hf_duty_signer *signer;
static hf_secp256k1_key key;
static uint8_t address[HF_ADDRESS_BYTES];
static pthread_mutex_t input_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t next_slot, until_ns, counted_from_ns;
static uint32_t samples_us[SAMPLES_MAX];
static uint64_t sample_count;

static void die(const char *what)
{
    fprintf(stderr, "duty_node: %s\n", what);
    exit(1);
}

static void say(const char *line)
{
    (void)pthread_mutex_lock(&output_lock);
    (void)puts(line);
    (void)fflush(stdout);
    (void)pthread_mutex_unlock(&output_lock);
}

static void pause_ms(uint64_t ms)
{
    uint64_t until = hf_time_mono_ns() + ms * HF_NS_PER_MS;
    while (hf_time_mono_ns() < until) {
        hf_time_sleep_ns(HF_NS_PER_MS);
    }
}

static int sign(void *context, const hf_duty *duty, const uint8_t *hash, uint8_t *ret_signature)
{
    (void)duty;
    request *r = context;
    if (r->id[0] != '\0') {
        char line[LINE_LEN];
        (void)snprintf(line, sizeof(line), "{\"id\": %s, \"event\": \"signing\"}", r->id);
        say(line);
        pause_ms(r->sign_ms);
    }
    uint8_t digest[HF_DUTY_HASH_BYTES];
    hf_aztec_digest(HF_AZTEC_EIP191, hash, digest);
    if (r->fail || hf_failed(hf_secp256k1_sign(r->secp, &key, digest, ret_signature))) {
        return HF_DUTY_SIGN_REFUSED;
    }
    return HF_DUTY_SIGN_DONE;
}

static void fill(hf_duty *duty, uint64_t slot, uint32_t type, int32_t index)
{
    memset(duty, 0, sizeof(*duty));
    memset(duty->rollup, ROLLUP_BYTE, sizeof(duty->rollup));
    memcpy(duty->validator, address, sizeof(duty->validator));
    duty->slot = slot;
    duty->type = type;
    duty->block_index = index;
}

static void request_parse(const char *line, request *r)
{
    char type[64], hash[80];
    unsigned long long slot = 0, sign_ms = 0;
    int index = 0, fail = 0;
    memset(r, 0, sizeof(*r));
    uint32_t number = 0;
    /* NOLINTNEXTLINE(cert-err34-c): the bench's own other half writes the line */
    if (sscanf(line, "%63s %llu %63s %d %79s %llu %d", r->id, &slot, type, &index, hash, &sign_ms,
               &fail) != 7 ||
        !hf_duty_type_parse(type, strlen(type), &number) ||
        hf_failed(hf_hex_decode(hash, strlen(hash), r->hash, sizeof(r->hash)))) {
        die("a request that is none");
    }
    fill(&r->duty, slot, number, index);
    r->sign_ms = sign_ms;
    r->fail = fail != 0;
}

static void answer(const request *r, const hf_duty_outcome *o, uint64_t took_ns)
{
    char signature[HF_AZTEC_SIGNATURE_TEXT_LEN] = "";
    if (o->result == HF_DUTY_OK || o->result == HF_DUTY_STORED) {
        hf_aztec_signature_format(o->signature, signature);
    }
    char line[LINE_LEN];
    (void)snprintf(line, sizeof(line),
                   "{\"id\": %s, \"outcome\": \"%s\", \"signature\": \"%s\", \"signedBy\": \"%s\", "
                   "\"ms\": %.3f}",
                   r->id, hf_duty_result_name(o->result), signature, o->node_id,
                   (double)took_ns / (double)HF_NS_PER_MS);
    say(line);
}

static void *serve(void *arg)
{
    caller *me = arg;
    char line[LINE_LEN];
    for (;;) {
        (void)pthread_mutex_lock(&input_lock);
        bool more = fgets(line, sizeof(line), stdin) != NULL;
        (void)pthread_mutex_unlock(&input_lock);
        if (!more) {
            return NULL;
        }
        request r;
        request_parse(line, &r);
        r.secp = me->secp;
        hf_duty_outcome outcome;
        uint64_t began = hf_time_mono_ns();
        (void)hf_duty_sign(signer, &r.duty, r.hash, sign, &r, &outcome);
        answer(&r, &outcome, hf_time_mono_ns() - began);
    }
}

static void *load(void *arg)
{
    caller *me = arg;
    request r = {.secp = me->secp};
    while (hf_time_mono_ns() < until_ns) {
        uint64_t slot = __atomic_fetch_add(&next_slot, 1, __ATOMIC_RELAXED);
        fill(&r.duty, slot, HF_DUTY_ATTESTATION, HF_DUTY_NO_INDEX);
        memcpy(r.hash, &slot, sizeof(slot));
        hf_duty_outcome outcome;
        uint64_t began = hf_time_mono_ns();
        if (hf_duty_sign(signer, &r.duty, r.hash, sign, &r, &outcome) != HF_DUTY_OK) {
            fprintf(stderr, "duty_node: %s: %s\n", hf_duty_result_name(outcome.result),
                    outcome.message);
            me->failed = true;
            return NULL;
        }
        uint64_t ended = hf_time_mono_ns();
        if (began >= counted_from_ns) {
            uint64_t at = __atomic_fetch_add(&sample_count, 1, __ATOMIC_RELAXED);
            if (at < SAMPLES_MAX) {
                samples_us[at] = (uint32_t)((ended - began) / 1000);
            }
        }
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint64_t number(const char *text, uint64_t most)
{
    uint64_t value = 0;
    if (hf_failed(hf_num_parse_u64(text, strlen(text), &value)) || value > most) {
        die("usage: duty_node serve CALLERS | bench CALLERS SECONDS FIRST_SLOT");
    }
    return value;
}

/* Runs all callers; true when none failed. */
static bool run(size_t callers, void *(*work)(void *))
{
    static caller all[CALLERS_MAX];
    for (size_t i = 0; i < callers; i++) {
        all[i].failed = false;
        if (all[i].secp == NULL && hf_failed(hf_secp256k1_new(&all[i].secp))) {
            die("no memory");
        }
        if (pthread_create(&all[i].thread, NULL, work, &all[i]) != 0) {
            die("no thread");
        }
    }
    bool good = true;
    for (size_t i = 0; i < callers; i++) {
        (void)pthread_join(all[i].thread, NULL);
        hf_secp256k1_free(all[i].secp);
        all[i].secp = NULL;
        good = good && !all[i].failed;
    }
    return good;
}

static bool bench(size_t callers, uint64_t seconds, uint64_t first_slot)
{
    hf_duty_counters before, after;
    next_slot = first_slot;
    counted_from_ns = UINT64_MAX;
    until_ns = hf_time_mono_ns() + WARM_UP_SECONDS * HF_NS_PER_SECOND;
    if (!run(callers, load)) {
        return false;
    }
    hf_duty_counters_get(signer, &before);
    counted_from_ns = hf_time_mono_ns();
    until_ns = counted_from_ns + seconds * HF_NS_PER_SECOND;
    bool good = run(callers, load);
    double wall = (double)(hf_time_mono_ns() - counted_from_ns) / (double)HF_NS_PER_SECOND;
    hf_duty_counters_get(signer, &after);
    uint64_t n = sample_count < SAMPLES_MAX ? sample_count : SAMPLES_MAX;
    if (!good || n == 0) {
        return false;
    }
    qsort(samples_us, (size_t)n, sizeof(samples_us[0]), by_value);
    size_t middle = (size_t)n / 2;
    size_t high = (size_t)n * 99 / 100;
    printf("{\"signed\": %llu, \"wall_seconds\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"round_trips\": %llu, \"next_slot\": %llu}\n",
           (unsigned long long)sample_count, wall, samples_us[middle] / 1000.0,
           samples_us[high] / 1000.0, (unsigned long long)(after.round_trips - before.round_trips),
           (unsigned long long)next_slot);
    return true;
}

static void open_signer(void)
{
    hf_duty_config config;
    hf_duty_error error;
    hf_duty_config_init(&config);
    if (hf_duty_config_from_env(&config, &error) != HF_DUTY_OK ||
        hf_duty_open(&config, &signer, &error) != HF_DUTY_OK) {
        die(error.message);
    }
    uint8_t secret[HF_SECP256K1_SECRET_BYTES], pubkey[HF_SECP256K1_PUBKEY_BYTES];
    memset(secret, KEY_BYTE, sizeof(secret));
    hf_secp256k1 *secp = NULL;
    if (hf_failed(hf_secp256k1_new(&secp)) ||
        hf_failed(hf_secp256k1_key_from_bytes(secp, secret, &key))) {
        die("the key is none");
    }
    hf_secp256k1_pubkey(secp, &key, pubkey);
    hf_secp256k1_address(pubkey, address);
    hf_secp256k1_free(secp);
}

int main(int argc, char **argv)
{
    bool serving = argc == 3 && strcmp(argv[1], "serve") == 0;
    bool measuring = argc == 5 && strcmp(argv[1], "bench") == 0;
    if (!serving && !measuring) {
        die("usage: duty_node serve CALLERS | bench CALLERS SECONDS FIRST_SLOT");
    }
    size_t callers = (size_t)number(argv[2], CALLERS_MAX);
    open_signer();
    bool good = true;
    if (serving) {
        char text[HF_AZTEC_ADDRESS_TEXT_LEN], line[LINE_LEN];
        hf_aztec_address_format(address, text);
        (void)snprintf(line, sizeof(line), "{\"event\": \"ready\", \"address\": \"%s\"}", text);
        say(line);
        /* Only whom the test tells how often cleans up. */
        if (getenv("HOLDFAST_DUTY_CLEANUP_INTERVAL_MS") != NULL) {
            hf_duty_start(signer);
        }
        good = run(callers, serve);
    } else {
        good = bench(callers, number(argv[3], 3600), number(argv[4], INT64_MAX));
    }
    hf_duty_close(signer);
    return good ? 0 : 1;
}
