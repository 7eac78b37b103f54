/* doctor: who can reach the signer over a network. */
#include "doctor_internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define TCP_LISTEN 10 /* state 0A in /proc/net/tcp */
#define NFT_MAX_BYTES 8388608

/* ---- addresses ----------------------------------------------------------------------------- */

static hf_reach reach_of_four(const uint8_t a[4])
{
    if (a[0] == 127) {
        return HF_REACH_LOOPBACK;
    }
    if ((a[0] | a[1] | a[2] | a[3]) == 0) {
        return HF_REACH_ANY;
    }
    bool is_private = a[0] == 10 || (a[0] == 172 && (a[1] & 0xf0) == 16) ||
                      (a[0] == 192 && a[1] == 168) || (a[0] == 169 && a[1] == 254) ||
                      (a[0] == 100 && (a[1] & 0xc0) == 64);
    return is_private ? HF_REACH_PRIVATE : HF_REACH_PUBLIC;
}

hf_reach hf_doctor_reach(const char *address)
{
    struct in6_addr six;
    uint8_t four[4];
    if (inet_pton(AF_INET, address, four) == 1) {
        return reach_of_four(four);
    }
    if (inet_pton(AF_INET6, address, &six) != 1) {
        return HF_REACH_PUBLIC;
    }
    if (IN6_IS_ADDR_V4MAPPED(&six)) {
        return reach_of_four(six.s6_addr + 12);
    }
    if (IN6_IS_ADDR_LOOPBACK(&six)) {
        return HF_REACH_LOOPBACK;
    }
    if (IN6_IS_ADDR_UNSPECIFIED(&six)) {
        return HF_REACH_ANY;
    }
    return (six.s6_addr[0] & 0xfe) == 0xfc || IN6_IS_ADDR_LINKLOCAL(&six) ? HF_REACH_PRIVATE
                                                                          : HF_REACH_PUBLIC;
}

static const char *const reach_names[] = {"loopback", "a private address",
                                          "every address of the machine", "a public address"};

static void judge_address(hf_doctor *doctor, const char *address, uint16_t port,
                          hf_row_state public)
{
    hf_reach reach = hf_doctor_reach(address);
    hf_row_state verdict = reach == HF_REACH_LOOPBACK || reach == HF_REACH_PRIVATE ? HF_ROW_OK
                           : reach == HF_REACH_ANY                                 ? HF_ROW_WARN
                                                                                   : public;
    hf_doctor_say(doctor, verdict,
                  "listen on loopback or one private address, with a proxy or tunnel where needed",
                  "%s port %u: %s", address, (unsigned)port, reach_names[reach]);
}

void hf_check_api_address(hf_doctor *doctor)
{
    judge_address(doctor, doctor->config->listen_address, doctor->config->listen_port, HF_ROW_FAIL);
}

void hf_check_metrics_address(hf_doctor *doctor)
{
    if (!doctor->config->metrics_enabled) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "metrics are not served");
        return;
    }
    judge_address(doctor, doctor->config->metrics_address, doctor->config->metrics_port,
                  HF_ROW_FAIL);
}

void hf_check_api_tls(hf_doctor *doctor)
{
    const hf_config *config = doctor->config;
    bool is_local = hf_doctor_reach(config->listen_address) == HF_REACH_LOOPBACK;
    bool has_tls = config->tls_cert[0] != '\0';
    bool asks_clients = config->tls_client_ca[0] != '\0' || config->tls_known_clients[0] != '\0';
    if (has_tls && asks_clients) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "TLS, and every client shows a certificate");
    } else if (is_local) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%s on loopback", has_tls ? "TLS" : "plain HTTP");
    } else if (has_tls) {
        hf_doctor_say(doctor, HF_ROW_WARN, "server.tls.client_ca or known_clients",
                      "TLS, and clients show no certificate");
    } else {
        hf_doctor_say(doctor, HF_ROW_FAIL, "server.tls.cert, key and client_ca",
                      "plain HTTP beyond loopback: requests and tokens can be read on the way");
    }
}

/* ---- the database -------------------------------------------------------------------------- */

static void judge_postgres(hf_doctor *doctor, const char *what, const char *url)
{
    const char *host = "";
    const char *mode = "";
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        const char *value = o->val == NULL ? "" : o->val;
        if (strcmp(o->keyword, "host") == 0 ||
            (strcmp(o->keyword, "hostaddr") == 0 && host[0] == '\0')) {
            host = value;
        } else if (strcmp(o->keyword, "sslmode") == 0) {
            mode = value;
        }
    }
    bool is_local = host[0] == '\0' || host[0] == '/' || strcmp(host, "localhost") == 0 ||
                    hf_doctor_reach(host) == HF_REACH_LOOPBACK;
    if (is_local || strcmp(mode, "verify-full") == 0) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%s: %s", what,
                      is_local ? "on this machine" : "sslmode=verify-full");
    } else {
        hf_doctor_say(doctor, HF_ROW_FAIL, "sslmode=verify-full (and sslrootcert=) in its URL",
                      "%s: over a network, sslmode=%s: whoever sits between can forge the record",
                      what, mode[0] == '\0' ? "prefer (the default)" : mode);
    }
    PQconninfoFree(options);
}

void hf_check_database_tls(hf_doctor *doctor)
{
    const hf_config *config = doctor->config;
    if (config->store_backend == HF_STORE_POSTGRES) {
        judge_postgres(doctor, "slashing_protection", config->store_url);
    }
    if (config->duties.node_id[0] != '\0') {
        judge_postgres(doctor, "duty_protection", config->duties.database_url);
    }
    if (config->store_backend == HF_STORE_DYNAMODB &&
        strncmp(config->store_endpoint, "http://", 7) == 0) {
        hf_doctor_say(doctor, HF_ROW_FAIL, "https:// in slashing_protection.endpoint",
                      "slashing_protection.endpoint is plain HTTP");
    }
}

/* ---- what listens -------------------------------------------------------------------------- */

/* The n-th word of a line, the first being 0. */
static const char *word_at(const char *line, int n)
{
    line += strspn(line, " ");
    for (; n > 0; n--) {
        line += strcspn(line, " \n");
        line += strspn(line, " ");
    }
    return line;
}

/* "0100007F", "B80D0120...": words of 32 bits as this machine has them in memory. */
static bool parse_address(const char *hex, size_t len, char address[INET6_ADDRSTRLEN])
{
    uint8_t raw[sizeof(struct in6_addr)];
    if ((len != 8 && len != 32) || hf_failed(hf_hex_decode(hex, len, raw, len / 2))) {
        return false;
    }
    for (size_t i = 0; i < len / 2; i += sizeof(uint32_t)) {
        uint32_t word = ((uint32_t)raw[i] << 24) | ((uint32_t)raw[i + 1] << 16) |
                        ((uint32_t)raw[i + 2] << 8) | raw[i + 3];
        memcpy(raw + i, &word, sizeof word);
    }
    return inet_ntop(len == 8 ? AF_INET : AF_INET6, raw, address, INET6_ADDRSTRLEN) != NULL;
}

/* One line of /proc/net/tcp or tcp6, when it is a socket that listens. */
static bool parse_listener(const char *line, char address[INET6_ADDRSTRLEN], uint64_t *ret_port,
                           uint64_t *ret_inode)
{
    uint64_t state = 0;
    const char *local = word_at(line, 1);
    size_t len = strcspn(local, ": \n");
    return local[len] == ':' && hf_doctor_number(local + len + 1, 16, ret_port) &&
           hf_doctor_number(word_at(line, 3), 16, &state) && state == TCP_LISTEN &&
           hf_doctor_number(word_at(line, 9), 10, ret_inode) && parse_address(local, len, address);
}

static bool owns_socket(const hf_doctor *doctor, pid_t pid, uint64_t inode)
{
    char path[HF_PATH_LEN];
    char target[64];
    char wanted[64];
    bool found = false;
    struct dirent *entry = NULL;
    (void)snprintf(wanted, sizeof wanted, "socket:[%llu]", (unsigned long long)inode);
    (void)snprintf(path, sizeof path, "%s/%d/fd", doctor->proc, (int)pid);
    DIR *dir = opendir(path);
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        target[n < 0 ? 0 : n] = '\0';
        found = strcmp(target, wanted) == 0;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return found;
}

static bool is_configured(const hf_doctor *doctor, const char *address, uint64_t port)
{
    const hf_config *config = doctor->config;
    bool is_api = strcmp(address, config->listen_address) == 0 &&
                  (config->listen_port == port || config->listen_port == 0);
    bool is_metrics = config->metrics_enabled && strcmp(address, config->metrics_address) == 0 &&
                      (config->metrics_port == port || config->metrics_port == 0);
    return is_api || is_metrics;
}

static void judge_listeners(hf_doctor *doctor, const char *table, size_t *count)
{
    char address[INET6_ADDRSTRLEN];
    uint64_t port = 0;
    uint64_t inode = 0;
    hf_buf *lines = hf_doctor_read("%s/%d/net/%s", doctor->proc, (int)doctor->supervisor, table);
    const char *line = lines == NULL ? "" : hf_buf_text(lines);
    for (; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
        if (!parse_listener(line, address, &port, &inode)) {
            continue;
        }
        bool ours = owns_socket(doctor, doctor->supervisor, inode);
        for (size_t i = 0; i < doctor->child_count && !ours; i++) {
            ours = owns_socket(doctor, doctor->children[i].pid, inode);
        }
        if (!ours) {
            continue;
        }
        *count += 1;
        if (!is_configured(doctor, address, port)) {
            hf_doctor_say(
                doctor, HF_ROW_FAIL, "restart it: it runs with another configuration",
                "the signer listens on %s port %llu, which this configuration does not say",
                address, (unsigned long long)port);
        }
    }
    hf_buf_free(lines);
}

void hf_check_listeners(hf_doctor *doctor)
{
    size_t count = 0;
    size_t failed = doctor->counts[HF_ROW_FAIL];
    judge_listeners(doctor, "tcp", &count);
    judge_listeners(doctor, "tcp6", &count);
    if (count == 0) {
        hf_doctor_say(doctor, HF_ROW_WARN, "run doctor as root",
                      "which sockets are the signer's cannot be seen");
    } else if (doctor->counts[HF_ROW_FAIL] == failed) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%zu listening sockets, all as configured", count);
    }
}

/* ---- firewall ------------------------------------------------------------------------------ */

static bool is_base_input(const json_t *chain)
{
    const char *hook = json_string_value(json_object_get(chain, "hook"));
    const char *type = json_string_value(json_object_get(chain, "type"));
    return hook != NULL && strcmp(hook, "input") == 0 && type != NULL &&
           strcmp(type, "filter") == 0;
}

/* A port, a range {"range":[a,b]}, or a set {"set":[...]} of these. */
static bool holds_port(const json_t *value, json_int_t port, int depth)
{
    const json_t *range = json_object_get(value, "range");
    const json_t *set = json_is_array(value) ? value : json_object_get(value, "set");
    if (json_is_integer(value)) {
        return json_integer_value(value) == port;
    }
    if (json_array_size(range) == 2) {
        return json_integer_value(json_array_get(range, 0)) <= port &&
               port <= json_integer_value(json_array_get(range, 1));
    }
    for (size_t i = 0; depth > 0 && i < json_array_size(set); i++) {
        if (holds_port(json_array_get(set, i), port, depth - 1)) {
            return true;
        }
    }
    return false;
}

static bool rule_names_port(const json_t *rule, json_int_t port)
{
    const json_t *parts = json_object_get(rule, "expr");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *match = json_object_get(json_array_get(parts, i), "match");
        const json_t *payload = json_object_get(json_object_get(match, "left"), "payload");
        const char *field = json_string_value(json_object_get(payload, "field"));
        if (field != NULL && strcmp(field, "dport") == 0 &&
            holds_port(json_object_get(match, "right"), port, 2)) {
            return true;
        }
    }
    return false;
}

hf_status hf_doctor_judge_nft(const char *json, uint16_t port, hf_firewall *ret_firewall)
{
    hf_firewall best = HF_FIREWALL_OPEN;
    json_t *root = json_loads(json, 0, NULL);
    const json_t *items = json_object_get(root, "nftables");
    if (!json_is_array(items)) {
        json_decref(root);
        return (hf_status){HF_INVALID_INPUT};
    }
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *chain = json_object_get(json_array_get(items, i), "chain");
        const json_t *rule = json_object_get(json_array_get(items, i), "rule");
        const char *policy = json_string_value(json_object_get(chain, "policy"));
        if (is_base_input(chain) && policy != NULL && strcmp(policy, "drop") == 0) {
            best = HF_FIREWALL_CLOSED;
        } else if (best == HF_FIREWALL_OPEN && rule_names_port(rule, port)) {
            best = HF_FIREWALL_NAMES_PORT;
        }
    }
    json_decref(root);
    *ret_firewall = best;
    return hf_ok();
}

/* What nft prints; NULL where there is none, or it tells us nothing. The caller frees it. */
static hf_buf *ask_nft(void)
{
    static char *const argv[] = {(char *)(uintptr_t) "nft", (char *)(uintptr_t) "--json",
                                 (char *)(uintptr_t) "list", (char *)(uintptr_t) "ruleset", NULL};
    static char *const environment[] = {NULL};
    int pipes[2];
    pid_t pid = 0;
    int status = 1;
    hf_buf *buf = NULL;
    posix_spawn_file_actions_t actions;
    if (access("/usr/sbin/nft", X_OK) != 0 || pipe2(pipes, O_CLOEXEC) != 0) {
        return NULL;
    }
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int r = posix_spawn(&pid, "/usr/sbin/nft", &actions, NULL, argv, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipes[1]);
    if (r == 0) {
        hf_status st = hf_file_read_fd(pipes[0], "nft", NFT_MAX_BYTES, &buf, NULL);
        (void)close(pipes[0]); /* it is not left waiting when it says too much */
        if (waitpid(pid, &status, 0) != pid || status != 0 || hf_failed(st)) {
            hf_buf_free(buf);
            buf = NULL;
        }
        return buf;
    }
    (void)close(pipes[0]);
    return NULL;
}

static void judge_port(hf_doctor *doctor, const char *rules, const char *what, uint16_t port)
{
    static const char remedy[] =
        "allow the port from the clients' addresses alone and drop the rest (nft, or "
        "IPAddressDeny=any with IPAddressAllow= in the unit)";
    hf_firewall firewall = HF_FIREWALL_OPEN;
    if (rules == NULL || hf_failed(hf_doctor_judge_nft(rules, port, &firewall))) {
        hf_doctor_say(doctor, HF_ROW_WARN, remedy,
                      "%s port %u is open beyond loopback, and the firewall cannot be looked at "
                      "(run as root, with nft installed)",
                      what, (unsigned)port);
    } else if (firewall == HF_FIREWALL_OPEN) {
        hf_doctor_say(doctor, HF_ROW_FAIL, remedy,
                      "%s port %u is open beyond loopback, and no rule of nft names it", what,
                      (unsigned)port);
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%s port %u: %s", what, (unsigned)port,
                      firewall == HF_FIREWALL_CLOSED ? "nft drops what it does not allow"
                                                     : "a rule of nft names it");
    }
}

void hf_check_firewall(hf_doctor *doctor)
{
    const hf_config *config = doctor->config;
    bool api = hf_doctor_reach(config->listen_address) != HF_REACH_LOOPBACK;
    bool metrics =
        config->metrics_enabled && hf_doctor_reach(config->metrics_address) != HF_REACH_LOOPBACK;
    if (!api && !metrics) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "nothing of the signer is reachable beyond loopback");
        return;
    }
    hf_buf *rules = ask_nft();
    const char *text = rules == NULL ? NULL : hf_buf_text(rules);
    if (api) {
        judge_port(doctor, text, "signing", config->listen_port);
    }
    if (metrics) {
        judge_port(doctor, text, "metrics", config->metrics_port);
    }
    hf_buf_free(rules);
}
