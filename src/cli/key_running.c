/* holdfast key list: the keys of a running signer, through its admin socket. */
#include "key_list.h"

/* A set of keys that changes while it is listed is listed anew this often, then taken as it comes.
 */
#define TRIES_MAX 4

typedef struct running_key {
    bool is_address;
    uint8_t name[HF_BLS_PUBKEY_BYTES];
    uint32_t backend;
    uint32_t source;
} running_key;

typedef struct running_list {
    hf_admin *admin;
    running_key *keys;
    size_t count;
    size_t capacity;
    uint64_t generation;
    bool is_changed;
} running_list;

static hf_status add(running_list *list, bool is_address, const uint8_t *name, uint32_t backend,
                     uint32_t source, hf_error *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? HF_KEYS_PAGE : 2 * list->capacity;
        running_key *keys = reallocarray(list->keys, capacity, sizeof *keys);
        if (keys == NULL) {
            return hf_fail(err, HF_NOMEM, "out of memory");
        }
        list->keys = keys;
        list->capacity = capacity;
    }
    running_key *key = &list->keys[list->count++];
    *key = (running_key){.is_address = is_address, .backend = backend, .source = source};
    memcpy(key->name, name, is_address ? HF_ADDRESS_BYTES : HF_BLS_PUBKEY_BYTES);
    return hf_ok();
}

static void compare_generation(running_list *list, uint64_t generation)
{
    list->is_changed |= list->count > 0 && generation != list->generation;
    list->generation = generation;
}

static hf_status list_bls(running_list *list, hf_error *err)
{
    static hf_msg_keys_reply page; /* large; one thread */
    uint32_t offset = 0;
    hf_status st;
    do {
        hf_msg_keys ask = {.offset = offset};
        st = hf_admin_call(list->admin, &ask, HF_MSG_KEYS, HF_MSG_KEYS_REPLY, &page, err);
        if (hf_failed(st) || page.count > HF_KEYS_PAGE) {
            return st;
        }
        compare_generation(list, page.generation);
        for (uint32_t i = 0; i < page.count && !hf_failed(st); i++) {
            const hf_key_entry *key = &page.keys[i];
            st = add(list, false, key->pubkey, key->backend, key->source, err);
        }
        offset += page.count;
    } while (!hf_failed(st) && page.count > 0 && offset < page.total);
    return st;
}

static hf_status list_accounts(running_list *list, hf_error *err)
{
    static hf_msg_eth1_keys_reply page; /* large; one thread */
    uint32_t offset = 0;
    hf_status st;
    do {
        hf_msg_eth1_keys ask = {.offset = offset};
        st = hf_admin_call(list->admin, &ask, HF_MSG_ETH1_KEYS, HF_MSG_ETH1_KEYS_REPLY, &page, err);
        if (hf_failed(st) || page.count > HF_ETH1_KEYS_PAGE) {
            return st;
        }
        compare_generation(list, page.generation);
        for (uint32_t i = 0; i < page.count && !hf_failed(st); i++) {
            const hf_eth1_key_entry *key = &page.keys[i];
            st = add(list, true, key->address, key->backend, key->source, err);
        }
        offset += page.count;
    } while (!hf_failed(st) && page.count > 0 && offset < page.total);
    return st;
}

static hf_status list_all(running_list *list, hf_error *err)
{
    hf_status st;
    unsigned tries = 0;
    do {
        list->count = 0;
        list->is_changed = false;
        st = list_bls(list, err);
        if (!hf_failed(st)) {
            st = list_accounts(list, err);
        }
    } while (!hf_failed(st) && list->is_changed && ++tries < TRIES_MAX);
    return st;
}

static const hf_custody_report *process_of(const hf_msg_status_reply *status,
                                           const running_key *key)
{
    for (uint32_t i = 0; i < status->custody_count && i < HF_CUSTODIES_MAX; i++) {
        const hf_custody_report *custody = &status->custodies[i];
        if (custody->source == key->source && custody->backend == key->backend) {
            return custody;
        }
    }
    return NULL;
}

static void print_key(const running_list *list, size_t index, const hf_msg_status_reply *status,
                      hf_key_listing *out)
{
    const running_key *key = &list->keys[index];
    hf_key_row row = {.type = key->is_address ? "SECP256K1" : "BLS",
                      .is_address = key->is_address,
                      .backend = hf_key_backend_name((hf_key_backend)key->backend),
                      .place = key->source,
                      .process = process_of(status, key)};
    hf_hex_encode(key->name, key->is_address ? HF_ADDRESS_BYTES : HF_BLS_PUBKEY_BYTES, row.hex);
    hf_cli_key_list_row(out, &row);
}

/* What the list of keys alone would hide. */
static void note_process(const hf_custody_report *process)
{
    const char *name = hf_key_backend_name((hf_key_backend)process->backend);
    if (process->source == HF_SOURCE_NONE) {
        return; /* of the seal: it has no keys */
    }
    if (process->healthy == 0) {
        (void)hf_cli_complain(HF_EXIT_DONE, "signing_keys[%u]: %s: %.*s", process->source, name,
                              HF_DETAIL_LEN - 1, process->detail);
    }
    if (process->keys_failed > 0) {
        (void)hf_cli_complain(
            HF_EXIT_DONE, "signing_keys[%u]: %s: %u cannot be used, the first: %.*s",
            process->source, name, process->keys_failed, HF_DETAIL_LEN - 1, process->problem);
    }
    if (process->keys_other > 0) {
        (void)hf_cli_complain(HF_EXIT_DONE,
                              "signing_keys[%u]: %s: %u more of P-256 or Ed25519, with which no "
                              "route signs",
                              process->source, name, process->keys_other);
    }
}

hf_status hf_cli_key_list_running(hf_admin *admin, hf_key_listing *out, hf_error *err)
{
    static hf_msg_status_reply status; /* large; one thread */
    hf_msg_ask ask = {.header = {0}};
    running_list list = {.admin = admin};
    hf_status st = list_all(&list, err);
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &ask, HF_MSG_STATUS, HF_MSG_STATUS_REPLY, &status, err);
    }
    for (size_t i = 0; i < list.count && !hf_failed(st); i++) {
        print_key(&list, i, &status, out);
    }
    for (uint32_t i = 0; i < status.custody_count && i < HF_CUSTODIES_MAX; i++) {
        note_process(&status.custodies[i]);
    }
    free(list.keys);
    return st;
}
