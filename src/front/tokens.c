/* /api/v1/tokens: making, listing and revoking tokens. The keeper decides who may, and on what. */
#include "front/front_internal.h"

#include <inttypes.h>

#define TIME_BYTES 40

/* ---- showing ------------------------------------------------------------------------------- */

/* RFC 3339, UTC, or null for 0; the time is the keeper's word and may be anything. */
static void put_time(hf_text *out, const char *name, int64_t unix_ms)
{
    char text[TIME_BYTES];
    struct tm utc;
    time_t seconds = (time_t)((uint64_t)unix_ms / 1000 % 253402300800U); /* until the year 9999 */
    if (unix_ms == 0) {
        hf_text_put(out, ",\"%s\":null", name);
        return;
    }
    (void)gmtime_r(&seconds, &utc);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    hf_text_put(out, ",\"%s\":\"%s\"", name, text);
}

static void put_text(hf_text *out, const char *name, const char *text, size_t max)
{
    hf_text_put(out, ",\"%s\":", name);
    hf_text_put_json(out, text, strnlen(text, max));
}

static void put_lists(hf_text *out, const hf_token_terms *terms)
{
    hf_text_put(out, ",\"policies\":[");
    for (uint32_t i = 0; i < terms->policy_count && i < HF_AUTH_POLICIES_MAX; i++) {
        hf_text_put(out, "%s", i == 0 ? "" : ",");
        hf_text_put_json(out, terms->policies[i],
                         strnlen(terms->policies[i], HF_AUTH_POLICY_NAME_LEN));
    }
    hf_text_put(out, "],\"sources\":[");
    for (uint32_t i = 0; i < terms->source_count && i < HF_AUTH_SOURCES_MAX; i++) {
        char source[HF_CIDR_TEXT_LEN];
        hf_cidr_format(&terms->sources[i], source);
        hf_text_put(out, "%s\"%s\"", i == 0 ? "" : ",", source);
    }
    hf_text_put(out, "]");
}

/* The members of a token, without braces. */
static void put_token(hf_text *out, const hf_token_view *token)
{
    const hf_token_terms *terms = &token->terms;
    hf_text_put(out, "\"kind\":\"%s\"", hf_token_kind_name((hf_token_kind)terms->kind));
    put_text(out, "accessor", token->accessor, sizeof token->accessor);
    put_text(out, "name", terms->name, sizeof terms->name);
    put_lists(out, terms);
    put_time(out, "created", token->created_unix_ms);
    put_time(out, "expires", terms->expires_unix_ms);
    if (terms->max_uses == 0) {
        hf_text_put(out, ",\"max_uses\":null,\"uses_reserved\":null");
    } else {
        hf_text_put(out, ",\"max_uses\":%" PRIu64 ",\"uses_reserved\":%" PRIu64, terms->max_uses,
                    token->uses_reserved);
    }
}

/* ---- making -------------------------------------------------------------------------------- */

static void free_create(void *pointer)
{
    hf_wipe(pointer, sizeof(hf_msg_token_create));
    free(pointer);
}

/* Each reader gives what is wrong with its member, or NULL. */
typedef const char *(*member_reader)(const json_t *value, hf_msg_token_create *ask);

static const char *read_kind(const json_t *value, hf_msg_token_create *ask)
{
    hf_token_kind kind;
    const char *text = json_string_value(value);
    if (text == NULL || !hf_token_kind_parse(text, &kind)) {
        return "kind: must be client or management";
    }
    ask->terms.kind = kind;
    return NULL;
}

static const char *read_name(const json_t *value, hf_msg_token_create *ask)
{
    const char *text = json_string_value(value);
    if (text == NULL || json_string_length(value) != strlen(text) ||
        hf_failed(hf_str_copy(ask->terms.name, sizeof ask->terms.name, text))) {
        return "name: must be a string of at most 63 characters";
    }
    return NULL;
}

static const char *read_policies(const json_t *value, hf_msg_token_create *ask)
{
    if (!json_is_array(value) || json_array_size(value) > HF_AUTH_POLICIES_MAX) {
        return "policies: must be an array of at most 8 names";
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *text = json_string_value(json_array_get(value, i));
        char *place = ask->terms.policies[ask->terms.policy_count++];
        if (text == NULL || hf_failed(hf_str_copy(place, HF_AUTH_POLICY_NAME_LEN, text))) {
            return "policies: each must be the name of a policy";
        }
    }
    return NULL;
}

static const char *read_sources(const json_t *value, hf_msg_token_create *ask)
{
    if (!json_is_array(value) || json_array_size(value) > HF_AUTH_SOURCES_MAX) {
        return "sources: must be an array of at most 16 networks";
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *text = json_string_value(json_array_get(value, i));
        hf_cidr *place = &ask->terms.sources[ask->terms.source_count++];
        if (text == NULL || hf_failed(hf_cidr_parse(text, place, NULL))) {
            return "sources: each must be an address or a network such as 10.0.0.0/8";
        }
    }
    return NULL;
}

static const char *read_ttl(const json_t *value, hf_msg_token_create *ask)
{
    char number[24];
    const char *text = json_string_value(value);
    if (json_is_integer(value)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        text = number;
    }
    if (text == NULL || hf_failed(hf_ttl_parse(text, &ask->ttl_seconds, NULL))) {
        return "ttl: must be seconds, or a time such as 15m, 24h or 30d, ten years at most";
    }
    return NULL;
}

static const char *read_max_uses(const json_t *value, hf_msg_token_create *ask)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || (uint64_t)number > HF_AUTH_USES_MAX) {
        return "max_uses: must be a number from 1 on";
    }
    ask->terms.max_uses = (uint64_t)number;
    return NULL;
}

static const struct {
    const char *name;
    member_reader read;
} members[] = {
    {"kind", read_kind},       {"name", read_name}, {"policies", read_policies},
    {"sources", read_sources}, {"ttl", read_ttl},   {"max_uses", read_max_uses},
};

static const char *read_member(const char *name, const json_t *value, hf_msg_token_create *ask)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(members); i++) {
        if (strcmp(members[i].name, name) == 0) {
            return members[i].read(value, ask);
        }
    }
    return "a member is unknown: kind, name, policies, sources, ttl and max_uses are known";
}

static const char *read_body(const json_t *root, hf_msg_token_create *ask)
{
    const char *name;
    const char *wrong = json_is_object(root) ? NULL : "the body must be a JSON object";
    for (void *at = json_object_iter((json_t *)(uintptr_t)root); at != NULL && wrong == NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)root, at)) {
        name = json_object_iter_key(at);
        wrong = read_member(name, json_object_iter_value(at), ask);
    }
    return wrong;
}

static hf_next created(hf_exchange *x, const void *frame)
{
    const hf_msg_token_created *reply = frame;
    hf_text out;
    if (!hf_front_open_text(x, &out)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&out, "{\"token\":");
    hf_text_put_json(&out, reply->text, strnlen(reply->text, sizeof reply->text));
    hf_text_put(&out, ",");
    put_token(&out, &reply->token);
    hf_text_put(&out, "}");
    return hf_front_answer_text(x, 201, HF_CONTENT_JSON, &out);
}

hf_next hf_front_tokens_create(hf_exchange *x)
{
    hf_error err = {.code = HF_OK};
    hf_msg_token_create *ask = calloc(1, sizeof *ask);
    if (ask == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = ask;
    x->job_free = free_create;
    json_t *root = hf_front_read_json(x);
    if (root == NULL) {
        return HF_NEXT_ANSWER;
    }
    const char *wrong = read_body(root, ask);
    json_decref(root);
    if (wrong == NULL && hf_failed(hf_token_terms_check(&ask->terms, &err))) {
        wrong = err.msg;
    }
    if (wrong != NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, wrong);
    }
    hf_frame_init(ask, HF_MSG_TOKEN_CREATE, 0);
    return hf_front_ask(x, ask, HF_MSG_TOKEN_CREATED, created);
}

/* ---- listing ------------------------------------------------------------------------------- */

typedef struct token_listing {
    hf_msg_token_list ask;
    hf_text text;
    bool has_first;
} token_listing;

static void free_listing(void *pointer)
{
    hf_wipe(pointer, sizeof(token_listing));
    free(pointer);
}

static hf_next page_came(hf_exchange *x, const void *frame);

static hf_next ask_page(hf_exchange *x)
{
    token_listing *listing = x->job;
    hf_frame_init(&listing->ask, HF_MSG_TOKEN_LIST, 0);
    return hf_front_ask(x, &listing->ask, HF_MSG_TOKEN_PAGE, page_came);
}

static hf_next page_came(hf_exchange *x, const void *frame)
{
    const hf_msg_token_page *page = frame;
    token_listing *listing = x->job;
    uint32_t count = page->count <= HF_TOKENS_PAGE ? page->count : HF_TOKENS_PAGE;
    for (uint32_t i = 0; i < count; i++) {
        hf_text_put(&listing->text, "%s{", listing->has_first ? "," : "");
        put_token(&listing->text, &page->tokens[i]);
        hf_text_put(&listing->text, "}");
        listing->has_first = true;
        memcpy(listing->ask.after, page->tokens[i].accessor, sizeof listing->ask.after);
    }
    if (page->done == 0 && count > 0 && !hf_failed(listing->text.st)) {
        return ask_page(x);
    }
    hf_text_put(&listing->text, "]}");
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &listing->text);
}

hf_next hf_front_tokens_list(hf_exchange *x)
{
    token_listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = listing;
    x->job_free = free_listing;
    if (!hf_front_open_text(x, &listing->text)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&listing->text, "{\"tokens\":[");
    return ask_page(x);
}

/* ---- revoking ------------------------------------------------------------------------------ */

static hf_next revoked(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    const hf_msg_token_revoke *ask = x->job;
    if (result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    return hf_front_answer_small(x, 200, HF_CONTENT_JSON, "{\"revoked\":\"%s\"}", ask->accessor);
}

static void free_revoke(void *pointer)
{
    hf_wipe(pointer, sizeof(hf_msg_token_revoke));
    free(pointer);
}

hf_next hf_front_tokens_revoke(hf_exchange *x)
{
    hf_msg_token_revoke *ask = calloc(1, sizeof *ask);
    if (ask == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = ask;
    x->job_free = free_revoke;
    if (x->path_pubkey.len < sizeof ask->accessor) {
        memcpy(ask->accessor, x->path_pubkey.ptr, x->path_pubkey.len);
    }
    if (!hf_accessor_is_sane(ask->accessor)) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, "an accessor is 24 lower-case hex digits");
    }
    hf_frame_init(ask, HF_MSG_TOKEN_REVOKE, 0);
    return hf_front_ask(x, ask, HF_MSG_RESULT, revoked);
}
