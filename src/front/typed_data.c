/*
 * Typed data: domain, message and what the keeper is told of them. Structs and arrays are walked
 * with a small stack of open ones; each finished value is a word on a second stack, and closing a
 * container replaces its words by their hash.
 */
#include "front/typed_internal.h"

#include "crypto/crypto.h"

#define DEPTH_MAX (HF_JSON_MAX_DEPTH + 1)
/* No honest document has more words than values; an object can lack 64 structs. */
#define WORDS_MAX (2 * HF_JSON_MAX_VALUES)
#define PATH_LEN 120

typedef struct frame {
    uint32_t value; /* the JSON object or array */
    uint32_t at;    /* the next member or element */
    uint32_t count; /* of them */
    uint32_t item;  /* of an array: the next element in the JSON */
    size_t base;    /* its first word */
    size_t first;   /* of a struct: its first member */
    bool is_array;
    hf_typed_type element; /* of an array */
} frame;

typedef struct walk {
    const hf_json *json;
    hf_typed_types types;
    frame frames[DEPTH_MAX];
    size_t depth;
    uint8_t (*words)[HF_TYPED_WORD]; /* owned */
    size_t word_count;
    size_t word_room;
    size_t words_made;
    hf_error *err;
} walk;

/* ---- where it is ----------------------------------------------------------------------------- */

/* "message.from.wallets[2]: " before the sentence. */
static hf_status fail_here(walk *w, hf_status st)
{
    char path[PATH_LEN] = "message";
    size_t used = strlen(path);
    for (size_t i = 0; i < w->depth && used < sizeof path - 1; i++) {
        const frame *f = &w->frames[i];
        int n = 0;
        if (f->at == 0) {
            break;
        }
        if (f->is_array) {
            n = snprintf(path + used, sizeof path - used, "[%u]", f->at - 1);
        } else {
            const hf_typed_text *name = &w->types.members[f->first + f->at - 1].name;
            n = snprintf(path + used, sizeof path - used, ".%.*s", (int)name->len, name->ptr);
        }
        used += n > 0 ? (size_t)n : 0;
    }
    return hf_error_wrap(w->err, st, "%s", path);
}

static hf_status fail_text(walk *w, const char *problem)
{
    hf_status st = hf_fail(w->err, HF_INVALID_INPUT, "%s", problem);
    return fail_here(w, st);
}

/* ---- words ----------------------------------------------------------------------------------- */

static hf_status push_word(walk *w, const uint8_t word[HF_TYPED_WORD])
{
    if (++w->words_made > WORDS_MAX) {
        return hf_fail(w->err, HF_INVALID_INPUT, "message: more values than any request has");
    }
    if (w->word_count == w->word_room) {
        size_t room = w->word_room == 0 ? 64 : 2 * w->word_room;
        void *words = realloc(w->words, room * sizeof *w->words);
        if (words == NULL) {
            return hf_fail(w->err, HF_NOMEM, "out of memory");
        }
        w->words = words;
        w->word_room = room;
    }
    memcpy(w->words[w->word_count++], word, HF_TYPED_WORD);
    return hf_ok();
}

/* The innermost container is complete. */
static hf_status close_frame(walk *w)
{
    uint8_t hash[HF_TYPED_WORD];
    const frame *f = &w->frames[--w->depth];
    size_t count = w->word_count - f->base;
    /* An array may be empty, and then there may be no words at all. */
    hf_keccak256(count == 0 ? (const void *)"" : w->words[f->base], count * HF_TYPED_WORD, hash);
    w->word_count = f->base;
    return push_word(w, hash);
}

/* ---- containers ------------------------------------------------------------------------------ */

static hf_status open_struct(walk *w, uint32_t value, size_t place)
{
    uint8_t hash[HF_TYPED_WORD];
    const hf_typed_struct *of = &w->types.structs[place];
    if (!hf_json_is(w->json, value, HF_JSON_OBJECT)) {
        return fail_text(w, "not an object");
    }
    hf_status st = hf_typed_type_hash(&w->types, place, hash, w->err);
    if (hf_failed(st)) {
        return st;
    }
    HF_ASSERT(w->depth < DEPTH_MAX); /* the JSON is not nested deeper */
    w->frames[w->depth++] =
        (frame){.value = value, .count = of->count, .base = w->word_count, .first = of->first};
    return push_word(w, hash);
}

static hf_status open_array(walk *w, uint32_t value, const hf_typed_type *type)
{
    hf_typed_type element;
    if (!hf_json_is(w->json, value, HF_JSON_ARRAY)) {
        return fail_text(w, "not an array");
    }
    if (type->has_length && w->json->values[value].len != type->length) {
        return fail_text(w, "an array of another length than its type says");
    }
    hf_status st = hf_typed_resolve(&w->types, type->element, &element, w->err);
    if (hf_failed(st)) {
        return st;
    }
    HF_ASSERT(w->depth < DEPTH_MAX);
    w->frames[w->depth++] = (frame){.value = value,
                                    .count = w->json->values[value].len,
                                    .item = value + 1,
                                    .base = w->word_count,
                                    .is_array = true,
                                    .element = element};
    return hf_ok();
}

/* The next member or element of the innermost container; *ret_value 0: it is not there. */
static hf_status next_child(walk *w, hf_typed_type *ret_type, uint32_t *ret_value)
{
    frame *f = &w->frames[w->depth - 1];
    hf_status st = hf_ok();
    uint32_t value;
    if (f->is_array) {
        *ret_type = f->element;
        value = f->item;
        f->item = w->json->values[value].next;
    } else {
        const hf_typed_text *name = &w->types.members[f->first + f->at].name;
        st = hf_typed_resolve_member(&w->types, f->first + f->at, ret_type, w->err);
        value = hf_json_member(w->json, f->value, name->ptr, name->len);
    }
    f->at++;
    *ret_value = value != 0 && hf_json_is(w->json, value, HF_JSON_NULL) ? 0 : value;
    return st;
}

static hf_status step(walk *w)
{
    static const uint8_t zero[HF_TYPED_WORD];
    uint8_t word[HF_TYPED_WORD];
    hf_typed_type type = {0};
    uint32_t value = 0;
    const frame *f = &w->frames[w->depth - 1];
    if (f->at == f->count) {
        return close_frame(w);
    }
    hf_status st = next_child(w, &type, &value);
    if (hf_failed(st)) {
        return st;
    }
    if (value == 0) {
        return type.base == HF_TYPED_STRUCT ? push_word(w, zero) : fail_text(w, "missing");
    }
    if (type.base == HF_TYPED_STRUCT) {
        return open_struct(w, value, type.size);
    }
    if (type.base == HF_TYPED_ARRAY) {
        return open_array(w, value, &type);
    }
    st = hf_typed_encode_value(w->json, value, &type, word, w->err);
    return hf_failed(st) ? fail_here(w, st) : push_word(w, word);
}

static hf_status hash_message(walk *w, uint32_t value, size_t place, uint8_t ret_hash[32])
{
    hf_status st = value == 0 ? fail_text(w, "missing") : open_struct(w, value, place);
    while (!hf_failed(st) && w->depth > 0) {
        st = step(w);
    }
    if (!hf_failed(st)) {
        HF_ASSERT(w->word_count == 1);
        memcpy(ret_hash, w->words[0], HF_TYPED_WORD);
    }
    return st;
}

/* ---- the domain ------------------------------------------------------------------------------ */

static hf_status fail_domain(walk *w, const char *problem)
{
    return hf_fail(w->err, HF_INVALID_INPUT, "domain: %s", problem);
}

static bool is_text(hf_typed_text text, const char *word)
{
    return text.len == strlen(word) && hf_bytes_equal(text.ptr, word, text.len);
}

static hf_eip712_field field_of(hf_typed_text name)
{
    unsigned field = 0;
    while (field < HF_EIP712_FIELD_COUNT &&
           !is_text(name, hf_eip712_field_name((hf_eip712_field)field))) {
        field++;
    }
    return (hf_eip712_field)field;
}

static uint32_t domain_value(const walk *w, uint32_t domain, hf_eip712_field field)
{
    const char *name = hf_eip712_field_name(field);
    uint32_t value = hf_json_member(w->json, domain, name, strlen(name));
    return value != 0 && hf_json_is(w->json, value, HF_JSON_NULL) ? 0 : value;
}

static hf_status put_domain_field(walk *w, uint32_t domain, hf_eip712_field field,
                                  hf_eip712_domain *ret)
{
    uint8_t word[HF_TYPED_WORD];
    hf_typed_type type;
    const char *type_name = hf_eip712_field_type(field);
    uint32_t value = domain_value(w, domain, field);
    hf_status st =
        hf_typed_resolve(&w->types, (hf_typed_text){type_name, strlen(type_name)}, &type, w->err);
    if (!hf_failed(st)) {
        st = value == 0 ? hf_fail(w->err, HF_INVALID_INPUT, "missing")
                        : hf_typed_encode_value(w->json, value, &type, word, w->err);
    }
    if (hf_failed(st)) {
        return hf_error_wrap(w->err, st, "domain.%s", hf_eip712_field_name(field));
    }
    uint8_t *const places[HF_EIP712_FIELD_COUNT] = {
        [HF_EIP712_NAME] = ret->name_hash,
        [HF_EIP712_VERSION] = ret->version_hash,
        [HF_EIP712_CHAIN_ID] = ret->chain_id,
        [HF_EIP712_SALT] = ret->salt,
    };
    if (field == HF_EIP712_CONTRACT) {
        memcpy(ret->contract, word + HF_TYPED_WORD - sizeof ret->contract, sizeof ret->contract);
    } else {
        memcpy(places[field], word, HF_TYPED_WORD);
    }
    ret->fields[ret->field_count++] = (uint8_t)field;
    return hf_ok();
}

/* The type is there: its fields, in its order. */
static hf_status read_typed_domain(walk *w, uint32_t domain, size_t place, hf_eip712_domain *ret)
{
    const hf_typed_struct *of = &w->types.structs[place];
    hf_status st = hf_ok();
    for (size_t i = 0; i < of->count && !hf_failed(st); i++) {
        const hf_typed_member *member = &w->types.members[of->first + i];
        hf_eip712_field field = field_of(member->name);
        if (field == HF_EIP712_FIELD_COUNT || !is_text(member->text, hf_eip712_field_type(field))) {
            return fail_domain(w,
                               "types.EIP712Domain has a member that is not one of the standard: "
                               "string name, string version, uint256 chainId, address "
                               "verifyingContract, bytes32 salt");
        }
        st = put_domain_field(w, domain, field, ret);
    }
    return st;
}

/* What the domain has, and its type does not sign, could be another chain's. */
static hf_status check_domain(walk *w, uint32_t domain, const hf_eip712_domain *known)
{
    const hf_json_value *values = w->json->values;
    for (uint32_t name = domain + 1; name < values[domain].next; name = values[name + 1].next) {
        hf_eip712_field field =
            field_of((hf_typed_text){hf_json_text(w->json, name), values[name].len});
        bool is_signed = hf_json_is(w->json, name + 1, HF_JSON_NULL);
        for (size_t i = 0; i < known->field_count; i++) {
            is_signed = is_signed || known->fields[i] == field;
        }
        if (!is_signed) {
            return fail_domain(w, "has a member that types.EIP712Domain does not: it would not be "
                                  "signed");
        }
    }
    return hf_ok();
}

static hf_status read_domain(walk *w, uint32_t domain, hf_eip712_domain *ret)
{
    static const char name[] = "EIP712Domain";
    size_t place = hf_typed_types_find(&w->types, (hf_typed_text){name, strlen(name)});
    hf_status st = hf_ok();
    if (domain == 0 || !hf_json_is(w->json, domain, HF_JSON_OBJECT)) {
        return fail_domain(w, "an object is wanted");
    }
    if (place != HF_TYPED_STRUCTS_MAX) {
        st = read_typed_domain(w, domain, place, ret);
    }
    for (unsigned i = 0; i < HF_EIP712_FIELD_COUNT && place == HF_TYPED_STRUCTS_MAX; i++) {
        hf_eip712_field field = (hf_eip712_field)i;
        if (!hf_failed(st) && domain_value(w, domain, field) != 0) {
            st = put_domain_field(w, domain, field, ret);
        }
    }
    return hf_failed(st) ? st : check_domain(w, domain, ret);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool has_name(const hf_eip712_domain *domain)
{
    for (size_t i = 0; i < domain->field_count; i++) {
        if (domain->fields[i] == HF_EIP712_NAME) {
            return true;
        }
    }
    return false;
}

/* One member of a vote whose type is known to have it; the walk has checked its value. */
static void vote_word(const walk *w, uint32_t message, const char *name, hf_typed_base base,
                      uint8_t ret_word[HF_TYPED_WORD])
{
    const hf_typed_type type = {.base = base, .size = 256};
    uint32_t value = hf_json_member(w->json, message, name, strlen(name));
    hf_status st = hf_typed_encode_value(w->json, value, &type, ret_word, w->err);
    HF_ASSERT(!hf_failed(st));
}

static hf_status read_vote(walk *w, uint32_t value, hf_typed_message *message)
{
    uint8_t word[HF_TYPED_WORD];
    vote_word(w, value, "slot", HF_TYPED_UINT, word);
    if (!hf_bytes_is_zero(word, HF_TYPED_WORD - 8) || (word[HF_TYPED_WORD - 8] & 0x80) != 0) {
        return hf_fail(w->err, HF_INVALID_INPUT, "message.slot: beyond 2^63 - 1");
    }
    for (size_t i = HF_TYPED_WORD - 8; i < HF_TYPED_WORD; i++) {
        message->slot = message->slot << 8 | word[i];
    }
    memset(message->hash, 0, sizeof message->hash);
    if (message->kind == HF_TYPED_AZTEC_VOTE) {
        vote_word(w, value, "votes", HF_TYPED_BYTES, message->hash);
        return hf_ok();
    }
    vote_word(w, value, "payload", HF_TYPED_ADDRESS, word);
    memcpy(message->payload, word + HF_TYPED_WORD - 20, 20);
    vote_word(w, value, "instance", HF_TYPED_ADDRESS, word);
    memcpy(message->instance, word + HF_TYPED_WORD - 20, 20);
    return hf_ok();
}

static hf_status classify(walk *w, size_t place, hf_typed_message *message)
{
    hf_buf *text = NULL;
    hf_typed_kind kind = HF_TYPED_OTHER;
    if (!has_name(&message->domain)) {
        return hf_ok();
    }
    hf_status st = hf_typed_encode_type(&w->types, place, &text, w->err);
    if (!hf_failed(st)) {
        st = hf_typed_kind_of(message->domain.name_hash, hf_buf_text(text), hf_buf_len(text), &kind,
                              w->err);
    }
    hf_buf_free(text);
    message->kind = kind;
    return st;
}

/* *ret_place: the struct that is signed. */
static hf_status find_primary(walk *w, uint32_t object, size_t *ret_place)
{
    uint32_t primary = hf_json_member(w->json, object, "primaryType", strlen("primaryType"));
    if (primary == 0 || !hf_json_is(w->json, primary, HF_JSON_STRING)) {
        return hf_fail(w->err, HF_INVALID_INPUT, "primaryType: the name of a struct is wanted");
    }
    hf_typed_text name = {hf_json_text(w->json, primary), w->json->values[primary].len};
    if (is_text(name, "EIP712Domain")) {
        return hf_fail(w->err, HF_INVALID_INPUT, "primaryType: a domain alone is no message");
    }
    *ret_place = hf_typed_types_find(&w->types, name);
    return *ret_place == HF_TYPED_STRUCTS_MAX
               ? hf_fail(w->err, HF_INVALID_INPUT, "primaryType: not one of types")
               : hf_ok();
}

static uint32_t member_of(const walk *w, uint32_t object, const char *name)
{
    return hf_json_member(w->json, object, name, strlen(name));
}

static hf_status read_object(walk *w, uint32_t object, hf_typed_message *message)
{
    size_t place = 0;
    if (!hf_json_is(w->json, object, HF_JSON_OBJECT)) {
        return hf_fail(w->err, HF_INVALID_INPUT,
                       "typed data: an object, or a string with the text "
                       "of one, is wanted");
    }
    uint32_t value = member_of(w, object, "message");
    hf_status st = hf_typed_types_read(w->json, member_of(w, object, "types"), &w->types, w->err);
    if (!hf_failed(st)) {
        st = find_primary(w, object, &place);
    }
    if (!hf_failed(st)) {
        st = read_domain(w, member_of(w, object, "domain"), &message->domain);
    }
    if (!hf_failed(st)) {
        st = classify(w, place, message);
    }
    if (!hf_failed(st)) {
        st = hash_message(w, value, place, message->hash);
    }
    return hf_failed(st) || message->kind == HF_TYPED_OTHER ? st : read_vote(w, value, message);
}

static hf_status read_value(const hf_json *json, uint32_t value, hf_typed_message *ret_message,
                            hf_error *err)
{
    hf_error ignored = {HF_OK, ""};
    walk w = {.json = json, .err = err != NULL ? err : &ignored};
    hf_typed_message message;
    memset(&message, 0, sizeof message); /* all of it goes into a frame */
    hf_status st = read_object(&w, value, &message);
    hf_typed_types_done(&w.types);
    free(w.words);
    if (!hf_failed(st)) {
        *ret_message = message;
    }
    return st;
}

hf_status hf_typed_data_parse(hf_bytes text, hf_typed_message *ret_message, hf_error *err)
{
    hf_json json;
    hf_status st = hf_json_parse(text, &json, err);
    if (!hf_failed(st)) {
        st = read_value(&json, 0, ret_message, err);
    }
    hf_json_done(&json);
    return st;
}

hf_status hf_typed_data_read(const hf_json *json, uint32_t value, hf_typed_message *ret_message,
                             hf_error *err)
{
    hf_buf *text = NULL;
    if (hf_json_is(json, value, HF_JSON_STRING)) {
        return hf_typed_data_parse(
            hf_bytes_from(hf_json_text(json, value), json->values[value].len), ret_message, err);
    }
    if (!hf_json_is(json, value, HF_JSON_ESCAPED)) {
        return read_value(json, value, ret_message, err);
    }
    hf_status st = hf_typed_unescape(json, value, &text, err);
    if (!hf_failed(st)) {
        st = hf_typed_data_parse(hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)), ret_message,
                                 err);
    }
    hf_buf_free(text);
    return st;
}
