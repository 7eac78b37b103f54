/* BIP-39: English mnemonics, made and turned into seeds. */
#include "crypto_internal.h"

#include <ctype.h>

#define WORD_COUNT 2048
#define WORD_BITS 11
#define WORD_MAX_CHARS 8
/* "The first four letters are enough to unambiguously identify the word" (BIP-39, wordlist). */
#define WORD_PREFIX_CHARS 4
#define ENTROPY_MIN_BYTES 16
#define ENTROPY_MAX_BYTES 32
#define WORDS_MIN 12
#define WORDS_MAX 24
#define SEED_ROUNDS 2048
#define PASSPHRASE_MAX_BYTES 1024
#define SALT_MAX_BYTES 16384 /* the passphrase after NFKD */

static const char *const word_list[] = {
#include "bip39_words.inc"
};
_Static_assert(HF_ARRAY_LEN(word_list) == WORD_COUNT, "BIP-39 has 2048 words");

/* The entropy with its checksum byte behind it, read as one string of bits. */
typedef struct word_bits {
    uint8_t bytes[ENTROPY_MAX_BYTES + 1];
} word_bits;

static unsigned bits_get_word(const word_bits *bits, size_t word)
{
    unsigned value = 0;
    for (size_t i = word * WORD_BITS; i < (word + 1) * WORD_BITS; i++) {
        value = value << 1 | ((unsigned)bits->bytes[i / 8] >> (7 - i % 8) & 1U);
    }
    return value;
}

static void bits_put_word(word_bits *bits, size_t word, unsigned value)
{
    for (size_t k = 0; k < WORD_BITS; k++) {
        size_t i = word * WORD_BITS + k;
        unsigned bit = value >> (WORD_BITS - 1 - k) & 1U;
        bits->bytes[i / 8] = (uint8_t)(bits->bytes[i / 8] | bit << (7 - i % 8));
    }
}

/* The first len / 4 bits of the hash, at the top of a byte. */
static uint8_t checksum(const uint8_t *entropy, size_t len)
{
    uint8_t digest[32];
    hf_sha256(entropy, len, digest);
    uint8_t top = (uint8_t)(digest[0] & ~(0xffU >> (len / 4)));
    hf_wipe(digest, sizeof digest);
    return top;
}

static size_t format_words(const word_bits *bits, size_t count, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const char *word = word_list[bits_get_word(bits, i)];
        size_t len = strlen(word);
        HF_ASSERT(used + len + 2 <= HF_BIP39_TEXT_BYTES);
        if (i > 0) {
            out[used++] = ' ';
        }
        memcpy(out + used, word, len);
        used += len;
    }
    out[used] = '\0';
    return used;
}

hf_status hf_bip39_generate(unsigned bits, char ret_words[HF_BIP39_TEXT_BYTES])
{
    size_t len = bits / 8;
    if (bits % 32 != 0 || len < ENTROPY_MIN_BYTES || len > ENTROPY_MAX_BYTES) {
        return (hf_status){HF_INVALID_INPUT};
    }
    word_bits all = {0};
    hf_random(all.bytes, len);
    all.bytes[len] = checksum(all.bytes, len);
    (void)format_words(&all, len * 3 / 4, ret_words);
    hf_wipe(&all, sizeof all);
    return hf_ok();
}

/* The number of a word in the list, in full or by its first four letters; -1 when unknown. */
static int word_find(const char *word, size_t len)
{
    for (size_t i = 0; i < WORD_COUNT; i++) {
        size_t full = strlen(word_list[i]);
        if (strncmp(word_list[i], word, len) == 0 && (full == len || len == WORD_PREFIX_CHARS)) {
            return (int)i;
        }
    }
    return -1;
}

/* Copies the next word in lower case; its length, 0 at the end, more than fits when too long. */
static size_t next_word(const char **text, char word[WORD_MAX_CHARS])
{
    size_t len = 0;
    while (isspace((unsigned char)**text)) {
        (*text)++;
    }
    while (**text != '\0' && !isspace((unsigned char)**text)) {
        if (len < WORD_MAX_CHARS) {
            word[len] = (char)tolower((unsigned char)**text);
        }
        len++;
        (*text)++;
    }
    return len;
}

static hf_status parse_words(const char *words, word_bits *ret_bits, size_t *ret_count,
                             hf_error *err)
{
    char word[WORD_MAX_CHARS];
    size_t count = 0;
    size_t len;
    hf_status st = hf_ok();
    while ((len = next_word(&words, word)) > 0) {
        int number = len > WORD_MAX_CHARS ? -1 : word_find(word, len);
        if (count == WORDS_MAX) {
            st = hf_fail(err, HF_INVALID_INPUT, "more than %d words", WORDS_MAX);
            goto out;
        }
        if (number < 0) {
            st = hf_fail(err, HF_INVALID_INPUT, "word %zu is not in the English list of BIP-39",
                         count + 1);
            goto out;
        }
        bits_put_word(ret_bits, count++, (unsigned)number);
    }
    if (count < WORDS_MIN || count % 3 != 0) {
        st =
            hf_fail(err, HF_INVALID_INPUT, "%zu words: a mnemonic has 12, 15, 18, 21 or 24", count);
        goto out;
    }
    size_t entropy = count / 3 * 4;
    if (checksum(ret_bits->bytes, entropy) != ret_bits->bytes[entropy]) {
        st = hf_fail(err, HF_INVALID_INPUT,
                     "the checksum does not match: a word is wrong or out of its place");
        goto out;
    }
    *ret_count = count;
out:
    hf_wipe(word, sizeof word);
    return st;
}

static hf_status make_salt(const char *passphrase, hf_buf **ret_salt, hf_error *err)
{
    static const char prefix[] = "mnemonic";
    size_t len = passphrase == NULL ? 0 : strlen(passphrase);
    if (len > PASSPHRASE_MAX_BYTES) {
        return hf_fail(err, HF_LIMIT, "the passphrase is longer than %d bytes",
                       PASSPHRASE_MAX_BYTES);
    }
    hf_buf *salt = hf_buf_new(SALT_MAX_BYTES);
    hf_status st = {HF_NOMEM};
    if (salt != NULL) {
        st = hf_buf_put(salt, prefix, sizeof prefix - 1);
    }
    if (!hf_failed(st) && len > 0) {
        st = hf_text_nfkd(hf_bytes_from(passphrase, len), salt);
    }
    if (hf_failed(st)) {
        hf_buf_free(salt);
        return st.code == HF_INVALID_INPUT ? hf_fail(err, st.code, "the passphrase is not UTF-8")
                                           : hf_fail(err, st.code, "out of memory");
    }
    *ret_salt = salt;
    return st;
}

hf_status hf_bip39_to_seed(const char *words, const char *passphrase,
                           uint8_t ret_seed[HF_BIP39_SEED_BYTES], hf_error *err)
{
    char text[HF_BIP39_TEXT_BYTES];
    uint8_t seed[HF_BIP39_SEED_BYTES];
    word_bits bits = {0};
    size_t count = 0;
    hf_buf *salt = NULL;
    hf_status st = parse_words(words, &bits, &count, err);
    if (hf_failed(st)) {
        goto out;
    }
    st = make_salt(passphrase, &salt, err);
    if (hf_failed(st)) {
        goto out;
    }
    /* Written anew from the list: single spaces, lower case, full words. */
    size_t len = format_words(&bits, count, text);
    st = hf_kdf_sha512(hf_bytes_from(text, len), hf_bytes_from(hf_buf_peek(salt), hf_buf_len(salt)),
                       SEED_ROUNDS, seed, sizeof seed);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "pbkdf2 failed");
        goto out;
    }
    memcpy(ret_seed, seed, sizeof seed);
out:
    hf_wipe(text, sizeof text);
    hf_wipe(seed, sizeof seed);
    hf_wipe(&bits, sizeof bits);
    hf_buf_free(salt);
    return st;
}
