/*
 * duty.c: signs one attestation duty of an Aztec validator, protected by libholdfast.
 *
 *     cc duty.c $(pkg-config --cflags --libs libholdfast) -o duty
 *     VALIDATOR_HA_SIGNING_ENABLED=true VALIDATOR_HA_NODE_ID=node-1 \
 *     VALIDATOR_HA_DATABASE_URL=postgresql://user@host/database ./duty SLOT MESSAGE
 *
 * Start it twice, at once or one after the other, with other node ids: the same message gets the
 * same signature, another message for the same slot is refused. The signature is a stand-in: put
 * your signer where make_signature is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <holdfast/duty.h>

/* Here a real program asks its signer. Returns false when that is certain not to have signed. */
static bool make_signature(const char *key, const uint8_t *hash, uint8_t *signature)
{
    for (int i = 0; i < 64; i++) {
        signature[i] = (uint8_t)(hash[i % 32] ^ (uint8_t)key[i % 3] ^ (uint8_t)i);
    }
    signature[64] = 27;
    return true;
}

static int sign(void *context, const hf_duty *duty, const uint8_t *hash, uint8_t *signature)
{
    printf("signing %s at slot %llu\n", hf_duty_type_name(duty->type),
           (unsigned long long)duty->slot);
    return make_signature(context, hash, signature) ? HF_DUTY_SIGN_DONE : HF_DUTY_SIGN_REFUSED;
}

static void print_hex(const char *label, const uint8_t *bytes, size_t len)
{
    printf("%s0x", label);
    for (size_t i = 0; i < len; i++) {
        printf("%02x", bytes[i]);
    }
    printf("\n");
}

/* What to do with each outcome. Exit status 0 when there is a signature to publish. */
static int report(const hf_duty_outcome *outcome)
{
    if (outcome->result == HF_DUTY_OK) {
        print_hex("signed here: ", outcome->signature, sizeof(outcome->signature));
        return 0;
    }
    if (outcome->result == HF_DUTY_STORED) {
        printf("signed before by %s\n", outcome->node_id);
        print_hex("its signature: ", outcome->signature, sizeof(outcome->signature));
        return 0;
    }
    /* HELD: leave it to that node, or ask again. CONFLICT, EXPIRED: never sign this. */
    fprintf(stderr, "no signature (%s): %s\n", hf_duty_result_name(outcome->result),
            outcome->message);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SLOT MESSAGE\n", argv[0]);
        return 2;
    }
    hf_duty_config config;
    hf_duty_error error;
    hf_duty_signer *signer;
    hf_duty_config_init(&config);
    if (hf_duty_config_from_env(&config, &error) != HF_DUTY_OK ||
        hf_duty_open(&config, &signer, &error) != HF_DUTY_OK) {
        fprintf(stderr, "%s: %s\n", hf_duty_result_name(error.result), error.message);
        return 2;
    }
    hf_duty_start(signer);

    hf_duty duty = {.type = HF_DUTY_ATTESTATION, .slot = strtoull(argv[1], NULL, 10)};
    memset(duty.rollup, 0x11, sizeof(duty.rollup));
    memset(duty.validator, 0x22, sizeof(duty.validator));
    uint8_t hash[HF_DUTY_HASH_BYTES] = {0};
    size_t len = strlen(argv[2]);
    memcpy(hash, argv[2], len < sizeof(hash) ? len : sizeof(hash));

    char key[] = "key";
    hf_duty_outcome outcome;
    (void)hf_duty_sign(signer, &duty, hash, sign, key, &outcome);
    hf_duty_close(signer);
    return report(&outcome);
}
