/* Listing the keys: publicKeys and the key manager's list, page by page from the keeper. */
#include "front/front_internal.h"
#include "policy/policy.h"

/* A key set that changes while it is listed (a load) is listed anew this often, then taken as it
 * comes: a list that never ends would be worse than one that misses a key of this very moment. */
#define RESTARTS_MAX 3

typedef void (*key_format)(hf_text *out, const hf_key_entry *key, bool is_first);

typedef struct key_listing {
    key_format format;
    const char *head;
    const char *tail;
    uint64_t generation;
    hf_scope scope;
    uint32_t offset;
    uint32_t restarts;
    bool has_generation;
    hf_text text;
} key_listing;

static hf_next keys_page(hf_exchange *x, const void *frame);

static hf_next ask_page(hf_exchange *x)
{
    const key_listing *listing = x->job;
    memset(&x->frame.keys, 0, sizeof x->frame.keys);
    hf_frame_init(&x->frame.keys, HF_MSG_KEYS, 0);
    x->frame.keys.offset = listing->offset;
    x->frame.keys.scope = listing->scope;
    return hf_front_ask(x, &x->frame.keys, HF_MSG_KEYS_REPLY, keys_page);
}

static hf_next start_over(hf_exchange *x)
{
    key_listing *listing = x->job;
    listing->offset = 0;
    hf_buf_reset(x->out);
    hf_text_put(&listing->text, "%s", listing->head);
    return ask_page(x);
}

static hf_next keys_page(hf_exchange *x, const void *frame)
{
    const hf_msg_keys_reply *reply = frame;
    key_listing *listing = x->job;
    if (listing->has_generation && reply->generation != listing->generation &&
        listing->offset > 0 && listing->restarts < RESTARTS_MAX) {
        listing->restarts++;
        listing->generation = reply->generation;
        return start_over(x);
    }
    listing->generation = reply->generation;
    listing->has_generation = true;
    uint32_t count = reply->count <= HF_KEYS_PAGE ? reply->count : HF_KEYS_PAGE;
    for (uint32_t i = 0; i < count; i++) {
        listing->format(&listing->text, &reply->keys[i], listing->offset == 0 && i == 0);
    }
    listing->offset += count;
    if (!hf_failed(listing->text.st) && count > 0 && listing->offset < reply->total) {
        return ask_page(x);
    }
    hf_text_put(&listing->text, "%s", listing->tail);
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &listing->text);
}

static hf_next list_keys(hf_exchange *x, hf_scope scope, key_format format, const char *head,
                         const char *tail)
{
    key_listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    *listing = (key_listing){.scope = scope, .format = format, .head = head, .tail = tail};
    x->job = listing;
    x->job_free = free;
    return hf_front_open_text(x, &listing->text) ? start_over(x) : HF_NEXT_ANSWER;
}

static void format_public_key(hf_text *out, const hf_key_entry *key, bool is_first)
{
    char text[2 * HF_BLS_PUBKEY_BYTES + 1];
    hf_hex_encode(key->pubkey, sizeof key->pubkey, text);
    hf_text_put(out, "%s\"0x%s\"", is_first ? "" : ",", text);
}

hf_next hf_front_public_keys(hf_exchange *x)
{
    return list_keys(x, HF_SCOPE_PUBLIC_KEYS, format_public_key, "[", "]");
}

static void format_keystore(hf_text *out, const hf_key_entry *key, bool is_first)
{
    char text[2 * HF_BLS_PUBKEY_BYTES + 1];
    hf_hex_encode(key->pubkey, sizeof key->pubkey, text);
    hf_text_put(out, "%s{\"validating_pubkey\":\"0x%s\",\"readonly\":%s}", is_first ? "" : ",",
                text, key->removable != 0 ? "false" : "true");
}

hf_next hf_front_keystores_list(hf_exchange *x)
{
    return list_keys(x, HF_SCOPE_KEYS_LIST, format_keystore, "{\"data\":[", "]}");
}

hf_next hf_front_remote_keys_list(hf_exchange *x)
{
    return hf_front_answer_small(x, 200, HF_CONTENT_JSON, "{\"data\":[]}");
}

hf_next hf_front_remote_keys_refuse(hf_exchange *x)
{
    return hf_front_refuse(x, HF_REASON_NOT_FOUND,
                           "remote keys are registered with the validator client, which then asks "
                           "this signer");
}

hf_next hf_front_not_ours(hf_exchange *x)
{
    return hf_front_refuse(
        x, HF_REASON_NOT_FOUND,
        "fee recipient, gas limit and graffiti are held by the validator client, "
        "not by its signer");
}
