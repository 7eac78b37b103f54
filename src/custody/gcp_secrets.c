/* Google Cloud's Secret Manager, REST version 1, with the machine's token or a service account's.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>

#include "custody/cloud_internal.h"
#include "custody/secret_text.h"

#define ENDPOINT "https://secretmanager.googleapis.com"
#define METADATA "http://metadata.google.internal"
#define TOKEN_URI "https://oauth2.googleapis.com/token"
#define SCOPE "https://www.googleapis.com/auth/cloud-platform"
#define GRANT "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define KEY_FILE_LEN 16384
#define ASSERTION_LEN 8192
#define SIGNATURE_MAX 1024 /* RSA of 8192 bits */
#define LIFE_SECONDS 3600
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

static const char * or (const char *value, const char *standard)
{
    return value[0] != '\0' ? value : standard;
}

/* ---- a service account's own assertion (RFC 7523) ------------------------------------------- */

static hf_status put_base64(hf_buf *out, const void *ptr, size_t len)
{
    char text[ASSERTION_LEN];
    if (sodium_base64_encoded_len(len, VARIANT) > sizeof text) {
        return (hf_status){HF_LIMIT};
    }
    (void)sodium_bin2base64(text, sizeof text, ptr, len, VARIANT);
    hf_status st = hf_buf_put(out, text, strlen(text));
    hf_wipe(text, sizeof text);
    return st;
}

static bool sign_rs256(const char *pem, const hf_buf *text, uint8_t *ret_signature, size_t *len)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = key != NULL && context != NULL && EVP_PKEY_is_a(key, "RSA") &&
              EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(context, ret_signature, len, hf_buf_peek(text), hf_buf_len(text)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok;
}

static hf_status put_claims(hf_buf *assertion, const char *email, const char *audience)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
    json_int_t now = (json_int_t)(hf_time_unix_ms() / 1000);
    json_t *claims = json_pack("{s:s,s:s,s:s,s:I,s:I}", "iss", email, "scope", SCOPE, "aud",
                               audience, "iat", now, "exp", now + LIFE_SECONDS);
    char *text = claims != NULL ? json_dumps(claims, JSON_COMPACT) : NULL;
    hf_status st =
        text != NULL ? put_base64(assertion, header, strlen(header)) : (hf_status){HF_NOMEM};
    if (!hf_failed(st)) {
        st = hf_buf_put(assertion, ".", 1);
    }
    if (!hf_failed(st)) {
        st = put_base64(assertion, text, strlen(text));
    }
    free(text);
    json_decref(claims);
    return st;
}

static hf_status put_assertion(json_t *account, const char *audience, hf_buf *form, hf_error *err)
{
    const char *email = json_string_value(json_object_get(account, "client_email"));
    const char *pem = json_string_value(json_object_get(account, "private_key"));
    uint8_t signature[SIGNATURE_MAX];
    size_t len = sizeof signature;
    hf_buf *assertion = hf_buf_new(ASSERTION_LEN);
    hf_status st = {HF_DENIED};
    if (email != NULL && pem != NULL && assertion != NULL &&
        !hf_failed(put_claims(assertion, email, audience)) &&
        sign_rs256(pem, assertion, signature, &len) && !hf_failed(hf_buf_put(assertion, ".", 1)) &&
        !hf_failed(put_base64(assertion, signature, len)) &&
        !hf_failed(hf_cloud_put_field(form, "grant_type", GRANT))) {
        st = hf_cloud_put_field(form, "assertion", hf_buf_text(assertion));
    }
    hf_buf_free(assertion);
    return hf_failed(st) ? hf_fail(err, HF_DENIED,
                                   "credentials_file is not a service account's key in JSON, with "
                                   "client_email and an RSA private_key")
                         : st;
}

static hf_status ask_as_account(const hf_gcp_config *config, hf_buf *url, hf_buf *form,
                                hf_error *err)
{
    hf_buf *text = NULL;
    hf_status st = hf_file_check_private(config->credentials_file, err);
    if (!hf_failed(st)) {
        st = hf_file_read(config->credentials_file, KEY_FILE_LEN, &text, err);
    }
    if (hf_failed(st)) {
        return hf_error_wrap(err, (hf_status){HF_DENIED}, "Google Cloud");
    }
    json_t *account = hf_secret_json_parse(text);
    const char *uri = json_string_value(json_object_get(account, "token_uri"));
    uri = uri != NULL ? uri : TOKEN_URI;
    st = hf_net_check_url(uri, err);
    if (!hf_failed(st)) {
        st = put_assertion(account, uri, form, err);
    }
    if (!hf_failed(st)) {
        st = hf_buf_putf(url, "%s", uri);
    }
    json_decref(account);
    hf_buf_free(text);
    return st;
}

static hf_status ask_token(hf_cloud *cloud, hf_buf *url, hf_buf *form, const char **ret_header,
                           hf_error *err)
{
    const hf_gcp_config *config = cloud->config;
    if (config->auth == HF_GCP_AUTH_SERVICE_ACCOUNT) {
        return ask_as_account(config, url, form, err);
    }
    *ret_header = "Metadata-Flavor: Google";
    return hf_buf_putf(url, "%s/computeMetadata/v1/instance/service-accounts/default/token",
                       or (config->metadata_url, METADATA));
}

/* ---- secrets -------------------------------------------------------------------------------- */

static hf_status put_base(const hf_gcp_config *config, hf_buf *url)
{
    hf_status st = hf_buf_putf(url, "%s/v1/projects/", or (config->endpoint_url, ENDPOINT));
    if (!hf_failed(st)) {
        st = hf_url_put_escaped(url, config->project_id, false);
    }
    return hf_failed(st) ? st : hf_buf_putf(url, "/secrets");
}

static hf_status list_url(const hf_cloud *cloud, hf_buf *url)
{
    const hf_gcp_config *config = cloud->config;
    hf_status st = put_base(config, url);
    if (!hf_failed(st)) {
        st = hf_buf_putf(url, "?pageSize=250");
    }
    if (!hf_failed(st) && config->filter[0] != '\0') {
        st = hf_cloud_put_field(url, "filter", config->filter);
    }
    return st;
}

static hf_status take_page(hf_cloud *cloud, json_t *page, hf_buf *next)
{
    size_t i;
    json_t *item;
    hf_status st = hf_ok();
    json_array_foreach(json_object_get(page, "secrets"), i, item)
    {
        const char *full = json_string_value(json_object_get(item, "name"));
        const char *name = full != NULL ? strrchr(full, '/') : NULL;
        if (name != NULL && !hf_failed(st)) {
            st = hf_name_list_add(&cloud->names, name + 1);
        }
    }
    const char *token = json_string_value(json_object_get(page, "nextPageToken"));
    if (hf_failed(st) || token == NULL || token[0] == '\0') {
        return st;
    }
    st = list_url(cloud, next);
    return hf_failed(st) ? st : hf_cloud_put_field(next, "pageToken", token);
}

static hf_status secret_url(const hf_cloud *cloud, const char *name, hf_buf *url)
{
    hf_status st = put_base(cloud->config, url);
    if (!hf_failed(st)) {
        st = hf_buf_putf(url, "/");
    }
    if (!hf_failed(st)) {
        st = hf_url_put_escaped(url, name, false);
    }
    return hf_failed(st) ? st : hf_buf_putf(url, "/versions/latest:access");
}

static bool take_secret(json_t *answer, hf_buf *text)
{
    const char *data =
        json_string_value(json_object_get(json_object_get(answer, "payload"), "data"));
    size_t len = data != NULL ? strlen(data) : 0;
    uint8_t *bytes = malloc(len + 1);
    size_t used = 0;
    bool ok = data != NULL && bytes != NULL &&
              sodium_base642bin(bytes, len + 1, data, len, NULL, &used, NULL,
                                sodium_base64_VARIANT_ORIGINAL) == 0 &&
              !hf_failed(hf_buf_put(text, bytes, used));
    if (bytes != NULL) {
        hf_wipe(bytes, len + 1);
    }
    free(bytes);
    return ok;
}

static const hf_cloud_flavour flavour = {.name = "Google Secret Manager",
                                         .ask_token = ask_token,
                                         .list_url = list_url,
                                         .take_page = take_page,
                                         .secret_url = secret_url,
                                         .take_secret = take_secret};

hf_status hf_custody_gcp_open(const hf_gcp_config *config, hf_custody **ret_custody, hf_error *err)
{
    hf_cloud shape = {.flavour = &flavour, .key_type = config->key_type};
    hf_status st = hf_net_check_url(or (config->endpoint_url, ENDPOINT), err);
    if (!hf_failed(st)) {
        st = hf_cloud_check_url(or (config->metadata_url, METADATA), METADATA, err);
    }
    if (!hf_failed(st) && config->project_id[0] == '\0') {
        st = hf_fail(err, HF_USAGE, "needs a project_id");
    }
    if (!hf_failed(st) && config->auth == HF_GCP_AUTH_SERVICE_ACCOUNT &&
        config->credentials_file[0] == '\0') {
        st = hf_fail(err, HF_USAGE, "needs a credentials_file");
    }
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "Google Secret Manager");
    }
    (void)snprintf(shape.origin, sizeof shape.origin, "%s", config->project_id);
    hf_str_cut(shape.only, sizeof shape.only, config->secret_name);
    hf_gcp_config *copy = malloc(sizeof *copy);
    if (copy != NULL) {
        *copy = *config;
    }
    shape.config = copy;
    shape.config_len = sizeof *copy;
    return hf_cloud_open(&shape, config->ca_file, ret_custody, err);
}
