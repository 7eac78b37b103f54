/* doctor: the node that other methods of JSON-RPC go to (eth1.downstream). */
#include "doctor_internal.h"

#include "net/net.h"

#define RELAY_NAME "holdfast-relay"

/* Whoever sits between can tell a wallet what he likes of balances, nonces and fees. */
static void judge_way(hf_doctor *doctor)
{
    const hf_config *config = doctor->config;
    hf_error why = {HF_OK, ""};
    if (hf_failed(hf_net_check_url(config->node_url, &why))) {
        hf_doctor_say(doctor, HF_ROW_FAIL, "https:// in its URL, or a proxy on this machine", "%s",
                      why.msg);
    } else if (strncasecmp(config->node_url, "https://", 8) != 0) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "plain HTTP on this machine");
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "TLS, trusting %s%s",
                      config->node_ca_file[0] != '\0' ? "ca_file alone"
                                                      : "the system's authorities",
                      config->node_cert_file[0] != '\0' ? ", with a certificate of our own" : "");
    }
}

/* The configuration may be read by more people than a file of mode 0600. */
static void judge_password(hf_doctor *doctor)
{
    const char *url = doctor->config->node_url;
    const char *slashes = strstr(url, "://");
    const char *authority = slashes == NULL ? url : slashes + 3;
    if (doctor->config->node_url_file[0] == '\0' &&
        memchr(authority, '@', strcspn(authority, "/?#")) != NULL) {
        hf_doctor_say(doctor, HF_ROW_WARN, "move it to eth1.downstream.url_file, mode 0600",
                      "the URL in the configuration holds a password");
    }
}

/* What may come to it: that of loopback is a process of this machine. */
static void judge_callers(hf_doctor *doctor)
{
    char mode[32];
    const hf_config *config = doctor->config;
    bool with_tokens =
        hf_doctor_setting(doctor, "auth.mode", mode, sizeof mode) && strcmp(mode, "tokens") == 0;
    bool with_certificates =
        config->tls_client_ca[0] != '\0' || config->tls_known_clients[0] != '\0';
    if (with_tokens || with_certificates) {
        return;
    }
    bool is_local = hf_doctor_reach(config->listen_address) == HF_REACH_LOOPBACK;
    hf_doctor_say(doctor, is_local ? HF_ROW_WARN : HF_ROW_FAIL,
                  "auth.mode: tokens, with eth1_node for those who need it",
                  "auth.mode: none: %s may call the node",
                  is_local ? "every process of this machine" : "whoever reaches the signer");
}

static void judge_process(hf_doctor *doctor)
{
    for (size_t i = 0; i < doctor->child_count; i++) {
        if (strcmp(doctor->children[i].name, RELAY_NAME) == 0) {
            return; /* "processes" judges it */
        }
    }
    if (doctor->child_count > 0) {
        hf_doctor_say(doctor, HF_ROW_FAIL, "restart the signer: it runs with another configuration",
                      "no " RELAY_NAME " runs: calls to the node fail");
    }
}

void hf_check_node(hf_doctor *doctor)
{
    if (doctor->config->node_url[0] == '\0') {
        return;
    }
    judge_way(doctor);
    judge_password(doctor);
    judge_callers(doctor);
    judge_process(doctor);
}
