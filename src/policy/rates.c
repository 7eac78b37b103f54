/*
 * Token buckets, each kept as the one moment at which it is full again. A place holds the keyed
 * hash of what the bucket is for; a bucket may have one of eight places.
 */
#include "policy_internal.h"

#define WAYS 8U
#define PLACES_MIN 1024U
#define PLACES_MAX (1U << 20)

typedef struct bucket_place {
    uint64_t id;      /* 0: never used */
    uint64_t full_ns; /* from then on nothing need be remembered */
} bucket_place;

struct hf_rates {
    uint8_t seed[HF_HMAC_KEY_BYTES];
    size_t mask; /* of groups of WAYS places */
    bucket_place places[];
};

hf_rates *hf_rates_new(size_t places, const uint8_t seed[16])
{
    size_t room = PLACES_MIN;
    while (room < places && room < PLACES_MAX) {
        room *= 2;
    }
    hf_rates *rates = calloc(1, sizeof *rates + room * sizeof(bucket_place));
    if (rates != NULL) {
        memcpy(rates->seed, seed, 16);
        rates->mask = room / WAYS - 1;
    }
    return rates;
}

void hf_rates_free(hf_rates *rates)
{
    free(rates);
}

static uint64_t bucket_id(const hf_rates *rates, uint64_t setter, const hf_policy_key *key,
                          uint32_t operation)
{
    uint8_t digest[HF_HMAC_BYTES];
    uint8_t numbers[16];
    hf_le64_put(numbers, setter);
    hf_le64_put(numbers + 8, (uint64_t)operation << 8 | key->len);
    const hf_bytes parts[] = {hf_bytes_from(numbers, sizeof numbers),
                              hf_bytes_from(key->bytes, sizeof key->bytes)};
    hf_hmac_sha256(rates->seed, parts, HF_ARRAY_LEN(parts), digest);
    return hf_le64_get(digest) | 1;
}

/* The bucket's own place, else one that nobody needs now; NULL when there is none. */
static bucket_place *find_place(const hf_rates *rates, uint64_t id, uint64_t now_ns)
{
    const bucket_place *group = &rates->places[(id >> 1 & rates->mask) * WAYS];
    const bucket_place *spare = NULL;
    for (size_t i = 0; i < WAYS; i++) {
        if (group[i].id == id) {
            return (bucket_place *)(uintptr_t)&group[i];
        }
        if (spare == NULL && group[i].full_ns <= now_ns) {
            spare = &group[i];
        }
    }
    return (bucket_place *)(uintptr_t)spare;
}

/* When the bucket would be full again with one taken out; 0 when there is none to take. */
static uint64_t full_after(const bucket_place *bucket, uint64_t id, const hf_policy_rate *rate,
                           uint64_t now_ns)
{
    uint64_t period_ns = rate->period_ms * HF_NS_PER_MS;
    uint64_t one_ns = period_ns / rate->count;
    uint64_t start = bucket->id == id && bucket->full_ns > now_ns ? bucket->full_ns : now_ns;
    uint64_t full_ns = start + (one_ns == 0 ? 1 : one_ns);
    return full_ns - now_ns > period_ns ? 0 : full_ns;
}

bool hf_rates_has(const hf_rates *rates, const hf_policy_rate *rate, uint64_t setter,
                  const hf_policy_key *key, uint32_t operation, uint64_t now_ns)
{
    uint64_t id = bucket_id(rates, setter, key, operation);
    const bucket_place *bucket = find_place(rates, id, now_ns);
    return bucket != NULL && full_after(bucket, id, rate, now_ns) != 0;
}

bool hf_rates_take(hf_rates *rates, const hf_policy_rate *rate, uint64_t setter,
                   const hf_policy_key *key, uint32_t operation, uint64_t now_ns)
{
    uint64_t id = bucket_id(rates, setter, key, operation);
    bucket_place *bucket = find_place(rates, id, now_ns);
    uint64_t full_ns = bucket == NULL ? 0 : full_after(bucket, id, rate, now_ns);
    if (full_ns == 0) {
        return false;
    }
    *bucket = (bucket_place){.id = id, .full_ns = full_ns};
    return true;
}

/* FNV-1a of name and number: rules of other policies have other buckets. */
uint64_t hf_rates_setter(const hf_policy_answer *answer)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const char *name = answer->policy == NULL ? "" : answer->policy->name;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    }
    hash = (hash ^ answer->rule) * UINT64_C(0x100000001b3);
    return hash & (UINT64_MAX >> 1);
}

/* ---- approvals of exits -----------------------------------------------------------------------
 */

#define MINUTE_MS 60000U

static bool is_same_key(const hf_policy_key *a, const hf_policy_key *b)
{
    return hf_policy_key_compare(a, b) == 0;
}

hf_status hf_approvals_give(hf_approvals *approvals, const hf_policy_key *key, const char *approver,
                            uint64_t minutes, uint64_t now_ms)
{
    hf_approval *place = NULL;
    if (minutes > HF_APPROVAL_MINUTES_MAX || strlen(approver) >= HF_APPROVER_LEN) {
        return (hf_status){HF_LIMIT};
    }
    for (size_t i = 0; i < HF_APPROVALS_MAX; i++) {
        hf_approval *item = &approvals->items[i];
        if (item->until_ms > now_ms && is_same_key(&item->key, key) &&
            strcmp(item->approver, approver) == 0) {
            place = item;
            break;
        }
        if (place == NULL && item->until_ms <= now_ms) {
            place = item;
        }
    }
    if (place == NULL) {
        return (hf_status){HF_LIMIT};
    }
    *place = (hf_approval){.key = *key, .until_ms = now_ms + minutes * MINUTE_MS};
    hf_str_cut(place->approver, sizeof place->approver, approver);
    return hf_ok();
}

bool hf_approvals_have(const hf_approvals *approvals, const hf_policy_key *key, const char *asker,
                       uint64_t now_ms)
{
    for (size_t i = 0; i < HF_APPROVALS_MAX; i++) {
        const hf_approval *item = &approvals->items[i];
        if (item->until_ms > now_ms && is_same_key(&item->key, key) &&
            strcmp(item->approver, asker) != 0) {
            return true;
        }
    }
    return false;
}
