/* The YAML reader: what it refuses, with the line; what a surprising file is not allowed to mean.
 */
#include "scratch.h"

#include "config/config_internal.h"

#define WRONG(text, sentence)                                                                      \
    {                                                                                              \
        text, sizeof(text) - 1, "f.yaml:" sentence                                                 \
    }

static const struct {
    const char *text;
    size_t len;
    const char *sentence;
} wrong[] = {
    WRONG("- a\n", "1: the file: not a mapping of keys to values"),
    WRONG("word\n", "1: the file: not a mapping of keys to values"),
    WRONG("a: 1\nb: 2\na: 3\n", "3: a: given twice; remove one of the two"),
    WRONG("s: {a: 1,\n a: 2}\n", "2: s.a: given twice; remove one of the two"),
    WRONG("s: {a: 1}\nt: 2\ns: {b: 1}\n", "3: s: given twice; remove one of the two"),
    WRONG("a: &x 1\nb: *x\n",
          "1: a: anchors and tags (& and !) are not understood; write the value plainly"),
    WRONG("a: &x {b: 1}\n",
          "1: a: anchors and tags (& and !) are not understood; write the value plainly"),
    WRONG("a: 1\nb: *x\n", "2: b: aliases (*name) are not understood; write the value again"),
    WRONG("a: !!int 1\n",
          "1: a: anchors and tags (& and !) are not understood; write the value plainly"),
    WRONG("a: !x [1]\n",
          "1: a: anchors and tags (& and !) are not understood; write the value plainly"),
    WRONG("<<: {a: 1}\n", "1: the file: a key that is no plain name (letters, digits, _ and -)"),
    WRONG("a.b: 1\n", "1: the file: a key that is no plain name (letters, digits, _ and -)"),
    WRONG("\"\": 1\n", "1: the file: a key that is no plain name (letters, digits, _ and -)"),
    WRONG("s:\n  ? {a: b}\n  : 1\n",
          "2: s: a key that is no plain name (letters, digits, _ and -)"),
    WRONG("a: 1\n---\nb: 2\n", "2: the file: a second document; keep one"),
    WRONG("a: [\n", "2: the file: not YAML: did not find expected node content"),
    WRONG("a: 1\n b: 2\n", "2: the file: not YAML: mapping values are not allowed in this context"),
    WRONG("a:\n\t- 1\n", "2: the file: not YAML: a tab, @, ` or %; indent by spaces, quote values"),
    WRONG("a: \"x\\0y\"\n", "1: a: longer than 1023 bytes, or with a NUL inside"),
    WRONG("a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}\n", "1: a.b.c.d.e.f.g.h: nested too deep"),
    WRONG("a: [[[[[[[[1]]]]]]]]\n", "1: a[0][0][0][0][0][0]: nested too deep"),
};

static hf_status parse(const char *text, size_t len, hf_yaml_doc *doc, hf_error *err)
{
    return hf_yaml_parse(hf_bytes_from(text, len), "f.yaml", doc, err);
}

static void wrong_files_name_line_and_remedy(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        hf_yaml_doc doc = {0};
        hf_error err = {0};
        hf_status st = parse(wrong[i].text, wrong[i].len, &doc, &err);
        assert_string_equal(err.msg, wrong[i].sentence);
        assert_int_equal(st.code, HF_USAGE);
        assert_null(doc.entries);
    }
}

static void entries_have_path_kind_and_line(void **state)
{
    (void)state;
    static const char text[] =
        "a: 1\ns:\n  t: {u: 'v', w: ~}\n  x:\nl:\n  - {k: v}\n  - z\ne: []\n";
    static const struct {
        const char *path;
        hf_yaml_kind kind;
        unsigned line;
        unsigned children;
        const char *value;
    } expected[] = {
        {"a", HF_YAML_SCALAR, 1, 0, "1"},      {"s", HF_YAML_MAP, 3, 2, ""},
        {"s.t", HF_YAML_MAP, 3, 2, ""},        {"s.t.u", HF_YAML_QUOTED, 3, 0, "v"},
        {"s.t.w", HF_YAML_NULL, 3, 0, "~"},    {"s.x", HF_YAML_NULL, 4, 0, ""},
        {"l", HF_YAML_LIST, 6, 2, ""},         {"l[0]", HF_YAML_MAP, 6, 1, ""},
        {"l[0].k", HF_YAML_SCALAR, 6, 0, "v"}, {"l[1]", HF_YAML_SCALAR, 7, 0, "z"},
        {"e", HF_YAML_LIST, 8, 0, ""},
    };
    hf_yaml_doc doc = {0};
    hf_error err = {0};
    assert_false(hf_failed(parse(text, sizeof text - 1, &doc, &err)));
    assert_int_equal(doc.count, HF_ARRAY_LEN(expected));
    for (size_t i = 0; i < doc.count; i++) {
        assert_string_equal(doc.entries[i].path, expected[i].path);
        assert_int_equal(doc.entries[i].kind, expected[i].kind);
        assert_int_equal(doc.entries[i].line, expected[i].line);
        assert_int_equal(doc.entries[i].children, expected[i].children);
        assert_string_equal(doc.entries[i].text, expected[i].value);
    }
    hf_yaml_free(&doc);
}

static void empty_files_are_empty(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "# nothing\n", "---\n", "~\n", "{}\n"};
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        hf_yaml_doc doc = {0};
        hf_error err = {0};
        assert_false(hf_failed(parse(texts[i], strlen(texts[i]), &doc, &err)));
        assert_int_equal(doc.count, 0);
        hf_yaml_free(&doc);
    }
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    hf_error err = {0};
    hf_yaml_doc doc = {0};
    hf_buf *text = hf_buf_new(HF_YAML_MAX_BYTES + 64);
    assert_non_null(text);
    for (unsigned i = 0; i <= HF_YAML_MAX_ENTRIES; i++) {
        assert_false(hf_failed(hf_buf_putf(text, "k%u: 1\n", i)));
    }
    hf_status st = parse(hf_buf_text(text), hf_buf_len(text), &doc, &err);
    assert_int_equal(st.code, HF_USAGE);
    assert_string_equal(err.msg,
                        "f.yaml:1025: k1024: more than 1024 values; is this the right file?");

    while (hf_buf_len(text) <= HF_YAML_MAX_BYTES) {
        assert_false(hf_failed(hf_buf_put(text, "# comment\n", 10)));
    }
    scratch_write("big.yaml", hf_buf_text(text), 0644);
    st = hf_yaml_read("big.yaml", "big.yaml", &doc, &err);
    assert_int_equal(st.code, HF_USAGE);
    assert_string_equal(err.msg, "big.yaml: larger than 262144 bytes");
    hf_buf_free(text);
}

static void unknown_keys_are_named_with_the_likely_one(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"data_dri: x\n", "holdfast.yaml:1: data_dri: unknown key; did you mean data_dir?"},
        {"\nserver: {listen_prot: 1}\n",
         "holdfast.yaml:2: server.listen_prot: unknown key; did you mean server.listen_port?"},
        {"listen_address: ::1\n", "holdfast.yaml:1: listen_address: unknown key; did you mean "
                                  "server.listen_address?"},
        {"zebra: 1\n", "holdfast.yaml:1: zebra: unknown key; `holdfast check --keys` lists them"},
        {"signing_keys: [{backend: local-keystore, keystore: x}]\n",
         "holdfast.yaml:1: signing_keys[0].keystore: unknown key; `holdfast check --keys` lists "
         "them"},
        {"hardening: {seccomp: {a: b}}\n", "holdfast.yaml:1: hardening.seccomp: a mapping, where a "
                                           "single value is wanted"},
        {"max_keys: [1]\n", "holdfast.yaml:1: max_keys: a list, where a single value is wanted"},
        {"server: 9000\n", "holdfast.yaml:1: server: a single value, where a mapping is wanted"},
        {"server: [a]\n", "holdfast.yaml:1: server: a list, where a mapping is wanted"},
        {"signing_keys: {a: b}\n",
         "holdfast.yaml:1: signing_keys: a mapping, where a list is wanted"},
        {"signing_keys: [keys]\n",
         "holdfast.yaml:1: signing_keys[0]: a single value, where a mapping is wanted"},
        {"network: [mainnet]\n", "holdfast.yaml:1: network: a list, where a mapping is wanted"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(pairs); i++) {
        assert_refused(pairs[i][0], pairs[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_files_name_line_and_remedy),
        cmocka_unit_test(entries_have_path_kind_and_line),
        cmocka_unit_test(empty_files_are_empty),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(unknown_keys_are_named_with_the_likely_one),
    };
    return cmocka_run_group_tests_name("config yaml", tests, scratch_enter, scratch_leave);
}
