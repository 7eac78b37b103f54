/* Settings of the execution layer. */
#include "config_internal.h"
#include "net/net.h"

/* Chain ids of the networks known by name. */
static const struct {
    const char *name;
    uint64_t chain_id;
} chains[] = {
    {"mainnet", 1},    {"sepolia", 11155111}, {"holesky", 17000},
    {"hoodi", 560048}, {"gnosis", 100},       {"chiado", 10200},
};

/* A URL with a password in it stays out of errors. */
static hf_status check_node_url(const hf_settings *settings, const char *key, hf_error *err)
{
    hf_error why = {HF_OK, ""};
    hf_status st = hf_net_check_url(settings->config.node_url, &why);
    return hf_failed(st) ? hf_config_refuse_key(settings, key, err, why.msg) : st;
}

static hf_status read_node_url(hf_settings *settings, hf_error *err)
{
    static const char key[] = "eth1.downstream.url_file";
    hf_config *config = &settings->config;
    hf_buf *text = NULL;
    hf_error why = {HF_OK, ""};
    if (config->node_url[0] != '\0') {
        return hf_config_refuse_key(settings, key, err, "eth1.downstream.url is given, too");
    }
    hf_status st = hf_file_read(config->node_url_file, HF_NODE_URL_LEN - 1, &text, &why);
    if (hf_failed(st)) {
        return hf_config_refuse_key(settings, key, err, why.msg);
    }
    memcpy(config->node_url, hf_buf_text(text), strcspn(hf_buf_text(text), "\r\n"));
    hf_buf_free(text);
    return check_node_url(settings, key, err);
}

static const char *const node_files[] = {"eth1.downstream.ca_file",
                                         "eth1.downstream.client_cert_file",
                                         "eth1.downstream.client_key_file"};

/* Half a client's certificate is a mistake, as is a setting of a node that is not there. */
static hf_status check_node_files(const hf_settings *settings, hf_error *err)
{
    const hf_config *config = &settings->config;
    if ((config->node_cert_file[0] != '\0') != (config->node_key_file[0] != '\0')) {
        return hf_config_refuse_key(
            settings, config->node_cert_file[0] != '\0' ? node_files[1] : node_files[2], err,
            "eth1.downstream.client_cert_file and client_key_file go together");
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(node_files) && config->node_url[0] == '\0'; i++) {
        if (hf_config_setting(settings, node_files[i])->is_set) {
            return hf_config_refuse_key(settings, node_files[i], err,
                                        "needs eth1.downstream.url or url_file as well");
        }
    }
    return hf_ok();
}

static hf_status finish_node(hf_settings *settings, hf_error *err)
{
    hf_config *config = &settings->config;
    hf_status st = hf_ok();
    if (config->node_url_file[0] != '\0') {
        st = read_node_url(settings, err);
    } else if (config->node_url[0] != '\0') {
        st = check_node_url(settings, "eth1.downstream.url", err);
    }
    if (config->node_url[0] == '\0') {
        config->node_timeout_ms = 0; /* there is none */
    }
    return hf_failed(st) ? st : check_node_files(settings, err);
}

hf_status hf_config_finish_eth1(hf_settings *settings, hf_error *err)
{
    hf_config *config = &settings->config;
    config->eth1.sign_data = config->eth1_sign_data;
    for (size_t i = 0; config->eth1.chain_id == 0 && i < HF_ARRAY_LEN(chains); i++) {
        if (strcmp(config->network.name, chains[i].name) == 0) {
            config->eth1.chain_id = chains[i].chain_id;
        }
    }
    return finish_node(settings, err);
}
