/*
 * holdfast key deposit: signed deposit data, in the file format of the staking launchpad
 * (github.com/ethereum/staking-launchpad, validateDepositKey.ts).
 */
#include "key_internal.h"

#include <sys/stat.h>

/* The launchpad asks for at least this version of the tool whose format this is. */
#define DEPOSIT_FORMAT_VERSION "2.8.0"
#define DOMAIN_DEPOSIT 3U /* 0x03000000, little endian */
#define GWEI_PER_ETH 1000000000ULL
#define GWEI_DIGITS 9
#define AMOUNT_LEAST_ETH 1ULL
#define AMOUNT_MOST_ETH 32ULL
#define AMOUNT_MOST_COMPOUNDING_ETH 2048ULL /* EIP-7251 */
#define CREDENTIALS_BLS 0x00
#define CREDENTIALS_ADDRESS 0x01
#define CREDENTIALS_COMPOUNDING 0x02
#define OUTPUT_MODE (S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH)

typedef struct deposit_options {
    const char *network;
    const char *withdrawal_address;
    const char *amount;
    const char *output_dir;
    const char *keystore_dir;
    const char *password_file;
    const char *password_fd;
    const char *count;
    const char *start_index;
    hf_key_mnemonic_source mnemonic;
    bool compounding;
} deposit_options;

typedef struct deposit {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    uint8_t credentials[32];
    uint8_t signature[HF_BLS_SIGNATURE_BYTES];
    uint8_t message_root[HF_ROOT_BYTES];
    uint8_t data_root[HF_ROOT_BYTES];
} deposit;

typedef struct deposit_run {
    hf_network network;
    uint64_t amount_gwei;
    bool has_address;
    uint8_t address_credentials[32];
    hf_key_vault vault; /* for keys from a mnemonic */
    uint64_t start_index;
    hf_key_list keystores; /* for keys from keystores */
    hf_buf *password;
    deposit *deposits;
    size_t count;
} deposit_run;

/* ---- one deposit --------------------------------------------------------------------------- */

/* hash_tree_root(DepositData): four leaves, a pubkey of two chunks and a signature of three. */
static void data_root_of(const deposit *d, uint64_t amount, uint8_t ret_root[32])
{
    uint8_t leaves[4][32] = {{0}};
    uint8_t pubkey[2][32] = {{0}};
    uint8_t signature[3][32];
    memcpy(pubkey, d->pubkey, sizeof d->pubkey);
    memcpy(signature, d->signature, sizeof d->signature);
    hf_ssz_merkleize((const uint8_t(*)[32])pubkey, 2, 2, leaves[0]);
    memcpy(leaves[1], d->credentials, 32);
    hf_le64_put(leaves[2], amount);
    hf_ssz_merkleize((const uint8_t(*)[32])signature, 3, 4, leaves[3]);
    hf_ssz_merkleize((const uint8_t(*)[32])leaves, 4, 4, ret_root);
}

/* d holds pubkey and credentials already. */
static hf_status sign_deposit(const deposit_run *run, const hf_bls_key *key, deposit *d,
                              hf_error *err)
{
    /* A deposit is valid on its network from genesis on, whatever the fork and the root. */
    static const uint8_t no_root[32];
    const hf_bls_key *keys[] = {key};
    uint8_t domain[32];
    uint8_t root[32];
    hf_bls_point point;
    hf_eth_deposit_message_root(d->pubkey, d->credentials, run->amount_gwei, d->message_root);
    hf_eth_domain(DOMAIN_DEPOSIT, run->network.genesis_fork_version, no_root, domain);
    hf_eth_root_in_domain(d->message_root, domain, root);
    hf_bls_hash(root, &point);
    hf_bls_sign_many(&point, NULL, keys, 1, &d->signature);
    if (!hf_bls_verify(d->pubkey, root, d->signature)) {
        return hf_fail(err, HF_INTERNAL, "a signature just made does not verify");
    }
    data_root_of(d, run->amount_gwei, d->data_root);
    return hf_ok();
}

/* 0x00 || sha256(withdrawal pubkey)[1:] */
static hf_status bls_credentials(const deposit_run *run, uint64_t index, deposit *d, hf_error *err)
{
    char path[HF_KEY_PATH_CHARS];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_key key;
    hf_status st = hf_cli_key_derive(&run->vault, index, true, path, &key, err);
    if (!hf_failed(st)) {
        hf_bls_pubkey(&key, pubkey);
        hf_sha256(pubkey, sizeof pubkey, d->credentials);
        d->credentials[0] = CREDENTIALS_BLS;
    }
    hf_wipe(&key, sizeof key);
    return st;
}

static hf_status open_key(deposit_run *run, size_t i, hf_bls_key *ret_key, hf_error *err)
{
    char path[HF_KEY_PATH_CHARS];
    if (run->keystores.count == 0) {
        return hf_cli_key_derive(&run->vault, run->start_index + i, false, path, ret_key, err);
    }
    const hf_keystore_limits limits = {.max_kdf_memory_bytes = HF_KEY_KDF_MEMORY_MAX};
    const char *file = run->keystores.files[i].path;
    hf_buf *json = NULL;
    hf_status st = hf_file_read(file, HF_KEYSTORE_MAX_BYTES, &json, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_keystore_decrypt(hf_bytes_from(hf_buf_peek(json), hf_buf_len(json)),
                             hf_bytes_from(hf_buf_peek(run->password), hf_buf_len(run->password)),
                             &limits, ret_key, err);
    hf_buf_free(json);
    return hf_failed(st) ? hf_error_wrap(err, st, "%s", file) : st;
}

static hf_status make_one(void *context, size_t index, hf_error *err)
{
    deposit_run *run = context;
    deposit *d = &run->deposits[index];
    hf_bls_key key;
    memset(&key, 0, sizeof key);
    hf_status st = open_key(run, index, &key, err);
    if (hf_failed(st)) {
        goto out;
    }
    hf_bls_pubkey(&key, d->pubkey);
    if (run->has_address) {
        memcpy(d->credentials, run->address_credentials, sizeof d->credentials);
    } else {
        st = bls_credentials(run, run->start_index + index, d, err);
    }
    if (!hf_failed(st)) {
        st = sign_deposit(run, &key, d, err);
    }
out:
    hf_wipe(&key, sizeof key);
    return st;
}

/* ---- options ------------------------------------------------------------------------------- */

/* "32" or "1.5", in ETH. */
static hf_status parse_amount(const char *text, uint64_t most_eth, uint64_t *ret_gwei,
                              hf_error *err)
{
    uint64_t whole = AMOUNT_MOST_ETH;
    uint64_t part = 0;
    bool good = true;
    if (text != NULL) {
        size_t len = strcspn(text, ".");
        const char *digits = text[len] == '.' ? text + len + 1 : "0";
        char padded[GWEI_DIGITS + 2] = "1000000000"; /* a leading 1 keeps zeros meaningful */
        size_t digits_len = strlen(digits);
        good = !hf_failed(hf_num_parse_u64(text, len, &whole)) && digits_len >= 1 &&
               digits_len <= GWEI_DIGITS;
        if (good) {
            memcpy(padded + 1, digits, digits_len);
            good = !hf_failed(hf_num_parse_u64(padded, GWEI_DIGITS + 1, &part));
            part -= good ? GWEI_PER_ETH : 0;
        }
    }
    if (!good || whole < AMOUNT_LEAST_ETH || whole > most_eth || (whole == most_eth && part > 0)) {
        return hf_fail(err, HF_USAGE, "--amount: must be %llu to %llu ETH, such as 32 or 1.5",
                       AMOUNT_LEAST_ETH, (unsigned long long)most_eth);
    }
    *ret_gwei = whole * GWEI_PER_ETH + part;
    return hf_ok();
}

static hf_status parse_address(const deposit_options *o, deposit_run *run, hf_error *err)
{
    uint8_t *address = run->address_credentials + 32 - HF_ADDRESS_BYTES;
    hf_error why = {0};
    if (o->withdrawal_address == NULL) {
        if (o->keystore_dir != NULL || o->compounding) {
            return hf_fail(err, HF_USAGE, "--withdrawal-address is needed with %s",
                           o->compounding ? "--compounding" : "--keystore-dir");
        }
        return hf_ok();
    }
    if (hf_failed(hf_address_parse(o->withdrawal_address, address, &why)) ||
        hf_bytes_is_zero(address, HF_ADDRESS_BYTES)) {
        return hf_fail(err, HF_USAGE, "--withdrawal-address: %s",
                       why.msg[0] != '\0' ? why.msg : "must be an address, and not the zero one");
    }
    run->address_credentials[0] = o->compounding ? CREDENTIALS_COMPOUNDING : CREDENTIALS_ADDRESS;
    run->has_address = true;
    return hf_ok();
}

static hf_status check_options(const deposit_options *o, deposit_run *run, hf_error *err)
{
    uint64_t most = o->compounding ? AMOUNT_MOST_COMPOUNDING_ETH : AMOUNT_MOST_ETH;
    if (o->network == NULL) {
        return hf_fail(err, HF_USAGE, "for which network? give --network NAME");
    }
    if (o->keystore_dir != NULL && (o->mnemonic.file != NULL || o->mnemonic.fd != NULL ||
                                    o->count != NULL || o->start_index != NULL)) {
        return hf_fail(err, HF_USAGE, "--keystore-dir takes the place of mnemonic and count");
    }
    hf_status st = hf_config_network(o->network, &run->network, err);
    if (!hf_failed(st)) {
        st = parse_address(o, run, err);
    }
    return hf_failed(st) ? st : parse_amount(o->amount, most, &run->amount_gwei, err);
}

/* ---- where the keys come from -------------------------------------------------------------- */

static hf_status from_keystores(const deposit_options *o, deposit_run *run, hf_error *err)
{
    const hf_cli_passphrase password = {
        .file = o->password_file, .fd = o->password_fd, .prompt = "Password of the keystores"};
    hf_status st = hf_cli_key_find_keystores(o->keystore_dir, NULL, &run->keystores, err);
    run->count = run->keystores.count;
    return hf_failed(st) ? st : hf_cli_passphrase_read(&password, &run->password, err);
}

static hf_status from_mnemonic(const deposit_options *o, deposit_run *run, hf_error *err)
{
    uint64_t count = 0;
    hf_status st = hf_cli_key_number("count", o->count, 1, 1, HF_KEY_COUNT_MAX, &count, err);
    if (!hf_failed(st)) {
        st = hf_cli_key_number("start-index", o->start_index, 0, 0, UINT32_MAX - HF_KEY_COUNT_MAX,
                               &run->start_index, err);
    }
    if (!hf_failed(st)) {
        st = hf_cli_key_vault_open(&run->vault, err);
    }
    run->count = count;
    return hf_failed(st) ? st : hf_cli_key_mnemonic_read(&o->mnemonic, &run->vault, err);
}

/* ---- the file ------------------------------------------------------------------------------ */

static json_t *hex_to_json(const uint8_t *bytes, size_t len)
{
    char hex[2 * HF_BLS_SIGNATURE_BYTES + 1];
    HF_ASSERT(2 * len < sizeof hex);
    hf_hex_encode(bytes, len, hex);
    return json_string(hex);
}

/* Hex without 0x: the launchpad counts characters. */
static json_t *deposit_to_json(const deposit_run *run, const deposit *d)
{
    return json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:s, s:s}", "pubkey",
                     hex_to_json(d->pubkey, sizeof d->pubkey), "withdrawal_credentials",
                     hex_to_json(d->credentials, sizeof d->credentials), "amount",
                     (json_int_t)run->amount_gwei, "signature",
                     hex_to_json(d->signature, sizeof d->signature), "deposit_message_root",
                     hex_to_json(d->message_root, sizeof d->message_root), "deposit_data_root",
                     hex_to_json(d->data_root, sizeof d->data_root), "fork_version",
                     hex_to_json(run->network.genesis_fork_version, 4), "network_name",
                     run->network.name, "deposit_cli_version", DEPOSIT_FORMAT_VERSION);
}

static hf_status write_file(const deposit_options *o, const deposit_run *run, hf_error *err)
{
    char path[HF_PATH_LEN];
    char *text = NULL;
    json_t *all = json_array();
    hf_status st = hf_str_format(path, sizeof path, "%s/deposit_data-%lld.json",
                                 o->output_dir == NULL ? "." : o->output_dir,
                                 (long long)(hf_time_unix_ms() / 1000));
    if (hf_failed(st)) {
        st = hf_fail(err, HF_USAGE, "--output-dir: path too long");
        goto out;
    }
    for (size_t i = 0; i < run->count; i++) {
        if (json_array_append_new(all, deposit_to_json(run, &run->deposits[i])) != 0) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
            goto out;
        }
    }
    text = json_dumps(all, 0);
    st = text == NULL ? hf_fail(err, HF_NOMEM, "out of memory")
                      : hf_cli_key_write_new(path, text, OUTPUT_MODE, err);
    if (!hf_failed(st)) {
        (void)printf("%s\n", path);
    }
out:
    free(text);
    json_decref(all);
    return st;
}

static hf_status make_all(const deposit_options *o, deposit_run *run, hf_error *err)
{
    hf_status st = check_options(o, run, err);
    if (!hf_failed(st)) {
        st = o->keystore_dir != NULL ? from_keystores(o, run, err) : from_mnemonic(o, run, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    run->deposits = calloc(run->count, sizeof *run->deposits);
    if (run->deposits == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    st = hf_cli_key_jobs_run(run->count, make_one, run, err);
    return hf_failed(st) ? st : write_file(o, run, err);
}

static int run_deposit(const deposit_options *o)
{
    deposit_run run = {0};
    hf_error err = {0};
    int status = HF_EXIT_DONE;
    if (hf_failed(make_all(o, &run, &err))) {
        status = hf_cli_report(&err);
    }
    hf_cli_key_vault_close(&run.vault);
    hf_key_list_done(&run.keystores);
    hf_buf_free(run.password);
    free(run.deposits);
    return status;
}

int hf_cli_key_deposit(int argc, char **argv)
{
    deposit_options o = {0};
    const hf_cli_option options[] = {
        {.name = "network",
         .argument = "NAME",
         .help = "mainnet, hoodi, ... or a YAML file; must be given",
         .text = &o.network},
        {.name = "withdrawal-address",
         .argument = "0xADDRESS",
         .help = "where the stake goes back to; cannot be changed later",
         .text = &o.withdrawal_address},
        {.name = "compounding",
         .help = "0x02 credentials: up to 2048 ETH a validator",
         .on = &o.compounding},
        {.name = "amount", .argument = "ETH", .help = "stake a key [32]", .text = &o.amount},
        {.name = "mnemonic-file",
         .argument = "FILE",
         .help = "the mnemonic of the keys (mode 0600); else it is asked for",
         .text = &o.mnemonic.file},
        {.name = "mnemonic-fd",
         .argument = "FD",
         .help = "the same from an open descriptor",
         .text = &o.mnemonic.fd},
        {.name = "mnemonic-passphrase-file",
         .argument = "FILE",
         .help = "BIP-39 passphrase (the 25th word)",
         .text = &o.mnemonic.passphrase_file},
        {.name = "count", .argument = "N", .help = "how many keys [1]", .text = &o.count},
        {.name = "start-index",
         .argument = "I",
         .help = "index of the first [0]",
         .text = &o.start_index},
        {.name = "keystore-dir",
         .argument = "DIR",
         .help = "take the keys of these keystores instead",
         .text = &o.keystore_dir},
        {.name = "password-file",
         .argument = "FILE",
         .help = "their password (mode 0600)",
         .text = &o.password_file},
        {.name = "password-fd",
         .argument = "FD",
         .help = "the same from an open descriptor",
         .text = &o.password_fd},
        {.name = "output-dir",
         .argument = "DIR",
         .help = "where deposit_data-TIME.json goes [.]",
         .text = &o.output_dir},
    };
    const hf_cli_command command = {
        .name = "key deposit",
        .arguments = "",
        .summary = "Writes signed deposit data for the staking launchpad.",
        .details = "Without --withdrawal-address the stake goes back to the BLS withdrawal key of "
                   "the mnemonic\n(0x00 credentials, m/12381/3600/I/0).",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_deposit(&o) : status;
}
