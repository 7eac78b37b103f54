/* The table: ten thousand tokens, found and listed; uses at hand survive a change of tables. */
#include "tokens.h"

static hf_token_entry *make_entries(size_t count)
{
    hf_token_entry *entries = calloc(count + 1, sizeof *entries);
    assert_non_null(entries);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(entries[i].token.accessor, HF_AUTH_ACCESSOR_LEN, "%024zx",
                       (i * 7919) % 100003); /* in no order */
    }
    return entries;
}

static void test_ten_thousand(void **state)
{
    size_t count = HF_AUTH_TOKENS_MAX;
    hf_token_entry *entries = make_entries(count);
    hf_token_table *table = NULL;
    (void)state;
    assert_int_equal(hf_token_table_new(entries, count, &table).code, HF_OK);
    assert_int_equal(hf_token_table_count(table), count);
    for (size_t i = 0; i < count; i++) {
        const hf_token_entry *found = hf_token_table_find(table, entries[i].token.accessor);
        assert_non_null(found);
        assert_string_equal(found->token.accessor, entries[i].token.accessor);
    }
    assert_null(hf_token_table_find(table, "ffffffffffffffffffffffff"));
    assert_null(hf_token_table_find(table, ""));
    /* A list in pages: each once, in order. */
    const char *last = "";
    size_t listed = 0;
    for (size_t at = 0; (at = hf_token_table_after(table, last)) < count; listed++) {
        const hf_token_entry *entry = hf_token_table_at(table, at);
        assert_true(strcmp(entry->token.accessor, last) > 0);
        last = entry->token.accessor;
    }
    assert_int_equal(listed, count);
    hf_token_table_free(table);
    free(entries);
}

static void test_bounds(void **state)
{
    hf_token_entry *entries = make_entries(HF_AUTH_TOKENS_MAX + 1);
    hf_token_table *table = NULL;
    (void)state;
    assert_int_equal(hf_token_table_new(entries, HF_AUTH_TOKENS_MAX + 1, &table).code, HF_LIMIT);
    memcpy(&entries[1], &entries[0], sizeof entries[0]);
    assert_int_equal(hf_token_table_new(entries, 2, &table).code, HF_CONFLICT);
    assert_null(table);
    hf_token_table_free(NULL);
    free(entries);
}

static void test_uses_go_over(void **state)
{
    hf_token_entry *entries = make_entries(3);
    hf_token_table *old = NULL;
    hf_token_table *table = NULL;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        entries[i].token.terms.max_uses = 100;
        entries[i].uses_at_hand = i * 10;
    }
    assert_int_equal(hf_token_table_new(entries, 3, &old).code, HF_OK);
    entries[0].uses_at_hand = entries[1].uses_at_hand = 5;                /* reserved meanwhile */
    assert_int_equal(hf_token_table_new(entries, 2, &table).code, HF_OK); /* the third is revoked */
    hf_token_table_take_over(table, old);
    assert_int_equal(hf_token_table_find(table, entries[0].token.accessor)->uses_at_hand, 5);
    assert_int_equal(hf_token_table_find(table, entries[1].token.accessor)->uses_at_hand, 15);
    assert_int_equal(hf_token_table_find(old, entries[1].token.accessor)->uses_at_hand, 0);
    hf_token_table_free(old);
    hf_token_table_free(table);
    free(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_uses_go_over),
    };
    return cmocka_run_group_tests_name("auth table", tests, NULL, NULL);
}
