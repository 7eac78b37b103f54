/* Mnemonics at the command line: read, made, handed over once, and never printed to a log. */
#include "key_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MNEMONIC_BITS 256
#define MNEMONIC_MODE (S_IRUSR | S_IWUSR)
/* Clears what is seen and what can be scrolled back to. */
#define CLEAR_SCREEN "\033[2J\033[3J\033[H"

hf_status hf_cli_key_vault_open(hf_key_vault *vault, hf_error *err)
{
    /* One page: locked wherever the limit is not zero, and a person waits for no unit to change. */
    hf_status st = hf_slab_new(sizeof(hf_key_root), 1, false, &vault->slab, err);
    if (!hf_failed(st)) {
        vault->root = hf_slab_alloc(vault->slab);
    }
    return st;
}

void hf_cli_key_vault_close(hf_key_vault *vault)
{
    if (vault->slab != NULL) {
        hf_slab_release(vault->slab, vault->root);
    }
    hf_slab_free(vault->slab);
    *vault = (hf_key_vault){NULL, NULL};
}

/* The seed of vault->root->words. */
static hf_status derive_seed(const hf_key_mnemonic_source *source, const char *words,
                             hf_key_vault *vault, hf_error *err)
{
    const hf_cli_passphrase from = {.file = source->passphrase_file};
    hf_buf *passphrase = NULL;
    hf_status st = {HF_OK};
    if (from.file != NULL) {
        st = hf_cli_passphrase_read(&from, &passphrase, err);
    }
    if (!hf_failed(st)) {
        st = hf_bip39_to_seed(words, passphrase == NULL ? NULL : hf_buf_text(passphrase),
                              vault->root->seed, err);
        if (hf_failed(st)) {
            st = hf_error_wrap(err, st, "the mnemonic");
        }
    }
    hf_buf_free(passphrase);
    return st;
}

hf_status hf_cli_key_mnemonic_read(const hf_key_mnemonic_source *source, hf_key_vault *vault,
                                   hf_error *err)
{
    const hf_cli_passphrase from = {.file = source->file, .fd = source->fd, .prompt = "Mnemonic"};
    hf_buf *words = NULL;
    hf_status st = hf_cli_passphrase_read(&from, &words, err);
    if (!hf_failed(st)) {
        st = derive_seed(source, hf_buf_text(words), vault, err);
    }
    hf_buf_free(words);
    return st;
}

hf_status hf_cli_key_mnemonic_make(const hf_key_mnemonic_source *source, hf_key_vault *vault,
                                   hf_error *err)
{
    hf_status st = hf_bip39_generate(MNEMONIC_BITS, vault->root->words);
    HF_ASSERT(!hf_failed(st)); /* 256 is a size it knows */
    return derive_seed(source, vault->root->words, vault, err);
}

hf_status hf_cli_key_mnemonic_check_output(const char *output, hf_error *err)
{
    if (output != NULL) {
        struct stat info;
        return lstat(output, &info) != 0
                   ? hf_ok()
                   : hf_fail(err, HF_CONFLICT, "%s: is there already, and is left alone", output);
    }
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0) {
        return hf_fail(err, HF_USAGE,
                       "no terminal to show the mnemonic on: give --mnemonic-output FILE");
    }
    (void)close(tty);
    return hf_ok();
}

static void wait_for_enter(int tty)
{
    char c = 0;
    ssize_t n = 0;
    do {
        n = read(tty, &c, 1);
    } while ((n == 1 && c != '\n') || (n < 0 && errno == EINTR));
}

static hf_status show(const hf_key_vault *vault, hf_error *err)
{
    hf_buf *text = hf_buf_new(2 * HF_BIP39_TEXT_BYTES + 256);
    hf_status st = {HF_NOMEM};
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0) {
        st = hf_fail(err, HF_IO, "/dev/tty: %s", strerror(errno));
        goto out;
    }
    if (text != NULL) {
        st = hf_buf_putf(text,
                         "\nThe mnemonic. Whoever has it has the keys, and without it lost keys "
                         "stay lost.\nWrite it on paper; it is not shown again.\n\n    %s\n\n"
                         "Press Enter when it is written down: ",
                         vault->root->words);
    }
    if (hf_failed(st) || hf_failed(hf_file_write_all(tty, hf_buf_peek(text), hf_buf_len(text)))) {
        st = hf_fail(err, HF_IO, "the mnemonic could not be shown");
        goto out;
    }
    wait_for_enter(tty);
    st = hf_file_write_all(tty, CLEAR_SCREEN, sizeof CLEAR_SCREEN - 1);
    if (hf_failed(st)) {
        st = hf_fail(err, HF_IO, "the terminal was closed");
    }
out:
    if (tty >= 0) {
        (void)close(tty);
    }
    hf_buf_free(text);
    return st;
}

hf_status hf_cli_key_mnemonic_hand_over(const hf_key_vault *vault, const char *output,
                                        hf_error *err)
{
    if (output == NULL) {
        return show(vault, err);
    }
    hf_buf *text = hf_buf_new(HF_BIP39_TEXT_BYTES + 1);
    if (text == NULL || hf_failed(hf_buf_putf(text, "%s\n", vault->root->words))) {
        hf_buf_free(text);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_cli_key_write_new(output, hf_buf_text(text), MNEMONIC_MODE, err);
    hf_buf_free(text);
    return st;
}

hf_status hf_cli_key_derive(const hf_key_vault *vault, uint64_t index, bool withdrawal,
                            char ret_path[HF_KEY_PATH_CHARS], hf_bls_key *ret_key, hf_error *err)
{
    hf_status st = hf_str_format(ret_path, HF_KEY_PATH_CHARS, "m/12381/3600/%llu/0%s",
                                 (unsigned long long)index, withdrawal ? "" : "/0");
    if (!hf_failed(st)) {
        st = hf_eip2334_derive(hf_bytes_from(vault->root->seed, sizeof vault->root->seed), ret_path,
                               ret_key);
    }
    return hf_failed(st) ? hf_fail(err, st.code, "%s: cannot be derived", ret_path) : st;
}
