/*
 * The doctor's judgements, each in both directions, on machines made of files in a folder that
 * stands for /proc and /sys. Those on values alone: test_doctor_values.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "doctor_internal.h"

#define SIGNER 1000
#define SUPERVISOR 4711
#define KEEPER 4712
#define FRONT 4713

static char machine[256]; /* the folder that stands for /proc; /sys is below it */
static char machine_sys[300];
static hf_config config;
static hf_doctor *doctor;

static void test_settings_are_found_in_the_text(void **state)
{
    (void)state;
    char value[64];
    doctor->shown = "data_dir: /x      # flag\nserver:\n  tls:\n    cert: /c # f:1\nauth:\n"
                    "  mode: tokens   # default\naudit:\n  path: /a/audit.log # f:9\n";
    assert_true(hf_doctor_setting(doctor, "auth.mode", value, sizeof value));
    assert_string_equal(value, "tokens");
    assert_true(hf_doctor_setting(doctor, "server.tls.cert", value, sizeof value));
    assert_string_equal(value, "/c");
    assert_true(hf_doctor_setting(doctor, "audit.path", value, sizeof value));
    assert_false(hf_doctor_setting(doctor, "server.mode", value, sizeof value));
    assert_false(hf_doctor_setting(doctor, "mode", value, sizeof value));
    assert_false(hf_doctor_setting(doctor, "canary_keys", value, sizeof value));
}

/* ---- machines of files --------------------------------------------------------------------- */

static void put(const char *name, const char *text)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", machine, name);
    for (char *slash = strchr(path + strlen(machine) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void put_process(int pid, const char *name, int parent, const char *more)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof path, "%d/status", pid);
    (void)snprintf(text, sizeof text, "Name:\t%s\nPPid:\t%d\n%s", name, parent, more);
    put(path, text);
}

#define ENCLOSED                                                                                   \
    "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n"            \
    "NoNewPrivs:\t1\nSeccomp:\t2\n"

/* Runs one check; returns the worst row and leaves all rows in doctor. */
static hf_row_state look(void (*check)(hf_doctor *))
{
    doctor->row_count = 0;
    memset(doctor->counts, 0, sizeof doctor->counts);
    doctor->check = "check";
    check(doctor);
    return doctor->counts[HF_ROW_FAIL] > 0   ? HF_ROW_FAIL
           : doctor->counts[HF_ROW_WARN] > 0 ? HF_ROW_WARN
                                             : HF_ROW_OK;
}

static void test_swap(void **state)
{
    (void)state;
    put("swaps", "Filename\tType\tSize\tUsed\tPriority\n");
    assert_int_equal(look(hf_check_swap), HF_ROW_OK);
    put("swaps", "Filename\tType\n/dev/sda2  partition 1 0 -2\n/dev/zram0 partition 1 0 5\n");
    assert_int_equal(look(hf_check_swap), HF_ROW_WARN);
    assert_non_null(strstr(doctor->rows[0].finding, "/dev/sda2"));
    assert_int_equal(doctor->row_count, 1);
    put("swaps", "Filename\tType\n/dev/dm-1  partition 1 0 -2\n");
    assert_int_equal(look(hf_check_swap), HF_ROW_WARN);
    put("sys/block/dm-1/dm/uuid", "CRYPT-PLAIN-swap\n");
    assert_int_equal(look(hf_check_swap), HF_ROW_OK);
}

static void test_kernel_settings(void **state)
{
    (void)state;
    assert_int_equal(look(hf_check_ptrace), HF_ROW_WARN); /* no Yama */
    put("sys/kernel/yama/ptrace_scope", "0\n");
    assert_int_equal(look(hf_check_ptrace), HF_ROW_WARN);
    put("sys/kernel/yama/ptrace_scope", "2\n");
    assert_int_equal(look(hf_check_ptrace), HF_ROW_OK);
    assert_int_equal(look(hf_check_kernel), HF_ROW_FAIL); /* no seccomp there */
    put("sys/kernel/seccomp/actions_avail", "kill_process kill_thread trap errno allow\n");
    assert_true(look(hf_check_kernel) != HF_ROW_FAIL);
    put("sys/fs/suid_dumpable", "1\n");
    assert_int_equal(look(hf_check_core_dumps), HF_ROW_FAIL);
    put("sys/fs/suid_dumpable", "2\n");
    assert_int_equal(look(hf_check_core_dumps), HF_ROW_OK);
}

static void start_family(const char *keeper, const char *front)
{
    put_process(SUPERVISOR, "holdfast", 1, ENCLOSED);
    put_process(KEEPER, "holdfast-keeper", SUPERVISOR, keeper);
    put_process(FRONT, "holdfast-front", SUPERVISOR, front);
    put_process(4800, "somebody-else", 1, "NoNewPrivs:\t0\n");
    doctor->supervisor = SUPERVISOR;
    doctor->child_count = 0;
    doctor->status.store_healthy = 1;
}

static void test_processes(void **state)
{
    (void)state;
    start_family(ENCLOSED, ENCLOSED);
    assert_int_equal(look(hf_check_running), HF_ROW_OK);
    assert_int_equal(doctor->child_count, 2);
    assert_int_equal(look(hf_check_processes), HF_ROW_OK);
    static const char *const lacking[] = {
        "Seccomp:\t0\n", "NoNewPrivs:\t0\n", "CapEff:\t0000000000000400\n",
        "CapPrm:\t000001ffffffffff\n", "CapAmb:\t0000000000000001\n"};
    for (size_t i = 0; i < HF_ARRAY_LEN(lacking); i++) {
        start_family(ENCLOSED, lacking[i]);
        assert_int_equal(look(hf_check_running), HF_ROW_OK);
        assert_int_equal(look(hf_check_processes), HF_ROW_FAIL);
        assert_non_null(strstr(doctor->rows[0].finding, "holdfast-front"));
    }
    doctor->status.store_healthy = 0;
    doctor->child_count = 0;
    assert_int_equal(look(hf_check_running), HF_ROW_FAIL);
    doctor->supervisor = 0;
    hf_str_cut(doctor->silent, sizeof doctor->silent, "no signer runs there");
    assert_int_equal(look(hf_check_running), HF_ROW_WARN);
}

static void test_core_files_of_processes(void **state)
{
    (void)state;
    start_family(ENCLOSED, ENCLOSED);
    assert_int_equal(look(hf_check_running), HF_ROW_OK);
    put("4712/limits", "Max stack size   8388608  unlimited  bytes\nMax core file size        0    "
                       "                "
                       "0                    bytes\n");
    assert_int_equal(look(hf_check_core_dumps), HF_ROW_OK);
    put("4713/limits",
        "Max core file size        unlimited            unlimited            bytes\n");
    assert_int_equal(look(hf_check_core_dumps), HF_ROW_FAIL);
}

static void test_locked_memory_of_the_keeper(void **state)
{
    (void)state;
    config.max_keys = 20000; /* 628 KiB */
    start_family(ENCLOSED "VmLck:\t     628 kB\nVmSwap:\t       0 kB\n", ENCLOSED);
    assert_int_equal(look(hf_check_running), HF_ROW_OK);
    assert_int_equal(look(hf_check_memlock), HF_ROW_OK);
    put_process(KEEPER, "holdfast-keeper", SUPERVISOR, "VmLck:\t     624 kB\n");
    assert_int_equal(look(hf_check_memlock), HF_ROW_FAIL);
    put_process(KEEPER, "holdfast-keeper", SUPERVISOR, "VmLck:\t    4096 kB\nVmSwap:\t  12 kB\n");
    assert_int_equal(look(hf_check_memlock), HF_ROW_WARN);
    doctor->child_count = 0; /* none runs: it is tried from here */
    config.max_keys = 100;
#ifdef HF_SANITIZED /* where mlock only pretends, and that is seen */
    assert_int_equal(look(hf_check_memlock), HF_ROW_FAIL);
#else
    assert_int_equal(look(hf_check_memlock), HF_ROW_OK);
#endif
}

static void test_protections(void **state)
{
    (void)state;
    hf_protection *item = doctor->status.protections;
    *item = (hf_protection){.name = "landlock", .state = HF_PROTECTION_ON, .detail = "ABI 4"};
    doctor->status.protection_count = 1;
    assert_int_equal(look(hf_check_protections), HF_ROW_OK);
    item->state = HF_PROTECTION_UNAVAILABLE;
    assert_int_equal(look(hf_check_protections), HF_ROW_WARN);
    item->state = HF_PROTECTION_OFF;
    assert_int_equal(look(hf_check_protections), HF_ROW_FAIL);
    doctor->status.protection_count = 0;
}

#define ROOT_MOUNT(mode) "21 1 8:1 / / " mode ",relatime shared:1 - ext4 /dev/sda1 rw\n"

static void test_unit(void **state)
{
    (void)state;
    doctor->supervisor = SUPERVISOR;
    put("4711/mountinfo", ROOT_MOUNT("rw"));
    assert_int_equal(look(hf_check_unit), HF_ROW_WARN);
    assert_int_equal(doctor->row_count, 3);
    put("4711/mountinfo", ROOT_MOUNT("rw") "30 21 0:5 / /home ro - tmpfs tmpfs ro\n"
                                           "31 21 0:6 /x /tmp rw - ext4 /dev/sda1 rw\n");
    assert_int_equal(look(hf_check_unit), HF_ROW_WARN);
    assert_int_equal(doctor->row_count, 1);
    put("4711/mountinfo", ROOT_MOUNT("rw") ROOT_MOUNT("ro")); /* the upper one counts */
    assert_int_equal(look(hf_check_unit), HF_ROW_OK);

    /* An exception of the unit from what holds for all. */
    put("4711/mountinfo", ROOT_MOUNT("ro") "31 21 8:1 /usr /usr rw - ext4 /dev/sda1 rw\n");
    assert_int_equal(look(hf_check_unit), HF_ROW_WARN);
    put("4711/mountinfo", ROOT_MOUNT("ro") "31 21 8:1 /usr /usr2 rw - ext4 /dev/sda1 rw\n");
    assert_int_equal(look(hf_check_unit), HF_ROW_OK);

    /* A program that the unit keeps from being run. */
    put("4711/mountinfo", "21 1 8:1 / / ro,noexec - ext4 /dev/sda1 rw\n"
                          "31 21 8:1 /usr /usr ro - ext4 /dev/sda1 rw\n");
    hf_str_cut(config.canary_command, sizeof config.canary_command, "/etc/holdfast/canary");
    assert_int_equal(look(hf_check_unit), HF_ROW_FAIL);
    hf_str_cut(config.canary_command, sizeof config.canary_command, "/usr/local/sbin/canary");
    assert_int_equal(look(hf_check_unit), HF_ROW_OK);
    config.canary_command[0] = '\0';
}

#define TCP_HEADING                                                                                \
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "  \
    "inode\n"
#define TCP_LINE(local, inode)                                                                     \
    "   0: " local                                                                                 \
    " 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 " inode               \
    " 1 0000000000000000 100 0 0 10 0\n"

static void own_socket(int pid, const char *inode)
{
    char path[600];
    char target[64];
    (void)snprintf(path, sizeof path, "%s/%d/fd", machine, pid);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/%d/fd/%s", machine, pid, inode);
    (void)snprintf(target, sizeof target, "socket:[%s]", inode);
    assert_int_equal(symlink(target, path), 0);
}

static void test_listeners(void **state)
{
    (void)state;
    hf_str_cut(config.listen_address, sizeof config.listen_address, "127.0.0.1");
    config.listen_port = 9000;
    config.metrics_enabled = true;
    hf_str_cut(config.metrics_address, sizeof config.metrics_address, "::1");
    config.metrics_port = 3000;
    start_family(ENCLOSED, ENCLOSED);
    assert_int_equal(look(hf_check_running), HF_ROW_OK);
    put("4711/net/tcp",
        TCP_HEADING TCP_LINE("0100007F:2328", "501") TCP_LINE("00000000:0016", "900"));
    put("4711/net/tcp6", TCP_HEADING TCP_LINE("00000000000000000000000001000000:0BB8", "502"));
    assert_int_equal(look(hf_check_listeners), HF_ROW_WARN); /* none is seen to be ours */
    own_socket(SUPERVISOR, "501");
    own_socket(FRONT, "502");
    assert_int_equal(look(hf_check_listeners), HF_ROW_OK); /* port 22 is somebody else's */
    assert_string_equal(doctor->rows[0].finding, "2 listening sockets, all as configured");
    put("4711/net/tcp", TCP_HEADING TCP_LINE("00000000:2328", "501"));
    assert_int_equal(look(hf_check_listeners), HF_ROW_FAIL);
    assert_non_null(strstr(doctor->rows[0].finding, "0.0.0.0 port 9000"));
}

/* ---- configurations ------------------------------------------------------------------------ */

static void listen_on(const char *address, const char *cert, const char *client_ca)
{
    hf_str_cut(config.listen_address, sizeof config.listen_address, address);
    hf_str_cut(config.tls_cert, sizeof config.tls_cert, cert);
    hf_str_cut(config.tls_client_ca, sizeof config.tls_client_ca, client_ca);
}

static void test_addresses_and_tls_of_the_api(void **state)
{
    (void)state;
    listen_on("127.0.0.1", "", "");
    assert_int_equal(look(hf_check_api_address), HF_ROW_OK);
    assert_int_equal(look(hf_check_api_tls), HF_ROW_OK);
    config.metrics_enabled = false;
    assert_int_equal(look(hf_check_firewall), HF_ROW_OK);
    assert_int_equal(look(hf_check_metrics_address), HF_ROW_OK);
    listen_on("10.0.0.1", "", "");
    assert_int_equal(look(hf_check_api_address), HF_ROW_OK);
    assert_int_equal(look(hf_check_api_tls), HF_ROW_FAIL);
    assert_true(look(hf_check_firewall) == HF_ROW_OK || doctor->rows[0].remedy[0] != '\0');
    listen_on("0.0.0.0", "/c", "");
    assert_int_equal(look(hf_check_api_address), HF_ROW_WARN);
    assert_int_equal(look(hf_check_api_tls), HF_ROW_WARN);
    listen_on("8.8.8.8", "/c", "/ca");
    assert_int_equal(look(hf_check_api_address), HF_ROW_FAIL);
    assert_int_equal(look(hf_check_api_tls), HF_ROW_OK);
    config.metrics_enabled = true;
    hf_str_cut(config.metrics_address, sizeof config.metrics_address, "0.0.0.0");
    assert_int_equal(look(hf_check_metrics_address), HF_ROW_WARN);
}

static void judge_url(const char *url, hf_row_state expected)
{
    config.store_backend = HF_STORE_POSTGRES;
    hf_str_cut(config.store_url, sizeof config.store_url, url);
    if (look(hf_check_database_tls) != expected) {
        fail_msg("%s: %s", url, doctor->rows[0].finding);
    }
    assert_null(strstr(doctor->rows[0].finding, "hunter2"));
    config.store_backend = HF_STORE_SQLITE;
}

static void test_databases(void **state)
{
    (void)state;
    judge_url("postgresql://u:hunter2@db.internal/h", HF_ROW_FAIL);
    judge_url("postgresql://u:hunter2@db.internal/h?sslmode=require", HF_ROW_FAIL);
    judge_url("postgresql://u:hunter2@db.internal/h?sslmode=verify-full", HF_ROW_OK);
    judge_url("postgresql://u:hunter2@127.0.0.1/h", HF_ROW_OK);
    judge_url("postgresql:///h?host=/run/postgresql", HF_ROW_OK);
    config.store_backend = HF_STORE_DYNAMODB;
    hf_str_cut(config.store_endpoint, sizeof config.store_endpoint, "http://10.0.0.1:8000");
    assert_int_equal(look(hf_check_database_tls), HF_ROW_FAIL);
    hf_str_cut(config.store_endpoint, sizeof config.store_endpoint, "https://dynamodb.example");
    assert_int_equal(look(hf_check_database_tls), HF_ROW_OK);
    config.store_backend = HF_STORE_SQLITE;
}

static hf_row_state judge_node(const char *url, const char *url_file)
{
    hf_str_cut(config.node_url, sizeof config.node_url, url);
    hf_str_cut(config.node_url_file, sizeof config.node_url_file, url_file);
    hf_row_state worst = look(hf_check_node);
    for (size_t i = 0; i < doctor->row_count; i++) {
        assert_null(strstr(doctor->rows[i].finding, "hunter2"));
    }
    return worst;
}

static void test_the_node(void **state)
{
    (void)state;
    listen_on("127.0.0.1", "", "");
    assert_int_equal(judge_node("", ""), HF_ROW_OK);
    assert_int_equal(doctor->row_count, 0);
    doctor->shown = "auth:\n  mode: tokens # f:1\n";
    assert_int_equal(judge_node("http://127.0.0.1:8545", ""), HF_ROW_OK);
    assert_int_equal(judge_node("https://node.example/v3/x@y", ""), HF_ROW_OK);
    assert_non_null(strstr(doctor->rows[0].finding, "the system's authorities"));
    hf_str_cut(config.node_ca_file, sizeof config.node_ca_file, "/ca.pem");
    hf_str_cut(config.node_cert_file, sizeof config.node_cert_file, "/cert.pem");
    assert_int_equal(judge_node("HTTPS://node.example", ""), HF_ROW_OK);
    assert_non_null(strstr(doctor->rows[0].finding, "ca_file alone, with a certificate"));
    assert_int_equal(judge_node("http://node.example", ""), HF_ROW_FAIL);
    assert_int_equal(judge_node("https://u:hunter2@node.example/", ""), HF_ROW_WARN);
    assert_int_equal(judge_node("https://u:hunter2@node.example/", "/url"), HF_ROW_OK);
}

static void test_who_may_call_the_node(void **state)
{
    (void)state;
    doctor->shown = "auth:\n  mode: none # default\n";
    listen_on("127.0.0.1", "", "");
    assert_int_equal(judge_node("https://node.example", ""), HF_ROW_WARN);
    listen_on("10.0.0.1", "/c", "");
    assert_int_equal(judge_node("https://node.example", ""), HF_ROW_FAIL);
    listen_on("10.0.0.1", "/c", "/ca");
    assert_int_equal(judge_node("https://node.example", ""), HF_ROW_OK);
    start_family(ENCLOSED, ENCLOSED);
    assert_int_equal(look(hf_check_running), HF_ROW_OK);
    assert_int_equal(judge_node("https://node.example", ""), HF_ROW_FAIL); /* nothing relays */
    put_process(4714, "holdfast-relay", SUPERVISOR, ENCLOSED);
    doctor->child_count = 0;
    assert_int_equal(look(hf_check_running), HF_ROW_OK);
    assert_int_equal(judge_node("https://node.example", ""), HF_ROW_OK);
}

static void test_users(void **state)
{
    (void)state;
    doctor->supervisor = SUPERVISOR;
    doctor->uid = 0;
    assert_int_equal(look(hf_check_user), HF_ROW_FAIL);
    doctor->supervisor = 0;
    assert_int_equal(look(hf_check_user), HF_ROW_WARN);
    doctor->uid = 65534; /* nobody, who cannot log in */
    assert_int_equal(look(hf_check_user), HF_ROW_OK);
}

static void test_hardening_settings(void **state)
{
    (void)state;
    config.hardening = (hf_hardening_config){
        HF_PROTECT_REQUIRE, HF_PROTECT_PREFER, HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, {0}};
    assert_int_equal(look(hf_check_hardening), HF_ROW_OK);
    config.hardening.mlock = HF_PROTECT_PREFER;
    assert_int_equal(look(hf_check_hardening), HF_ROW_WARN);
    config.hardening.landlock = HF_PROTECT_OFF;
    assert_int_equal(look(hf_check_hardening), HF_ROW_FAIL);
    assert_int_equal(doctor->row_count, 2);
}

static void test_tokens_canaries_audit(void **state)
{
    (void)state;
    doctor->shown = "auth:\n  mode: none # default\n";
    doctor->written = "canary_keys: []\n";
    assert_int_equal(look(hf_check_tokens), HF_ROW_WARN);
    assert_int_equal(look(hf_check_canaries), HF_ROW_WARN);
    assert_int_equal(look(hf_check_audit), HF_ROW_WARN);
    doctor->shown = "auth:\n  mode: tokens # f:1\ncanary_keys:\n  - key: 0xab\naudit:\n  path: "
                    "/a/audit.log # f:9\n";
    doctor->written = "data_dir: /x\ncanary_keys:\n  - 0xab\n";
    assert_int_equal(look(hf_check_tokens), HF_ROW_OK);
    assert_int_equal(look(hf_check_canaries), HF_ROW_OK);
    assert_int_equal(look(hf_check_audit), HF_ROW_OK);
    doctor->shown = "audit:\n  enabled: false\n  path: /a/audit.log # f:9\n";
    assert_int_equal(look(hf_check_audit), HF_ROW_WARN);
    doctor->shown = "audit:\n  enabled: true\n  path: /a/audit.log # f:9\n  sync: interval\n";
    assert_int_equal(look(hf_check_audit), HF_ROW_WARN);
    char text[400];
    char path[300];
    put("audit.log", "{}\n");
    (void)snprintf(path, sizeof path, "%s/audit.log", machine);
    (void)snprintf(text, sizeof text, "audit:\n  enabled: true\n  path: %s\n", path);
    doctor->shown = text;
    doctor->uid = geteuid();
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(look(hf_check_audit), HF_ROW_FAIL);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(look(hf_check_audit), HF_ROW_OK);
    doctor->shown = "";
}

/* ---- set-up -------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    (void)snprintf(machine, sizeof machine, "%s/hf-doctor-XXXXXX", base == NULL ? "/tmp" : base);
    doctor = calloc(1, sizeof *doctor);
    if (doctor == NULL || mkdtemp(machine) == NULL) {
        return -1;
    }
    (void)snprintf(machine_sys, sizeof machine_sys, "%s/sys", machine);
    memset(&config, 0, sizeof config);
    doctor->proc = machine;
    doctor->sys = machine_sys;
    doctor->shown = "";
    doctor->written = "";
    doctor->config = &config;
    doctor->uid = SIGNER;
    doctor->gid = SIGNER;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(doctor);
    return nftw(machine, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_settings_are_found_in_the_text),
        CASE(test_swap),
        CASE(test_kernel_settings),
        CASE(test_processes),
        CASE(test_core_files_of_processes),
        CASE(test_locked_memory_of_the_keeper),
        CASE(test_protections),
        CASE(test_unit),
        CASE(test_listeners),
        CASE(test_addresses_and_tls_of_the_api),
        CASE(test_databases),
        CASE(test_the_node),
        CASE(test_who_may_call_the_node),
        CASE(test_users),
        CASE(test_hardening_settings),
        CASE(test_tokens_canaries_audit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
