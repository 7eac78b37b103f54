/*
 * How fast holdfast-loader opens keystores, with this program in the keeper's place.
 *
 * Usage: bench_loader LOADER [SCRYPT_FILES [PBKDF2_FILES]]
 * Prints one JSON object. scrypt: files a second through the loader against the rate of the bare
 * key derivation on one core times the cores, both at the usual cost, by the clock and by processor
 * time. pbkdf2: files a second at
 * cost 2, which is what everything but the key derivation costs.
 */
#include "custody/custody.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRYPT_N 262144
#define SCRYPT_R 8
#define SCRYPT_P 1
#define REFERENCE_RUNS 4
#define SCRYPT_FILES 12
#define PBKDF2_FILES 10000
#define PASSWORD "benchmark"

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "bench_loader: %s\n", what);
    exit(1);
}

static void check(hf_status st, const char *what)
{
    if (hf_failed(st)) {
        die(what);
    }
}

/* ---- the files ----------------------------------------------------------------------------- */

static void write_files(const char *root, hf_kdf kdf, uint64_t cost, unsigned count)
{
    static const uint8_t secret[HF_BLS_SECRET_BYTES] = {[HF_BLS_SECRET_BYTES - 1] = 1};
    const hf_keystore_options options = {.kdf = kdf, .cost = cost, .path = ""};
    const hf_bytes password = hf_bytes_from(PASSWORD, sizeof PASSWORD - 1);
    char path[PATH_MAX];
    hf_bls_key key;
    hf_buf *json = NULL;
    check(hf_bls_key_from_bytes(secret, &key), "key");
    check(hf_keystore_encrypt(&key, password, &options, &json, NULL), "keystore");
    (void)snprintf(path, sizeof path, "%s/keys", root);
    check(hf_file_mkdir_private(path, NULL), "folder");
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "%s/keys/%u.json", root, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        check(hf_file_write_all(fd, hf_buf_peek(json), hf_buf_len(json)), "key file");
        (void)close(fd);
    }
    hf_buf_free(json);
    (void)snprintf(path, sizeof path, "%s/password", root);
    check(hf_file_write_atomic(path, PASSWORD, sizeof PASSWORD - 1, 0600, NULL), "password");
}

static void remove_files(const char *root, unsigned count)
{
    char path[PATH_MAX];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "%s/keys/%u.json", root, i);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/password", root);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/keys", root);
    (void)rmdir(path);
    (void)rmdir(root);
}

/* ---- the loader ---------------------------------------------------------------------------- */

static void fill_config(hf_msg_loader_config *config, const char *root)
{
    memset(config, 0, sizeof *config);
    hf_frame_init(config, HF_MSG_LOADER_CONFIG, 0);
    config->hardening = (hf_hardening_config){
        HF_PROTECT_PREFER, HF_PROTECT_PREFER, HF_PROTECT_PREFER, HF_PROTECT_PREFER, {0}};
    config->log.least = HF_LOG_UNUSUAL;
    config->source_count = 1;
    hf_key_source *source = &config->sources[0];
    source->backend = HF_BACKEND_LOCAL_KEYSTORE;
    (void)snprintf(source->dir, sizeof source->dir, "%s/keys", root);
    (void)snprintf(source->password_file, sizeof source->password_file, "%s/password", root);
}

static pid_t start_loader(const char *loader, const hf_msg_loader_config *config, int *ret_control,
                          int *ret_keeper)
{
    int control[2];
    int keeper[2];
    check(hf_channel_pair(false, control), "socketpair");
    check(hf_channel_pair(false, keeper), "socketpair");
    check(hf_frame_send(control[0], config), "send");
    pid_t pid = fork();
    if (pid == 0) {
        int moved_control = fcntl(control[1], F_DUPFD, 20);
        int moved_keeper = fcntl(keeper[1], F_DUPFD, 20);
        (void)dup2(moved_control, HF_FD_CONTROL);
        (void)dup2(moved_keeper, HF_FD_KEEPER);
        (void)execl(loader, loader, (char *)NULL);
        _exit(127);
    }
    (void)close(control[1]);
    (void)close(keeper[1]);
    *ret_control = control[0];
    *ret_keeper = keeper[0];
    return pid;
}

/* Answers until the loader is through; the number of keys that came. */
static unsigned play_keeper(int keeper)
{
    static _Alignas(16) uint8_t buf[HF_IPC_MAX_BYTES];
    hf_frame_header header;
    size_t len = 0;
    unsigned keys = 0;
    while (!hf_failed(hf_frame_recv(keeper, buf, &len, NULL))) {
        if (!hf_frame_is_acceptable(buf, len, HF_CHANNEL_LOADER, true)) {
            die("an unexpected frame");
        }
        memcpy(&header, buf, sizeof header);
        keys += header.type == HF_MSG_KEY;
        if (header.type == HF_MSG_SOURCE) {
            hf_msg_source_reply reply = {.known = 0};
            hf_frame_init(&reply, HF_MSG_SOURCE_REPLY, header.request_id);
            check(hf_frame_send(keeper, &reply), "answer");
        }
    }
    return keys;
}

typedef struct rate {
    double per_second;
    double per_cpu_second; /* of every process involved: true on a machine that others use too */
} rate;

static double cpu_seconds(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

/* Files; the clock runs from the start of the program to its end. */
static rate measure(const char *loader, hf_kdf kdf, uint64_t cost, unsigned count)
{
    static hf_msg_loader_config config;
    char root[] = "/tmp/hf-loader-bench-XXXXXX";
    int control = -1;
    int keeper = -1;
    int status = 0;
    struct rusage usage;
    if (mkdtemp(root) == NULL) {
        die("mkdtemp");
    }
    write_files(root, kdf, cost, count);
    fill_config(&config, root);
    uint64_t started_ns = hf_time_mono_ns();
    pid_t pid = start_loader(loader, &config, &control, &keeper);
    unsigned keys = play_keeper(keeper);
    (void)wait4(pid, &status, 0, &usage);
    double seconds = (double)(hf_time_mono_ns() - started_ns) / 1e9;
    (void)close(control);
    (void)close(keeper);
    remove_files(root, count);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || keys != count) {
        die("the loader did not bring every key");
    }
    return (rate){count / seconds, count / cpu_seconds(&usage)};
}

/* ---- what to compare with ------------------------------------------------------------------ */

/* Bare key derivations, one after the other, on one core. */
static rate measure_reference(void)
{
    struct rusage began;
    struct rusage ended;
    uint8_t key[32];
    uint8_t salt[32] = {0};
    uint64_t started_ns = hf_time_mono_ns();
    (void)getrusage(RUSAGE_SELF, &began);
    for (unsigned i = 0; i < REFERENCE_RUNS; i++) {
        salt[0] = (uint8_t)i;
        if (crypto_pwhash_scryptsalsa208sha256_ll((const uint8_t *)PASSWORD, sizeof PASSWORD - 1,
                                                  salt, sizeof salt, SCRYPT_N, SCRYPT_R, SCRYPT_P,
                                                  key, sizeof key) != 0) {
            die("scrypt");
        }
    }
    (void)getrusage(RUSAGE_SELF, &ended);
    return (rate){REFERENCE_RUNS / ((double)(hf_time_mono_ns() - started_ns) / 1e9),
                  REFERENCE_RUNS / (cpu_seconds(&ended) - cpu_seconds(&began))};
}

static unsigned read_count(int argc, char **argv, int place, unsigned standard)
{
    uint64_t value = standard;
    if (argc > place && hf_failed(hf_num_parse_u64(argv[place], strlen(argv[place]), &value))) {
        die("usage: bench_loader LOADER [SCRYPT_FILES [PBKDF2_FILES]]");
    }
    return (unsigned)value;
}

int main(int argc, char **argv)
{
    cpu_set_t set;
    unsigned scrypt_files = read_count(argc, argv, 2, SCRYPT_FILES);
    unsigned pbkdf2_files = read_count(argc, argv, 3, PBKDF2_FILES);
    if (argc < 2 || sodium_init() < 0) {
        die("usage: bench_loader LOADER [SCRYPT_FILES [PBKDF2_FILES]]");
    }
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    /* Before and after, because a shared machine changes its pace. */
    rate before = measure_reference();
    rate scrypt = measure(argv[1], HF_KDF_SCRYPT, SCRYPT_N, scrypt_files);
    rate after = measure_reference();
    rate pbkdf2 = measure(argv[1], HF_KDF_PBKDF2, 2, pbkdf2_files);
    double reference = (before.per_second + after.per_second) / 2 * cores;
    double reference_cpu = (before.per_cpu_second + after.per_cpu_second) / 2;
    (void)printf("{\"cores\":%d,\"scrypt_files\":%u,\"scrypt_per_second\":%.3f,"
                 "\"scrypt_reference_per_second\":%.3f,\"scrypt_ratio\":%.3f,"
                 "\"scrypt_cpu_ratio\":%.3f,\"pbkdf2_files\":%u,\"pbkdf2_c2_per_second\":%.0f,"
                 "\"pbkdf2_c2_per_cpu_second\":%.0f}\n",
                 cores, scrypt_files, scrypt.per_second, reference, scrypt.per_second / reference,
                 scrypt.per_cpu_second / reference_cpu, pbkdf2_files, pbkdf2.per_second,
                 pbkdf2.per_cpu_second);
    return 0;
}
