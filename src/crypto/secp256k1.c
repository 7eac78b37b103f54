/* Ethereum's signatures over libsecp256k1: RFC 6979 nonces, low s, recovery id as v. */
#include "crypto.h"

#include <secp256k1.h>
#include <secp256k1_recovery.h>

/* A new blinding costs about half a signature: not for each, and not for ever either. */
#define SIGNATURES_PER_BLINDING 256
/* v of an Ethereum signature is the recovery id above this. */
#define V_BASE 27
/* Ids 2 and 3 are of an r beyond the curve's order, which nobody will ever see. */
#define IDS 2
/* 0x04, x, y */
#define UNCOMPRESSED_BYTES 65

struct hf_secp256k1 {
    secp256k1_context *context;
    unsigned until_blinding;
};

static bool blind(hf_secp256k1 *secp)
{
    uint8_t seed[32];
    hf_random(seed, sizeof seed);
    bool done = secp256k1_context_randomize(secp->context, seed) == 1;
    hf_wipe(seed, sizeof seed);
    secp->until_blinding = SIGNATURES_PER_BLINDING;
    return done;
}

hf_status hf_secp256k1_new(hf_secp256k1 **ret_secp)
{
    hf_secp256k1 *secp = calloc(1, sizeof *secp);
    if (secp == NULL) {
        return (hf_status){HF_NOMEM};
    }
    secp->context = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    if (secp->context == NULL || !blind(secp)) {
        hf_secp256k1_free(secp);
        return (hf_status){HF_CRYPTO};
    }
    *ret_secp = secp;
    return hf_ok();
}

void hf_secp256k1_free(hf_secp256k1 *secp)
{
    if (secp == NULL) {
        return;
    }
    if (secp->context != NULL) {
        secp256k1_context_destroy(secp->context); /* wipes the blinding */
    }
    free(secp);
}

hf_status hf_secp256k1_key_from_bytes(const hf_secp256k1 *secp,
                                      const uint8_t secret[HF_SECP256K1_SECRET_BYTES],
                                      hf_secp256k1_key *ret_key)
{
    if (secp256k1_ec_seckey_verify(secp->context, secret) != 1) {
        return (hf_status){HF_CRYPTO};
    }
    memcpy(ret_key->secret, secret, sizeof ret_key->secret);
    return hf_ok();
}

static void serialise(const hf_secp256k1 *secp, const secp256k1_pubkey *point,
                      uint8_t ret_pubkey[HF_SECP256K1_PUBKEY_BYTES])
{
    uint8_t out[UNCOMPRESSED_BYTES];
    size_t len = sizeof out;
    (void)secp256k1_ec_pubkey_serialize(secp->context, out, &len, point, SECP256K1_EC_UNCOMPRESSED);
    HF_ASSERT(len == sizeof out);
    memcpy(ret_pubkey, out + 1, HF_SECP256K1_PUBKEY_BYTES);
}

void hf_secp256k1_pubkey(const hf_secp256k1 *secp, const hf_secp256k1_key *key,
                         uint8_t ret_pubkey[HF_SECP256K1_PUBKEY_BYTES])
{
    secp256k1_pubkey point;
    /* Fails for no key that came through hf_secp256k1_key_from_bytes. */
    HF_ASSERT(secp256k1_ec_pubkey_create(secp->context, &point, key->secret) == 1);
    serialise(secp, &point, ret_pubkey);
}

hf_status hf_secp256k1_sign(hf_secp256k1 *secp, const hf_secp256k1_key *key,
                            const uint8_t digest[HF_KECCAK_BYTES],
                            uint8_t ret_signature[HF_SECP256K1_SIGNATURE_BYTES])
{
    secp256k1_ecdsa_recoverable_signature signature;
    uint8_t compact[HF_SECP256K1_SIGNATURE_BYTES - 1];
    int recovery_id = 0;
    if (--secp->until_blinding == 0 && !blind(secp)) {
        return (hf_status){HF_CRYPTO};
    }
    /* The library gives the lower s, as EIP-2 and Aztec's rollup contract want it. */
    if (secp256k1_ecdsa_sign_recoverable(secp->context, &signature, digest, key->secret,
                                         secp256k1_nonce_function_rfc6979, NULL) != 1) {
        return (hf_status){HF_CRYPTO};
    }
    (void)secp256k1_ecdsa_recoverable_signature_serialize_compact(secp->context, compact,
                                                                  &recovery_id, &signature);
    memcpy(ret_signature, compact, sizeof compact);
    ret_signature[sizeof compact] = (uint8_t)(V_BASE + recovery_id);
    return hf_ok();
}

static bool recover(const hf_secp256k1 *secp, const uint8_t digest[HF_KECCAK_BYTES],
                    const uint8_t *compact, int id, uint8_t ret_pubkey[HF_SECP256K1_PUBKEY_BYTES])
{
    secp256k1_ecdsa_recoverable_signature parsed;
    secp256k1_pubkey point;
    if (secp256k1_ecdsa_recoverable_signature_parse_compact(secp->context, &parsed, compact, id) !=
            1 ||
        secp256k1_ecdsa_recover(secp->context, &point, &parsed, digest) != 1) {
        return false;
    }
    serialise(secp, &point, ret_pubkey);
    return true;
}

hf_status hf_secp256k1_recover(const hf_secp256k1 *secp, const uint8_t digest[HF_KECCAK_BYTES],
                               const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES],
                               uint8_t ret_address[HF_ADDRESS_BYTES])
{
    uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES];
    int id = signature[HF_SECP256K1_SIGNATURE_BYTES - 1] - V_BASE;
    if (id < 0 || id >= IDS || !recover(secp, digest, signature, id, pubkey)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    hf_secp256k1_address(pubkey, ret_address);
    return hf_ok();
}

hf_status hf_secp256k1_complete(const hf_secp256k1 *secp, const uint8_t digest[HF_KECCAK_BYTES],
                                const uint8_t compact[HF_SECP256K1_SIGNATURE_BYTES - 1],
                                const uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES],
                                uint8_t ret_signature[HF_SECP256K1_SIGNATURE_BYTES])
{
    secp256k1_ecdsa_signature parsed;
    uint8_t low[HF_SECP256K1_SIGNATURE_BYTES - 1];
    uint8_t signer[HF_SECP256K1_PUBKEY_BYTES];
    if (secp256k1_ecdsa_signature_parse_compact(secp->context, &parsed, compact) != 1) {
        return (hf_status){HF_CRYPTO};
    }
    (void)secp256k1_ecdsa_signature_normalize(secp->context, &parsed, &parsed);
    (void)secp256k1_ecdsa_signature_serialize_compact(secp->context, low, &parsed);
    for (int id = 0; id < IDS; id++) {
        if (recover(secp, digest, low, id, signer) &&
            hf_bytes_equal(signer, pubkey, sizeof signer)) {
            memcpy(ret_signature, low, sizeof low);
            ret_signature[sizeof low] = (uint8_t)(V_BASE + id);
            return hf_ok();
        }
    }
    return (hf_status){HF_CRYPTO};
}

hf_status hf_secp256k1_pubkey_parse(const hf_secp256k1 *secp, hf_bytes sec1,
                                    uint8_t ret_pubkey[HF_SECP256K1_PUBKEY_BYTES])
{
    secp256k1_pubkey point;
    if (secp256k1_ec_pubkey_parse(secp->context, &point, sec1.ptr, sec1.len) != 1) {
        return (hf_status){HF_CRYPTO};
    }
    serialise(secp, &point, ret_pubkey);
    return hf_ok();
}
