/* Full containers against an independent recomputation (reference.py). The file is argument 1. */
#include "vectors.h"

static const char *reference;

static void check_root(const vector *v, void *data)
{
    unsigned *count = data;
    uint8_t root[32];
    (void)test_decode(v->network, v->pubkey, v->request, root);
    if (!hf_bytes_equal(root, v->signing_root, 32)) {
        fail_msg("%s: another root", v->name);
    }
    ++*count;
}

static void test_reference(void **state)
{
    (void)state;
    unsigned count = 0;
    (void)test_vectors_in(reference, check_root, &count);
    assert_int_equal(count, 137);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference)};
    if (argc != 2) {
        return 2;
    }
    reference = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
