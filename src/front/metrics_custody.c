/* The metrics of back ends of custody. */
#include "front/metrics_text.h"

static void label(const hf_msg_metrics_reply *reply, uint32_t i, char *out, size_t out_len)
{
    const char *backend = hf_key_backend_name((hf_key_backend)reply->custody_backends[i]);
    uint32_t source = reply->custody_sources[i];
    if (source == HF_SOURCE_NONE) {
        (void)snprintf(out, out_len, "backend=\"%s\",place=\"seal\",", backend);
    } else {
        (void)snprintf(out, out_len, "backend=\"%s\",place=\"%u\",", backend, source);
    }
}

static void put_value(hf_text *out, const char *name, const char *labels, const char *more,
                      uint64_t value)
{
    int shown = (int)strlen(labels) - (more[0] == '\0');
    hf_text_put(out, "holdfast_%s{%.*s%s} %" PRIu64 "\n", name, shown, labels, more, value);
}

/* One metric at a time: all its lines stand together. */
void hf_front_put_custodies(hf_text *out, const hf_msg_metrics_reply *reply)
{
    static const struct {
        const char *name;
        const char *type;
        const char *help;
        size_t offset;
        const char *more;
    } rows[] = {
        {"custody_healthy", "gauge", "1 while the back end of custody answers.",
         offsetof(hf_custody_counters, healthy), ""},
        {"custody_keys", "gauge", "Keys that it brought.", offsetof(hf_custody_counters, keys), ""},
        {"custody_calls_total", "counter",
         "Signatures and unwrapped secrets asked of it, by what came of it.",
         offsetof(hf_custody_counters, done), "result=\"done\""},
        {"custody_calls_total", NULL, NULL, offsetof(hf_custody_counters, failed),
         "result=\"failed\""},
        {"custody_late_total", "counter", "Of those that failed: no answer in time.",
         offsetof(hf_custody_counters, late), ""},
        {"custody_wrong_total", "counter", "Of those that failed: a signature of another key.",
         offsetof(hf_custody_counters, wrong), ""},
        {"custody_starts_total", "counter", "Processes started for it.",
         offsetof(hf_custody_counters, starts), ""},
    };
    char labels[96];
    uint32_t count = reply->custody_count <= HF_CUSTODIES_MAX ? reply->custody_count : 0;
    for (size_t row = 0; row < HF_ARRAY_LEN(rows); row++) {
        if (rows[row].type != NULL) {
            hf_metric_head(out, rows[row].name, rows[row].type, rows[row].help);
        }
        for (uint32_t i = 0; i < count; i++) {
            uint64_t value = 0;
            memcpy(&value, (const uint8_t *)&reply->metrics.custodies[i] + rows[row].offset,
                   sizeof value);
            label(reply, i, labels, sizeof labels);
            put_value(out, rows[row].name, labels, rows[row].more, value);
        }
    }
    hf_metric_head(out, "custody_duration_seconds", "histogram",
                   "From the question to the back end's good answer.");
    for (uint32_t i = 0; i < count; i++) {
        label(reply, i, labels, sizeof labels);
        hf_metric_histogram(out, "custody_duration_seconds", labels,
                            &reply->metrics.custodies[i].duration);
    }
}
