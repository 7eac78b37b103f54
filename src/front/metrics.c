/* GET /metrics: the keeper's counters as Prometheus text (exposition format 0.0.4). docs/metrics.md
 * lists every name here with its counterpart in other signers. */
#include "front/metrics_text.h"

#include <ctype.h>

#define NS_PER_SECOND 1e9

void hf_metric_head(hf_text *out, const char *name, const char *type, const char *help)
{
    hf_text_put(out, "# HELP holdfast_%s %s\n# TYPE holdfast_%s %s\n", name, help, name, type);
}

static void put_one(hf_text *out, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    hf_metric_head(out, name, type, help);
    hf_text_put(out, "holdfast_%s %" PRIu64 "\n", name, value);
}

/* One histogram of durations; labels is "" or ends in a comma. */
void hf_metric_histogram(hf_text *out, const char *name, const char *labels, const hf_histogram *h)
{
    uint64_t total = 0;
    for (size_t i = 0; i + 1 < HF_BUCKETS; i++) {
        total += h->counts[i];
        hf_text_put(out, "holdfast_%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name, labels,
                    (double)hf_bucket_bounds_ns[i] / NS_PER_SECOND, total);
    }
    total += h->counts[HF_BUCKETS - 1];
    hf_text_put(out, "holdfast_%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, total);
    /* The same labels without le: no comma at the end, no braces around nothing. */
    size_t len = strlen(labels);
    const char *open = len > 0 ? "{" : "";
    const char *close = len > 0 ? "}" : "";
    int shown = len > 0 ? (int)len - 1 : 0;
    hf_text_put(out, "holdfast_%s_sum%s%.*s%s %.9f\n", name, open, shown, labels, close,
                (double)h->sum_ns / NS_PER_SECOND);
    hf_text_put(out, "holdfast_%s_count%s%.*s%s %" PRIu64 "\n", name, open, shown, labels, close,
                total);
}

static void put_signing(hf_text *out, const hf_metrics *m)
{
    static const char *const results[HF_RESULT_COUNT] = {"signed", "refused", "failed"};
    hf_metric_head(out, "signing_requests_total", "counter",
                   "Signing requests by type and result.");
    for (int op = 0; op < HF_OP_COUNT; op++) {
        for (int r = 0; r < HF_RESULT_COUNT; r++) {
            hf_text_put(out,
                        "holdfast_signing_requests_total{operation=\"%s\",result=\"%s\"} %" PRIu64
                        "\n",
                        hf_eth_operation_name((hf_operation)op), results[r], m->requests[op][r]);
        }
    }
}

/* The two that every validator makes are always there; the others from their first request on. */
static bool is_shown(const hf_metrics *m, int op)
{
    uint64_t seen = 0;
    for (int r = 0; r < HF_RESULT_COUNT; r++) {
        seen += m->requests[op][r];
    }
    return seen > 0 || op == HF_OP_ATTESTATION || op == HF_OP_BLOCK_V2;
}

static void put_durations(hf_text *out, const hf_metrics *m)
{
    static const char *const stages[HF_STAGE_COUNT] = {"decode", "decide", "sign", "total"};
    hf_metric_head(out, "signing_duration_seconds", "histogram",
                   "Time of signing requests by type and stage.");
    for (int op = 0; op < HF_OP_COUNT; op++) {
        if (!is_shown(m, op)) {
            continue;
        }
        for (int stage = 0; stage < HF_STAGE_COUNT; stage++) {
            char labels[128];
            hf_status st = hf_str_format(labels, sizeof labels, "operation=\"%s\",stage=\"%s\",",
                                         hf_eth_operation_name((hf_operation)op), stages[stage]);
            HF_ASSERT(!hf_failed(st));
            hf_metric_histogram(out, "signing_duration_seconds", labels, &m->duration[op][stage]);
        }
    }
}

/* Slashing protection's own count, from the same numbers: the 412 reasons. */
static void put_protection_counts(hf_text *out, const hf_metrics *m)
{
    uint64_t prevented = 0;
    for (int r = 0; r < HF_REASON_DUTY_CONFLICT; r++) { /* duties have their own */
        if (hf_reason_describe((hf_reason)r)->http_status == 412) {
            prevented += m->refusals[r];
        }
    }
    uint64_t permitted = m->requests[HF_OP_ATTESTATION][HF_RESULT_SIGNED] +
                         m->requests[HF_OP_BLOCK][HF_RESULT_SIGNED] +
                         m->requests[HF_OP_BLOCK_V2][HF_RESULT_SIGNED];
    put_one(out, "slashing_permitted_total", "counter",
            "Blocks and attestations signed after the protection allowed them.", permitted);
    put_one(out, "slashing_prevented_total", "counter",
            "Blocks and attestations refused by the slashing protection.", prevented);
}

static void put_refusals(hf_text *out, const hf_metrics *m)
{
    static const hf_reason auth[] = {HF_REASON_UNAUTHORIZED, HF_REASON_FORBIDDEN,
                                     HF_REASON_CROSS_ORIGIN, HF_REASON_RATE_LIMITED};
    hf_metric_head(out, "refusals_total", "counter",
                   "Requests refused, by the code of the answer.");
    for (int r = HF_REASON_OK + 1; r < HF_REASON_COUNT; r++) {
        hf_text_put(out, "holdfast_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
                    hf_reason_describe((hf_reason)r)->code, m->refusals[r]);
    }
    hf_metric_head(out, "auth_rejections_total", "counter",
                   "Requests refused for who sent them, by the code of the answer.");
    for (size_t i = 0; i < HF_ARRAY_LEN(auth); i++) {
        hf_text_put(out, "holdfast_auth_rejections_total{reason=\"%s\"} %" PRIu64 "\n",
                    hf_reason_describe(auth[i])->code, m->refusals[auth[i]]);
    }
}

static void put_tokens(hf_text *out, const hf_metrics *m)
{
    hf_metric_head(out, "token_rejections_total", "counter",
                   "Tokens refused, by what was wrong with them.");
    for (int v = HF_TOKEN_VALID + 1; v < HF_TOKEN_NEEDS_USES; v++) {
        hf_text_put(out, "holdfast_token_rejections_total{verdict=\"%s\"} %" PRIu64 "\n",
                    hf_token_verdict_name((hf_token_verdict)v), m->token_rejections[v]);
    }
}

static void put_keys(hf_text *out, const hf_metrics *m)
{
    hf_metric_head(out, "keys_loaded", "gauge", "Keys that can sign, by back end.");
    for (int b = 0; b < HF_BACKEND_COUNT; b++) {
        hf_text_put(out, "holdfast_keys_loaded{backend=\"%s\"} %" PRIu64 "\n",
                    hf_key_backend_name((hf_key_backend)b), m->keys_loaded[b]);
    }
    put_one(out, "key_load_failures_total", "counter", "Key files that could not be loaded.",
            m->keys_failed);
    put_one(out, "missing_keys_total", "counter", "Requests for a key that is not loaded.",
            m->missing_keys);
    put_one(out, "reloads_total", "counter", "Reloads of the configured keys.", m->reloads);
}

static void put_store(hf_text *out, const hf_metrics *m, uint32_t backend)
{
    uint64_t total = 0;
    hf_metric_head(out, "store_info", "gauge", "Always 1; the label says where records are kept.");
    hf_text_put(out, "holdfast_store_info{backend=\"%s\"} 1\n",
                hf_store_backend_name((hf_store_backend)backend));
    put_one(out, "store_starts_total", "counter",
            "Store processes started. Beyond 1: it died and was replaced.", m->store_starts);
    put_one(out, "store_late_answers_total", "counter",
            "Answers of the store that came after their requests were refused.",
            m->store_late_answers);
    put_one(out, "store_healthy", "gauge", "1 while the slashing protection store can record.",
            m->store_healthy);
    hf_metric_head(out, "start_guard", "gauge", "1 for the state that the start guard is in.");
    for (unsigned state = 0; state < HF_GUARD_STATE_COUNT; state++) {
        hf_text_put(out, "holdfast_start_guard{state=\"%s\"} %d\n",
                    hf_guard_state_name((hf_guard_state)state), m->guard_state == state);
    }
    put_one(out, "store_failures_total", "counter", "Commits that failed; nothing was signed.",
            m->store_failures);
    put_one(out, "pruned_rows_total", "counter", "Records pruned into watermarks.", m->pruned_rows);
    hf_metric_head(out, "store_commit_seconds", "histogram", "Time of one durable commit.");
    hf_metric_histogram(out, "store_commit_seconds", "", &m->store_commit);
    hf_metric_head(out, "store_batch_size", "histogram", "Requests recorded by one commit.");
    for (unsigned i = 0; i + 1 < HF_BATCH_BUCKETS; i++) {
        total += m->batch_counts[i];
        hf_text_put(out, "holdfast_store_batch_size_bucket{le=\"%u\"} %" PRIu64 "\n", 1U << i,
                    total);
    }
    total += m->batch_counts[HF_BATCH_BUCKETS - 1];
    hf_text_put(out,
                "holdfast_store_batch_size_bucket{le=\"+Inf\"} %" PRIu64
                "\nholdfast_store_batch_size_sum %" PRIu64
                "\nholdfast_store_batch_size_count %" PRIu64 "\n",
                total, m->batch_sum, total);
}

static void put_duties(hf_text *out, const hf_metrics *m)
{
    static const char *const results[HF_RESULT_COUNT] = {"signed", "refused", "failed"};
    static const char *const stages[HF_DUTY_STAGE_COUNT] = {
        "stage=\"acquire\",", "stage=\"complete\",", "stage=\"total\","};
    const hf_duty_counters *store = &m->duty_store;
    hf_metric_head(out, "duty_requests_total", "counter",
                   "Requests for duties by type and result.");
    for (uint32_t type = 0; type < HF_DUTY_TYPE_COUNT; type++) {
        for (int r = 0; r < HF_RESULT_COUNT; r++) {
            hf_text_put(out,
                        "holdfast_duty_requests_total{type=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                        hf_duty_type_name(type), results[r], m->duties[type][r]);
        }
    }
    put_one(out, "duty_stored_total", "counter",
            "Duties answered with the signature that was on record.", m->duties_stored);
    hf_metric_head(out, "duty_duration_seconds", "histogram", "Time of duties by stage.");
    for (int stage = 0; stage < HF_DUTY_STAGE_COUNT; stage++) {
        hf_metric_histogram(out, "duty_duration_seconds", stages[stage], &m->duty_duration[stage]);
    }
    put_one(out, "duty_store_healthy", "gauge", "1 while duty locks can be had.",
            m->duty_store_healthy);
    put_one(out, "duty_takeovers_total", "counter", "Locks of silent holders taken over.",
            store->takeovers);
    put_one(out, "duty_lost_locks_total", "counter", "Signatures withheld for a lost lock.",
            store->lost_locks);
    put_one(out, "duty_round_trips_total", "counter", "Batches of duties sent to the database.",
            store->round_trips);
    put_one(out, "duty_reconnects_total", "counter", "Connections to the database made again.",
            store->reconnects);
    put_one(out, "duty_cleaned_total", "counter", "Old and stuck duties cleaned into watermarks.",
            store->cleaned_stuck + store->cleaned_old);
    put_one(out, "duty_twin_nodes_total", "counter",
            "Locks of this node_id that another process took. Not 0: two nodes share a name.",
            store->twin_nodes);
}

static void put_eth1(hf_text *out, const hf_metrics *m)
{
    static const char *const results[HF_RESULT_COUNT] = {"signed", "refused", "failed"};
    hf_metric_head(out, "eth1_requests_total", "counter",
                   "Requests for signatures of the execution layer by kind and result.");
    for (uint32_t kind = 0; kind < HF_ETH1_KIND_COUNT; kind++) {
        for (int r = 0; r < HF_RESULT_COUNT; r++) {
            hf_text_put(out,
                        "holdfast_eth1_requests_total{kind=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                        hf_eth1_kind_name(kind), results[r], m->eth1[kind][r]);
        }
    }
    hf_metric_head(out, "eth1_duration_seconds", "histogram",
                   "Time of signatures of the execution layer by stage.");
    hf_metric_histogram(out, "eth1_duration_seconds", "stage=\"decode\",",
                        &m->eth1_duration[HF_STAGE_DECODE]);
    hf_metric_histogram(out, "eth1_duration_seconds", "stage=\"sign\",",
                        &m->eth1_duration[HF_STAGE_SIGN]);
    hf_metric_histogram(out, "eth1_duration_seconds", "stage=\"total\",",
                        &m->eth1_duration[HF_STAGE_TOTAL]);
    put_one(out, "eth1_node_calls_total", "counter",
            "Calls of other methods that were allowed to go to the node.", m->node_calls);
}

static void put_load(hf_text *out, const hf_front_context *context, const hf_metrics *m)
{
    put_one(out, "malformed_requests_total", "counter",
            "Requests refused before they reached the keeper.", m->malformed_requests);
    put_one(out, "in_flight", "gauge", "Signing requests under way.", m->in_flight);
    put_one(out, "in_flight_limit", "gauge", "Requests that one front lets wait at a time.",
            context->max_in_flight);
    put_one(out, "overload_total", "counter", "Requests refused because too many were under way.",
            m->overload);
    put_one(out, "hash_cache_hits_total", "counter", "Signatures that shared a hash to the curve.",
            m->hash_cache_hits);
    put_one(out, "hash_cache_misses_total", "counter", "Hashes to the curve computed.",
            m->hash_cache_misses);
    put_one(out, "fronts_started_total", "counter", "Fronts started since the keeper's start.",
            m->fronts_started);
    put_one(out, "bad_frames_total", "counter",
            "Frames that the keeper refused to read. Not 0: investigate.", m->bad_frames);
}

static void put_protections(hf_text *out, const hf_protection *items, uint32_t count,
                            const char *process)
{
    for (uint32_t i = 0; i < count && i < HF_PROTECTIONS_MAX; i++) {
        char name[HF_PROTECTION_NAME_LEN];
        size_t len = strnlen(items[i].name, sizeof items[i].name - 1);
        for (size_t k = 0; k < len; k++) {
            unsigned char c = (unsigned char)items[i].name[k];
            name[k] = isalnum(c) ? (char)c : '_';
        }
        name[len] = '\0';
        hf_text_put(out, "holdfast_protection_enabled{name=\"%s\",process=\"%s\"} %d\n", name,
                    process, items[i].state == HF_PROTECTION_ON);
    }
}

/* A network's name may come from a file: keep to what needs no escape in a label. */
static void put_build(hf_text *out, const hf_front_context *context, const hf_metrics *m)
{
    char network[HF_NETWORK_NAME_LEN];
    size_t len = strnlen(context->network.name, sizeof network - 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)context->network.name[i];
        network[i] = c >= 0x20 && c < 0x7f && c != '"' && c != '\\' ? (char)c : '_';
    }
    network[len] = '\0';
    hf_metric_head(out, "build_info", "gauge", "Always 1; the labels say what runs.");
    hf_text_put(out, "holdfast_build_info{version=\"%s\",network=\"%s\"} 1\n", HF_VERSION, network);
    hf_metric_head(out, "uptime_seconds", "gauge", "Time since the keeper's start.");
    hf_text_put(out, "holdfast_uptime_seconds %.3f\n", (double)m->uptime_ms / 1000.0);
}

static uint64_t keys_total(const hf_metrics *m)
{
    uint64_t total = 0;
    for (int b = 0; b < HF_BACKEND_COUNT; b++) {
        total += m->keys_loaded[b];
    }
    return total;
}

static void put_seal(hf_text *out, const hf_metrics *m)
{
    put_one(out, "seal_state", "gauge",
            "0 no sealed keys, 1 uninitialized, 2 awaiting registration, 3 sealed, 4 partly "
            "unsealed, 5 unsealed, 6 awaiting rotation.",
            m->seal_state);
    hf_metric_head(out, "seal_shares_total", "counter", "Shares of the seal that were given.");
    hf_text_put(out, "holdfast_seal_shares_total{result=\"wrong\"} %" PRIu64 "\n",
                m->seal_shares[0]);
    hf_text_put(out, "holdfast_seal_shares_total{result=\"right\"} %" PRIu64 "\n",
                m->seal_shares[1]);
    put_one(out, "sealed_keys_refused", "gauge",
            "Sealed keys whose records do not fit: changed, moved, put back or gone.",
            m->sealed_keys_refused);
}

static void put_audit(hf_text *out, const hf_metrics *m)
{
    put_one(out, "audit_healthy", "gauge",
            "1 while the audit log can be written, or there is none.", m->audit_healthy);
    put_one(out, "audit_broken", "gauge",
            "1 when the audit log was not as it was left, or does not fit the slashing record.",
            m->audit_broken);
    put_one(out, "audit_lines_total", "counter", "Lines written to the audit log.", m->audit_lines);
    put_one(out, "audit_failures_total", "counter",
            "Writes of the audit log that failed; nothing was signed.", m->audit_failures);
    put_one(out, "audit_unlogged_total", "counter",
            "Events that are in the audit log by their number alone.", m->audit_unlogged);
    put_one(out, "audit_rotations_total", "counter", "Files of the audit log begun.",
            m->audit_rotations);
    put_one(out, "audit_sink_lost_total", "counter", "Copies of lines that a sink did not take.",
            m->audit_sink_lost);
    hf_metric_head(out, "audit_commit_seconds", "histogram", "Time of one write of the audit log.");
    hf_metric_histogram(out, "audit_commit_seconds", "", &m->audit_commit);
}

hf_status hf_front_metrics_format(const hf_front_context *context,
                                  const hf_msg_metrics_reply *reply, hf_buf *out)
{
    const hf_metrics *m = &reply->metrics;
    hf_text text = {out, hf_ok()};
    put_build(&text, context, m);
    put_one(&text, "healthy", "gauge", "1 while it can sign: a key is loaded, the store records.",
            m->store_healthy != 0 && m->audit_healthy != 0 && keys_total(m) > 0);
    put_signing(&text, m);
    put_durations(&text, m);
    put_protection_counts(&text, m);
    put_refusals(&text, m);
    put_tokens(&text, m);
    put_keys(&text, m);
    put_store(&text, m, reply->store_backend);
    put_duties(&text, m);
    put_eth1(&text, m);
    hf_front_put_custodies(&text, reply);
    put_audit(&text, m);
    put_load(&text, context, m);
    put_seal(&text, m);
    put_one(&text, "canary_signing_total", "counter", "Requests for a key that must never sign.",
            m->canaries);
    hf_metric_head(&text, "protection_enabled", "gauge", "1 where a protection is really on.");
    put_protections(&text, reply->protections, reply->protection_count, "keeper");
    put_protections(&text, context->protections.items, context->protections.count, "front");
    put_protections(&text, reply->store_protections, reply->store_protection_count, "store");
    put_protections(&text, reply->duty_protections, reply->duty_protection_count, "duty");
    put_protections(&text, context->node.protections.items, context->node.protections.count,
                    "relay");
    return text.st;
}

static hf_next metrics_known(hf_exchange *x, const void *frame)
{
    hf_text text;
    if (!hf_front_open_text(x, &text)) {
        return HF_NEXT_ANSWER;
    }
    text.st = hf_front_metrics_format(x->context, frame, x->out);
    return hf_front_answer_text(x, 200, HF_CONTENT_METRICS, &text);
}

hf_next hf_front_metrics(hf_exchange *x)
{
    return hf_front_ask_simply(x, HF_MSG_METRICS, HF_MSG_METRICS_REPLY, metrics_known);
}
