/* The folder of wrapped keys: opening all of them, many at once, and adding new ones. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "custody/awskms_internal.h"
#include "custody/custody.h"

/* Files in hand at a time: what they hold is asked of KMS together. */
#define CHUNK 512

/* ---- one file ----------------------------------------------------------------------------- */

typedef struct work {
    const char *name; /* in the folder; borrowed */
    hf_buf *file;
    hf_kms_blob blob;
    bool asks; /* a Decrypt for it is among the questions */
} work;

/* Before KMS is asked: is it of this network, under the pinned key, of this key? */
static hf_status check_blob(const hf_awskms *kms, const hf_kms_blob *blob, hf_error *err)
{
    hf_kms_context expected;
    if (!hf_kms_key_fits(kms->config.key_id, blob->key_arn)) {
        return hf_fail(err, HF_DENIED, "wrapped under %s, which is not the pinned key_id",
                       blob->key_arn);
    }
    hf_status st =
        hf_kms_context_of(&kms->config, blob->type,
                          hf_bytes_from(blob->public_key, blob->public_len), &expected, err);
    return hf_failed(st) ? st : hf_kms_context_check(&blob->context, &expected, err);
}

static hf_status read_file(const hf_awskms *kms, work *at, hf_error *err)
{
    char path[HF_PATH_LEN];
    if (hf_failed(hf_str_format(path, sizeof path, "%s/%s", kms->config.blob_dir, at->name))) {
        return hf_fail(err, HF_LIMIT, "its path is too long");
    }
    hf_status st = hf_file_read(path, HF_KMS_BLOB_MAX_BYTES, &at->file, err);
    if (!hf_failed(st)) {
        st = hf_kms_blob_parse(hf_bytes_from(hf_buf_peek(at->file), hf_buf_len(at->file)),
                               &at->blob, err);
    }
    return hf_failed(st) ? st : check_blob(kms, &at->blob, err);
}

hf_status hf_awskms_name_file(const char *path, hf_custody_type *ret_type,
                              uint8_t ret_public[HF_CUSTODY_PUBLIC_MAX], uint32_t *ret_len,
                              hf_error *err)
{
    hf_kms_blob blob;
    hf_buf *file = NULL;
    hf_status st = hf_file_read(path, HF_KMS_BLOB_MAX_BYTES, &file, err);
    if (!hf_failed(st)) {
        st = hf_kms_blob_parse(hf_bytes_from(hf_buf_peek(file), hf_buf_len(file)), &blob, err);
    }
    if (!hf_failed(st)) {
        *ret_type = blob.type;
        *ret_len = blob.public_len;
        memcpy(ret_public, blob.public_key, blob.public_len);
    }
    hf_buf_free(file);
    return st;
}

json_t *hf_kms_decrypt_body(const hf_awskms *kms, const hf_kms_blob *blob)
{
    json_t *context = hf_kms_context_to_json(&blob->context);
    json_t *ciphertext = hf_aws_write_base64(blob->ciphertext);
    if (context == NULL || ciphertext == NULL) {
        json_decref(context);
        json_decref(ciphertext);
        return NULL;
    }
    /* Always with the key: what another key wrapped is refused by KMS as well. */
    return json_pack("{s:s, s:o, s:o}", "KeyId", kms->config.key_id, "CiphertextBlob", ciphertext,
                     "EncryptionContext", context);
}

hf_status hf_kms_take_data_key(const hf_kms_blob *blob, const json_t *answer,
                               uint8_t ret_data_key[HF_AES_GCM_KEY_BYTES], hf_error *err)
{
    const char *arn = json_string_value(json_object_get(answer, "KeyId"));
    size_t len = 0;
    if (arn == NULL || !hf_kms_is_same_key(arn, blob->key_arn)) {
        return hf_fail(err, HF_DENIED, "KMS answered for another key than %s", blob->key_arn);
    }
    hf_status st =
        hf_aws_read_base64(answer, "Plaintext", ret_data_key, HF_AES_GCM_KEY_BYTES, &len);
    if (hf_failed(st) || len != HF_AES_GCM_KEY_BYTES) {
        hf_wipe(ret_data_key, HF_AES_GCM_KEY_BYTES);
        return hf_fail(err, HF_CORRUPT, "KMS answered with something else than a data key");
    }
    return hf_ok();
}

static hf_status open_blob(const hf_kms_blob *blob, const json_t *answer, hf_custody_key *ret_key,
                           hf_error *err)
{
    uint8_t data_key[HF_AES_GCM_KEY_BYTES];
    hf_status st = hf_kms_take_data_key(blob, answer, data_key, err);
    if (!hf_failed(st)) {
        st = hf_kms_blob_open(blob, data_key, ret_key->secret, err);
        hf_wipe(data_key, sizeof data_key);
    }
    if (!hf_failed(st)) {
        ret_key->type = blob->type;
        ret_key->public_len = blob->public_len;
        memcpy(ret_key->public_key, blob->public_key, blob->public_len);
    }
    return st;
}

static hf_status hand_over(const hf_awskms *kms, const work *at, const json_t *answer,
                           const hf_custody_visitor *visitor, hf_error *err)
{
    hf_custody_key key = {0};
    char path[HF_PATH_LEN];
    hf_error why = {0};
    hf_status st = open_blob(&at->blob, answer, &key, &why);
    if (hf_failed(st)) {
        visitor->failed(visitor->context, at->name, why.msg);
        return hf_ok();
    }
    hf_str_cut(key.name, sizeof key.name, at->name);
    st = hf_str_format(path, sizeof path, "%s/%s", kms->config.blob_dir, at->name);
    HF_ASSERT(!hf_failed(st)); /* it was read */
    hf_custody_source_id(path, 0, key.source_id);
    st = visitor->key(visitor->context, &key);
    hf_wipe(&key, sizeof key);
    return hf_failed(st) ? hf_fail(err, st.code, "the listing was stopped") : st;
}

/* ---- many --------------------------------------------------------------------------------- */

typedef struct chunk {
    work work[CHUNK];
    hf_aws_question questions[CHUNK];
    size_t of[CHUNK]; /* the work of each question */
} chunk;

/* A file that cannot be used is told apart from KMS being away: that ends the listing. */
static hf_status take_answers(const hf_awskms *kms, chunk *all, size_t asked,
                              const hf_custody_visitor *visitor, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < asked && !hf_failed(st); i++) {
        const hf_aws_question *question = &all->questions[i];
        const work *at = &all->work[all->of[i]];
        if (!hf_failed(question->status)) {
            st = hand_over(kms, at, question->answer, visitor, err);
        } else if (question->status.code == HF_UNAVAILABLE || question->status.code == HF_NOMEM) {
            st = hf_fail(err, question->status.code, "%s: %s", at->name, question->err.msg);
        } else {
            visitor->failed(visitor->context, at->name, question->err.msg);
        }
    }
    return st;
}

static hf_status list_chunk(hf_awskms *kms, chunk *all, struct dirent *const *names, size_t n,
                            const hf_custody_visitor *visitor, uint64_t deadline_ns, hf_error *err)
{
    size_t asked = 0;
    memset(all, 0, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        hf_error why = {0};
        work *at = &all->work[i];
        at->name = names[i]->d_name;
        if (hf_failed(read_file(kms, at, &why))) {
            visitor->failed(visitor->context, at->name, why.msg);
            continue;
        }
        all->questions[asked].operation = "Decrypt";
        all->questions[asked].body = hf_kms_decrypt_body(kms, &at->blob);
        all->of[asked++] = i;
    }
    hf_aws_ask(kms->service, all->questions, asked, deadline_ns);
    hf_status st = take_answers(kms, all, asked, visitor, err);
    hf_aws_questions_done(all->questions, asked);
    for (size_t i = 0; i < n; i++) {
        hf_buf_free(all->work[i].file);
    }
    return st;
}

static int is_wrapped_key(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && hf_str_has_suffix(entry->d_name, HF_AWSKMS_SUFFIX);
}

hf_status hf_kms_list_files(hf_awskms *kms, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                            hf_error *err)
{
    struct dirent **names = NULL;
    hf_status st = hf_ok();
    int count = scandir(kms->config.blob_dir, &names, is_wrapped_key, alphasort);
    if (count < 0) {
        return hf_fail(err, HF_IO, "%s: %s", kms->config.blob_dir, strerror(errno));
    }
    chunk *all = calloc(1, sizeof *all);
    if (all == NULL) {
        st = hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t first = 0; first < (size_t)count && !hf_failed(st); first += CHUNK) {
        size_t left = (size_t)count - first;
        st = list_chunk(kms, all, names + first, left < CHUNK ? left : CHUNK, visitor, deadline_ns,
                        err);
    }
    free(all);
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    return st;
}

/* ---- adding ------------------------------------------------------------------------------- */

/* The state of one that is being made: the file is there once KMS has given its data key. */
typedef struct making {
    hf_kms_blob blob;
    hf_buf *file;
} making;

static void prepare(hf_awskms *kms, hf_awskms_wrapping *key, making *at, hf_aws_question *question)
{
    char hex[2 * HF_CUSTODY_PUBLIC_MAX + 1];
    struct stat info;
    hf_kms_blob *blob = &at->blob;
    question->operation = "GenerateDataKey";
    key->status = hf_custody_public_of(key->type, key->secret, key->public_key, &key->public_len);
    if (hf_failed(key->status)) {
        key->status = hf_fail(&key->err, HF_CRYPTO, "not a secret key of this type");
        return;
    }
    hf_hex_encode(key->public_key, key->public_len, hex);
    key->status = hf_str_format(key->path, sizeof key->path, "%s/0x%s" HF_AWSKMS_SUFFIX,
                                kms->config.blob_dir, hex);
    if (hf_failed(key->status)) {
        key->status = hf_fail(&key->err, HF_USAGE, "%s: path too long", kms->config.blob_dir);
        return;
    }
    if (lstat(key->path, &info) == 0) {
        key->status =
            hf_fail(&key->err, HF_CONFLICT, "%s: is there already, and is left alone", key->path);
        return;
    }
    blob->type = key->type;
    blob->public_len = key->public_len;
    memcpy(blob->public_key, key->public_key, key->public_len);
    key->status =
        hf_kms_context_of(&kms->config, key->type, hf_bytes_from(key->public_key, key->public_len),
                          &blob->context, &key->err);
    json_t *context = hf_kms_context_to_json(&blob->context);
    question->body = context == NULL
                         ? NULL
                         : json_pack("{s:s, s:s, s:o}", "KeyId", kms->config.key_id, "KeySpec",
                                     "AES_256", "EncryptionContext", context);
}

/* Seals under the data key of an answer to GenerateDataKey. */
static void seal(const hf_awskms *kms, hf_awskms_wrapping *key, making *at, const json_t *answer)
{
    uint8_t ciphertext[HF_KMS_CIPHERTEXT_MAX];
    uint8_t data_key[HF_AES_GCM_KEY_BYTES];
    size_t len = 0;
    const char *arn = json_string_value(json_object_get(answer, "KeyId"));
    if (arn == NULL || hf_failed(hf_str_copy(at->blob.key_arn, sizeof at->blob.key_arn, arn)) ||
        !hf_kms_key_fits(kms->config.key_id, arn)) {
        key->status = hf_fail(&key->err, HF_DENIED, "%s: KMS answered for another key than %s",
                              key->path, kms->config.key_id);
        return;
    }
    key->status = hf_aws_read_base64(answer, "CiphertextBlob", ciphertext, sizeof ciphertext, &len);
    if (hf_failed(key->status)) {
        key->status = hf_fail(&key->err, HF_CORRUPT, "%s: KMS answered without a wrapped data key",
                              key->path);
        return;
    }
    at->blob.ciphertext = hf_bytes_from(ciphertext, len);
    key->status = hf_kms_take_data_key(&at->blob, answer, data_key, &key->err);
    if (!hf_failed(key->status)) {
        key->status = hf_kms_blob_make(&at->blob, data_key, key->secret, &at->file, &key->err);
        hf_wipe(data_key, sizeof data_key);
    }
    at->blob.ciphertext = hf_bytes_from(NULL, 0);
}

/* What will be read one day is read now: KMS opens the file before it is kept. */
static void ask_back(const hf_awskms *kms, hf_awskms_wrapping *key, making *at,
                     hf_aws_question *question)
{
    question->operation = "Decrypt";
    key->status = hf_kms_blob_parse(hf_bytes_from(hf_buf_peek(at->file), hf_buf_len(at->file)),
                                    &at->blob, &key->err);
    if (!hf_failed(key->status)) {
        key->status = check_blob(kms, &at->blob, &key->err);
    }
    if (!hf_failed(key->status)) {
        question->body = hf_kms_decrypt_body(kms, &at->blob);
    }
}

static void keep(hf_awskms_wrapping *key, const making *at, const json_t *answer)
{
    hf_custody_key opened = {0};
    key->status = open_blob(&at->blob, answer, &opened, &key->err);
    if (!hf_failed(key->status) && !hf_secret_equal(opened.secret, key->secret, 32)) {
        key->status =
            hf_fail(&key->err, HF_CORRUPT, "%s: did not open as it was sealed", key->path);
    }
    hf_wipe(&opened, sizeof opened);
    if (!hf_failed(key->status)) {
        key->status = hf_file_write_atomic(key->path, hf_buf_peek(at->file), hf_buf_len(at->file),
                                           0600, &key->err);
    }
}

/* Asks the questions of those that are well so far; what failed is noted with its file. */
static void ask_round(hf_awskms *kms, hf_awskms_wrapping *keys, hf_aws_question *questions,
                      size_t n, uint64_t deadline_ns)
{
    hf_aws_question *asked = calloc(n, sizeof *asked);
    size_t count = 0;
    for (size_t i = 0; i < n && asked != NULL; i++) {
        if (!hf_failed(keys[i].status)) {
            asked[count++] = questions[i];
        }
    }
    hf_aws_ask(kms->service, asked, asked != NULL ? count : 0, deadline_ns);
    for (size_t i = 0, next = 0; i < n; i++) {
        if (hf_failed(keys[i].status)) {
            continue;
        }
        if (asked == NULL) {
            keys[i].status = hf_fail(&keys[i].err, HF_NOMEM, "out of memory");
            continue;
        }
        questions[i] = asked[next++];
        if (hf_failed(questions[i].status)) {
            keys[i].status = hf_fail(&keys[i].err, questions[i].status.code, "%s: %s", keys[i].path,
                                     questions[i].err.msg);
        }
    }
    free(asked);
}

static void wrap_chunk(hf_awskms *kms, hf_awskms_wrapping *keys, making *made,
                       hf_aws_question *questions, size_t n, uint64_t deadline_ns)
{
    for (size_t i = 0; i < n; i++) {
        prepare(kms, &keys[i], &made[i], &questions[i]);
    }
    ask_round(kms, keys, questions, n, deadline_ns);
    for (size_t i = 0; i < n; i++) {
        if (!hf_failed(keys[i].status)) {
            seal(kms, &keys[i], &made[i], questions[i].answer);
        }
    }
    hf_aws_questions_done(questions, n);
    for (size_t i = 0; i < n; i++) {
        if (!hf_failed(keys[i].status)) {
            ask_back(kms, &keys[i], &made[i], &questions[i]);
        }
    }
    ask_round(kms, keys, questions, n, deadline_ns);
    for (size_t i = 0; i < n; i++) {
        if (!hf_failed(keys[i].status)) {
            keep(&keys[i], &made[i], questions[i].answer);
        }
        hf_buf_free(made[i].file);
    }
    hf_aws_questions_done(questions, n);
}

void hf_awskms_wrap_files(hf_custody *custody, hf_awskms_wrapping *keys, size_t n,
                          uint64_t deadline_ns)
{
    hf_awskms *kms = (hf_awskms *)custody;
    for (size_t first = 0; first < n; first += CHUNK) {
        size_t count = n - first < CHUNK ? n - first : CHUNK;
        making *made = calloc(count, sizeof *made);
        hf_aws_question *questions = calloc(count, sizeof *questions);
        if (made != NULL && questions != NULL) {
            wrap_chunk(kms, keys + first, made, questions, count, deadline_ns);
        }
        for (size_t i = 0; i < count && (made == NULL || questions == NULL); i++) {
            keys[first + i].status = hf_fail(&keys[first + i].err, HF_NOMEM, "out of memory");
        }
        free(made);
        free(questions);
    }
}
