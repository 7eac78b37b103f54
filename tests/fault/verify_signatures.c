/*
 * Reads lines "PUBKEY ROOT SIGNATURE" in hex from standard input; exit status 0 when every
 * signature is that key's over that root. For tests that collected them from a running signer.
 */
#include "crypto/crypto.h"

#define LINE_BYTES 512

static bool take_hex(char **place, uint8_t *out, size_t len)
{
    char *word = strsep(place, " \n");
    return word != NULL && !hf_failed(hf_hex_decode(word, strlen(word), out, len));
}

int main(void)
{
    char line[LINE_BYTES];
    unsigned long count = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
        uint8_t root[HF_ROOT_BYTES];
        uint8_t signature[HF_BLS_SIGNATURE_BYTES];
        char *place = line;
        count++;
        if (!take_hex(&place, pubkey, sizeof pubkey) || !take_hex(&place, root, sizeof root) ||
            !take_hex(&place, signature, sizeof signature)) {
            (void)fprintf(stderr, "line %lu: not three values in hex\n", count);
            return 2;
        }
        if (!hf_bls_verify(pubkey, root, signature)) {
            (void)printf("line %lu: the signature is not that key's over that root\n", count);
            return 1;
        }
    }
    (void)printf("%lu signatures verify\n", count);
    return 0;
}
