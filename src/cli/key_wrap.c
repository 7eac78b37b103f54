/* holdfast key wrap, and key generate for what is not the sealed store. */
#include "key_wrap.h"

#define HEX_CHARS (2 * HF_BLS_PUBKEY_BYTES + 1)

static const hf_key_wrapper *const wrappers[] = {&hf_key_wrapper_awskms, &hf_key_wrapper_pkcs11,
                                                 &hf_key_wrapper_cloudhsm, &hf_key_wrapper_yubihsm};

typedef struct wrap_options {
    hf_config_flags flags;
    const char *backend;
    hf_cli_list set;
    hf_key_passwords passwords;
    bool json;
} wrap_options;

typedef struct wrap_run {
    hf_custody_settings settings;
    const hf_key_wrapper *wrapper;
    hf_key_list list;  /* empty when keys are made */
    hf_buf *password;  /* NULL: the list says where */
    hf_slab *slab;     /* of the secrets */
    uint8_t **secrets; /* slots of the slab */
    hf_key_wrapping *keys;
    size_t count;
} wrap_run;

/* ---- settings ----------------------------------------------------------------------------- */

/* And starts it: nothing was read yet. */
static hf_status find_wrapper(const char *name, const hf_key_wrapper **ret_wrapper, hf_error *err)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(wrappers) && name != NULL; i++) {
        if (strcmp(wrappers[i]->name, name) == 0) {
            *ret_wrapper = wrappers[i];
            return wrappers[i]->start != NULL ? wrappers[i]->start(err) : hf_ok();
        }
    }
    return hf_fail(err, HF_USAGE, "--backend: aws-kms, pkcs11, aws-cloudhsm or yubihsm");
}

static bool takes(const hf_key_wrapper *wrapper, const char *name)
{
    for (size_t i = 0; wrapper->settings[i] != NULL; i++) {
        const char *known = wrapper->settings[i];
        size_t len = strlen(known);
        if (strcmp(known, name) == 0 || (known[len - 1] == '.' && strncmp(known, name, len) == 0)) {
            return true;
        }
    }
    return false;
}

static hf_status put_set(const hf_key_wrapper *wrapper, const char *pair,
                         hf_custody_settings *settings, hf_error *err)
{
    char name[128];
    const char *equals = strchr(pair, '=');
    size_t len = equals != NULL ? (size_t)(equals - pair) : 0;
    if (len == 0 || len >= sizeof name || equals[1] == '\0') {
        return hf_fail(err, HF_USAGE, "--set: NAME=VALUE, as in the configuration");
    }
    memcpy(name, pair, len);
    name[len] = '\0';
    if (!takes(wrapper, name)) {
        return hf_fail(err, HF_USAGE, "--set: %s takes no %s", wrapper->name, name);
    }
    return hf_failed(hf_custody_settings_put(settings, name, equals + 1))
               ? hf_fail(err, HF_USAGE, "--set: too much")
               : hf_ok();
}

/* What --set does not say is as in the one entry of the configuration. */
static hf_status add_entry(const hf_config *config, const hf_key_wrapper *wrapper,
                           hf_custody_settings *settings, hf_error *err)
{
    const hf_custody_settings given = *settings;
    const char *name = NULL;
    const char *value = NULL;
    size_t offset = 0;
    const hf_custody_source *found = NULL;
    for (uint32_t i = 0; i < config->custody_count; i++) {
        const hf_custody_source *source = &config->custodies[i];
        if (source->source == HF_SOURCE_NONE ||
            strcmp(hf_key_backend_name((hf_key_backend)source->backend), wrapper->name) != 0) {
            continue;
        }
        if (found != NULL) {
            return hf_fail(err, HF_USAGE,
                           "the configuration has several entries of signing_keys with backend %s: "
                           "say which settings by --set, without -c",
                           wrapper->name);
        }
        found = source;
    }
    if (found == NULL) {
        return hf_fail(err, HF_USAGE, "the configuration has no entry with backend %s",
                       wrapper->name);
    }
    while (hf_custody_settings_next(&found->settings, &offset, &name, &value)) {
        if (hf_custody_setting(&given, name)[0] == '\0' &&
            hf_failed(hf_custody_settings_put(settings, name, value))) {
            return hf_fail(err, HF_USAGE, "--set: too much");
        }
    }
    return hf_ok();
}

static hf_status gather_settings(const hf_config_flags *flags, const hf_cli_list *set,
                                 wrap_run *run, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < set->count && !hf_failed(st); i++) {
        st = put_set(run->wrapper, set->items[i], &run->settings, err);
    }
    if (hf_failed(st) || flags->file == NULL) {
        return st;
    }
    hf_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    st = hf_config_load(flags, config, err);
    if (!hf_failed(st)) {
        st = add_entry(config, run->wrapper, &run->settings, err);
    }
    free(config);
    return st;
}

/* ---- keys --------------------------------------------------------------------------------- */

static hf_status make_room(wrap_run *run, size_t count, hf_error *err)
{
    run->count = count;
    run->keys = calloc(count, sizeof *run->keys);
    run->secrets = calloc(count, sizeof *run->secrets);
    hf_status st = run->keys == NULL || run->secrets == NULL
                       ? hf_fail(err, HF_NOMEM, "out of memory")
                       : hf_slab_new(HF_KEY_SECRET_BYTES, count, false, &run->slab, err);
    for (size_t i = 0; i < count && !hf_failed(st); i++) {
        run->secrets[i] = hf_slab_alloc(run->slab);
        HF_ASSERT(run->secrets[i] != NULL);
        run->keys[i].secret = run->secrets[i];
    }
    return st;
}

static void run_done(wrap_run *run)
{
    if (run->wrapper != NULL && run->wrapper->done != NULL) {
        run->wrapper->done();
    }
    hf_key_list_done(&run->list);
    hf_buf_free(run->password);
    hf_slab_free(run->slab);
    free(run->secrets);
    free(run->keys);
}

static hf_status decrypt_v3(hf_bytes json, hf_bytes password, const hf_keystore_limits *limits,
                            uint8_t *ret_secret, hf_key_wrapping *out, hf_error *err)
{
    hf_secp256k1_key key = {{0}};
    hf_status st = hf_keystore_v3_decrypt(json, password, limits, &key, err);
    if (!hf_failed(st)) {
        memcpy(ret_secret, key.secret, sizeof key.secret);
        out->type = HF_KEY_TYPE_SECP256K1;
        /* Best effort: its name is in the file. */
        hf_status named = hf_keystore_v3_address(json, out->pubkey, NULL);
        (void)named.code;
    }
    hf_wipe(&key, sizeof key);
    return st;
}

static hf_status decrypt_v4(hf_bytes json, hf_bytes password, const hf_keystore_limits *limits,
                            uint8_t *ret_secret, hf_key_wrapping *out, hf_error *err)
{
    hf_bls_key key;
    memset(&key, 0, sizeof key);
    hf_status st = hf_keystore_decrypt(json, password, limits, &key, err);
    if (!hf_failed(st)) {
        hf_bls_key_to_bytes(&key, ret_secret);
        hf_bls_pubkey(&key, out->pubkey);
        out->type = HF_KEY_TYPE_BLS;
    }
    hf_wipe(&key, sizeof key);
    return st;
}

static hf_bytes view(const hf_buf *buf)
{
    return hf_bytes_from(hf_buf_peek(buf), hf_buf_len(buf));
}

static hf_status read_password(const char *path, hf_buf **ret_password, hf_error *err)
{
    hf_status st = hf_file_check_private(path, err);
    return hf_failed(st) ? st : hf_file_read(path, HF_PASSWORD_MAX_BYTES, ret_password, err);
}

/* Each file has its own outcome; none stops the others. */
static hf_status open_one(void *context, size_t index, hf_error *err)
{
    const hf_keystore_limits limits = {.max_kdf_memory_bytes = HF_KEY_KDF_MEMORY_MAX};
    wrap_run *run = context;
    hf_key_wrapping *out = &run->keys[index];
    const hf_key_file *file = &run->list.files[index];
    hf_buf *json = NULL;
    hf_buf *own = NULL;
    (void)err;
    hf_status st = hf_file_read(file->path, HF_KEYSTORE_MAX_BYTES, &json, &out->err);
    if (!hf_failed(st) && run->password == NULL) {
        st = read_password(file->password_path, &own, &out->err);
    }
    if (!hf_failed(st)) {
        hf_bytes password = view(own != NULL ? own : run->password);
        st = hf_keystore_is_v3(view(json))
                 ? decrypt_v3(view(json), password, &limits, run->secrets[index], out, &out->err)
                 : decrypt_v4(view(json), password, &limits, run->secrets[index], out, &out->err);
        st = hf_failed(st) ? hf_error_wrap(&out->err, st, "%s", file->path) : st;
    }
    out->status = st;
    hf_buf_free(json);
    hf_buf_free(own);
    return hf_ok();
}

/* All or nothing: a wrong password is no reason to wrap half of a folder. */
static hf_status open_all(wrap_run *run, hf_error *err)
{
    hf_status st = hf_cli_key_jobs_run(run->count, open_one, run, err);
    for (size_t i = 0; i < run->count && !hf_failed(st); i++) {
        if (hf_failed(run->keys[i].status)) {
            st = hf_fail(err, run->keys[i].status.code, "%s", run->keys[i].err.msg);
        }
    }
    return st;
}

static hf_status make_one(void *context, size_t index, hf_error *err)
{
    wrap_run *run = context;
    uint8_t seed[HF_BLS_SECRET_BYTES];
    hf_bls_key key;
    hf_random(seed, sizeof seed);
    hf_status st = hf_eip2333_master(hf_bytes_from(seed, sizeof seed), &key);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "no key came of it");
    } else {
        hf_bls_key_to_bytes(&key, run->secrets[index]);
        hf_bls_pubkey(&key, run->keys[index].pubkey);
    }
    hf_wipe(seed, sizeof seed);
    hf_wipe(&key, sizeof key);
    return st;
}

/* ---- the report --------------------------------------------------------------------------- */

static void name_of(const hf_key_wrapping *key, char ret_hex[HEX_CHARS])
{
    hf_hex_encode(key->pubkey,
                  key->type == HF_KEY_TYPE_BLS ? HF_BLS_PUBKEY_BYTES : HF_ADDRESS_BYTES, ret_hex);
}

static json_t *to_json(const hf_key_wrapping *key)
{
    char hex[HEX_CHARS];
    name_of(key, hex);
    bool failed = hf_failed(key->status);
    json_t *row = json_pack("{s:s, s:o, s:o}", "status",
                            !failed                           ? "wrapped"
                            : key->status.code == HF_CONFLICT ? "duplicate"
                                                              : "error",
                            key->type == HF_KEY_TYPE_BLS ? "pubkey" : "address",
                            json_sprintf("0x%s", hex), "file", hf_cli_key_path_to_json(key->path));
    if (failed) {
        (void)json_object_set_new(row, "message", hf_cli_key_path_to_json(key->err.msg));
    }
    return row;
}

static int report(const wrap_run *run, bool as_json)
{
    size_t failed = 0;
    json_t *rows = as_json ? json_array() : NULL;
    for (size_t i = 0; i < run->count; i++) {
        const hf_key_wrapping *key = &run->keys[i];
        char hex[HEX_CHARS];
        name_of(key, hex);
        failed += hf_failed(key->status) && key->status.code != HF_CONFLICT;
        if (as_json) {
            (void)json_array_append_new(rows, to_json(key));
        } else if (hf_failed(key->status)) {
            (void)hf_cli_complain(HF_EXIT_FAILED, "%s", key->err.msg);
        } else {
            (void)printf("wrapped 0x%s  %s\n", hex, key->path);
        }
    }
    if (as_json) {
        (void)json_dumpf(rows, stdout, JSON_INDENT(2));
        (void)printf("\n");
    }
    json_decref(rows);
    return failed == 0 ? HF_EXIT_DONE : HF_EXIT_FAILED;
}

/* ---- commands ----------------------------------------------------------------------------- */

static hf_status prepare(const wrap_options *o, const char *place, wrap_run *run, hf_error *err)
{
    hf_status st = find_wrapper(o->backend, &run->wrapper, err);
    if (!hf_failed(st)) {
        st = gather_settings(&o->flags, &o->set, run, err);
    }
    if (!hf_failed(st)) {
        st = hf_cli_key_gather_keystores(place, &o->passwords, &run->list, &run->password, err);
    }
    return hf_failed(st) ? st : make_room(run, run->list.count, err);
}

static int run_wrap(const wrap_options *o, const char *place)
{
    wrap_run run = {0};
    hf_error err = {0};
    hf_status st = prepare(o, place, &run, &err);
    if (!hf_failed(st)) {
        st = open_all(&run, &err);
    }
    if (!hf_failed(st)) {
        st = run.wrapper->wrap(&run.settings, run.keys, run.count, &err);
    }
    int status = hf_failed(st) ? hf_cli_report(&err) : report(&run, o->json);
    run_done(&run);
    return status;
}

int hf_cli_key_wrap(int argc, char **argv)
{
    static wrap_options o; /* large; one thread, once */
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(o.flags),
        {.name = "backend",
         .argument = "NAME",
         .help = "aws-kms, or pkcs11, aws-cloudhsm, yubihsm: under a key in a token",
         .text = &o.backend},
        {.name = "set",
         .argument = "NAME=VALUE",
         .help = "a setting of the back end, before that of the configuration",
         .list = &o.set},
        HF_KEY_PASSWORD_OPTIONS(o.passwords),
        {.name = "json", .help = "print the outcome of each key as JSON", .on = &o.json},
    };
    const hf_cli_command command = {
        .name = "key wrap",
        .arguments = "KEYSTORES",
        .summary = "Wraps the keys of keystores under a key in a cloud or a token, into files of "
                   "blob_dir.",
        .details =
            "The settings are those of the one entry of signing_keys with this backend in the "
            "configuration,\nor given here: --set region=eu-west-1 --set key_id=ARN --set "
            "blob_dir=DIR\n--set encryption_context.network=mainnet. Each file is opened again "
            "by the cloud's key\nbefore it is kept; none is written over. Keep the keystores "
            "until the signer has signed\nwith the wrapped keys, and never let both sign.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_wrap(&o, argv[first]) : status;
}

static hf_status create_inside(const hf_key_generation *wanted, const wrap_run *run, hf_error *err)
{
    char name[HF_KEY_CREATED_LEN];
    const hf_key_creation creation = {.type = wanted->type, .label = wanted->label};
    hf_status st = hf_ok();
    json_t *rows = wanted->json ? json_array() : NULL;
    for (uint64_t i = 0; i < wanted->count && !hf_failed(st); i++) {
        st = run->wrapper->create(&run->settings, &creation, name, err);
        if (!hf_failed(st) && wanted->json) {
            (void)json_array_append_new(rows, json_pack("{s:s}", "key", name));
        } else if (!hf_failed(st)) {
            (void)printf("%s\n", name);
        }
    }
    if (wanted->json) {
        (void)json_dumpf(rows, stdout, JSON_INDENT(2));
        (void)printf("\n");
    }
    json_decref(rows);
    return st;
}

static hf_status generate(const hf_key_generation *wanted, wrap_run *run, bool *ret_inside,
                          hf_error *err)
{
    hf_status st = find_wrapper(wanted->backend, &run->wrapper, err);
    if (!hf_failed(st)) {
        st = gather_settings(wanted->flags, wanted->set, run, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    for (size_t i = 0; wanted->type != NULL && run->wrapper->types[i] != NULL; i++) {
        *ret_inside |= strcmp(wanted->type, run->wrapper->types[i]) == 0;
    }
    if (*ret_inside) {
        return create_inside(wanted, run, err);
    }
    if (wanted->type != NULL && strcmp(wanted->type, "bls") != 0) {
        return hf_fail(err, HF_USAGE, "--type: %s makes no such keys%s", run->wrapper->name,
                       run->wrapper->create == NULL ? "; the device's own tool makes those inside"
                                                    : "");
    }
    st = make_room(run, (size_t)wanted->count, err);
    if (!hf_failed(st)) {
        st = hf_cli_key_jobs_run(run->count, make_one, run, err);
    }
    return hf_failed(st) ? st : run->wrapper->wrap(&run->settings, run->keys, run->count, err);
}

int hf_cli_key_generate_outside(const hf_key_generation *wanted)
{
    wrap_run run = {0};
    hf_error err = {0};
    bool inside = false;
    hf_status st = generate(wanted, &run, &inside, &err);
    int status = hf_failed(st) ? hf_cli_report(&err)
                 : inside      ? HF_EXIT_DONE
                               : report(&run, wanted->json);
    run_done(&run);
    return status;
}
