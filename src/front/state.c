/* What is on: upcheck, healthcheck, reload, high watermark and Holdfast's own status. */
#include "front/front_internal.h"

#include <inttypes.h>

#define TIME_BYTES 40

hf_next hf_front_upcheck(hf_exchange *x)
{
    /* Lodestar asks for JSON alone and reads .status (EIP-3030); everybody else reads OK. */
    if (hf_front_accepts(x, "application/json") && !hf_front_accepts(x, "*/*") &&
        !hf_front_accepts(x, "text/plain")) {
        return hf_front_answer_small(x, 200, HF_CONTENT_JSON, "{\"status\":\"OK\"}");
    }
    return hf_front_answer_small(x, 200, HF_CONTENT_TEXT, "OK");
}

/* ---- health ------------------------------------------------------------------------------- */

static const char *up_or_down(bool is_up)
{
    return is_up ? "UP" : "DOWN";
}

/* No key at all is fine only when none was to be had: a fresh signer waits for the key manager. */
static bool keys_are_up(const hf_msg_status_reply *s)
{
    return s->keys_loaded > 0 ||
           (s->first_load_done != 0 && s->loading == 0 && s->load_failed == 0);
}

/* Sealed keys sign again once they are unsealed: nothing to be sent here before. */
static bool is_sealed(const hf_msg_status_reply *s)
{
    return s->seal_state == 1 + HF_SEAL_SEALED || s->seal_state == 1 + HF_SEAL_PARTLY_UNSEALED;
}

/* Web3Signer's shape, {status, outcome, checks[]}, and one check more where duties are configured.
 */
static hf_next answer_health(hf_exchange *x, bool keeper_up, const hf_msg_status_reply *s)
{
    bool store_up = s->store_healthy != 0;
    bool duties_up = s->duty_configured == 0 || s->duty_healthy != 0;
    bool keys_up = keeper_up && keys_are_up(s) && !is_sealed(s);
    bool audit_up = s->audit.is_on == 0 || s->audit.is_healthy != 0;
    bool is_up = keeper_up && store_up && duties_up && keys_up && audit_up;
    char duties[64] = "";
    char audit[64] = "";
    if (s->duty_configured != 0) {
        (void)snprintf(duties, sizeof duties,
                       "{\"id\":\"duty-protection-check\",\"status\":\"%s\"},",
                       up_or_down(duties_up));
    }
    if (s->audit.is_on != 0) {
        (void)snprintf(audit, sizeof audit, "{\"id\":\"audit-check\",\"status\":\"%s\"},",
                       up_or_down(audit_up));
    }
    return hf_front_answer_small(
        x, is_up ? 200 : 503, HF_CONTENT_JSON,
        "{\"status\":\"%s\",\"outcome\":\"%s\",\"checks\":["
        "{\"id\":\"default-check\",\"status\":\"%s\"},"
        "{\"id\":\"slashing-protection-db-health-check\",\"status\":\"%s\"},%s%s"
        "{\"id\":\"keys-check\",\"status\":\"%s\",\"data\":{\"keys-loaded\":%u,"
        "\"error-count\":%u}}]}",
        up_or_down(is_up), up_or_down(is_up), up_or_down(keeper_up), up_or_down(store_up), duties,
        audit, up_or_down(keys_up), s->keys_loaded, s->load_failed);
}

static hf_next health_known(hf_exchange *x, const void *frame)
{
    return answer_health(x, true, frame);
}

static hf_next health_unknown(hf_exchange *x)
{
    static const hf_msg_status_reply nothing = {.store_healthy = 0};
    return answer_health(x, false, &nothing);
}

hf_next hf_front_healthcheck(hf_exchange *x)
{
    x->on_silence = health_unknown;
    return hf_front_ask_simply(x, HF_MSG_HEALTH, HF_MSG_STATUS_REPLY, health_known);
}

/* ---- reload ------------------------------------------------------------------------------- */

static const char *reload_state_name(uint8_t state)
{
    static const char *const names[] = {"idle", "running", "completed", "completed_with_errors",
                                        "failed"};
    return state < HF_ARRAY_LEN(names) ? names[state] : "failed";
}

/* RFC 3339, UTC; unix_ms is the keeper's word and may be anything. */
static void format_time(char out[TIME_BYTES], uint64_t unix_ms)
{
    time_t seconds = (time_t)(unix_ms / 1000 % 253402300800U); /* until the year 9999 */
    struct tm utc;
    (void)gmtime_r(&seconds, &utc);
    (void)strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static hf_next reload_started(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    if (result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    return hf_front_answer_small(x, 202, HF_CONTENT_JSON,
                                 "{\"status\":\"accepted\",\"message\":\"reload started\"}");
}

hf_next hf_front_reload(hf_exchange *x)
{
    return hf_front_ask_simply(x, HF_MSG_RELOAD, HF_MSG_RESULT, reload_started);
}

/* A text of the keeper that may lack its NUL. */
static void put_text(hf_text *out, const char *text, size_t max)
{
    hf_text_put_json(out, text, strnlen(text, max));
}

static void put_reload(hf_text *out, const hf_msg_status_reply *s)
{
    hf_text_put(out, "{\"status\":\"%s\"", reload_state_name(s->reload_state));
    if (s->reload_state != HF_RELOAD_IDLE) {
        char when[TIME_BYTES];
        format_time(when, s->reload_unix_ms);
        hf_text_put(out, ",\"lastOperationTime\":\"%s\"", when);
    }
    if (s->reload_error[0] != '\0') {
        hf_text_put(out, ",\"lastError\":");
        put_text(out, s->reload_error, sizeof s->reload_error);
    }
    hf_text_put(out, "}");
}

static hf_next reload_known(hf_exchange *x, const void *frame)
{
    hf_text out;
    if (!hf_front_open_text(x, &out)) {
        return HF_NEXT_ANSWER;
    }
    put_reload(&out, frame);
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &out);
}

hf_next hf_front_reload_status(hf_exchange *x)
{
    return hf_front_ask_simply(x, HF_MSG_STATUS, HF_MSG_STATUS_REPLY, reload_known);
}

/* ---- high watermark ----------------------------------------------------------------------- */

static void put_watermark(hf_text *out, const hf_watermark *high)
{
    hf_text_put(out, "{");
    if (high->has_epochs != 0) {
        hf_text_put(out, "\"epoch\":\"%" PRIu64 "\"", high->target);
    }
    if (high->has_slot != 0) {
        hf_text_put(out, "%s\"slot\":\"%" PRIu64 "\"", high->has_epochs != 0 ? "," : "",
                    high->slot);
    }
    hf_text_put(out, "}");
}

static hf_next watermark_known(hf_exchange *x, const void *frame)
{
    const hf_msg_status_reply *s = frame;
    hf_text out;
    if (!hf_front_open_text(x, &out)) {
        return HF_NEXT_ANSWER;
    }
    put_watermark(&out, &s->high);
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &out);
}

hf_next hf_front_high_watermark(hf_exchange *x)
{
    return hf_front_ask_simply(x, HF_MSG_STATUS, HF_MSG_STATUS_REPLY, watermark_known);
}

/* ---- Holdfast's own status ---------------------------------------------------------------- */

static const char *overall_state(const hf_msg_status_reply *s)
{
    if (s->store_healthy == 0) {
        return "store_unavailable";
    }
    if (s->audit.is_on != 0 && s->audit.is_healthy == 0) {
        return "audit_unavailable";
    }
    if (s->loading != 0 || s->first_load_done == 0) {
        return "loading";
    }
    if (is_sealed(s)) {
        return "sealed";
    }
    return keys_are_up(s) ? "ready" : "no_keys";
}

static const char *protection_state_name(uint32_t state)
{
    static const char *const names[] = {"off", "on", "unavailable"};
    return state < HF_ARRAY_LEN(names) ? names[state] : "unavailable";
}

static void put_protections(hf_text *out, const hf_protection *items, uint32_t count)
{
    hf_text_put(out, "[");
    for (uint32_t i = 0; i < count && i < HF_PROTECTIONS_MAX; i++) {
        hf_text_put(out, "%s{\"name\":", i == 0 ? "" : ",");
        put_text(out, items[i].name, sizeof items[i].name);
        hf_text_put(out, ",\"state\":\"%s\",\"detail\":", protection_state_name(items[i].state));
        put_text(out, items[i].detail, sizeof items[i].detail);
        hf_text_put(out, "}");
    }
    hf_text_put(out, "]");
}

static void put_keys(hf_text *out, const hf_msg_status_reply *s)
{
    hf_text_put(out, "{\"loaded\":%u,\"by_backend\":{", s->keys_loaded);
    for (uint32_t i = 0; i < HF_BACKEND_COUNT; i++) {
        hf_text_put(out, "%s\"%s\":%u", i == 0 ? "" : ",", hf_key_backend_name((hf_key_backend)i),
                    s->keys_by_backend[i]);
    }
    hf_text_put(out, "},\"by_type\":{\"BLS\":%u,\"SECP256K1\":%u", s->keys_by_type[HF_KEY_TYPE_BLS],
                s->keys_by_type[HF_KEY_TYPE_SECP256K1]);
    hf_text_put(out, "},\"addresses\":[");
    for (uint32_t i = 0; i < s->address_count && i < HF_STATUS_ADDRESSES; i++) {
        char hex[2 * HF_ADDRESS_BYTES + 1];
        hf_hex_encode(s->addresses[i], HF_ADDRESS_BYTES, hex);
        hf_text_put(out, "%s\"0x%s\"", i == 0 ? "" : ",", hex);
    }
    hf_text_put(out, "],\"load\":{\"running\":%s,\"total\":%u,\"done\":%u,\"failed\":%u}}",
                s->loading != 0 ? "true" : "false", s->load_total, s->load_done, s->load_failed);
}

static void put_duties(hf_text *out, const hf_msg_status_reply *s)
{
    if (s->duty_configured == 0) {
        hf_text_put(out, ",\"duties\":{\"configured\":false}");
        return;
    }
    hf_text_put(out, ",\"duties\":{\"configured\":true,\"healthy\":%s,\"detail\":",
                s->duty_healthy != 0 ? "true" : "false");
    put_text(out, s->duty_detail, sizeof s->duty_detail);
    hf_text_put(out, "}");
}

static void put_custody(hf_text *out, const hf_custody_report *c)
{
    hf_text_put(out,
                "{\"backend\":\"%s\",\"place\":", hf_key_backend_name((hf_key_backend)c->backend));
    if (c->source == HF_SOURCE_NONE) {
        hf_text_put(out, "\"seal\"");
    } else {
        hf_text_put(out, "%u", c->source);
    }
    hf_text_put(out, ",\"healthy\":%s,\"detail\":", c->healthy != 0 ? "true" : "false");
    put_text(out, c->detail, sizeof c->detail);
    hf_text_put(out, ",\"keys\":%u,\"keys_failed\":%u,\"keys_other\":%u,\"problem\":", c->keys,
                c->keys_failed, c->keys_other);
    put_text(out, c->problem, sizeof c->problem);
    hf_text_put(out, ",\"seccomp\":\"%s\",\"landlock\":\"%s\"}", protection_state_name(c->seccomp),
                protection_state_name(c->landlock));
}

static void put_custodies(hf_text *out, const hf_msg_status_reply *s)
{
    hf_text_put(out, ",\"custody\":[");
    for (uint32_t i = 0; i < s->custody_count && i < HF_CUSTODIES_MAX; i++) {
        hf_text_put(out, "%s", i == 0 ? "" : ",");
        put_custody(out, &s->custodies[i]);
    }
    hf_text_put(out, "]");
}

static void put_audit(hf_text *out, const hf_msg_status_reply *s)
{
    const hf_audit_state *audit = &s->audit;
    if (audit->is_on == 0) {
        hf_text_put(out, ",\"audit\":{\"enabled\":false}");
        return;
    }
    hf_text_put(out,
                ",\"audit\":{\"enabled\":true,\"sync\":\"%s\",\"healthy\":%s,\"broken\":%s,"
                "\"lines\":\"%" PRIu64 "\",\"detail\":",
                audit->is_strict != 0 ? "always" : "interval",
                audit->is_healthy != 0 ? "true" : "false", audit->is_broken != 0 ? "true" : "false",
                audit->seq);
    put_text(out, audit->detail, sizeof audit->detail);
    hf_text_put(out, "}");
}

static void put_node(hf_text *out, const hf_front_context *context)
{
    if (context->node.timeout_ms == 0) {
        hf_text_put(out, ",\"node\":{\"configured\":false}");
        return;
    }
    hf_text_put(out, ",\"node\":{\"configured\":true,\"connected\":%s,\"protections\":",
                context->node.is_connected ? "true" : "false");
    put_protections(out, context->node.protections.items, context->node.protections.count);
    hf_text_put(out, "}");
}

static void put_guard(hf_text *out, const hf_guard_report *guard)
{
    hf_text_put(out, ",\"start_guard\":{\"state\":\"%s\",\"memory_witness\":%s,\"detail\":",
                hf_guard_state_name((hf_guard_state)guard->state),
                guard->has_memory_witness != 0 ? "true" : "false");
    const char *sentence = hf_guard_cause_sentence((hf_guard_cause)guard->cause);
    put_text(out, sentence, strlen(sentence) + 1);
    hf_text_put(out, ",\"floors\":");
    put_watermark(out, &guard->floors);
    hf_text_put(out, "}");
}

static void put_status(hf_text *out, const hf_front_context *context, const hf_msg_status_reply *s)
{
    char since[TIME_BYTES];
    format_time(since, s->started_unix_ms);
    hf_text_put(out,
                "{\"version\":\"%s\",\"state\":\"%s\",\"started\":\"%s\",\"network\":", HF_VERSION,
                overall_state(s), since);
    put_text(out, s->network, sizeof s->network);
    hf_text_put(out, ",\"keys\":");
    put_keys(out, s);
    hf_text_put(out,
                ",\"store\":{\"healthy\":%s,\"detail\":", s->store_healthy != 0 ? "true" : "false");
    put_text(out, s->store_detail, sizeof s->store_detail);
    hf_text_put(out, ",\"backend\":\"%s\"",
                hf_store_backend_name((hf_store_backend)s->store_backend));
    hf_text_put(out, "}");
    put_guard(out, &s->guard);
    put_duties(out, s);
    put_custodies(out, s);
    put_node(out, context);
    put_audit(out, s);
    hf_text_put(out, ",\"reload\":");
    put_reload(out, s);
    hf_text_put(out, ",\"high_watermark\":");
    put_watermark(out, &s->high);
    hf_text_put(out, ",\"tls\":%s,\"protections\":{\"keeper\":", context->tls ? "true" : "false");
    put_protections(out, s->protections, s->protection_count);
    hf_text_put(out, ",\"front\":");
    put_protections(out, context->protections.items, context->protections.count);
    if (s->store_backend != HF_STORE_SQLITE) {
        hf_text_put(out, ",\"store\":");
        put_protections(out, s->store_protections, s->store_protection_count);
    }
    if (s->duty_configured != 0) {
        hf_text_put(out, ",\"duty\":");
        put_protections(out, s->duty_protections, s->duty_protection_count);
    }
    hf_text_put(out, "}}");
}

static hf_next status_known(hf_exchange *x, const void *frame)
{
    hf_text out;
    if (!hf_front_open_text(x, &out)) {
        return HF_NEXT_ANSWER;
    }
    put_status(&out, x->context, frame);
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &out);
}

hf_next hf_front_status(hf_exchange *x)
{
    return hf_front_ask_simply(x, HF_MSG_STATUS, HF_MSG_STATUS_REPLY, status_known);
}
