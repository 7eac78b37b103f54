/* Azure Key Vault: secrets by its REST interface, version 7.4, with Entra ID's tokens. */
#include "custody/cloud_internal.h"
#include "custody/secret_text.h"

#define AUTHORITY "https://login.microsoftonline.com"
#define METADATA "http://169.254.169.254"
#define API "api-version=7.4"
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define SECRET_LEN 8192

/* The vault's own cloud: "https://vault.azure.net" for NAME.vault.azure.net, and so for those of
 * governments. */
static void resource_of(const char *vault_url, char ret_resource[HF_CLOUD_URL_LEN])
{
    const char *host = strstr(vault_url, "://");
    const char *suffix = host != NULL ? strstr(host, ".vault.") : NULL;
    size_t len = suffix != NULL ? strcspn(suffix + 1, ":/") : 0;
    if (len == 0 || hf_failed(hf_str_format(ret_resource, HF_CLOUD_URL_LEN, "https://%.*s",
                                            (int)len, suffix + 1))) {
        hf_str_cut(ret_resource, HF_CLOUD_URL_LEN, "https://vault.azure.net");
    }
}

static const char * or (const char *value, const char *standard)
{
    return value[0] != '\0' ? value : standard;
}

static hf_status ask_machine(const hf_azure_config *config, hf_buf *url, const char **ret_header)
{
    char resource[HF_CLOUD_URL_LEN];
    resource_of(config->vault_url, resource);
    hf_status st =
        hf_buf_putf(url, "%s/metadata/identity/oauth2/token?api-version=2018-02-01&resource=",
                    or (config->metadata_url, METADATA));
    if (!hf_failed(st)) {
        st = hf_url_put_escaped(url, resource, false);
    }
    if (!hf_failed(st) && config->client_id[0] != '\0') {
        st = hf_cloud_put_field(url, "client_id", config->client_id);
    }
    *ret_header = "Metadata: true";
    return st;
}

static hf_status put_login(const hf_azure_config *config, const char *secret, hf_buf *form)
{
    char scope[HF_CLOUD_URL_LEN + 16];
    char resource[HF_CLOUD_URL_LEN];
    resource_of(config->vault_url, resource);
    (void)snprintf(scope, sizeof scope, "%s/.default", resource);
    bool is_secret = config->auth == HF_AZURE_AUTH_CLIENT_SECRET;
    hf_status st = hf_cloud_put_field(form, "grant_type", "client_credentials");
    if (!hf_failed(st)) {
        st = hf_cloud_put_field(form, "client_id", config->client_id);
    }
    if (!hf_failed(st)) {
        st = hf_cloud_put_field(form, "scope", scope);
    }
    if (!hf_failed(st) && !is_secret) {
        st = hf_cloud_put_field(form, "client_assertion_type", ASSERTION_TYPE);
    }
    return hf_failed(st)
               ? st
               : hf_cloud_put_field(form, is_secret ? "client_secret" : "client_assertion", secret);
}

static hf_status ask_token(hf_cloud *cloud, hf_buf *url, hf_buf *form, const char **ret_header,
                           hf_error *err)
{
    const hf_azure_config *config = cloud->config;
    char secret[SECRET_LEN];
    if (config->auth == HF_AZURE_AUTH_MANAGED_IDENTITY) {
        return ask_machine(config, url, ret_header);
    }
    bool is_secret = config->auth == HF_AZURE_AUTH_CLIENT_SECRET;
    hf_status st = is_secret && config->client_secret[0] != '\0'
                       ? hf_str_copy(secret, sizeof secret, config->client_secret)
                       : hf_secret_file_read(is_secret ? config->client_secret_file
                                                       : config->federated_token_file,
                                             is_secret, secret, sizeof secret, err);
    if (!hf_failed(st)) {
        st = hf_buf_putf(url, "%s/%s/oauth2/v2.0/token", or (config->authority_url, AUTHORITY),
                         config->tenant_id);
    } else {
        st = (hf_status){HF_DENIED};
    }
    if (!hf_failed(st)) {
        st = put_login(config, secret, form);
    }
    hf_wipe(secret, sizeof secret);
    return st;
}

static hf_status list_url(const hf_cloud *cloud, hf_buf *url)
{
    return hf_buf_putf(url, "%s/secrets?" API "&maxresults=25", cloud->origin);
}

/* The name behind ".../secrets/". */
static hf_status take_item(hf_cloud *cloud, json_t *item)
{
    const hf_azure_config *config = cloud->config;
    const char *id = json_string_value(json_object_get(item, "id"));
    const char *name = id != NULL ? strstr(id, "/secrets/") : NULL;
    json_t *enabled = json_object_get(json_object_get(item, "attributes"), "enabled");
    if (name == NULL || json_is_false(enabled)) {
        return hf_ok();
    }
    name += strlen("/secrets/");
    bool fits = strncmp(name, config->name_prefix, strlen(config->name_prefix)) == 0;
    return fits ? hf_name_list_add(&cloud->names, name) : hf_ok();
}

static hf_status take_page(hf_cloud *cloud, json_t *page, hf_buf *next)
{
    size_t i;
    json_t *item;
    hf_status st = hf_ok();
    json_array_foreach(json_object_get(page, "value"), i, item)
    {
        st = hf_failed(st) ? st : take_item(cloud, item);
    }
    const char *link = json_string_value(json_object_get(page, "nextLink"));
    if (hf_failed(st) || link == NULL || link[0] == '\0') {
        return st;
    }
    /* The token goes to this vault and nowhere else. */
    size_t len = strlen(cloud->origin);
    bool is_ours = strncmp(link, cloud->origin, len) == 0 &&
                   (link[len] == '/' || strncmp(link + len, ":443/", 5) == 0);
    return is_ours ? hf_buf_put(next, link, strlen(link)) : (hf_status){HF_INVALID_INPUT};
}

static hf_status secret_url(const hf_cloud *cloud, const char *name, hf_buf *url)
{
    hf_status st = hf_buf_putf(url, "%s/secrets/", cloud->origin);
    if (!hf_failed(st)) {
        st = hf_url_put_escaped(url, name, false);
    }
    return hf_failed(st) ? st : hf_buf_putf(url, "?" API);
}

static bool take_secret(json_t *answer, hf_buf *text)
{
    const char *value = json_string_value(json_object_get(answer, "value"));
    return value != NULL && !hf_failed(hf_buf_put(text, value, strlen(value)));
}

static const hf_cloud_flavour flavour = {.name = "Azure Key Vault",
                                         .ask_token = ask_token,
                                         .list_url = list_url,
                                         .take_page = take_page,
                                         .secret_url = secret_url,
                                         .take_secret = take_secret};

static hf_status check_auth(const hf_azure_config *config, hf_error *err)
{
    bool has_client = config->tenant_id[0] != '\0' && config->client_id[0] != '\0';
    switch (config->auth) {
    case HF_AZURE_AUTH_CLIENT_SECRET:
        return has_client &&
                       (config->client_secret_file[0] != '\0' || config->client_secret[0] != '\0')
                   ? hf_ok()
                   : hf_fail(err, HF_USAGE, "needs tenant_id, client_id and client_secret_file");
    case HF_AZURE_AUTH_MANAGED_IDENTITY:
        return hf_ok();
    case HF_AZURE_AUTH_WORKLOAD_IDENTITY:
        return has_client && config->federated_token_file[0] != '\0'
                   ? hf_ok()
                   : hf_fail(err, HF_USAGE, "needs tenant_id, client_id and federated_token_file");
    case HF_AZURE_AUTH_COUNT:
        break;
    }
    return hf_fail(err, HF_USAGE, "no such way to log in");
}

hf_status hf_custody_azure_open(const hf_azure_config *config, hf_custody **ret_custody,
                                hf_error *err)
{
    hf_cloud shape = {.flavour = &flavour, .key_type = config->key_type};
    hf_status st = hf_net_check_url(config->vault_url, err);
    if (!hf_failed(st)) {
        st = hf_net_check_url(or (config->authority_url, AUTHORITY), err);
    }
    if (!hf_failed(st)) {
        st = hf_cloud_check_url(or (config->metadata_url, METADATA), METADATA, err);
    }
    if (!hf_failed(st)) {
        st = check_auth(config, err);
    }
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "Azure Key Vault");
    }
    hf_str_cut(shape.origin, sizeof shape.origin, config->vault_url);
    size_t len = strlen(shape.origin);
    if (shape.origin[len - 1] == '/') {
        shape.origin[len - 1] = '\0';
    }
    hf_str_cut(shape.only, sizeof shape.only, config->secret_name);
    shape.secrets = config->secrets;
    shape.secret_count = config->secret_count;
    hf_azure_config *copy = malloc(sizeof *copy);
    if (copy != NULL) {
        *copy = *config;
    }
    shape.config = copy;
    shape.config_len = sizeof *copy;
    return hf_cloud_open(&shape, config->ca_file, ret_custody, err);
}
