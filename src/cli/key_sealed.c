/* holdfast key, for the sealed keys of a running signer: through its admin socket. */
#include "key_sealed.h"

#include <inttypes.h>

/* The signer reads what another node changed: a moment. */
#define BUSY_TRIES 40
#define BUSY_PAUSE_NS (50 * HF_NS_PER_MS)
#define HEX_CHARS (2 * HF_SEALED_NAME_BYTES + 1)

struct hf_key_sealer {
    hf_slab *slab;
    struct sealer_place {
        bool is_put;
        hf_key_outcome outcome;
        uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
        uint8_t *secret; /* a slot of the slab */
    } * places;
    size_t count;
};

hf_status hf_cli_sealer_new(size_t count, hf_key_sealer **ret_sealer, hf_error *err)
{
    hf_key_sealer *sealer = calloc(1, sizeof *sealer);
    if (sealer == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_slab_new(HF_SEALED_SECRET_BYTES, count, false, &sealer->slab, err);
    sealer->places = calloc(count, sizeof *sealer->places);
    if (!hf_failed(st) && sealer->places == NULL) {
        st = hf_fail(err, HF_NOMEM, "out of memory");
    }
    if (hf_failed(st)) {
        hf_cli_sealer_free(sealer);
        return st;
    }
    sealer->count = count;
    for (size_t i = 0; i < count; i++) { /* now: the slab is one thread's */
        sealer->places[i].secret = hf_slab_alloc(sealer->slab);
        sealer->places[i].outcome = HF_KEY_ERROR;
    }
    *ret_sealer = sealer;
    return hf_ok();
}

void hf_cli_sealer_free(hf_key_sealer *sealer)
{
    if (sealer != NULL) {
        for (size_t i = 0; sealer->places != NULL && i < sealer->count; i++) {
            hf_slab_release(sealer->slab, sealer->places[i].secret);
        }
        hf_slab_free(sealer->slab);
        free(sealer->places);
        free(sealer);
    }
}

void hf_cli_sealer_put(hf_key_sealer *sealer, size_t index, const hf_bls_key *key,
                       const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    struct sealer_place *place = &sealer->places[index];
    hf_bls_key_to_bytes(key, place->secret);
    memcpy(place->pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    place->is_put = true;
}

hf_key_outcome hf_cli_sealer_outcome(const hf_key_sealer *sealer, size_t index)
{
    return sealer->places[index].outcome;
}

const uint8_t *hf_cli_sealer_pubkey(const hf_key_sealer *sealer, size_t index)
{
    return sealer->places[index].pubkey;
}

/* One frame of keys, by their places. */
static hf_status send_some(hf_key_sealer *sealer, hf_admin *admin, const size_t places[], size_t n,
                           hf_error *err)
{
    hf_msg_sealed_add frame = {.count = (uint32_t)n};
    hf_msg_sealed_added answer;
    for (size_t i = 0; i < n; i++) {
        memcpy(frame.keys[i].secret, sealer->places[places[i]].secret, HF_SEALED_SECRET_BYTES);
    }
    hf_status st = {HF_CONFLICT};
    for (unsigned i = 0; i < BUSY_TRIES && st.code == HF_CONFLICT; i++) {
        hf_time_sleep_ns(i == 0 ? 0 : BUSY_PAUSE_NS);
        st = hf_admin_call(admin, &frame, HF_MSG_SEALED_ADD, HF_MSG_SEALED_ADDED, &answer, err);
    }
    hf_wipe(&frame, sizeof frame);
    if (hf_failed(st)) {
        return st;
    }
    for (size_t i = 0; i < n && i < answer.count; i++) {
        const hf_sealed_outcome *outcome = &answer.keys[i];
        struct sealer_place *place = &sealer->places[places[i]];
        bool is_it = hf_bytes_equal(outcome->name, place->pubkey, HF_BLS_PUBKEY_BYTES);
        place->outcome = is_it && outcome->outcome <= HF_KEY_ERROR
                             ? (hf_key_outcome)outcome->outcome
                             : HF_KEY_ERROR;
    }
    return st;
}

/* Keys of one page of the manifest go together: each frame then writes few pages. */
hf_status hf_cli_sealer_send(hf_key_sealer *sealer, hf_admin *admin, hf_error *err)
{
    size_t places[HF_SEALED_ADD_MAX];
    size_t n = 0;
    hf_status st = hf_ok();
    for (unsigned page = 0; page < HF_MANIFEST_PAGES && !hf_failed(st); page++) {
        for (size_t i = 0; i < sealer->count && !hf_failed(st); i++) {
            if (!sealer->places[i].is_put ||
                hf_manifest_page_of(sealer->places[i].pubkey) != page) {
                continue;
            }
            places[n++] = i;
            if (n == HF_SEALED_ADD_MAX) {
                st = send_some(sealer, admin, places, n, err);
                n = 0;
            }
        }
    }
    return hf_failed(st) || n == 0 ? st : send_some(sealer, admin, places, n, err);
}

/* ---- verbs ------------------------------------------------------------------------------------
 */

/* 48 bytes, or the 20 of an address. */
static hf_status parse_name(const char *text, uint8_t ret_name[HF_SEALED_NAME_BYTES], hf_error *err)
{
    memset(ret_name, 0, HF_SEALED_NAME_BYTES);
    if (hf_failed(hf_hex_decode(text, strlen(text), ret_name, HF_BLS_PUBKEY_BYTES)) &&
        hf_failed(hf_hex_decode(text, strlen(text), ret_name, HF_ADDRESS_BYTES))) {
        return hf_fail(err, HF_USAGE, "a public key is 48 bytes in hex, an address 20");
    }
    return hf_ok();
}

static hf_status change_key(const hf_config_flags *flags, const char *text, hf_sealed_action action,
                            hf_error *err)
{
    hf_msg_sealed_change frame = {.action = action};
    hf_msg_result result = {.value = HF_KEY_ERROR};
    hf_admin *admin = NULL;
    hf_status st = parse_name(text, frame.name, err);
    if (!hf_failed(st)) {
        st = hf_cli_signer_connect(flags, &admin, err);
    }
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &frame, HF_MSG_SEALED_CHANGE, HF_MSG_RESULT, &result, err);
    }
    hf_admin_close(admin);
    if (hf_failed(st)) {
        return st;
    }
    if (result.value == HF_KEY_NOT_FOUND) {
        return hf_fail(err, HF_NOT_FOUND, "no sealed key has this name");
    }
    if (result.value == HF_KEY_ERROR) {
        return hf_fail(err, HF_CORRUPT, "%.*s", HF_DETAIL_LEN - 1, result.detail);
    }
    return hf_ok();
}

static int run_change(const hf_cli_command *command, hf_config_flags *flags,
                      hf_sealed_action action, const char *done, int argc, char **argv)
{
    hf_error err = {0};
    int first = 0;
    int status = hf_cli_parse(command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    if (hf_failed(change_key(flags, argv[first], action, &err))) {
        return hf_cli_report(&err);
    }
    (void)printf("%s\n", done);
    return HF_EXIT_DONE;
}

int hf_cli_key_activate(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {HF_CLI_STORE_OPTIONS(flags)};
    const hf_cli_command command = {
        .name = "key activate",
        .arguments = "PUBKEY",
        .summary = "Lets a sealed key sign again.",
        .details = "Make sure that nothing else signs with it, and that its history is here.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    return run_change(&command, &flags, HF_SEALED_ACTIVATE, "active", argc, argv);
}

int hf_cli_key_deactivate(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {HF_CLI_STORE_OPTIONS(flags)};
    const hf_cli_command command = {
        .name = "key deactivate",
        .arguments = "PUBKEY",
        .summary = "Keeps a sealed key and lets it sign nothing.",
        .details = "When the command is done, no request signs with the key any more.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    return run_change(&command, &flags, HF_SEALED_DEACTIVATE, "inactive", argc, argv);
}

int hf_cli_sealed_delete(const hf_config_flags *flags, const char *pubkey)
{
    hf_error err = {0};
    if (hf_failed(change_key(flags, pubkey, HF_SEALED_DELETE, &err))) {
        return hf_cli_report(&err);
    }
    (void)printf("deleted; its slashing protection history stays\n");
    return HF_EXIT_DONE;
}

/* ---- list -------------------------------------------------------------------------------------
 */

static void print_entry(const hf_sealed_entry *entry, json_t *array)
{
    const hf_sealed_key key = {.type = entry->type};
    hf_sealed_key named = key;
    char text[HF_SEALED_TEXT_LEN];
    memcpy(named.name, entry->name, sizeof named.name);
    hf_sealed_key_text(&named, text);
    const char *status = entry->is_refused != 0              ? "refused"
                         : entry->status == HF_SEALED_ACTIVE ? "active"
                                                             : "inactive";
    if (array != NULL) {
        (void)json_array_append_new(
            array, json_pack("{s:s, s:s, s:s}", "pubkey", text, "status", status, "type",
                             entry->type == HF_KEY_TYPE_BLS ? "BLS" : "SECP256K1"));
    } else {
        (void)printf("%-9s %s\n", status, text);
    }
}

static hf_status list_page(hf_admin *admin, uint32_t page, json_t *array, hf_error *err)
{
    hf_msg_sealed_listed *answer = calloc(1, sizeof *answer);
    uint32_t offset = 0;
    if (answer == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st;
    do {
        hf_msg_sealed_list frame = {.page = page, .offset = (uint16_t)offset};
        st = hf_admin_call(admin, &frame, HF_MSG_SEALED_LIST, HF_MSG_SEALED_LISTED, answer, err);
        for (uint32_t i = 0; !hf_failed(st) && i < answer->count && i < HF_SEALED_PAGE; i++) {
            print_entry(&answer->keys[i], array);
        }
        offset += answer->count;
    } while (!hf_failed(st) && answer->count > 0 && offset < answer->total);
    free(answer);
    return st;
}

int hf_cli_sealed_list(const hf_config_flags *flags, bool as_json)
{
    hf_error err = {0};
    hf_admin *admin = NULL;
    json_t *array = as_json ? json_array() : NULL;
    hf_status st = hf_cli_signer_connect(flags, &admin, &err);
    for (uint32_t page = 0; page < HF_MANIFEST_PAGES && !hf_failed(st); page++) {
        st = list_page(admin, page, array, &err);
    }
    hf_admin_close(admin);
    if (!hf_failed(st) && as_json && json_dumpf(array, stdout, JSON_INDENT(2)) == 0) {
        (void)printf("\n");
    }
    json_decref(array);
    return hf_failed(st) ? hf_cli_report(&err) : HF_EXIT_DONE;
}
