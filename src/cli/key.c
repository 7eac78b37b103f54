/* holdfast key: the verbs, and what they share. */
#include "key_internal.h"
#include "key_sealed.h"
#include "key_wrap.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const hf_cli_verb verbs[] = {
    {"new", "make keys from a mnemonic, as keystores", hf_cli_key_new},
    {"import", "give keystores to the signer", hf_cli_key_import},
    {"list", "the public keys of a folder or of the signer", hf_cli_key_list},
    {"delete", "take an imported key from the signer", hf_cli_key_delete},
    {"generate", "make keys inside the signer, in its sealed store", hf_cli_key_generate},
    {"recover", "sealed keys from their mnemonic backup", hf_cli_key_recover},
    {"activate", "let a sealed key sign again", hf_cli_key_activate},
    {"deactivate", "keep a sealed key and let it sign nothing", hf_cli_key_deactivate},
    {"wrap", "wrap keys under one that a cloud or a token holds", hf_cli_key_wrap},
    {"deposit", "deposit data for the staking launchpad", hf_cli_key_deposit},
};

int hf_cli_key(int argc, char **argv)
{
    return hf_cli_dispatch("key", "Validator keys: EIP-2333, EIP-2335 and deposits.", verbs,
                           HF_ARRAY_LEN(verbs), argc, argv);
}

hf_status hf_cli_key_number(const char *option, const char *text, uint64_t fallback, uint64_t least,
                            uint64_t most, uint64_t *ret_value, hf_error *err)
{
    uint64_t value = fallback;
    if (text != NULL && (hf_failed(hf_num_parse_u64(text, strlen(text), &value)) || value < least ||
                         value > most)) {
        return hf_fail(err, HF_USAGE, "--%s: must be a number from %llu to %llu", option,
                       (unsigned long long)least, (unsigned long long)most);
    }
    *ret_value = value;
    return hf_ok();
}

hf_status hf_cli_key_write_new(const char *path, const char *text, mode_t mode, hf_error *err)
{
    struct stat info;
    if (lstat(path, &info) == 0) {
        return hf_fail(err, HF_CONFLICT, "%s: is there already, and is left alone", path);
    }
    return hf_file_write_atomic(path, text, strlen(text), mode, err);
}

json_t *hf_cli_key_path_to_json(const char *path)
{
    char plain[HF_PATH_LEN];
    json_t *text = json_string(path);
    if (text == NULL) {
        hf_str_sanitize(plain, sizeof plain, path);
        text = json_string(plain);
    }
    return text;
}

void hf_cli_key_print(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], const char *path)
{
    char hex[2 * HF_BLS_PUBKEY_BYTES + 1];
    char plain[HF_PATH_LEN];
    hf_hex_encode(pubkey, HF_BLS_PUBKEY_BYTES, hex);
    hf_str_sanitize(plain, sizeof plain, path);
    (void)printf("0x%s  %s\n", hex, plain);
}

static hf_status data_dir_of_config(const hf_config_flags *flags, char ret_dir[HF_PATH_LEN],
                                    hf_error *err)
{
    hf_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_config_load(flags, config, err);
    if (!hf_failed(st)) {
        memcpy(ret_dir, config->data_dir, HF_PATH_LEN);
    }
    free(config);
    return st;
}

hf_status hf_cli_key_data_dir(const hf_config_flags *flags, char ret_dir[HF_PATH_LEN],
                              hf_error *err)
{
    if (flags->file != NULL) {
        return data_dir_of_config(flags, ret_dir, err);
    }
    if (flags->data_dir == NULL) {
        return hf_fail(err, HF_USAGE, "which signer? give --data-dir DIR or -c FILE");
    }
    hf_status st = hf_str_copy(ret_dir, HF_PATH_LEN, flags->data_dir);
    return hf_failed(st) ? hf_fail(err, HF_USAGE, "--data-dir: path too long") : st;
}

static hf_status add_one_file(const char *path, hf_key_list *list, hf_error *err)
{
    hf_status st = {HF_NOMEM};
    char *copy = strdup(path);
    const hf_key_file file = {.backend = HF_BACKEND_LOCAL_KEYSTORE, .path = copy};
    if (copy != NULL) {
        st = hf_key_list_add(list, &file);
    }
    free(copy);
    return hf_failed(st) ? hf_fail(err, st.code, "out of memory") : st;
}

hf_status hf_cli_key_find_keystores(const char *place, const char *password_dir, hf_key_list *list,
                                    hf_error *err)
{
    hf_key_source source = {.backend = HF_BACKEND_LOCAL_KEYSTORE};
    struct stat info;
    if (stat(place, &info) == 0 && S_ISREG(info.st_mode) && password_dir == NULL) {
        return add_one_file(place, list, err);
    }
    hf_status st = hf_str_copy(source.dir, sizeof source.dir, place);
    if (!hf_failed(st) && password_dir != NULL) {
        st = hf_str_copy(source.password_dir, sizeof source.password_dir, password_dir);
    } else if (!hf_failed(st)) {
        /* The list wants to know of one; the caller has the password itself. */
        st = hf_str_copy(source.password_file, sizeof source.password_file, "/dev/null");
    }
    if (hf_failed(st)) {
        return hf_fail(err, HF_USAGE, "%s: path too long", place);
    }
    st = hf_custody_list(&source, list, err);
    return hf_failed(st) || list->count > 0
               ? st
               : hf_fail(err, HF_NOT_FOUND, "%s: no keystores there", place);
}

hf_status hf_cli_key_gather_keystores(const char *place, const hf_key_passwords *passwords,
                                      hf_key_list *list, hf_buf **ret_password, hf_error *err)
{
    const hf_cli_passphrase from = {
        .file = passwords->file, .fd = passwords->fd, .prompt = "Password of the keystores"};
    if ((passwords->file != NULL) + (passwords->dir != NULL) + (passwords->fd != NULL) > 1) {
        return hf_fail(err, HF_USAGE,
                       "one of --password-file, --password-dir and --password-fd is enough");
    }
    hf_status st = hf_cli_key_find_keystores(place, passwords->dir, list, err);
    return hf_failed(st) || passwords->dir != NULL
               ? st
               : hf_cli_passphrase_read(&from, ret_password, err);
}

hf_status hf_cli_signer_connect(const hf_config_flags *flags, hf_admin **ret_admin, hf_error *err)
{
    char data_dir[HF_PATH_LEN];
    hf_status st = hf_cli_key_data_dir(flags, data_dir, err);
    return hf_failed(st) ? st : hf_admin_connect(data_dir, ret_admin, err);
}

bool hf_cli_key_signer_runs(const char *data_dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (hf_failed(
            hf_str_format(address.sun_path, sizeof address.sun_path, "%s/admin.sock", data_dir))) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    /* EPROTOTYPE: somebody listens there, with another type of socket. */
    bool runs =
        connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EPROTOTYPE;
    (void)close(fd);
    return runs;
}
