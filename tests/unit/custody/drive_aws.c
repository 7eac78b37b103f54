/*
 * drive_aws BACKEND NAME=VALUE...: opens aws-kms or aws-secrets-manager with these settings and
 * does what its standard input says, a line each: "list", "sign HANDLE HEX", "wrap REFERENCE
 * CONTEXT HEX", "unwrap REFERENCE CONTEXT HEX" (contexts in hex). For tests with AWS's services
 * played by others. Answers "key TYPE PUBLIC SECRET HANDLE NAME", "failed NAME: WHY", and for each
 * command a line "= CODE" with the result in hex or the sentence.
 */
#include <stdio.h>

#include "custody/aws_settings.h"

#define PATIENCE_NS (60 * HF_NS_PER_SECOND)
#define BYTES_MAX 4096
#define WORDS_MAX 4

typedef struct blob {
    uint8_t bytes[BYTES_MAX];
    size_t len;
} blob;

static hf_status show(void *context, const hf_custody_key *key)
{
    char public[2 * HF_CUSTODY_PUBLIC_MAX + 1];
    char secret[2 * HF_CUSTODY_SECRET_BYTES + 1] = "inside";
    (void)context;
    hf_hex_encode(key->public_key, key->public_len, public);
    if (!key->is_inside) {
        hf_hex_encode(key->secret, sizeof key->secret, secret);
    }
    printf("key %d %s %s %llu %s\n", (int)key->type, public, secret,
           (unsigned long long)key->handle, key->name);
    return hf_ok();
}

static void show_failed(void *context, const char *name, const char *why)
{
    (void)context;
    printf("failed %s: %s\n", name, why);
}

static void end(hf_status st, const char *sentence)
{
    printf("= %s %s\n", hf_failed(st) ? hf_code_name(st.code) : "OK", sentence);
    (void)fflush(stdout);
}

static void end_with(hf_status st, const hf_error *err, const uint8_t *bytes, size_t len)
{
    static char hex[2 * BYTES_MAX + 1];
    if (hf_failed(st)) {
        end(st, err->msg);
        return;
    }
    hf_hex_encode(bytes, len, hex);
    end(st, hex);
}

static bool read_hex(const char *text, blob *out)
{
    out->len = strlen(text) / 2;
    return out->len <= sizeof out->bytes &&
           !hf_failed(hf_hex_decode(text, strlen(text), out->bytes, out->len));
}

static void sign(hf_custody *custody, char *const *words)
{
    static blob message;
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    uint64_t handle = 0;
    hf_error err = {.code = HF_OK};
    hf_status st = hf_num_parse_u64(words[1], strlen(words[1]), &handle);
    if (hf_failed(st) || !read_hex(words[2], &message)) {
        end((hf_status){HF_USAGE}, "sign HANDLE HEX");
        return;
    }
    st = custody->ops->sign(custody, handle, hf_bytes_from(message.bytes, message.len),
                            hf_time_mono_ns() + PATIENCE_NS, signature, &err);
    end_with(st, &err, signature, sizeof signature);
}

static void convert(hf_custody *custody, char *const *words, bool unwrap)
{
    static blob context;
    static blob in;
    static uint8_t out[BYTES_MAX];
    size_t len = sizeof out;
    hf_error err = {.code = HF_OK};
    if (!read_hex(words[2], &context) || !read_hex(words[3], &in)) {
        end((hf_status){HF_USAGE}, "wrap REFERENCE CONTEXT HEX");
        return;
    }
    hf_status st = (unwrap ? custody->ops->unwrap : custody->ops->wrap)(
        custody, words[1], hf_bytes_from(context.bytes, context.len),
        hf_bytes_from(in.bytes, in.len), hf_time_mono_ns() + PATIENCE_NS, out, &len, &err);
    end_with(st, &err, out, len);
}

static void obey(hf_custody *custody, char *line)
{
    const hf_custody_visitor visitor = {NULL, show, show_failed};
    hf_error err = {.code = HF_OK};
    char *words[WORDS_MAX] = {NULL};
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " \n", &rest)) {
        words[count++] = word;
    }
    if (count == 1 && strcmp(words[0], "list") == 0) {
        hf_status st = custody->ops->list(custody, &visitor, hf_time_mono_ns() + PATIENCE_NS, &err);
        end(st, err.msg);
    } else if (count == 3 && strcmp(words[0], "sign") == 0) {
        sign(custody, words);
    } else if (count == 4 && strcmp(words[0], "wrap") == 0) {
        convert(custody, words, false);
    } else if (count == 4 && strcmp(words[0], "unwrap") == 0) {
        convert(custody, words, true);
    } else {
        end((hf_status){HF_USAGE}, "no such command");
    }
}

static hf_status open_it(char **argv, hf_custody **ret_custody, hf_error *err)
{
    static hf_custody_settings settings;
    for (char **pair = argv + 2; *pair != NULL; pair++) {
        char *value = strchr(*pair, '=');
        if (value == NULL) {
            return hf_fail(err, HF_USAGE, "NAME=VALUE");
        }
        *value = '\0';
        hf_status st = hf_custody_settings_put(&settings, *pair, value + 1);
        if (hf_failed(st)) {
            return hf_fail(err, st.code, "too many settings");
        }
    }
    return strcmp(argv[1], "aws-kms") == 0
               ? hf_custody_awskms_start(&settings, ret_custody, err)
               : hf_custody_aws_secrets_start(&settings, ret_custody, err);
}

int main(int argc, char **argv)
{
    static char line[4 * BYTES_MAX];
    hf_error err = {.code = HF_OK};
    hf_custody *custody = NULL;
    if (argc < 2) {
        return 2;
    }
    hf_status st = open_it(argv, &custody, &err);
    end(st, err.msg);
    if (hf_failed(st)) {
        return 1;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        obey(custody, line);
    }
    custody->ops->close(custody);
    return 0;
}
