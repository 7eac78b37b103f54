/*
 * Networks that are not built in: from Holdfast's own keys or from a consensus client's config.yaml
 * (consensus-specs configs/, with the genesis_validators_root.txt that devnet tools put beside it).
 */
#include "config_internal.h"

#include <ctype.h>

#define SLOTS_PER_EPOCH_MAX 1024
#define SLOT_MS_MAX 3600000
#define SLOT_SECONDS_MAX (SLOT_MS_MAX / 1000)
#define DEFAULT_SLOTS_PER_EPOCH 32
#define DEFAULT_SLOT_MS 12000
#define ROOT_FILE_BYTES 256

#define UNNAMED "unnamed"

typedef enum member_type { MEMBER_NAME, MEMBER_VERSION, MEMBER_ROOT, MEMBER_NUMBER } member_type;

typedef struct member {
    const char *ours;
    const char *theirs; /* a consensus client's spelling */
    member_type type;
    size_t offset;
    uint64_t least;
    uint64_t most;
    bool is_required;
} member;

#define AT(field) offsetof(hf_network, field)

enum { ROOT_MEMBER = 1, SLOTS_MEMBER = 3, SLOT_MS_MEMBER = 4 };

static const member members[] = {
    {"name", "CONFIG_NAME", MEMBER_NAME, AT(name), 0, 0, false},
    {"genesis_validators_root", "GENESIS_VALIDATORS_ROOT", MEMBER_ROOT, AT(genesis_validators_root),
     0, 0, true},
    {"genesis_time", "GENESIS_TIME", MEMBER_NUMBER, AT(genesis_time), 0, INT64_MAX, false},
    {"slots_per_epoch", "SLOTS_PER_EPOCH", MEMBER_NUMBER, AT(slots_per_epoch), 1,
     SLOTS_PER_EPOCH_MAX, false},
    {"slot_ms", "SLOT_DURATION_MS", MEMBER_NUMBER, AT(slot_ms), 1, SLOT_MS_MAX, false},
    {"genesis_fork_version", "GENESIS_FORK_VERSION", MEMBER_VERSION, AT(genesis_fork_version), 0, 0,
     true},
    {"capella_fork_version", "CAPELLA_FORK_VERSION", MEMBER_VERSION, AT(capella_fork_version), 0, 0,
     true},
    {"deneb_fork_epoch", "DENEB_FORK_EPOCH", MEMBER_NUMBER, AT(deneb_epoch), 0, UINT64_MAX, true},
    {"electra_fork_epoch", "ELECTRA_FORK_EPOCH", MEMBER_NUMBER, AT(electra_epoch), 0, UINT64_MAX,
     false},
    {"gloas_fork_epoch", "GLOAS_FORK_EPOCH", MEMBER_NUMBER, AT(gloas_epoch), 0, UINT64_MAX, false},
};
_Static_assert(HF_ARRAY_LEN(members) == HF_NETWORK_MEMBERS, "hf_network_draft.has");

static const char *const network_names[] = {"mainnet", "sepolia", "holesky",
                                            "hoodi",   "gnosis",  "chiado"};

void hf_network_draft_init(hf_network_draft *draft)
{
    memset(draft, 0, sizeof *draft);
    (void)snprintf(draft->network.name, sizeof draft->network.name, UNNAMED);
    draft->network.slots_per_epoch = DEFAULT_SLOTS_PER_EPOCH;
    draft->network.slot_ms = DEFAULT_SLOT_MS;
    draft->network.deneb_epoch = HF_EPOCH_NEVER;
    draft->network.electra_epoch = HF_EPOCH_NEVER;
    draft->network.gloas_epoch = HF_EPOCH_NEVER;
}

static hf_status set_member(hf_network_draft *draft, size_t index, const char *text, hf_error *why)
{
    const member *m = &members[index];
    void *field = (char *)&draft->network + m->offset;
    uint64_t value = 0;
    switch (m->type) {
    case MEMBER_NAME:
        if (hf_failed(hf_str_copy(field, HF_NETWORK_NAME_LEN, text))) {
            return hf_fail(why, HF_USAGE, "longer than %d letters", HF_NETWORK_NAME_LEN - 1);
        }
        break;
    case MEMBER_VERSION:
        if (hf_failed(hf_hex_decode(text, strlen(text), field, 4))) {
            return hf_fail(why, HF_USAGE, "give 4 bytes in hex, such as 0x10000038");
        }
        break;
    case MEMBER_ROOT:
        if (hf_failed(hf_hex_decode(text, strlen(text), field, HF_ROOT_BYTES))) {
            return hf_fail(why, HF_USAGE, "give 32 bytes in hex");
        }
        break;
    case MEMBER_NUMBER:
        if (hf_failed(hf_num_parse_u64(text, strlen(text), &value)) || value < m->least ||
            value > m->most) {
            return hf_fail(why, HF_USAGE, "give a number from %llu to %llu",
                           (unsigned long long)m->least, (unsigned long long)m->most);
        }
        *(uint64_t *)field = value;
        break;
    }
    draft->has[index] = true;
    return hf_ok();
}

/* What only consensus clients write: presets stand for a bundle, slots used to last seconds. */
static hf_status set_client_key(hf_network_draft *draft, const char *key, const char *text,
                                hf_error *why)
{
    uint64_t seconds = 0;
    if (strcmp(key, "PRESET_BASE") == 0) {
        if (strcmp(text, "mainnet") != 0 && strcmp(text, "gnosis") != 0) {
            return hf_fail(why, HF_USAGE, "Holdfast knows the presets mainnet and gnosis alone");
        }
        if (!draft->has[SLOTS_MEMBER]) {
            draft->network.slots_per_epoch = text[0] == 'g' ? 16 : DEFAULT_SLOTS_PER_EPOCH;
        }
    } else if (strcmp(key, "SECONDS_PER_SLOT") == 0 && !draft->has[SLOT_MS_MEMBER]) {
        if (hf_failed(hf_num_parse_u64(text, strlen(text), &seconds)) || seconds == 0 ||
            seconds > SLOT_SECONDS_MAX) {
            return hf_fail(why, HF_USAGE, "give a number from 1 to %d", SLOT_SECONDS_MAX);
        }
        draft->network.slot_ms = seconds * 1000;
    }
    return hf_ok();
}

static hf_status apply_entry(hf_network_draft *draft, const hf_yaml_entry *entry, const char *key,
                             const hf_origin *origin, hf_error *err)
{
    hf_error why = {0};
    hf_status st = hf_ok();
    size_t index = HF_NETWORK_MEMBERS;
    for (size_t i = 0; i < HF_NETWORK_MEMBERS; i++) {
        if (strcmp(key, members[i].ours) == 0 || strcmp(key, members[i].theirs) == 0) {
            index = i;
        }
    }
    bool is_client_key = isupper((unsigned char)key[0]) != 0;
    if (index == HF_NETWORK_MEMBERS && !is_client_key) {
        return hf_config_refuse(
            origin, entry->path, err,
            "unknown key; a network has name, genesis_validators_root, "
            "genesis_fork_version, capella_fork_version, deneb_fork_epoch, ...");
    }
    if (entry->kind != HF_YAML_SCALAR && entry->kind != HF_YAML_QUOTED) {
        return index == HF_NETWORK_MEMBERS
                   ? hf_ok()
                   : hf_config_refuse(origin, entry->path, err, "no value; give one, or remove it");
    }
    st = index < HF_NETWORK_MEMBERS ? set_member(draft, index, entry->text, &why)
                                    : set_client_key(draft, key, entry->text, &why);
    if (hf_failed(st)) {
        return hf_config_refuse(origin, entry->path, err, "%s", why.msg);
    }
    return hf_ok();
}

hf_status hf_network_draft_apply(hf_network_draft *draft, const hf_yaml_doc *doc,
                                 const char *prefix, const char *name, hf_error *err)
{
    size_t prefix_len = strlen(prefix);
    for (size_t i = 0; i < doc->count; i++) {
        const hf_yaml_entry *entry = &doc->entries[i];
        if (strncmp(entry->path, prefix, prefix_len) != 0) {
            continue;
        }
        const char *key = entry->path + prefix_len;
        if (strpbrk(key, ".[") != NULL || (prefix_len > 0 && strcmp(key, "config") == 0)) {
            continue; /* inside something that a client has there, such as BLOB_SCHEDULE */
        }
        hf_origin origin = {.kind = HF_ORIGIN_FILE, .line = entry->line, .name = name};
        hf_status st = apply_entry(draft, entry, key, &origin, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

/* Devnet tools write the root, which no config.yaml has, into a file of its own. */
static hf_status apply_root_file(hf_network_draft *draft, const char *config_path, hf_error *err)
{
    char path[HF_PATH_LEN];
    hf_buf *text = NULL;
    const char *slash = strrchr(config_path, '/');
    int folder_len = slash == NULL ? 0 : (int)(slash - config_path + 1);
    hf_status st = hf_str_format(path, sizeof path, "%.*sgenesis_validators_root.txt", folder_len,
                                 config_path);
    if (hf_failed(st) || draft->has[ROOT_MEMBER]) {
        return hf_ok();
    }
    st = hf_file_read(path, ROOT_FILE_BYTES, &text, err);
    if (st.code == HF_NOT_FOUND) {
        return hf_ok();
    }
    if (hf_failed(st)) {
        return st;
    }
    char root[ROOT_FILE_BYTES + 1];
    size_t len = strcspn(hf_buf_text(text), " \t\r\n");
    memcpy(root, hf_buf_text(text), len);
    root[len] = '\0';
    hf_buf_free(text);
    return hf_error_wrap(err, hf_network_draft_root(draft, root, err), "%s", path);
}

hf_status hf_network_draft_apply_file(hf_network_draft *draft, const char *path, hf_error *err)
{
    hf_yaml_doc doc = {0};
    hf_status st = hf_yaml_read(path, path, &doc, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_network_draft_apply(draft, &doc, "", path, err);
    hf_yaml_free(&doc);
    if (hf_failed(st)) {
        return st;
    }
    return apply_root_file(draft, path, err);
}

hf_status hf_network_draft_root(hf_network_draft *draft, const char *hex, hf_error *err)
{
    uint8_t root[HF_ROOT_BYTES];
    if (hf_failed(hf_hex_decode(hex, strlen(hex), root, sizeof root))) {
        return hf_fail(err, HF_USAGE, "give 32 bytes in hex");
    }
    if (draft->has[ROOT_MEMBER] &&
        !hf_bytes_equal(root, draft->network.genesis_validators_root, sizeof root)) {
        return hf_fail(err, HF_CONFLICT, "differs from the configured network's root");
    }
    memcpy(draft->network.genesis_validators_root, root, sizeof root);
    draft->has[ROOT_MEMBER] = true;
    return hf_ok();
}

hf_status hf_network_draft_finish(hf_network_draft *draft, hf_network *ret_network, hf_error *err)
{
    for (size_t i = 0; i < HF_NETWORK_MEMBERS; i++) {
        if (members[i].is_required && !draft->has[i]) {
            return hf_fail(err, HF_NOT_FOUND, "%s (%s) is missing; signing needs it",
                           members[i].ours, members[i].theirs);
        }
    }
    *ret_network = draft->network;
    return hf_ok();
}

bool hf_network_text_is_path(const char *text)
{
    return strchr(text, '/') != NULL || hf_str_has_suffix(text, ".yaml") ||
           hf_str_has_suffix(text, ".yml");
}

static hf_status check_root_of_named(const hf_network *network, const char *root, hf_error *err)
{
    uint8_t given[HF_ROOT_BYTES];
    if (hf_failed(hf_hex_decode(root, strlen(root), given, sizeof given))) {
        return hf_fail(err, HF_USAGE, "--genesis-validators-root: give 32 bytes in hex");
    }
    if (!hf_bytes_equal(given, network->genesis_validators_root, sizeof given)) {
        return hf_fail(err, HF_USAGE,
                       "--genesis-validators-root: differs from that of %s, the configured network",
                       network->name);
    }
    return hf_ok();
}

hf_status hf_network_resolve(const char *text, const char *path, const char *root,
                             hf_network *ret_network, hf_error *err)
{
    hf_network_draft draft;
    const hf_network *known = hf_eth_network_find(text);
    hf_status st = hf_ok();
    if (known != NULL) {
        st = root == NULL ? hf_ok() : check_root_of_named(known, root, err);
        if (!hf_failed(st)) {
            *ret_network = *known;
        }
        return st;
    }
    if (!hf_network_text_is_path(text)) {
        return hf_fail(err, HF_USAGE,
                       "unknown network; give mainnet, sepolia, holesky, hoodi, gnosis, chiado, or "
                       "the path of a YAML file (with a / or ending in .yaml)");
    }
    hf_network_draft_init(&draft);
    st = hf_network_draft_apply_file(&draft, path, err);
    if (!hf_failed(st) && root != NULL) {
        st = hf_error_wrap(err, hf_network_draft_root(&draft, root, err),
                           "--genesis-validators-root");
    }
    if (!hf_failed(st)) {
        st = hf_error_wrap(err, hf_network_draft_finish(&draft, ret_network, err), "%s", path);
    }
    return st;
}

hf_status hf_network_from_root(const char *root, hf_network *ret_network, bool *ret_is_partial,
                               hf_error *err)
{
    hf_network_draft draft;
    hf_network_draft_init(&draft);
    hf_status st =
        hf_error_wrap(err, hf_network_draft_root(&draft, root, err), "--genesis-validators-root");
    if (hf_failed(st)) {
        return st;
    }
    *ret_network = draft.network;
    *ret_is_partial = true;
    for (size_t i = 0; i < HF_ARRAY_LEN(network_names); i++) {
        const hf_network *known = hf_eth_network_find(network_names[i]);
        if (known != NULL && hf_bytes_equal(known->genesis_validators_root,
                                            draft.network.genesis_validators_root, HF_ROOT_BYTES)) {
            *ret_network = *known;
            *ret_is_partial = false;
        }
    }
    return hf_ok();
}

hf_status hf_config_network(const char *name_or_path, hf_network *ret_network, hf_error *err)
{
    hf_status st = hf_network_resolve(name_or_path, name_or_path, NULL, ret_network, err);
    if (hf_network_text_is_path(name_or_path)) {
        return st; /* the sentence names the file already */
    }
    return hf_error_wrap(err, st, "%s", name_or_path);
}
