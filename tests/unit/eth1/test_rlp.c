/* RLP: the examples of its specification, and every form that it does not allow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "eth1/eth1.h"

#define ROOM 4096

static size_t from_hex(const char *hex, uint8_t out[ROOM])
{
    size_t len = strlen(hex) / 2;
    assert_false(hf_failed(hf_hex_decode(hex, strlen(hex), out, len)));
    return len;
}

/* The one item that these bytes are. */
static hf_status read_one(const char *hex, uint8_t room[ROOM], hf_rlp_item *ret)
{
    hf_rlp_reader reader = hf_rlp_reader_over(hf_bytes_from(room, from_hex(hex, room)));
    hf_status st = hf_rlp_next(&reader, ret);
    if (!hf_failed(st) && reader.left > 0) {
        st = (hf_status){HF_INVALID_INPUT};
    }
    return st;
}

/* Of the Ethereum wiki and the execution specification. */
static void strings_of_the_specification(void **state)
{
    static const struct {
        const char *text;
        const char *hex;
    } cases[] = {
        {"", "80"},
        {"dog", "83646f67"},
        {"\x0f", "0f"},
        {"\x7f", "7f"},
        {"\x80", "8180"},
        {"\x04\x01", "820401"},
        {"Lorem ipsum dolor sit amet, consectetur adipisicing eli",
         "b74c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f6e736563746574757220616469"
         "7069736963696e6720656c69"},
        {"Lorem ipsum dolor sit amet, consectetur adipisicing elit",
         "b8384c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f6e7365637465747572206164"
         "697069736963696e6720656c6974"},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        uint8_t room[ROOM];
        uint8_t out[ROOM];
        hf_rlp_item item;
        hf_rlp_writer writer = {out, sizeof out, 0};
        size_t len = strlen(cases[i].text);
        assert_false(hf_failed(read_one(cases[i].hex, room, &item)));
        assert_false(item.is_list);
        assert_int_equal(item.payload.len, len);
        assert_memory_equal(item.payload.ptr, cases[i].text, len);
        hf_rlp_put_string(&writer, hf_bytes_from(cases[i].text, len));
        assert_int_equal(writer.used, strlen(cases[i].hex) / 2);
        assert_memory_equal(out, room, writer.used);
    }
}

static void lists_of_the_specification(void **state)
{
    uint8_t room[ROOM];
    hf_rlp_item item;
    (void)state;
    assert_false(hf_failed(read_one("c0", room, &item)));
    assert_true(item.is_list && item.payload.len == 0);
    assert_false(hf_failed(read_one("c88363617483646f67", room, &item)));
    hf_rlp_reader reader = hf_rlp_reader_over(item.payload);
    assert_false(hf_failed(hf_rlp_next(&reader, &item)));
    assert_memory_equal(item.payload.ptr, "cat", 3);
    assert_false(hf_failed(hf_rlp_next(&reader, &item)));
    assert_memory_equal(item.payload.ptr, "dog", 3);
    assert_true(hf_failed(hf_rlp_next(&reader, &item)));
    /* [ [], [[]], [ [], [[]] ] ] */
    assert_false(hf_failed(read_one("c7c0c1c0c3c0c1c0", room, &item)));
    assert_int_equal(item.payload.len, 7);
}

static void numbers_have_no_leading_zeros(void **state)
{
    static const struct {
        uint64_t value;
        const char *hex;
    } cases[] = {{0, "80"},     {15, "0f"},       {127, "7f"},
                 {128, "8180"}, {1024, "820400"}, {UINT64_MAX, "88ffffffffffffffff"}};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        uint8_t out[16];
        uint8_t expected[ROOM];
        hf_rlp_writer writer = {out, sizeof out, 0};
        hf_rlp_put_u64(&writer, cases[i].value);
        assert_int_equal(writer.used, from_hex(cases[i].hex, expected));
        assert_memory_equal(out, expected, writer.used);
    }
}

/* Other encodings of the same things, lengths beyond the end, and lengths that overflow. */
static void every_other_form_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "8100",
        "817f",
        "b800",
        "b80155",
        "b90000",
        "b90038",
        "f800",
        "f80180",
        "f90000",
        "81",
        "83646f",
        "b8",
        "b838",
        "c1",
        "c883636174",
        "f7",
        "f838",
        "bf",
        "bfffffffffffffffff",
        "ff",
        "ffffffffffffffffff",
        "bb00ffffff",
        "bcffffffffff",
        "fcffffffffff",
        "b90037" /* a length with a leading zero */
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        uint8_t room[ROOM];
        hf_rlp_item item;
        assert_true(hf_failed(read_one(cases[i], room, &item)));
    }
    /* 55 bytes in the long form */
    uint8_t long_form[58] = {0xb8, 55};
    hf_rlp_item item;
    hf_rlp_reader reader = hf_rlp_reader_over(hf_bytes_from(long_form, 57));
    assert_true(hf_failed(hf_rlp_next(&reader, &item)));
    long_form[1] = 56;
    reader = hf_rlp_reader_over(hf_bytes_from(long_form, 58));
    assert_false(hf_failed(hf_rlp_next(&reader, &item)));
}

static void a_writer_without_room_counts(void **state)
{
    uint8_t out[4] = {0};
    hf_rlp_writer writer = {out, sizeof out, 0};
    hf_rlp_writer counter = {NULL, 0, 0};
    (void)state;
    hf_rlp_put_string(&writer, hf_bytes_from("longer", 6));
    hf_rlp_put_string(&counter, hf_bytes_from("longer", 6));
    assert_int_equal(writer.used, 7);
    assert_int_equal(counter.used, 7);
    assert_int_equal(out[1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_of_the_specification),
        cmocka_unit_test(lists_of_the_specification),
        cmocka_unit_test(numbers_have_no_leading_zeros),
        cmocka_unit_test(every_other_form_is_refused),
        cmocka_unit_test(a_writer_without_room_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
