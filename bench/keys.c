/*
 * keys: a folder of keystores for measurements, with the keys of duties.h.
 *   keys DIR FIRST COUNT scrypt|pbkdf2 COST PASSWORD_FILE
 * Cheap costs make thousands of them in seconds; such files protect nothing.
 */
#include "base/base.h"
#include "duties.h"

#include <sys/stat.h>

static hf_status write_one(const char *folder, uint64_t index, hf_bytes password,
                           const hf_keystore_options *options, hf_error *err)
{
    char path[4096];
    hf_bls_key key;
    hf_buf *json = NULL;
    bench_key(index, &key);
    hf_status st = hf_keystore_encrypt(&key, password, options, &json, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_str_format(path, sizeof path, "%s/keystore-%llu.json", folder,
                       (unsigned long long)index);
    if (!hf_failed(st)) {
        FILE *out = fopen(path, "wxe"); /* no fsync: thousands of files that nobody will miss */
        if (out == NULL ||
            fwrite(hf_buf_peek(json), 1, hf_buf_len(json), out) != hf_buf_len(json)) {
            st = hf_fail(err, HF_IO, "%s: cannot be written", path);
        }
        if (out != NULL && fclose(out) != 0) {
            st = hf_fail(err, HF_IO, "%s: cannot be written", path);
        }
    }
    hf_buf_free(json);
    return st;
}

static hf_status run(char **argv, hf_error *err)
{
    hf_keystore_options options = {
        .kdf = strcmp(argv[4], "scrypt") == 0 ? HF_KDF_SCRYPT : HF_KDF_PBKDF2,
        .cost = bench_number("COST", argv[5]),
        .path = "",
    };
    uint64_t first = bench_number("FIRST", argv[2]);
    uint64_t count = bench_number("COUNT", argv[3]);
    hf_buf *password = NULL;
    hf_status st = hf_file_read(argv[6], HF_PASSWORD_MAX_BYTES, &password, err);
    for (uint64_t i = 0; !hf_failed(st) && i < count; i++) {
        st = write_one(argv[1], first + i,
                       hf_bytes_from(hf_buf_peek(password), hf_buf_len(password)), &options, err);
    }
    hf_buf_free(password);
    return st;
}

int main(int argc, char **argv)
{
    hf_error err = {0};
    if (argc != 7) {
        (void)fprintf(stderr, "usage: keys DIR FIRST COUNT scrypt|pbkdf2 COST PASSWORD_FILE\n");
        return 2;
    }
    (void)umask(077);
    if (hf_failed(run(argv, &err))) {
        (void)fprintf(stderr, "keys: %s\n", err.msg);
        return 1;
    }
    return 0;
}
