/* AWS KMS as a back end of custody: its operations, and the keys that sign there. */
#include "custody/awskms_internal.h"
#include "custody/custody.h"

/* When it was not well: how often is_healthy asks, and for how long. */
#define PROBE_EVERY_NS HF_NS_PER_SECOND
#define PROBE_NS HF_NS_PER_SECOND
#define PLAINTEXT_MAX 4096
#define SIGNATURE_MAX 128
#define DIGEST_BYTES 32

static hf_awskms *of(hf_custody *custody)
{
    return (hf_awskms *)custody;
}

/* ---- keys that sign ----------------------------------------------------------------------- */

static hf_custody_key describe(const hf_kms_sign_key *key)
{
    hf_custody_key out = {
        .type = key->type, .is_inside = true, .handle = key->handle, .public_len = key->public_len};
    hf_custody_source_id(key->arn, 0, out.source_id);
    hf_str_cut(out.name, sizeof out.name, key->arn);
    memcpy(out.public_key, key->public_key, sizeof out.public_key);
    return out;
}

/* AWS answers with the ARN; what imitates it with the bare id of the key at times. */
static bool is_answer_for(const char *asked, const char *answered)
{
    return hf_kms_key_fits(asked, answered) ||
           (strchr(answered, ':') == NULL && hf_kms_key_fits(answered, asked));
}

/* Takes in what GetPublicKey answered for the key at this place. */
static hf_status take_public(hf_awskms *kms, size_t place, const json_t *answer, hf_error *err)
{
    hf_kms_sign_key found;
    hf_status st = hf_kms_read_public(answer, &found, err);
    if (!hf_failed(st) && !is_answer_for(kms->config.sign_key_ids[place], found.arn)) {
        EVP_PKEY_free(found.public);
        st = hf_fail(err, HF_DENIED, "KMS answered for another key");
    }
    if (!hf_failed(st)) {
        (void)pthread_mutex_lock(&kms->lock);
        kms->sign_keys[place] = found;
        (void)pthread_mutex_unlock(&kms->lock);
    }
    return st;
}

/* Public keys never change: asked for once. Only list writes, so that it reads without the lock. */
static hf_status learn_sign_keys(hf_awskms *kms, const hf_custody_visitor *visitor,
                                 uint64_t deadline_ns, hf_error *err)
{
    size_t of_question[HF_AWSKMS_SIGN_KEYS_MAX];
    size_t n = 0;
    hf_status st = hf_ok();
    hf_aws_question *questions = calloc(HF_AWSKMS_SIGN_KEYS_MAX, sizeof *questions);
    if (questions == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < kms->config.sign_key_count; i++) {
        if (!kms->sign_keys[i].known) {
            questions[n].operation = "GetPublicKey";
            questions[n].body = json_pack("{s:s}", "KeyId", kms->config.sign_key_ids[i]);
            of_question[n++] = i;
        }
    }
    hf_aws_ask(kms->service, questions, n, deadline_ns);
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        const char *id = kms->config.sign_key_ids[of_question[i]];
        hf_error why = questions[i].err;
        hf_status one = questions[i].status;
        if (!hf_failed(one)) {
            one = take_public(kms, of_question[i], questions[i].answer, &why);
        }
        if (one.code == HF_UNAVAILABLE || one.code == HF_NOMEM) {
            st = hf_fail(err, one.code, "%s: %s", id, why.msg);
        } else if (hf_failed(one)) {
            visitor->failed(visitor->context, id, why.msg);
        }
    }
    hf_aws_questions_done(questions, n);
    free(questions);
    return st;
}

static hf_status list_sign_keys(hf_awskms *kms, const hf_custody_visitor *visitor,
                                uint64_t deadline_ns, hf_error *err)
{
    hf_status st = learn_sign_keys(kms, visitor, deadline_ns, err);
    for (size_t i = 0; i < kms->config.sign_key_count && !hf_failed(st); i++) {
        if (kms->sign_keys[i].known) {
            const hf_custody_key key = describe(&kms->sign_keys[i]);
            st = visitor->key(visitor->context, &key);
        }
    }
    return st;
}

static hf_status list(hf_custody *custody, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                      hf_error *err)
{
    hf_awskms *kms = of(custody);
    hf_status st = list_sign_keys(kms, visitor, deadline_ns, err);
    if (!hf_failed(st) && kms->config.blob_dir[0] != '\0') {
        st = hf_kms_list_files(kms, visitor, deadline_ns, err);
    }
    return st;
}

/* A copy that borrows the public key, which lives until close. */
static hf_status find_sign_key(hf_awskms *kms, uint64_t handle, hf_kms_sign_key *ret_key,
                               hf_error *err)
{
    hf_status st = {HF_NOT_FOUND};
    (void)pthread_mutex_lock(&kms->lock);
    for (size_t i = 0; i < kms->config.sign_key_count; i++) {
        if (kms->sign_keys[i].known && kms->sign_keys[i].handle == handle) {
            *ret_key = kms->sign_keys[i];
            st = hf_ok();
        }
    }
    (void)pthread_mutex_unlock(&kms->lock);
    return hf_failed(st) ? hf_fail(err, HF_NOT_FOUND, "no such key in AWS KMS") : st;
}

/* ---- signing ------------------------------------------------------------------------------ */

static json_t *sign_body(const hf_kms_sign_key *key, hf_bytes message)
{
    bool whole = key->type == HF_CUSTODY_ED25519;
    json_t *bytes = hf_aws_write_base64(message);
    return bytes == NULL ? NULL
                         : json_pack("{s:s, s:o, s:s, s:s}", "KeyId", key->arn, "Message", bytes,
                                     "MessageType", whole ? "RAW" : "DIGEST", "SigningAlgorithm",
                                     whole ? "ED25519_SHA_512" : "ECDSA_SHA_256");
}

static hf_status sign(hf_custody *custody, uint64_t handle, hf_bytes message, uint64_t deadline_ns,
                      uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES], hf_error *err)
{
    hf_awskms *kms = of(custody);
    hf_kms_sign_key key;
    uint8_t signature[SIGNATURE_MAX];
    size_t len = 0;
    json_t *answer = NULL;
    hf_status st = find_sign_key(kms, handle, &key, err);
    if (hf_failed(st)) {
        return st;
    }
    if (message.len == 0 || message.len > HF_CUSTODY_MESSAGE_MAX ||
        (key.type != HF_CUSTODY_ED25519 && message.len != DIGEST_BYTES)) {
        return hf_fail(err, HF_USAGE, "%s: not a message that this key signs", key.arn);
    }
    st = hf_aws_ask_one(kms->service, "Sign", sign_body(&key, message), deadline_ns, &answer, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "%s", key.arn);
    }
    const char *arn = json_string_value(json_object_get(answer, "KeyId"));
    if (arn == NULL || !is_answer_for(key.arn, arn) ||
        hf_failed(hf_aws_read_base64(answer, "Signature", signature, sizeof signature, &len))) {
        st = hf_fail(err, HF_CRYPTO, "%s: KMS answered without a signature of this key", key.arn);
    } else {
        st =
            hf_kms_read_signature(&key, message, hf_bytes_from(signature, len), ret_signature, err);
    }
    json_decref(answer);
    return st;
}

/* ---- wrapping ----------------------------------------------------------------------------- */

/* What binds a wrapped secret: what it is for, and a hash of the caller's context. */
static json_t *wrap_context(const hf_awskms *kms, hf_bytes context)
{
    uint8_t digest[32];
    char hex[2 * sizeof digest + 1];
    hf_sha256(context.ptr, context.len, digest);
    hf_hex_encode(digest, sizeof digest, hex);
    return kms->config.network[0] != '\0'
               ? json_pack("{s:s, s:s, s:s}", "purpose", "holdfast-wrapped-secret", "context", hex,
                           "network", kms->config.network)
               : json_pack("{s:s, s:s}", "purpose", "holdfast-wrapped-secret", "context", hex);
}

typedef struct wrapping {
    const char *operation; /* "Encrypt" */
    const char *in_name;   /* "Plaintext" */
    const char *out_name;
    const char *reference;
    hf_bytes context;
    hf_bytes in;
    size_t in_max;
} wrapping;

static hf_status convert(hf_awskms *kms, const wrapping *what, uint64_t deadline_ns, uint8_t *out,
                         size_t *out_len, hf_error *err)
{
    json_t *answer = NULL;
    if (what->in.len == 0 || what->in.len > what->in_max || what->reference[0] == '\0') {
        return hf_fail(err, HF_USAGE, "%s: 1 to %zu bytes, under a key in KMS", what->operation,
                       what->in_max);
    }
    json_t *in = hf_aws_write_base64(what->in);
    json_t *context = wrap_context(kms, what->context);
    json_t *body = NULL;
    if (in != NULL && context != NULL) {
        body = json_pack("{s:s, s:O, s:O}", "KeyId", what->reference, what->in_name, in,
                         "EncryptionContext", context);
    }
    json_decref(in);
    json_decref(context);
    hf_status st = hf_aws_ask_one(kms->service, what->operation, body, deadline_ns, &answer, err);
    if (hf_failed(st)) {
        return st; /* who asks knows which key; with an ARN before it the reason would be cut off */
    }
    const char *arn = json_string_value(json_object_get(answer, "KeyId"));
    if (arn == NULL || !hf_kms_key_fits(what->reference, arn)) {
        st = hf_fail(err, HF_DENIED, "%s: KMS answered for another key", what->reference);
    } else if (hf_failed(hf_aws_read_base64(answer, what->out_name, out, *out_len, out_len))) {
        st = hf_fail(err, HF_LIMIT, "%s: what KMS answered to %s is nothing, or too long",
                     what->reference, what->operation);
    }
    json_decref(answer);
    return st;
}

static hf_status wrap(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes secret,
                      uint64_t deadline_ns, uint8_t *out, size_t *out_len, hf_error *err)
{
    const wrapping what = {.operation = "Encrypt",
                           .in_name = "Plaintext",
                           .out_name = "CiphertextBlob",
                           .reference = reference,
                           .context = context,
                           .in = secret,
                           .in_max = PLAINTEXT_MAX};
    return convert(of(custody), &what, deadline_ns, out, out_len, err);
}

static hf_status unwrap(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes blob,
                        uint64_t deadline_ns, uint8_t *out, size_t *out_len, hf_error *err)
{
    const wrapping what = {.operation = "Decrypt",
                           .in_name = "CiphertextBlob",
                           .out_name = "Plaintext",
                           .reference = reference,
                           .context = context,
                           .in = blob,
                           .in_max = HF_KMS_CIPHERTEXT_MAX};
    return convert(of(custody), &what, deadline_ns, out, out_len, err);
}

hf_status hf_awskms_create_key(hf_custody *custody, hf_custody_type type, const char *description,
                               uint64_t deadline_ns, char ret_arn[HF_AWSKMS_ID_LEN], hf_error *err)
{
    static const char *const specs[HF_CUSTODY_TYPE_COUNT] = {
        [HF_CUSTODY_SECP256K1] = "ECC_SECG_P256K1",
        [HF_CUSTODY_ED25519] = "ECC_NIST_EDWARDS25519",
        [HF_CUSTODY_P256] = "ECC_NIST_P256",
    };
    json_t *answer = NULL;
    if (specs[type] == NULL) {
        return hf_fail(err, HF_USAGE, "no key of this type signs in AWS KMS");
    }
    json_t *body = json_pack("{s:s, s:s, s:s}", "KeySpec", specs[type], "KeyUsage", "SIGN_VERIFY",
                             "Description", description);
    hf_status st =
        hf_aws_ask_one(of(custody)->service, "CreateKey", body, deadline_ns, &answer, err);
    if (hf_failed(st)) {
        return st;
    }
    const char *arn =
        json_string_value(json_object_get(json_object_get(answer, "KeyMetadata"), "Arn"));
    if (arn == NULL || hf_failed(hf_str_copy(ret_arn, HF_AWSKMS_ID_LEN, arn))) {
        st = hf_fail(err, HF_INVALID_INPUT, "KMS made a key and did not answer with its ARN");
    }
    json_decref(answer);
    return st;
}

/* ---- health, life ------------------------------------------------------------------------- */

static bool is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN])
{
    hf_awskms *kms = of(custody);
    bool well = hf_aws_service_is_well(kms->service, ret_detail, HF_DETAIL_LEN);
    uint64_t now_ns = hf_time_mono_ns();
    const char *key =
        kms->config.key_id[0] != '\0' ? kms->config.key_id : kms->config.sign_key_ids[0];
    if (!well && key[0] != '\0' && now_ns - kms->probed_ns >= PROBE_EVERY_NS) {
        kms->probed_ns = now_ns;
        /* A refusal is an answer as well: it is there. */
        hf_status st = hf_aws_ask_one(kms->service, "DescribeKey", json_pack("{s:s}", "KeyId", key),
                                      now_ns + PROBE_NS, NULL, NULL);
        well = hf_aws_service_is_well(kms->service, ret_detail, HF_DETAIL_LEN) || !hf_failed(st);
    }
    if (well) {
        char sentence[2 * HF_AWS_REGION_LEN];
        if (!hf_failed(hf_str_format(sentence, sizeof sentence, "AWS KMS in %s answers",
                                     hf_aws_service_region(kms->service)))) {
            hf_str_cut(ret_detail, HF_DETAIL_LEN, sentence);
        }
    }
    return well;
}

static void close_kms(hf_custody *custody)
{
    hf_awskms *kms = of(custody);
    for (size_t i = 0; i < HF_AWSKMS_SIGN_KEYS_MAX; i++) {
        EVP_PKEY_free(kms->sign_keys[i].public);
    }
    hf_aws_service_close(kms->service);
    (void)pthread_mutex_destroy(&kms->lock);
    free(kms);
}

static const hf_custody_ops ops = {
    .list = list,
    .sign = sign,
    .wrap = wrap,
    .unwrap = unwrap,
    .is_healthy = is_healthy,
    .close = close_kms,
};

static hf_status check_config(const hf_awskms_config *config, hf_error *err)
{
    static const uint8_t any[HF_BLS_PUBKEY_BYTES];
    hf_kms_context unused;
    if (config->blob_dir[0] == '\0') {
        return hf_ok();
    }
    if (config->key_id[0] == '\0') {
        return hf_fail(err, HF_USAGE, "key_id is missing: the key in KMS that opens %s",
                       config->blob_dir);
    }
    if (config->network[0] == '\0') {
        return hf_fail(err, HF_USAGE, "encryption_context: network is missing");
    }
    return hf_kms_context_of(config, HF_CUSTODY_BLS, hf_bytes_from(any, sizeof any), &unused, err);
}

hf_status hf_custody_awskms_open(const hf_awskms_config *config, hf_custody **ret_custody,
                                 hf_error *err)
{
    HF_ASSERT(config->pair_count <= HF_AWSKMS_PAIRS_MAX &&
              config->sign_key_count <= HF_AWSKMS_SIGN_KEYS_MAX);
    hf_status st = check_config(config, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_awskms *kms = calloc(1, sizeof *kms);
    if (kms == NULL || pthread_mutex_init(&kms->lock, NULL) != 0) {
        free(kms);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    kms->custody.ops = &ops;
    kms->config = *config;
    st = hf_aws_service_open("kms", &config->place, &kms->service, err);
    if (hf_failed(st)) {
        close_kms(&kms->custody);
        return st;
    }
    *ret_custody = &kms->custody;
    return hf_ok();
}
