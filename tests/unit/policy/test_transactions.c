/* Limits of the execution layer: words, amounts, each verdict, what a day has cost; the file of it.
 */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HOUR HF_SPENDING_MS_PER_HOUR
#define NOW (480000 * HOUR + 7)
#define TO "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"

static const uint8_t owner[HF_ADDRESS_BYTES] = {1, 2, 3};

static hf_limit limit_of(const char *const words[][2], size_t count)
{
    hf_limit limit;
    hf_error err = {HF_OK, ""};
    hf_limit_init(&limit);
    for (size_t i = 0; i < count; i++) {
        if (hf_failed(hf_limit_put(&limit, words[i][0], words[i][1], &err))) {
            fail_msg("%s %s: %s", words[i][0], words[i][1], err.msg);
        }
    }
    assert_false(hf_failed(hf_limit_finish(&limit, &err)));
    return limit;
}

static hf_u256 wei(const char *text)
{
    hf_u256 amount;
    assert_false(hf_failed(hf_amount_parse(text, &amount, NULL)));
    return amount;
}

static hf_transaction payment(const char *value)
{
    hf_transaction tx = {.type = HF_TX_DYNAMIC_FEE,
                         .has_to = true,
                         .chain_id = 1,
                         .gas_limit = 21000,
                         .value = wei(value),
                         .max_fee = wei("10 gwei")};
    memset(tx.to, 0xbb, sizeof tx.to);
    return tx;
}

static hf_limit_verdict judge(const hf_limit *limit, const hf_eth1_question *question, bool *counts,
                              char sentence[160])
{
    const hf_limit_context context = {.asker = "", .now_unix_ms = NOW, .now_ns = 1};
    return hf_limits_judge_eth1(limit, 1, &context, question, counts, sentence, 160);
}

static hf_limit_verdict judge_tx(const hf_limit *limit, const hf_transaction *tx,
                                 const hf_spending *spending)
{
    hf_eth1_question question = {.kind = HF_ETH1_TRANSACTION, .tx = tx, .spending = spending};
    bool counts = false;
    char sentence[160] = "";
    memcpy(question.address, owner, sizeof owner);
    hf_limit_verdict verdict = judge(limit, &question, &counts, sentence);
    assert_int_equal(verdict == HF_LIMIT_PASSED, sentence[0] == '\0');
    return verdict;
}

/* ---- amounts --------------------------------------------------------------------------------- */

static void amounts_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *wei; /* NULL: no amount */
    } rows[] = {
        {"0", "0"},
        {"7", "7"},
        {"7 wei", "7"},
        {"30 gwei", "30000000000"},
        {"1.5 ether", "1500000000000000000"},
        {"0.000000000000000001ether", "1"},
        {"115792089237316195423570985008687907853269984665640564039457584007913129639935",
         "115792089237316195423570985008687907853269984665640564039457584007913129639935"},
        {"115792089237316195423570985008687907853269984665640564039457584007913129639936", NULL},
        {"115792089237316195423570985008687907853269984665640564039458 ether", NULL},
        {"", NULL},
        {"ether", NULL},
        {"1.5", NULL},
        {"1. ether", NULL},
        {".5 ether", NULL},
        {"-1", NULL},
        {"1 finney", NULL},
        {"1 ether ", NULL},
        {"0.0000000000000000001 ether", NULL},
        {"0x10", NULL},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        hf_u256 amount;
        char text[HF_AMOUNT_TEXT_LEN];
        hf_error err = {HF_OK, ""};
        hf_status st = hf_amount_parse(rows[i].text, &amount, &err);
        assert_int_equal(hf_failed(st), rows[i].wei == NULL);
        if (rows[i].wei != NULL) {
            hf_amount_format(&amount, text);
            assert_string_equal(text, rows[i].wei);
        }
    }
}

static void amounts_end_at_the_highest(void **state)
{
    (void)state;
    char text[HF_AMOUNT_TEXT_LEN];
    hf_u256 a = wei("123456789012345678901234567890");
    hf_amount_multiply(&a, UINT64_C(18446744073709551615));
    hf_amount_format(&a, text);
    assert_string_equal(text, "2277375791072698140124934049010216029110176642350");
    hf_amount_multiply(&a, UINT64_C(18446744073709551615));
    hf_amount_multiply(&a, UINT64_C(18446744073709551615));
    hf_amount_format(&a, text);
    assert_string_equal(
        text, "115792089237316195423570985008687907853269984665640564039457584007913129639935");
    hf_amount_add(&a, &a);
    assert_false(hf_bytes_is_zero(a.bytes, sizeof a.bytes));
    assert_int_equal(a.bytes[0], 0xff);
}

/* ---- words ----------------------------------------------------------------------------------- */

static void wrong_words_are_named(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"chain_ids", "0"},
        {"chain_ids", "0x1"},
        {"chain_ids", "9223372036854775807"},
        {"recipients", "0x1"},
        {"recipients", "0xBBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"}, /* checksum */
        {"methods", "a9059cbb"},
        {"methods", "0xa9059c"},
        {"methods", "transfer"},
        {"methods", "transfer(address, uint256)"},
        {"contract_creation", "yes"},
        {"messages", "true"},
        {"typed_data", ""},
        {"value_max", "much"},
        {"value_per_day", "1.5"},
        {"fee_max", "-1"},
        {"rates", "ETH1_OTHER 1/s"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        hf_limit limit;
        hf_error err = {HF_OK, ""};
        hf_limit_init(&limit);
        assert_true(hf_limit_member_is_known(rows[i][0]));
        assert_int_equal(hf_limit_put(&limit, rows[i][0], rows[i][1], &err).code, HF_INVALID_INPUT);
        assert_non_null(strchr(err.msg, '"'));
        hf_limit_done(&limit);
    }
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static void a_limit_without_their_members_lets_all_pass(void **state)
{
    (void)state;
    hf_limit limit = limit_of(NULL, 0);
    hf_transaction tx = payment("1000000 ether");
    bool counts = true;
    char sentence[160] = "";
    hf_eth1_question hash = {.kind = HF_ETH1_DATA, .is_hash = true};
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_PASSED);
    tx.has_to = false;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_PASSED);
    assert_int_equal(judge(&limit, &hash, &counts, sentence), HF_LIMIT_PASSED);
    assert_false(counts);
    hf_limit_done(&limit);
}

static void chains_recipients_and_creation(void **state)
{
    (void)state;
    static const char *const words[][2] = {
        {"chain_ids", "1"}, {"chain_ids", "10"}, {"recipients", TO}};
    static const char *const creates[][2] = {{"contract_creation", "allow"}, {"recipients", TO}};
    static const char *const refuses[][2] = {{"contract_creation", "refuse"}};
    hf_limit limit = limit_of(words, HF_ARRAY_LEN(words));
    hf_limit may = limit_of(creates, HF_ARRAY_LEN(creates));
    hf_limit must_not = limit_of(refuses, HF_ARRAY_LEN(refuses));
    hf_transaction tx = payment("1 ether");
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_PASSED);
    tx.chain_id = 10;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_PASSED);
    tx.chain_id = 11;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_CHAIN);
    tx = payment("1 ether");
    tx.to[19] ^= 1;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_RECIPIENT);
    tx.has_to = false;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_CREATION);
    assert_int_equal(judge_tx(&may, &tx, NULL), HF_LIMIT_PASSED);
    assert_int_equal(judge_tx(&must_not, &tx, NULL), HF_LIMIT_CREATION);
    hf_limit_done(&limit);
}

static void methods(void **state)
{
    (void)state;
    static const char *const words[][2] = {{"methods", "transfer(address,uint256)"},
                                           {"methods", "0x01020304"}};
    static const char *const nothing[][2] = {{"methods", "none"}};
    hf_limit limit = limit_of(words, HF_ARRAY_LEN(words));
    hf_limit none = limit_of(nothing, 1);
    hf_transaction tx = payment("0");
    static const struct {
        const char *data;
        size_t len;
        hf_limit_verdict verdict;
    } rows[] = {
        {"", 0, HF_LIMIT_PASSED},
        {"\xa9\x05\x9c\xbb", 4, HF_LIMIT_PASSED},
        {"\xa9\x05\x9c\xbb\x01", 5, HF_LIMIT_PASSED},
        {"\x01\x02\x03\x04\x05", 5, HF_LIMIT_PASSED},
        {"\xa9\x05\x9c\xba", 4, HF_LIMIT_METHOD},
        {"\xa9\x05\x9c", 3, HF_LIMIT_METHOD},
        {"\xa9", 1, HF_LIMIT_METHOD},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        tx.data = hf_bytes_from(rows[i].data, rows[i].len);
        assert_int_equal(judge_tx(&limit, &tx, NULL), rows[i].verdict);
        assert_int_equal(judge_tx(&none, &tx, NULL),
                         rows[i].len == 0 ? HF_LIMIT_PASSED : HF_LIMIT_METHOD);
    }
    tx.has_to = false;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_CREATION);
}

static void value_and_fee(void **state)
{
    (void)state;
    static const char *const words[][2] = {{"value_max", "1 ether"}, {"fee_max", "210000 gwei"}};
    hf_limit limit = limit_of(words, HF_ARRAY_LEN(words));
    hf_transaction tx = payment("1 ether");
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_PASSED);
    tx.value = wei("1000000000000000001");
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_VALUE);
    tx = payment("0");
    tx.gas_limit++;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_FEE);
    tx.gas_limit--;
    tx.max_fee = wei("10000000001");
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_FEE);
    tx.type = HF_TX_LEGACY;
    tx.gas_price = wei("10 gwei");
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_PASSED);
    tx.gas_price = wei("11 gwei");
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_FEE);
    tx.type = HF_TX_BLOB;
    tx.max_fee = wei("1 gwei");
    tx.blob_count = 1;
    tx.max_blob_fee = wei("1 gwei");
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_PASSED);
    tx.blob_count = 2;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_FEE);
    tx.max_fee.bytes[0] = 0xff; /* the product is beyond 256 bits */
    tx.gas_limit = UINT64_MAX;
    assert_int_equal(judge_tx(&limit, &tx, NULL), HF_LIMIT_FEE);
}

static void a_day(void **state)
{
    (void)state;
    static const char *const words[][2] = {{"value_per_day", "3 ether"}};
    hf_limit limit = limit_of(words, 1);
    hf_spending *spending = hf_spending_new(1);
    const hf_transaction one = payment("1 ether");
    const hf_transaction three = payment("3 ether");
    const hf_transaction nothing = payment("0");
    uint8_t other[HF_ADDRESS_BYTES] = {9};
    uint64_t hour = NOW / HOUR;
    assert_non_null(spending);
    assert_int_equal(judge_tx(&limit, &one, NULL), HF_LIMIT_DAY); /* it cannot be kept */
    assert_int_equal(judge_tx(&limit, &nothing, NULL), HF_LIMIT_PASSED);
    assert_int_equal(judge_tx(&limit, &three, spending), HF_LIMIT_PASSED);
    assert_false(hf_failed(hf_spending_add(spending, owner, hour - 24, &one.value)));
    assert_int_equal(judge_tx(&limit, &three, spending), HF_LIMIT_DAY);
    assert_int_equal(judge_tx(&limit, &one, spending), HF_LIMIT_PASSED);
    assert_false(hf_failed(hf_spending_add(spending, owner, hour, &one.value)));
    assert_false(hf_failed(hf_spending_add(spending, owner, hour, &one.value)));
    assert_int_equal(judge_tx(&limit, &one, spending), HF_LIMIT_DAY);
    /* one key's room is no other's */
    assert_false(hf_spending_has_room(spending, other, hour));
    assert_int_equal(hf_spending_add(spending, other, hour, &one.value).code, HF_LIMIT);
    assert_true(hf_spending_has_room(spending, other, hour + 25));
    hf_spending_free(spending);
}

static hf_u256 sum_at(const hf_spending *spending, uint64_t hour)
{
    hf_u256 sum;
    hf_spending_sum(spending, owner, hour, &sum);
    return sum;
}

static void expect_sum(const hf_spending *spending, uint64_t hour, const char *text)
{
    char shown[HF_AMOUNT_TEXT_LEN];
    hf_u256 sum = sum_at(spending, hour);
    hf_amount_format(&sum, shown);
    assert_string_equal(shown, text);
}

/* Against a list of all that was ever spent. */
static void a_day_rolls(void **state)
{
    (void)state;
    enum { STEPS = 400 };
    struct {
        uint64_t hour;
        uint64_t amount;
    } all[STEPS];
    hf_spending *spending = hf_spending_new(4);
    uint64_t hour = 1000;
    uint64_t seed = 12345;
    assert_non_null(spending);
    for (size_t i = 0; i < STEPS; i++) {
        char text[32];
        uint64_t wanted = 0;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        hour += (seed >> 60) == 0 ? 30 : (seed >> 33) % 3;
        all[i].hour = hour;
        all[i].amount = seed >> 40;
        hf_u256 amount = {{0}};
        for (size_t b = 0; b < 8; b++) {
            amount.bytes[31 - b] = (uint8_t)(all[i].amount >> (8 * b));
        }
        assert_false(hf_failed(hf_spending_add(spending, owner, hour, &amount)));
        for (size_t k = 0; k <= i; k++) {
            wanted += all[k].hour + 25 > hour ? all[k].amount : 0;
        }
        assert_false(
            hf_failed(hf_str_format(text, sizeof text, "%llu", (unsigned long long)wanted)));
        expect_sum(spending, hour, text);
    }
    expect_sum(spending, hour + 25, "0");
    /* A clock that was set back goes on where it was. */
    assert_int_equal(hf_spending_hour(spending, 0), hour);
    assert_int_equal(hf_spending_hour(spending, (hour + 1) * HOUR), hour + 1);
    hf_spending_free(spending);
}

/* ---- the file -------------------------------------------------------------------------------- */

static void the_file_says_the_same(void **state)
{
    (void)state;
    hf_spending *spending = hf_spending_new(8);
    hf_spending *again = hf_spending_new(8);
    hf_buf *out = hf_buf_new(1U << 16);
    const hf_u256 one = wei("1 ether");
    size_t len = 0;
    assert_true(spending != NULL && again != NULL && out != NULL);
    for (uint64_t hour = 100; hour < 160; hour += 3) {
        uint8_t other[HF_ADDRESS_BYTES] = {(uint8_t)(hour % 7)};
        assert_false(hf_failed(hf_spending_add(spending, owner, hour, &one)));
        assert_false(hf_failed(hf_spending_add(spending, other, hour, &one)));
    }
    assert_false(hf_failed(hf_spending_write(spending, out)));
    hf_bytes file = hf_bytes_from(hf_buf_peek(out), hf_buf_len(out));
    assert_false(hf_failed(hf_spending_read(again, file, &len, NULL)));
    assert_int_equal(len, file.len);
    for (uint64_t hour = 157; hour < 190; hour++) {
        hf_u256 a = sum_at(spending, hour);
        hf_u256 b = sum_at(again, hour);
        assert_memory_equal(a.bytes, b.bytes, sizeof a.bytes);
    }
    hf_spending_free(again);
    hf_spending_free(spending);
    hf_buf_free(out);
}

/* Torn at its end it lost what was never signed; broken before, it is not believed. */
static void a_torn_file_and_a_broken_one(void **state)
{
    (void)state;
    enum { RECORDS = 5 };
    uint8_t file[RECORDS * HF_SPENDING_RECORD_BYTES];
    const hf_u256 one = wei("1 ether");
    for (size_t i = 0; i < RECORDS; i++) {
        hf_spending_encode(owner, 100, &one, file + i * HF_SPENDING_RECORD_BYTES);
    }
    for (size_t cut = 0; cut <= sizeof file; cut++) {
        hf_spending *spending = hf_spending_new(1);
        size_t len = 1;
        char text[32];
        size_t whole = cut / HF_SPENDING_RECORD_BYTES;
        assert_non_null(spending);
        assert_false(hf_failed(hf_spending_read(spending, hf_bytes_from(file, cut), &len, NULL)));
        assert_int_equal(len, whole * HF_SPENDING_RECORD_BYTES);
        assert_false(hf_failed(hf_str_format(text, sizeof text, "%zu%s", whole,
                                             whole == 0 ? "" : "000000000000000000")));
        expect_sum(spending, 100, text);
        hf_spending_free(spending);
    }
    for (size_t bit = 0; bit < 8 * sizeof file; bit += 13) {
        hf_spending *spending = hf_spending_new(1);
        size_t len = 0;
        file[bit / 8] ^= (uint8_t)(1U << bit % 8);
        bool is_last = bit / 8 / HF_SPENDING_RECORD_BYTES == RECORDS - 1;
        hf_status st = hf_spending_read(spending, hf_bytes_from(file, sizeof file), &len, NULL);
        assert_int_equal(st.code, is_last ? HF_OK : HF_CORRUPT);
        file[bit / 8] ^= (uint8_t)(1U << bit % 8);
        hf_spending_free(spending);
    }
}

/* ---- messages, typed data, hashes ------------------------------------------------------------ */

static void messages_and_typed_data(void **state)
{
    (void)state;
    static const char *const words[][2] = {{"chain_ids", "5"}, {"recipients", TO}};
    static const char *const off[][2] = {{"messages", "refuse"}, {"typed_data", "refuse"}};
    hf_limit limit = limit_of(words, HF_ARRAY_LEN(words));
    hf_limit refuses = limit_of(off, HF_ARRAY_LEN(off));
    hf_typed_message typed;
    hf_eth1_question question = {.kind = HF_ETH1_TYPED_DATA, .typed = &typed};
    bool counts = false;
    char sentence[160] = "";
    memset(&typed, 0, sizeof typed);
    assert_int_equal(judge(&limit, &question, &counts, sentence), HF_LIMIT_CHAIN); /* none */
    typed.domain.chain_id[31] = 5;
    assert_int_equal(judge(&limit, &question, &counts, sentence), HF_LIMIT_RECIPIENT);
    memset(typed.domain.contract, 0xbb, sizeof typed.domain.contract);
    assert_int_equal(judge(&limit, &question, &counts, sentence), HF_LIMIT_PASSED);
    typed.domain.chain_id[0] = 1; /* 2^248 + 5 */
    assert_int_equal(judge(&limit, &question, &counts, sentence), HF_LIMIT_CHAIN);
    assert_int_equal(judge(&refuses, &question, &counts, sentence), HF_LIMIT_MESSAGE);
    question = (hf_eth1_question){.kind = HF_ETH1_MESSAGE};
    assert_int_equal(judge(&limit, &question, &counts, sentence), HF_LIMIT_PASSED);
    assert_int_equal(judge(&refuses, &question, &counts, sentence), HF_LIMIT_MESSAGE);
    question.kind = HF_ETH1_DATA;
    assert_int_equal(judge(&refuses, &question, &counts, sentence), HF_LIMIT_MESSAGE);
    question.is_hash = true;
    assert_int_equal(judge(&limit, &question, &counts, sentence), HF_LIMIT_OPAQUE);
}

static void rates_by_kind(void **state)
{
    (void)state;
    static const char *const words[][2] = {{"rates", "ETH1_MESSAGE 2/60s"}};
    static const uint8_t seed[16] = {3};
    hf_limit limit = limit_of(words, 1);
    hf_rates *rates = hf_rates_new(0, seed);
    const hf_limit_context context = {.asker = "", .now_ns = HF_NS_PER_SECOND, .rates = rates};
    hf_eth1_question question = {.kind = HF_ETH1_MESSAGE};
    bool counts = false;
    char sentence[160];
    assert_non_null(rates);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            hf_limits_judge_eth1(&limit, 1, &context, &question, &counts, sentence, 160),
            i < 2 ? HF_LIMIT_PASSED : HF_LIMIT_RATE);
    }
    question.kind = HF_ETH1_DATA;
    assert_int_equal(hf_limits_judge_eth1(&limit, 1, &context, &question, &counts, sentence, 160),
                     HF_LIMIT_PASSED);
    hf_rates_free(rates);
}

static void a_book_carries_them(void **state)
{
    (void)state;
    static const char *const words[][2] = {
        {"chain_ids", "1"},         {"recipients", TO},           {"methods", "0xa9059cbb"},
        {"messages", "refuse"},     {"typed_data", "refuse"},     {"contract_creation", "allow"},
        {"value_max", "1 ether"},   {"value_per_day", "2 ether"}, {"fee_max", "3 gwei"},
        {"rates", "ETH1_DATA 1/s"},
    };
    hf_book *book = hf_book_new();
    hf_book *again = NULL;
    hf_buf *out = hf_buf_new(HF_BOOK_MAX_BYTES);
    hf_error err = {HF_OK, ""};
    assert_true(book != NULL && out != NULL);
    book->limits[0] = limit_of(words, HF_ARRAY_LEN(words));
    book->limit_count = 1;
    assert_false(hf_failed(hf_book_encode(book, out)));
    if (hf_failed(hf_book_decode(hf_bytes_from(hf_buf_peek(out), hf_buf_len(out)), &again, &err))) {
        fail_msg("%s", err.msg);
    }
    assert_memory_equal(&book->limits[0].eth1, &again->limits[0].eth1, sizeof(hf_limit_eth1));
    hf_book_free(again);
    hf_book_free(book);
    hf_buf_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_are_read_and_written),
        cmocka_unit_test(amounts_end_at_the_highest),
        cmocka_unit_test(wrong_words_are_named),
        cmocka_unit_test(a_limit_without_their_members_lets_all_pass),
        cmocka_unit_test(chains_recipients_and_creation),
        cmocka_unit_test(methods),
        cmocka_unit_test(value_and_fee),
        cmocka_unit_test(a_day),
        cmocka_unit_test(a_day_rolls),
        cmocka_unit_test(the_file_says_the_same),
        cmocka_unit_test(a_torn_file_and_a_broken_one),
        cmocka_unit_test(messages_and_typed_data),
        cmocka_unit_test(rates_by_kind),
        cmocka_unit_test(a_book_carries_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
