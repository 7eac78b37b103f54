/*
 * An event as a line. Written by hand instead of with printf: two lines for each signature must
 * cost next to nothing beside it.
 */
#include "audit/audit.h"

#include <sodium.h>

#define US_PER_SECOND 1000000

static const char *const kind_names[HF_AUDIT_KIND_COUNT] = {
    [HF_AUDIT_OPENED] = "opened",
    [HF_AUDIT_STARTED] = "started",
    [HF_AUDIT_STOPPED] = "stopped",
    [HF_AUDIT_REQUEST] = "request",
    [HF_AUDIT_RESULT] = "result",
    [HF_AUDIT_REFUSED] = "refused",
    [HF_AUDIT_UNLOGGED] = "unlogged",
    [HF_AUDIT_MENDED] = "mended",
    [HF_AUDIT_KEYS_LOADED] = "keys_loaded",
    [HF_AUDIT_KEY_IMPORTED] = "key_imported",
    [HF_AUDIT_KEY_GENERATED] = "key_generated",
    [HF_AUDIT_KEY_CHANGED] = "key_changed",
    [HF_AUDIT_KEY_DELETED] = "key_deleted",
    [HF_AUDIT_KEY_EXPORTED] = "key_exported",
    [HF_AUDIT_RECORD_IMPORTED] = "record_imported",
    [HF_AUDIT_RECORD_EXPORTED] = "record_exported",
    [HF_AUDIT_RECORD_PRUNED] = "record_pruned",
    [HF_AUDIT_RELOADED] = "reloaded",
    [HF_AUDIT_WATERMARK] = "watermark",
    [HF_AUDIT_SEAL] = "seal",
    [HF_AUDIT_SHARE] = "share",
    [HF_AUDIT_TOKEN] = "token",
    [HF_AUDIT_POLICY] = "policy",
    [HF_AUDIT_CANARY] = "canary",
    [HF_AUDIT_GUARD] = "guard",
    [HF_AUDIT_DENIED] = "denied",
    [HF_AUDIT_ASKED] = "asked",
};

const char *hf_audit_kind_name(hf_audit_kind kind)
{
    return (unsigned)kind < HF_AUDIT_KIND_COUNT ? kind_names[kind] : NULL;
}

/* ---- putting bytes into the line --------------------------------------------------------------
 */

typedef struct line_out {
    char *start;
    size_t used;
} line_out;

static void put(line_out *out, const char *text, size_t len)
{
    HF_ASSERT(len <= HF_AUDIT_LINE_MAX - out->used); /* what an event can hold, fits */
    memcpy(out->start + out->used, text, len);
    out->used += len;
}

static void put_text(line_out *out, const char *text)
{
    put(out, text, strlen(text));
}

static void put_number(line_out *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put(out, digits + at, sizeof digits - at);
}

static void put_hex(line_out *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    HF_ASSERT(2 * len <= HF_AUDIT_LINE_MAX - out->used);
    for (size_t i = 0; i < len; i++) {
        out->start[out->used++] = digits[bytes[i] >> 4];
        out->start[out->used++] = digits[bytes[i] & 15];
    }
}

/* Printable ASCII but quote and backslash as it is, each other byte as \u00XX. */
static void put_escaped(line_out *out, const char *text, size_t max)
{
    for (size_t i = 0; i < max && text[i] != '\0'; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
            put(out, &text[i], 1);
        } else {
            put_text(out, "\\u00");
            put_hex(out, &byte, 1);
        }
    }
}

static void put_member(line_out *out, const char *name_and_quote, const char *text, size_t max)
{
    if (text != NULL && text[0] != '\0') {
        put_text(out, name_and_quote);
        put_escaped(out, text, max);
        put_text(out, "\"");
    }
}

static void put_number_member(line_out *out, const char *name_and_colon, uint64_t value)
{
    put_text(out, name_and_colon);
    put_number(out, value);
}

/* Numbers of the chain are strings in JSON: they have 64 bits. */
static void put_quoted_number(line_out *out, const char *name_and_quote, uint64_t value)
{
    put_number_member(out, name_and_quote, value);
    put_text(out, "\"");
}

/* ---- the members ------------------------------------------------------------------------------
 */

static void put_time(line_out *out, hf_audit_chain *chain, int64_t unix_us)
{
    int64_t second = unix_us / US_PER_SECOND;
    char fraction[16];
    if (second != chain->shown_second || chain->shown[0] == '\0') {
        time_t when = (time_t)second;
        struct tm utc;
        (void)gmtime_r(&when, &utc);
        (void)strftime(chain->shown, sizeof chain->shown, "%Y-%m-%dT%H:%M:%S.", &utc);
        chain->shown_second = second;
    }
    put_text(out, chain->shown);
    int64_t rest = unix_us % US_PER_SECOND;
    for (int i = 5; i >= 0; i--) {
        fraction[i] = (char)('0' + rest % 10);
        rest /= 10;
    }
    put(out, fraction, 6);
    put_text(out, "Z");
}

static void put_peer(line_out *out, const hf_audit_caller *caller)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (!caller->has_address) {
        return;
    }
    put_text(out, ",\"peer\":\"");
    if (hf_bytes_equal(caller->address, mapped, sizeof mapped)) {
        for (size_t i = 12; i < 16; i++) {
            put_number(out, caller->address[i]);
            put_text(out, i < 15 ? "." : ":");
        }
    } else {
        put_text(out, "[");
        for (size_t i = 0; i < 16; i += 2) {
            put_hex(out, &caller->address[i], 2);
            put_text(out, i < 14 ? ":" : "]:");
        }
    }
    put_number(out, caller->port);
    put_text(out, "\"");
}

static void put_caller(line_out *out, const hf_audit_caller *caller)
{
    put_peer(out, caller);
    if (caller->is_local_admin) {
        put_text(out, ",\"admin\":1");
    }
    put_member(out, ",\"token\":\"", caller->accessor, sizeof caller->accessor);
    put_member(out, ",\"certificate\":\"", caller->certificate, sizeof caller->certificate);
}

static void put_subject(line_out *out, const hf_audit_event *event)
{
    HF_ASSERT(event->subject_len <= HF_AUDIT_SUBJECT_BYTES);
    if (event->subject_len > 0) {
        put_text(out, ",\"key\":\"0x");
        put_hex(out, event->subject, event->subject_len);
        put_text(out, "\"");
    }
    put_member(out, ",\"operation\":\"", event->operation, 64);
    if (event->has_slot) {
        put_quoted_number(out, ",\"slot\":\"", event->slot);
    }
    if (event->has_epoch) {
        put_quoted_number(out, ",\"epoch\":\"", event->target);
    }
    if (event->has_epochs) {
        put_quoted_number(out, ",\"source_epoch\":\"", event->source);
        put_quoted_number(out, ",\"target_epoch\":\"", event->target);
    }
    if (event->has_root) {
        put_text(out, ",\"root\":\"0x");
        put_hex(out, event->root, HF_ROOT_BYTES);
        put_text(out, "\"");
    }
}

static void put_start(line_out *out, hf_audit_chain *chain, hf_audit_kind kind, int64_t unix_us)
{
    put_number_member(out, "{\"seq\":", chain->head.seq + 1);
    put_text(out, ",\"time\":\"");
    put_time(out, chain, unix_us);
    put_text(out, "\",\"node\":\"");
    put_text(out, chain->node);
    put_text(out, "\",\"kind\":\"");
    put_text(out, kind_names[kind]);
    put_text(out, "\"");
}

/* Closes the line with its MAC and moves the head. */
static size_t put_end(line_out *out, hf_audit_chain *chain)
{
    hf_audit_mac(chain->key, chain->head.mac, out->start, out->used, chain->head.mac);
    chain->head.seq++;
    put_text(out, ",\"mac\":\"");
    put_hex(out, chain->head.mac, HF_AUDIT_MAC_BYTES);
    put_text(out, "\"}\n");
    return out->used;
}

/* ---- the chain --------------------------------------------------------------------------------
 */

void hf_audit_mac(const uint8_t key[HF_AUDIT_KEY_BYTES], const uint8_t previous[HF_AUDIT_MAC_BYTES],
                  const char *body, size_t len, uint8_t ret_mac[HF_AUDIT_MAC_BYTES])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, key, HF_AUDIT_KEY_BYTES, HF_AUDIT_MAC_BYTES);
    (void)crypto_generichash_update(&state, previous, HF_AUDIT_MAC_BYTES);
    (void)crypto_generichash_update(&state, (const unsigned char *)body, len);
    (void)crypto_generichash_final(&state, ret_mac, HF_AUDIT_MAC_BYTES);
    hf_wipe(&state, sizeof state);
}

void hf_audit_key_id(const uint8_t key[HF_AUDIT_KEY_BYTES], char ret_id[HF_AUDIT_KEY_ID_LEN])
{
    static const uint8_t zero[HF_AUDIT_MAC_BYTES];
    uint8_t mac[HF_AUDIT_MAC_BYTES];
    hf_audit_mac(key, zero, "key", 3, mac);
    hf_hex_encode(mac, (HF_AUDIT_KEY_ID_LEN - 1) / 2, ret_id);
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

void hf_audit_chain_init(hf_audit_chain *chain, const uint8_t key[HF_AUDIT_KEY_BYTES],
                         const char *node)
{
    *chain = (hf_audit_chain){0};
    memcpy(chain->key, key, HF_AUDIT_KEY_BYTES);
    for (size_t i = 0; i + 1 < sizeof chain->node && node[i] != '\0'; i++) {
        chain->node[i] = is_plain(node[i]) ? node[i] : '_';
    }
}

size_t hf_audit_chain_open(hf_audit_chain *chain, int64_t unix_us, char out[HF_AUDIT_LINE_MAX])
{
    line_out line = {out, 0};
    char id[HF_AUDIT_KEY_ID_LEN];
    hf_audit_key_id(chain->key, id);
    put_start(&line, chain, HF_AUDIT_OPENED, unix_us);
    put_number_member(&line, ",\"format\":", HF_AUDIT_FORMAT);
    put_member(&line, ",\"key_id\":\"", id, sizeof id);
    put_text(&line, ",\"follows\":\"");
    put_hex(&line, chain->head.mac, HF_AUDIT_MAC_BYTES);
    put_text(&line, "\"");
    return put_end(&line, chain);
}

size_t hf_audit_chain_write(hf_audit_chain *chain, const hf_audit_event *event, int64_t unix_us,
                            char out[HF_AUDIT_LINE_MAX])
{
    line_out line = {out, 0};
    HF_ASSERT((unsigned)event->kind < HF_AUDIT_KIND_COUNT && event->kind != HF_AUDIT_OPENED);
    put_start(&line, chain, event->kind, unix_us);
    if (event->kind == HF_AUDIT_RESULT || event->of != 0) {
        put_number_member(&line, ",\"of\":", event->of);
    }
    if (event->request_id != 0) {
        put_number_member(&line, ",\"request\":", event->request_id);
    }
    if (event->kind == HF_AUDIT_UNLOGGED) {
        put_number_member(&line, ",\"count\":", event->count);
    }
    put_caller(&line, &event->caller);
    put_subject(&line, event);
    put_member(&line, ",\"decision\":\"", event->decision, 32);
    put_member(&line, ",\"reason\":\"", event->reason, 64);
    put_member(&line, ",\"text\":\"", event->text, sizeof event->text);
    return put_end(&line, chain);
}
