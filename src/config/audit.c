/* What the keeper is told of the audit log. */
#include "audit/audit.h"
#include "config_internal.h"

#include <unistd.h>

static const struct sink {
    const char *name;
    uint32_t bit;
} sinks[] = {
    {"stdout", HF_AUDIT_SINK_STDOUT},
    {"syslog", HF_AUDIT_SINK_SYSLOG},
    {"journald", HF_AUDIT_SINK_JOURNALD},
};

static uint32_t sink_of(const char *word, size_t len)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(sinks); i++) {
        if (strlen(sinks[i].name) == len && strncmp(sinks[i].name, word, len) == 0) {
            return sinks[i].bit;
        }
    }
    return 0;
}

static hf_status read_sinks(const hf_settings *settings, uint32_t *ret_sinks, hf_error *err)
{
    const char *text = settings->config.audit_sinks;
    uint32_t found = 0;
    for (text += strspn(text, " ,"); *text != '\0'; text += strspn(text, " ,")) {
        size_t len = strcspn(text, " ,");
        uint32_t bit = sink_of(text, len);
        if (bit == 0) {
            return hf_config_refuse(
                &hf_config_setting(settings, "audit.sinks")->origin, "audit.sinks", err,
                "%.*s: no such sink; give stdout, syslog or journald", (int)len, text);
        }
        found |= bit;
        text += len;
    }
    *ret_sinks = found;
    return hf_ok();
}

/* The name that duties have, else the machine's. */
static void name_node(const hf_config *config, char out[HF_AUDIT_NODE_NAME_LEN])
{
    if (config->duties.node_id[0] != '\0') {
        hf_str_cut(out, HF_AUDIT_NODE_NAME_LEN, config->duties.node_id);
    } else if (gethostname(out, HF_AUDIT_NODE_NAME_LEN - 1) != 0) {
        out[0] = '\0';
    }
}

hf_status hf_config_finish_audit(hf_settings *settings, hf_error *err)
{
    hf_config *config = &settings->config;
    hf_audit_settings *audit = &config->audit;
    hf_status st =
        hf_config_absolute(config->data_dir, config->audit_path, config->audit_path, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "audit.path");
    }
    *audit =
        (hf_audit_settings){.rotate_bytes = config->audit_rotate_bytes, .sync = config->audit_sync};
    name_node(config, audit->node);
    if (config->audit_enabled) {
        memcpy(audit->path, config->audit_path, sizeof audit->path);
    }
    return read_sinks(settings, &audit->sinks, err);
}
