/* The words of policies: scopes, and what names may look like. */
#include "policy_internal.h"

static const struct {
    const char *name;
    hf_scope_keys keys;
} scopes[HF_SCOPE_COUNT] = {
    [HF_SCOPE_SIGN] = {"sign", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_DUTY] = {"duty", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_PUBLIC_KEYS] = {"public_keys", HF_SCOPE_KEYS_MAY},
    [HF_SCOPE_STATUS] = {"status", HF_SCOPE_KEYLESS},
    [HF_SCOPE_RELOAD] = {"reload", HF_SCOPE_KEYLESS},
    [HF_SCOPE_KEYS_LIST] = {"keys_list", HF_SCOPE_KEYS_MAY},
    [HF_SCOPE_KEYS_IMPORT] = {"keys_import", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_KEYS_DELETE] = {"keys_delete", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_KEYS_GENERATE] = {"keys_generate", HF_SCOPE_KEYLESS},
    [HF_SCOPE_KEYS_CHANGE] = {"keys_change", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_EXPORT] = {"export", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_IMPORT] = {"import", HF_SCOPE_KEYLESS},
    [HF_SCOPE_STORE] = {"store", HF_SCOPE_KEYLESS},
    [HF_SCOPE_SEAL_STATUS] = {"seal_status", HF_SCOPE_KEYLESS},
    [HF_SCOPE_SEAL_UNSEAL] = {"seal_unseal", HF_SCOPE_KEYLESS},
    [HF_SCOPE_SEAL_MANAGE] = {"seal_manage", HF_SCOPE_KEYLESS},
    [HF_SCOPE_TOKENS] = {"tokens", HF_SCOPE_KEYLESS},
    [HF_SCOPE_POLICIES] = {"policies", HF_SCOPE_KEYLESS},
    [HF_SCOPE_EXIT_APPROVE] = {"exit_approve", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_AUDIT] = {"audit", HF_SCOPE_KEYLESS},
    [HF_SCOPE_ETH1_TRANSACTION] = {"eth1_transaction", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_ETH1_MESSAGE] = {"eth1_message", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_ETH1_TYPED_DATA] = {"eth1_typed_data", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_ETH1_DATA] = {"eth1_data", HF_SCOPE_KEYS_MUST},
    [HF_SCOPE_ETH1_NODE] = {"eth1_node", HF_SCOPE_KEYLESS},
};

_Static_assert(HF_SCOPE_COUNT < 64 && HF_OP_COUNT < 64, "a bit for each");

const char *hf_policy_scope_name(hf_scope scope)
{
    return (unsigned)scope < HF_SCOPE_COUNT ? scopes[scope].name : NULL;
}

bool hf_policy_scope_parse(const char *name, hf_scope *ret_scope)
{
    for (unsigned i = 0; i < HF_SCOPE_COUNT; i++) {
        if (strcmp(name, scopes[i].name) == 0) {
            *ret_scope = (hf_scope)i;
            return true;
        }
    }
    return false;
}

hf_scope_keys hf_policy_scope_keys(hf_scope scope)
{
    HF_ASSERT((unsigned)scope < HF_SCOPE_COUNT);
    return scopes[scope].keys;
}

bool hf_policy_word_is_plain(const char *text, size_t room)
{
    size_t len = strnlen(text, room);
    for (size_t i = 0; i < len; i++) {
        /* Not isalnum: the locale has no say in what a name is. */
        bool is_letter = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z');
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        if (!is_letter && !is_digit && text[i] != '_' && text[i] != '-') {
            return false;
        }
    }
    return len > 0 && len < room;
}

bool hf_policy_name_is_valid(const char *name)
{
    return hf_policy_word_is_plain(name, HF_POLICY_NAME_LEN);
}

bool hf_policy_tag_is_valid(const char *name)
{
    return hf_policy_word_is_plain(name, HF_POLICY_TAG_LEN);
}

bool hf_policy_certificate_is_valid(const char *text)
{
    size_t len = strnlen(text, HF_POLICY_CERTIFICATE_LEN);
    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\') {
            return false;
        }
    }
    return len > 0 && len < HF_POLICY_CERTIFICATE_LEN;
}
