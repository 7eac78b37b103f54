/* All that the configuration says, in one piece: from the supervisor to the keeper. */
#include "policy_internal.h"

#define WIRE_VERSION 2

static const char *const action_names[HF_CANARY_ACTION_COUNT] = {"alert", "deny", "seal"};

const char *hf_canary_action_name(hf_canary_action action)
{
    return (unsigned)action < HF_CANARY_ACTION_COUNT ? action_names[action] : "unknown";
}

bool hf_canary_action_parse(const char *name, hf_canary_action *ret_action)
{
    for (unsigned i = 0; i < HF_CANARY_ACTION_COUNT; i++) {
        if (strcmp(name, action_names[i]) == 0) {
            *ret_action = (hf_canary_action)i;
            return true;
        }
    }
    return false;
}

hf_book *hf_book_new(void)
{
    return calloc(1, sizeof(hf_book));
}

void hf_book_free(hf_book *book)
{
    if (book == NULL) {
        return;
    }
    for (size_t i = 0; i < book->policy_count; i++) {
        hf_policy_free(book->policies[i]);
    }
    for (size_t i = 0; i < book->limit_count; i++) {
        hf_limit_done(&book->limits[i]);
    }
    free(book);
}

const hf_policy *hf_book_find_policy(const hf_book *book, const char *name)
{
    for (size_t i = 0; i < book->policy_count; i++) {
        if (strcmp(book->policies[i]->name, name) == 0) {
            return book->policies[i];
        }
    }
    return NULL;
}

hf_status hf_book_add_policy(hf_book *book, hf_policy *take_policy, hf_error *err)
{
    hf_status st = hf_ok();
    if (hf_book_find_policy(book, take_policy->name) != NULL) {
        st = hf_fail(err, HF_CONFLICT, "there is a policy %s already", take_policy->name);
    } else if (book->policy_count == HF_BOOK_POLICIES_MAX) {
        st = hf_fail(err, HF_LIMIT, "more than %d policies", HF_BOOK_POLICIES_MAX);
    }
    if (hf_failed(st)) {
        hf_policy_free(take_policy);
        return st;
    }
    book->policies[book->policy_count++] = take_policy;
    return st;
}

static int compare_canaries(const void *a, const void *b)
{
    return hf_policy_key_compare(&((const hf_canary *)a)->key, &((const hf_canary *)b)->key);
}

const hf_canary *hf_book_find_canary(const hf_book *book, const hf_policy_key *key)
{
    hf_canary wanted = {.key = *key};
    return book->canary_count == 0 ? NULL
                                   : bsearch(&wanted, book->canaries, book->canary_count,
                                             sizeof wanted, compare_canaries);
}

hf_status hf_book_add_canary(hf_book *book, const hf_canary *canary, hf_error *err)
{
    if (hf_book_find_canary(book, &canary->key) != NULL) {
        return hf_fail(err, HF_CONFLICT, "the key is a canary already");
    }
    if (book->canary_count == HF_CANARIES_MAX) {
        return hf_fail(err, HF_LIMIT, "more than %d canary keys", HF_CANARIES_MAX);
    }
    book->canaries[book->canary_count++] = *canary;
    qsort(book->canaries, book->canary_count, sizeof *book->canaries, compare_canaries);
    return hf_ok();
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_policy(hf_policy_writer *w, const hf_policy *policy)
{
    hf_buf *bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
    hf_status st = bytes == NULL ? (hf_status){HF_NOMEM} : hf_policy_encode(policy, bytes);
    if (!hf_failed(w->status) && hf_failed(st)) {
        w->status = st;
    }
    if (!hf_failed(w->status)) {
        hf_policy_put(w, hf_buf_len(bytes), 4);
        hf_policy_put_bytes(w, hf_buf_peek(bytes), hf_buf_len(bytes));
    }
    hf_buf_free(bytes);
}

hf_status hf_book_encode(const hf_book *book, hf_buf *out)
{
    hf_policy_writer w = {.out = out};
    hf_policy_put(&w, WIRE_VERSION, 1);
    hf_policy_put(&w, book->policy_count, 2);
    for (size_t i = 0; i < book->policy_count; i++) {
        write_policy(&w, book->policies[i]);
    }
    hf_policy_put(&w, book->limit_count, 1);
    for (size_t i = 0; i < book->limit_count; i++) {
        hf_limit_write(&w, &book->limits[i]);
    }
    hf_policy_put(&w, book->canary_count, 2);
    for (size_t i = 0; i < book->canary_count; i++) {
        hf_policy_put(&w, book->canaries[i].key.len, 1);
        hf_policy_put_bytes(&w, book->canaries[i].key.bytes, book->canaries[i].key.len);
        hf_policy_put(&w, book->canaries[i].action, 1);
    }
    for (size_t i = 0; i < HF_BOOK_SOURCES_MAX; i++) {
        hf_policy_put(&w, book->sources[i].count, 1);
        for (size_t tag = 0; tag < book->sources[i].count; tag++) {
            hf_policy_put_text(&w, book->sources[i].tags[tag].name);
        }
    }
    return w.status;
}

/* ---- reading --------------------------------------------------------------------------------- */

static hf_status read_policies(hf_policy_reader *r, hf_book *book, hf_error *err)
{
    size_t count = hf_policy_get_count(r, 2, HF_BOOK_POLICIES_MAX);
    for (size_t i = 0; i < count && !r->failed; i++) {
        size_t len = hf_policy_get_count(r, 4, HF_POLICY_MAX_BYTES);
        hf_policy *policy = NULL;
        if (r->failed || r->left < len) {
            r->failed = true;
            break;
        }
        hf_status st = hf_policy_decode(hf_bytes_from(r->next, len), &policy, err);
        if (!hf_failed(st)) {
            st = hf_book_add_policy(book, policy, err);
        }
        if (hf_failed(st)) {
            return st;
        }
        r->next += len;
        r->left -= len;
    }
    return hf_ok();
}

static hf_status read_canaries(hf_policy_reader *r, hf_book *book, hf_error *err)
{
    size_t count = hf_policy_get_count(r, 2, HF_CANARIES_MAX);
    for (size_t i = 0; i < count; i++) {
        hf_canary canary = {.action = HF_CANARY_ALERT};
        hf_policy_key_read(r, &canary.key);
        canary.action = (hf_canary_action)hf_policy_get_count(r, 1, HF_CANARY_ACTION_COUNT - 1);
        bool is_in_order =
            i == 0 || hf_policy_key_compare(&book->canaries[i - 1].key, &canary.key) < 0;
        if (r->failed || !is_in_order) {
            return hf_fail(err, HF_INVALID_INPUT, "the bytes are no list of canary keys");
        }
        book->canaries[book->canary_count++] = canary;
    }
    return hf_ok();
}

static void read_sources(hf_policy_reader *r, hf_book *book)
{
    for (size_t i = 0; i < HF_BOOK_SOURCES_MAX; i++) {
        hf_source_tags *source = &book->sources[i];
        source->count = hf_policy_get_count(r, 1, HF_KEYSET_TAGS_MAX);
        for (size_t tag = 0; tag < source->count && !r->failed; tag++) {
            hf_policy_get_text(r, source->tags[tag].name, HF_POLICY_TAG_LEN);
            r->failed = r->failed || !hf_policy_tag_is_valid(source->tags[tag].name);
        }
    }
}

static hf_status read_book(hf_policy_reader *r, hf_book *book, hf_error *err)
{
    hf_status st = read_policies(r, book, err);
    size_t limits = hf_policy_get_count(r, 1, HF_LIMITS_MAX);
    for (size_t i = 0; i < limits && !hf_failed(st); i++) {
        st = hf_limit_read(r, &book->limits[book->limit_count++], err);
    }
    if (!hf_failed(st)) {
        st = read_canaries(r, book, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    read_sources(r, book);
    return r->failed || r->left != 0 ? hf_fail(err, HF_INVALID_INPUT, "the bytes are no book")
                                     : hf_ok();
}

hf_status hf_book_decode(hf_bytes bytes, hf_book **ret_book, hf_error *err)
{
    hf_policy_reader r = {.next = bytes.ptr, .left = bytes.len};
    if (bytes.len > HF_BOOK_MAX_BYTES || hf_policy_get(&r, 1) != WIRE_VERSION) {
        return hf_fail(err, HF_INVALID_INPUT, "the bytes are no book of version %d", WIRE_VERSION);
    }
    hf_book *book = hf_book_new();
    if (book == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = read_book(&r, book, err);
    if (hf_failed(st)) {
        hf_book_free(book);
        return st;
    }
    *ret_book = book;
    return hf_ok();
}
