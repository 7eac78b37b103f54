/*
 * Who showed tokens that are none, by address: buckets that fill by one with each failure and leak
 * with time. A table of one size; where it is full the emptiest bucket of four makes room, so that
 * a flood of addresses pushes out those that failed least.
 */
#include "auth/auth_internal.h"

#define SETS 1024
#define WAYS 4
#define LEAK_NS (HF_AUTH_GUESS_SECONDS * HF_NS_PER_SECOND)

typedef struct bucket {
    uint8_t address[16];
    uint64_t level_ns; /* failures times LEAK_NS, as of seen_ns; 0: free */
    uint64_t seen_ns;
} bucket;

struct hf_auth_guesses {
    uint8_t seed[HF_HMAC_KEY_BYTES]; /* nobody chooses addresses that meet in one set */
    bucket buckets[SETS][WAYS];
};

hf_auth_guesses *hf_auth_guesses_new(void)
{
    hf_auth_guesses *guesses = calloc(1, sizeof *guesses);
    if (guesses != NULL) {
        hf_random(guesses->seed, sizeof guesses->seed);
    }
    return guesses;
}

void hf_auth_guesses_free(hf_auth_guesses *guesses)
{
    free(guesses);
}

/* Who has IPv6 has a /64 of addresses at least. */
static void neighbourhood_of(const uint8_t address[16], uint8_t out[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memcpy(out, address, 16);
    if (!hf_bytes_equal(address, mapped, sizeof mapped)) {
        memset(out + 8, 0, 8);
    }
}

static uint64_t level_at(const bucket *b, uint64_t now_ns)
{
    uint64_t gone = now_ns > b->seen_ns ? now_ns - b->seen_ns : 0;
    return b->level_ns > gone ? b->level_ns - gone : 0;
}

/* The address's bucket, or the emptiest of its set, emptied for it. */
static bucket *find(hf_auth_guesses *guesses, const uint8_t address[16], uint64_t now_ns)
{
    uint8_t hash[HF_HMAC_BYTES];
    const hf_bytes part = hf_bytes_from(address, 16);
    hf_hmac_sha256(guesses->seed, &part, 1, hash);
    bucket *set = guesses->buckets[hf_le64_get(hash) % SETS];
    bucket *emptiest = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].level_ns > 0 && hf_bytes_equal(set[i].address, address, 16)) {
            return &set[i];
        }
        if (level_at(&set[i], now_ns) < level_at(emptiest, now_ns)) {
            emptiest = &set[i];
        }
    }
    *emptiest = (bucket){.seen_ns = now_ns};
    memcpy(emptiest->address, address, 16);
    return emptiest;
}

uint32_t hf_auth_guesses_note(hf_auth_guesses *guesses, const uint8_t address[16], uint64_t now_ns)
{
    uint8_t neighbourhood[16];
    neighbourhood_of(address, neighbourhood);
    bucket *b = find(guesses, neighbourhood, now_ns);
    uint64_t level = level_at(b, now_ns) + LEAK_NS;
    uint64_t most = HF_AUTH_GUESSES_KEPT_MAX * LEAK_NS;
    b->level_ns = level < most ? level : most;
    b->seen_ns = now_ns;
    uint64_t limit = HF_AUTH_GUESSES_FREE * LEAK_NS;
    if (b->level_ns <= limit) {
        return 0;
    }
    return (uint32_t)((b->level_ns - limit + HF_NS_PER_SECOND - 1) / HF_NS_PER_SECOND);
}
