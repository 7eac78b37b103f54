/* Holders: splitting among them, wrong and moved shares, required ones, the kept form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "seal/seal.h"

typedef struct ceremony {
    hf_seal_config config;
    uint8_t master[HF_SEAL_KEY_BYTES];
    uint8_t keys[HF_SEAL_HOLDERS_MAX][HF_SEAL_KEY_BYTES];
    hf_seal_share shares[HF_SEAL_HOLDERS_MAX];
} ceremony;

static void add_holder(hf_seal_config *config, const char *name, hf_holder_kind kind, bool required)
{
    hf_seal_holder *holder = &config->holders[config->holder_count++];
    assert_int_equal(hf_str_copy(holder->name, sizeof holder->name, name).code, HF_OK);
    holder->kind = (uint8_t)kind;
    holder->is_required = required;
    if (kind == HF_HOLDER_PASSPHRASE) {
        hf_random(holder->kdf.salt, sizeof holder->kdf.salt);
        holder->kdf.memory_bytes = HF_SEAL_KDF_MEMORY_LEAST;
        holder->kdf.passes = HF_SEAL_KDF_PASSES_LEAST;
    }
}

/* required holders first, then others, of whom threshold are needed. */
static ceremony *begin(unsigned required, unsigned threshold, unsigned others)
{
    ceremony *c = calloc(1, sizeof *c);
    assert_non_null(c);
    hf_random(c->config.seal_id, sizeof c->config.seal_id);
    c->config.generation = 1;
    c->config.term = 1;
    c->config.threshold = (uint8_t)threshold;
    for (unsigned i = 0; i < required + others; i++) {
        char name[HF_SEAL_NAME_LEN];
        assert_int_equal(hf_str_format(name, sizeof name, "holder-%u", i).code, HF_OK);
        add_holder(&c->config, name, i % 2 == 0 ? HF_HOLDER_PASSPHRASE : HF_HOLDER_KEY_FILE,
                   i < required);
    }
    hf_random(c->master, sizeof c->master);
    hf_random(c->keys, sizeof c->keys);
    assert_int_equal(hf_seal_split(&c->config, c->master, c->shares).code, HF_OK);
    for (unsigned i = 0; i < c->config.holder_count; i++) {
        hf_seal_wrap(&c->config, i, c->keys[i], &c->shares[i]);
    }
    return c;
}

static void test_all_subsets(void **state)
{
    (void)state;
    static const unsigned shapes[][3] = {{0, 2, 3}, {1, 2, 3}, {2, 0, 0}, {1, 0, 0},
                                         {2, 1, 2}, {0, 1, 1}, {0, 5, 5}};
    for (size_t k = 0; k < HF_ARRAY_LEN(shapes); k++) {
        unsigned required = shapes[k][0];
        ceremony *c = begin(required, shapes[k][1], shapes[k][2]);
        uint32_t all_required = (1U << required) - 1;
        for (uint32_t given = 0; given < 1U << c->config.holder_count; given++) {
            unsigned others = (unsigned)__builtin_popcount(given >> required);
            bool enough = (given & all_required) == all_required && others >= shapes[k][1];
            hf_seal_share shares[HF_SEAL_HOLDERS_MAX] = {0};
            uint8_t master[HF_SEAL_KEY_BYTES];
            for (unsigned i = 0; i < c->config.holder_count; i++) {
                if ((given >> i & 1U) != 0) {
                    assert_int_equal(hf_seal_unwrap(&c->config, i, c->keys[i], &shares[i]).code,
                                     HF_OK);
                }
            }
            hf_status st = hf_seal_combine(&c->config, given, shares, master);
            assert_int_equal(st.code, enough ? HF_OK : HF_UNAVAILABLE);
            assert_int_equal(hf_seal_missing(&c->config, given) == 0, enough);
            if (enough) {
                assert_memory_equal(master, c->master, sizeof master);
            }
        }
        free(c);
    }
}

static void test_wrong_shares_are_known_at_once(void **state)
{
    (void)state;
    ceremony *c = begin(1, 2, 3);
    hf_seal_share share;
    /* Another holder's key, and each single bit of a wrapped share. */
    assert_int_equal(hf_seal_unwrap(&c->config, 1, c->keys[2], &share).code, HF_DENIED);
    for (size_t bit = 0; bit < 8 * (size_t)HF_SEAL_WRAPPED_BYTES; bit++) {
        c->config.holders[1].wrapped[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(hf_seal_unwrap(&c->config, 1, c->keys[1], &share).code, HF_DENIED);
        c->config.holders[1].wrapped[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(hf_seal_unwrap(&c->config, 1, c->keys[1], &share).code, HF_OK);
    assert_true(hf_seal_share_is_right(&c->config, 1, &share));
    assert_false(hf_seal_share_is_right(&c->config, 2, &share));
    share.bytes[5] ^= 1;
    assert_false(hf_seal_share_is_right(&c->config, 1, &share));
    share.bytes[5] ^= 1;
    /* Of an older generation, or a seal of its own. */
    c->config.generation++;
    assert_int_equal(hf_seal_unwrap(&c->config, 1, c->keys[1], &share).code, HF_DENIED);
    assert_false(hf_seal_share_is_right(&c->config, 1, &share));
    c->config.generation--;
    c->config.seal_id[0] ^= 1;
    assert_int_equal(hf_seal_unwrap(&c->config, 1, c->keys[1], &share).code, HF_DENIED);
    c->config.seal_id[0] ^= 1;
    /* A holder under another name, made a required one, or with a lower threshold. */
    c->config.holders[1].name[0] = 'x';
    assert_int_equal(hf_seal_unwrap(&c->config, 1, c->keys[1], &share).code, HF_DENIED);
    c->config.holders[1].name[0] = 'h';
    c->config.holders[1].is_required = 1;
    assert_int_equal(hf_seal_unwrap(&c->config, 1, c->keys[1], &share).code, HF_DENIED);
    c->config.holders[1].is_required = 0;
    c->config.threshold = 1;
    assert_int_equal(hf_seal_unwrap(&c->config, 1, c->keys[1], &share).code, HF_DENIED);
    c->config.threshold = 2;
    /* A check value that was changed: right shares, and still no key. */
    uint8_t master[HF_SEAL_KEY_BYTES];
    c->config.check[3] ^= 4;
    assert_int_equal(hf_seal_combine(&c->config, 0xf, c->shares, master).code, HF_CORRUPT);
    free(c);
}

static void test_printed_share_needs_no_wrapping(void **state)
{
    (void)state;
    ceremony *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->config.generation = 3;
    c->config.term = 2;
    c->config.threshold = 1;
    add_holder(&c->config, "paper", HF_HOLDER_PRINTED, false);
    assert_int_equal(hf_seal_split(&c->config, c->master, c->shares).code, HF_OK);
    assert_true(hf_seal_share_is_right(&c->config, 0, &c->shares[0]));
    hf_seal_share share;
    assert_int_equal(hf_seal_unwrap(&c->config, 0, c->keys[0], &share).code, HF_DENIED);
    free(c);
}

static void test_keys_of_holders(void **state)
{
    (void)state;
    hf_seal_kdf kdf = {.memory_bytes = HF_SEAL_KDF_MEMORY_LEAST, .passes = 2};
    uint8_t key[HF_SEAL_KEY_BYTES];
    uint8_t other[HF_SEAL_KEY_BYTES];
    char hex[2 * HF_SEAL_KEY_BYTES + 1];
    memset(kdf.salt, 0x53, sizeof kdf.salt);
    hf_bytes passphrase = hf_bytes_from("correct horse battery staple", 28);
    assert_int_equal(hf_seal_key_of_passphrase(&kdf, passphrase, key).code, HF_OK);
    hf_hex_encode(key, sizeof key, hex);
    /* From the reference implementation: argon2id, t=2, m=19456, p=1, salt 16 times 0x53. */
    assert_string_equal(hex, "359b08f0967cf3157f198b36ffaf6c5534747ff720867669872730a647347765");
    kdf.salt[0] ^= 1;
    assert_int_equal(hf_seal_key_of_passphrase(&kdf, passphrase, other).code, HF_OK);
    assert_memory_not_equal(key, other, sizeof key);
    uint8_t content[HF_SEAL_KEY_BYTES] = {1, 2, 3};
    hf_seal_key_of_file(content, key);
    content[0] ^= 1;
    hf_seal_key_of_file(content, other);
    assert_memory_not_equal(key, other, sizeof key);
    assert_memory_not_equal(key, content, sizeof key);
}

/* ---- the kept form ------------------------------------------------------------------------------
 */

static void test_kept_form(void **state)
{
    (void)state;
    ceremony *c = begin(1, 2, 3);
    hf_seal_config *again = calloc(1, sizeof *again);
    uint8_t *data = malloc(HF_SEAL_CONFIG_BYTES_MAX);
    size_t len = 0;
    assert_non_null(data);
    assert_non_null(again);
    uint8_t next[HF_SEAL_KEY_BYTES] = {7};
    hf_seal_carry(&c->config, next, c->master);
    assert_int_equal(hf_seal_config_encode(&c->config, data, &len).code, HF_OK);
    assert_int_equal(hf_seal_config_decode(hf_bytes_from(data, len), again, NULL).code, HF_OK);
    assert_memory_equal(again, &c->config, sizeof *again);
    uint8_t previous[HF_SEAL_KEY_BYTES];
    assert_int_equal(hf_seal_carried(again, next, previous).code, HF_OK);
    assert_memory_equal(previous, c->master, sizeof previous);
    assert_int_equal(hf_seal_carried(again, c->master, previous).code, HF_CORRUPT);
    /* Cut anywhere, or longer: nothing. */
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(hf_seal_config_decode(hf_bytes_from(data, cut), again, NULL).code,
                         HF_CORRUPT);
    }
    assert_int_equal(hf_seal_config_decode(hf_bytes_from(data, len + 1), again, NULL).code,
                     HF_CORRUPT);
    /* A changed byte is refused, or is one that only shares and check values judge. */
    for (size_t i = 0; i < len; i++) {
        data[i] ^= 0x80;
        hf_status st = hf_seal_config_decode(hf_bytes_from(data, len), again, NULL);
        if (!hf_failed(st)) {
            uint8_t *second = malloc(HF_SEAL_CONFIG_BYTES_MAX);
            size_t second_len = 0;
            assert_int_equal(hf_seal_config_encode(again, second, &second_len).code, HF_OK);
            assert_int_equal(second_len, len);
            assert_memory_equal(second, data, len);
            free(second);
        }
        data[i] ^= 0x80;
    }
    free(data);
    free(again);
    free(c);
}

typedef void (*spoil)(hf_seal_config *config);

static void no_holders(hf_seal_config *config)
{
    config->holder_count = 0;
}
static void too_many_holders(hf_seal_config *config)
{
    config->holder_count = HF_SEAL_HOLDERS_MAX + 1;
}
static void no_threshold(hf_seal_config *config)
{
    config->threshold = 0;
}
static void high_threshold(hf_seal_config *config)
{
    config->threshold = 4;
}
static void same_name(hf_seal_config *config)
{
    memcpy(config->holders[1].name, config->holders[0].name, HF_SEAL_NAME_LEN);
}
static void bad_name(hf_seal_config *config)
{
    config->holders[1].name[0] = 'A';
}
static void endless_name(hf_seal_config *config)
{
    memset(config->holders[1].name, 'a', HF_SEAL_NAME_LEN);
}
static void bad_kind(hf_seal_config *config)
{
    config->holders[1].kind = HF_HOLDER_KIND_COUNT;
}
static void little_memory(hf_seal_config *config)
{
    config->holders[0].kdf.memory_bytes = HF_SEAL_KDF_MEMORY_LEAST - 1;
}
static void much_memory(hf_seal_config *config)
{
    config->holders[0].kdf.memory_bytes = HF_SEAL_KDF_MEMORY_MOST + 1;
}
static void one_pass(hf_seal_config *config)
{
    config->holders[0].kdf.passes = 1;
}
static void endless_reference(hf_seal_config *config)
{
    memset(config->holders[1].reference, 'a', HF_SEAL_REFERENCE_LEN);
}
static void long_blob(hf_seal_config *config)
{
    config->holders[1].kind = HF_HOLDER_AWS_KMS;
    config->holders[1].blob_len = HF_SEAL_BLOB_MAX + 1;
}
static void no_generation(hf_seal_config *config)
{
    config->generation = 0;
}

static void test_senseless_configurations(void **state)
{
    (void)state;
    static const spoil spoils[] = {no_holders,    too_many_holders, no_threshold, high_threshold,
                                   same_name,     bad_name,         endless_name, bad_kind,
                                   little_memory, much_memory,      one_pass,     long_blob,
                                   no_generation, endless_reference};
    for (size_t i = 0; i < HF_ARRAY_LEN(spoils); i++) {
        ceremony *c = begin(0, 2, 3);
        hf_error err = {0};
        spoils[i](&c->config);
        assert_int_equal(hf_seal_config_check(&c->config, &err).code, HF_USAGE);
        assert_true(strlen(err.msg) > 10);
        assert_int_equal(hf_seal_split(&c->config, c->master, c->shares).code, HF_USAGE);
        free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_subsets),
        cmocka_unit_test(test_wrong_shares_are_known_at_once),
        cmocka_unit_test(test_printed_share_needs_no_wrapping),
        cmocka_unit_test(test_keys_of_holders),
        cmocka_unit_test(test_kept_form),
        cmocka_unit_test(test_senseless_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
