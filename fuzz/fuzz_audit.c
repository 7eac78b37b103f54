/*
 * The audit log's lines as anybody may have written them. What is taken for a line is written as we
 * write them, no chain of foreign lines holds, and whatever bytes an event carries, its line is one
 * line, is bounded and is understood again.
 */
#include "audit/audit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[HF_AUDIT_KEY_BYTES] = {0x5a};

static void judge_line(const char *text, size_t len)
{
    hf_audit_line line;
    uint8_t mac[HF_AUDIT_MAC_BYTES] = {0};
    if (hf_failed(hf_audit_line_parse(text, len, &line))) {
        return;
    }
    HF_ASSERT(len < HF_AUDIT_LINE_MAX && line.body_len < len && line.seq > 0);
    HF_ASSERT(line.field_count >= 3 && line.field_count <= HF_AUDIT_FIELDS_MAX);
    for (size_t i = 0; i < line.field_count; i++) {
        const char *value = (const char *)line.fields[i].value.ptr;
        HF_ASSERT(value >= text && value + line.fields[i].value.len <= text + len);
        HF_ASSERT(memchr(value, '\n', line.fields[i].value.len) == NULL);
    }
    hf_audit_mac(key, mac, text, line.body_len, mac);
    HF_ASSERT(hf_audit_line_find(&line, "kind") != NULL);
}

static void judge_lines(const char *text, size_t len)
{
    hf_audit_check check;
    hf_audit_check_init(&check, key);
    while (len > 0 && check.fault == HF_AUDIT_SOUND) {
        const char *end = memchr(text, '\n', len);
        size_t part = end == NULL ? len : (size_t)(end - text);
        judge_line(text, part);
        if (!hf_audit_check_line(&check, text, part)) {
            char sentence[HF_ERROR_MSG_LEN];
            hf_audit_check_describe(&check, sentence, sizeof sentence);
            HF_ASSERT(sentence[0] != '\0' && check.fault != HF_AUDIT_SOUND);
        }
        text += end == NULL ? part : part + 1;
        len -= end == NULL ? part : part + 1;
    }
}

/* The bytes as what a client has a say in. */
static void judge_event(const uint8_t *data, size_t size)
{
    char out[HF_AUDIT_LINE_MAX];
    hf_audit_event event = {.kind = HF_AUDIT_REFUSED, .operation = "BLOCK_V2"};
    hf_audit_chain chain;
    hf_audit_check check;
    hf_audit_chain_init(&chain, key, "fuzz");
    hf_audit_check_init(&check, key);
    size_t len = hf_audit_chain_open(&chain, 0, out);
    HF_ASSERT(hf_audit_check_line(&check, out, len - 1));
    memcpy(event.text, data, size < sizeof event.text ? size : sizeof event.text);
    memcpy(&event.caller, data, size < sizeof event.caller ? size : sizeof event.caller);
    event.caller.has_address = size % 2 == 1;
    event.caller.is_local_admin = size % 3 == 1;
    len = hf_audit_chain_write(&chain, &event, (int64_t)size, out);
    HF_ASSERT(memchr(out, '\n', len) == out + len - 1);
    HF_ASSERT(hf_audit_check_line(&check, out, len - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    judge_lines((const char *)data, size);
    judge_event(data, size);
    return 0;
}
