/* The benchmarks' keys, attestations and small statistics. */
#include "duties.h"

#include <math.h>

#define ATTESTATION_DOMAIN 0x00000001U /* 01000000, read as little endian */
#define SLOTS_PER_EPOCH 32U

static const uint8_t electra_version[4] = {5, 0, 0, 0};

void bench_key(uint64_t index, hf_bls_key *ret_key)
{
    uint8_t seed[16] = "bench-0";
    uint8_t secret[HF_BLS_SECRET_BYTES];
    hf_le64_put(seed + 8, index);
    hf_sha256(seed, sizeof seed, secret);
    secret[0] &= 0x3f; /* below the group order */
    HF_ASSERT(!hf_failed(hf_bls_key_from_bytes(secret, ret_key)));
}

/* Any 32 bytes that differ for each (kind, number, mark). */
static void fill_root(uint8_t kind, uint64_t number, uint64_t mark, uint8_t ret_root[32])
{
    uint8_t seed[17] = {kind};
    hf_le64_put(seed + 1, number);
    hf_le64_put(seed + 9, mark);
    hf_sha256(seed, sizeof seed, ret_root);
}

void bench_attestation(uint64_t target, uint64_t mark, hf_attestation_data *ret_data)
{
    *ret_data = (hf_attestation_data){
        .slot = target * SLOTS_PER_EPOCH,
        .source.epoch = target - 1,
        .target.epoch = target,
    };
    fill_root(1, target, mark, ret_data->beacon_block_root);
    fill_root(2, target - 1, 0, ret_data->source.root);
    fill_root(2, target, 0, ret_data->target.root);
}

static const hf_network *mainnet(void)
{
    const hf_network *network = hf_eth_network_find("mainnet");
    HF_ASSERT(network != NULL);
    return network;
}

void bench_signing_root(const hf_attestation_data *data, uint8_t ret_root[HF_ROOT_BYTES])
{
    uint8_t object[32];
    uint8_t domain[32];
    hf_eth_attestation_data_root(data, object);
    hf_eth_domain(ATTESTATION_DOMAIN, electra_version, mainnet()->genesis_validators_root, domain);
    hf_eth_root_in_domain(object, domain, ret_root);
}

hf_status bench_request(const char *pubkey_hex, const hf_attestation_data *data, const char *token,
                        char *out, size_t out_len, size_t *ret_len)
{
    char gvr[65];
    char block[65];
    char source[65];
    char target[65];
    char signing_root[65];
    char body[1024];
    uint8_t root[HF_ROOT_BYTES];
    bench_signing_root(data, root);
    hf_hex_encode(mainnet()->genesis_validators_root, 32, gvr);
    hf_hex_encode(data->beacon_block_root, 32, block);
    hf_hex_encode(data->source.root, 32, source);
    hf_hex_encode(data->target.root, 32, target);
    hf_hex_encode(root, 32, signing_root);

    hf_status st = hf_str_format(
        body, sizeof body,
        "{\"type\":\"ATTESTATION\",\"fork_info\":{\"fork\":{\"previous_version\":\"0x04000000\","
        "\"current_version\":\"0x05000000\",\"epoch\":\"364032\"},"
        "\"genesis_validators_root\":\"0x%s\"},\"signingRoot\":\"0x%s\",\"attestation\":{"
        "\"slot\":\"%llu\",\"index\":\"0\",\"beacon_block_root\":\"0x%s\",\"source\":{"
        "\"epoch\":\"%llu\",\"root\":\"0x%s\"},\"target\":{\"epoch\":\"%llu\",\"root\":\"0x%s\"}}}",
        gvr, signing_root, (unsigned long long)data->slot, block,
        (unsigned long long)data->source.epoch, source, (unsigned long long)data->target.epoch,
        target);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_str_format(out, out_len,
                       "POST /api/v1/eth2/sign/0x%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                       "Content-Type: application/json\r\nAccept: application/json\r\n"
                       "%s%s%sContent-Length: %zu\r\n\r\n%s",
                       pubkey_hex, token != NULL ? "Authorization: Bearer " : "",
                       token != NULL ? token : "", token != NULL ? "\r\n" : "", strlen(body), body);
    if (!hf_failed(st)) {
        *ret_len = strlen(out);
    }
    return st;
}

uint64_t bench_number(const char *name, const char *text)
{
    uint64_t value = 0;
    if (hf_failed(hf_num_parse_u64(text, strlen(text), &value))) {
        (void)fprintf(stderr, "%s: not a number: %s\n", name, text);
        exit(2);
    }
    return value;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_sort(double *values, size_t n)
{
    if (n > 0) {
        qsort(values, n, sizeof *values, by_value);
    }
}

double bench_percentile(const double *sorted, size_t n, double share)
{
    if (n == 0) {
        return 0;
    }
    double rank = ceil(share * (double)n);
    size_t index = rank < 1 ? 0 : (size_t)rank - 1;
    return sorted[index < n ? index : n - 1];
}
