/*
 * The keeper's life: configuration, protections, store, threads, sandbox, and then frames until the
 * supervisor says stop. The order matters: Landlock binds threads made after it, seccomp takes
 * effect on all threads at once and allows no new ones.
 */
#include "keeper/keeper_internal.h"
#include "keeper/pulse.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#define TOKEN_BYTES 32
#define IN_FLIGHT_DEFAULT 4096
#define KEYS_DEFAULT 16384

static bool is_terminated(const char *text, size_t len)
{
    return memchr(text, '\0', len) != NULL;
}

static bool store_is_sane(const hf_msg_keeper_config *config)
{
    bool has_timeout = config->store_timeout_ms > 0 && config->store_timeout_ms <= UINT32_MAX;
    return config->store_backend == HF_STORE_SQLITE ||
           (config->store_backend < HF_STORE_BACKEND_COUNT && has_timeout);
}

static bool audit_is_sane(const hf_msg_keeper_config *config)
{
    const hf_audit_settings *audit = &config->audit;
    return is_terminated(audit->path, HF_PATH_LEN) &&
           (audit->path[0] == '/' || audit->path[0] == '\0') &&
           is_terminated(audit->node, sizeof audit->node) && audit->sync <= HF_AUDIT_SYNC_INTERVAL;
}

/* The supervisor wrote it, and still: only what is sane is taken. */
static bool config_is_sane(const hf_msg_keeper_config *config)
{
    return is_terminated(config->data_dir, HF_PATH_LEN) && config->data_dir[0] == '/' &&
           is_terminated(config->store_path, HF_PATH_LEN) && config->store_path[0] == '/' &&
           is_terminated(config->key_manager_token_path, HF_PATH_LEN) &&
           is_terminated(config->token_key_path, HF_PATH_LEN) && config->token_key_path[0] == '/' &&
           config->auth_mode <= HF_AUTH_TOKENS &&
           is_terminated(config->duty_node_id, HF_DUTY_NODE_ID_LEN) && audit_is_sane(config) &&
           is_terminated(config->network.name, HF_NETWORK_NAME_LEN) && store_is_sane(config) &&
           config->network.slots_per_epoch > 0 && config->network.slot_ms > 0 &&
           config->has_book <= 1 && config->has_witness <= 1 &&
           config->eth1.hashes < HF_ETH1_HASHES_COUNT && config->eth1.sign_data <= 1 &&
           config->guard_mode < HF_GUARD_MODE_COUNT && config->log.format <= HF_LOG_JSON &&
           config->log.least <= HF_LOG_BROKEN && config->sign_threads <= HF_SIGN_THREADS_MAX;
}

static bool custodies_are_sane(const hf_msg_keeper_config *config)
{
    bool sane = config->custody_count <= HF_CUSTODIES_MAX;
    for (uint32_t i = 0; sane && i < config->custody_count; i++) {
        sane = hf_key_backend_has_process(config->custodies[i].backend);
    }
    return sane;
}

static hf_status read_config(hf_keeper *keeper, hf_error *err)
{
    hf_status st = hf_frame_recv_config(HF_FD_CONTROL, HF_MSG_KEEPER_CONFIG, &keeper->config, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!config_is_sane(&keeper->config) || !custodies_are_sane(&keeper->config)) {
        return hf_fail(err, HF_USAGE, "the configuration frame is malformed");
    }
    if (keeper->config.max_in_flight == 0) {
        keeper->config.max_in_flight = IN_FLIGHT_DEFAULT;
    }
    if (keeper->config.max_keys == 0) {
        keeper->config.max_keys = KEYS_DEFAULT;
    }
    if (keeper->config.sign_threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        keeper->config.sign_threads =
            cores < 1 ? 1 : (uint32_t)(cores > HF_SIGN_THREADS_MAX ? HF_SIGN_THREADS_MAX : cores);
    }
    return hf_ok();
}

static void folder_of(const char *path, char out[HF_PATH_LEN])
{
    size_t len = (size_t)(strrchr(path, '/') - path);
    memcpy(out, path, len == 0 ? 1 : len);
    out[len == 0 ? 1 : len] = '\0';
}

static hf_status enclose(hf_keeper *keeper, hf_error *err)
{
    char store_dir[HF_PATH_LEN];
    char token_dir[HF_PATH_LEN];
    char audit_dir[HF_PATH_LEN];
    folder_of(keeper->config.store_path, store_dir);
    char key_dir[HF_PATH_LEN];
    bool has_token = keeper->config.key_manager_token_path[0] == '/';
    folder_of(has_token ? keeper->config.key_manager_token_path : "/none", token_dir);
    folder_of(keeper->config.token_key_path, key_dir);
    bool has_audit = keeper->config.audit.path[0] == '/';
    folder_of(has_audit ? keeper->config.audit.path : keeper->config.store_path, audit_dir);
    const hf_harden_path paths[] = {
        {.path = keeper->config.data_dir, .writable = true},
        {.path = store_dir, .writable = true},
        {.path = key_dir, .writable = true},
        {.path = audit_dir, .writable = true},
        {.path = token_dir, .writable = true},
    };
    return hf_harden_landlock(&keeper->config.hardening, paths, has_token ? 5 : 4, &keeper->report,
                              err);
}

/*
 * One process a database, wherever it lies: two would keep two truths, and SQLite's log is safe
 * with one that checkpoints. The supervisor has locked the data folder.
 */
static hf_status lock_database(hf_keeper *keeper, hf_error *err)
{
    char path[HF_PATH_LEN + sizeof ".lock"];
    hf_status st = hf_str_format(path, sizeof path, "%s.lock", keeper->config.store_path);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "slashing_protection.path: path too long");
    }
    keeper->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (keeper->lock_fd < 0) {
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(keeper->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return hf_fail(err, HF_CONFLICT, "%s: another process uses this database",
                       keeper->config.store_path);
    }
    return hf_ok();
}

static hf_status make_token(const char *path, hf_error *err)
{
    uint8_t random[TOKEN_BYTES];
    char text[2 * TOKEN_BYTES + 2];
    hf_random(random, sizeof random);
    hf_hex_encode(random, sizeof random, text);
    text[2 * TOKEN_BYTES] = '\n';
    hf_status st = hf_file_write_atomic(path, text, sizeof text - 1, 0600, err);
    hf_wipe(random, sizeof random);
    hf_wipe(text, sizeof text);
    return st;
}

static hf_status read_token(hf_keeper *keeper, hf_error *err)
{
    const char *path = keeper->config.key_manager_token_path;
    hf_buf *buf = NULL;
    if (path[0] == '\0') {
        return hf_ok(); /* the key manager API is off: no token is valid */
    }
    hf_status st = hf_file_check_private(path, err);
    if (st.code == HF_NOT_FOUND) {
        st = make_token(path, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_read(path, HF_TOKEN_LEN - 1, &buf, err);
    }
    if (hf_failed(st)) {
        goto out;
    }
    size_t len = strcspn(hf_buf_text(buf), "\r\n \t");
    if (len < 16) {
        st = hf_fail(err, HF_USAGE, "%s: a token of at least 16 characters is needed", path);
        goto out;
    }
    memcpy(keeper->token, hf_buf_text(buf), len);
out:
    hf_buf_free(buf);
    return st;
}

static bool has_shared_store(const hf_keeper *keeper)
{
    return keeper->config.store_backend != HF_STORE_SQLITE;
}

/* The database may be anywhere, or away: its process is attached later (dispatch.c). */
static hf_status open_shared_store(hf_keeper *keeper, hf_store **ret_store, hf_error *err)
{
    for (int lane = 0; lane < HF_STORE_LANES; lane++) {
        keeper->store_clients[lane] =
            hf_store_client_new((hf_store_lane)lane, (uint32_t)keeper->config.store_timeout_ms);
        if (keeper->store_clients[lane] == NULL) {
            return hf_fail(err, HF_NOMEM, "not enough memory to start");
        }
    }
    *ret_store = hf_store_client_store(keeper->store_clients[HF_LANE_SIGNING]);
    return hf_ok();
}

static hf_status open_store(hf_keeper *keeper, hf_store **ret_store, hf_error *err)
{
    if (has_shared_store(keeper)) {
        return open_shared_store(keeper, ret_store, err);
    }
    hf_sqlite_config *config = &keeper->store_config;
    memcpy(config->path, keeper->config.store_path, HF_PATH_LEN);
    memcpy(config->genesis_validators_root, keeper->config.network.genesis_validators_root,
           HF_ROOT_BYTES);
    config->create = true;
    hf_status st = hf_store_open_sqlite(config, ret_store, err);
    return hf_error_wrap(err, st, "slashing_protection");
}

/* Who calculates has ordinary slices; who moves a request on, this thread among them, short ones.
 */
static hf_status start_threads(hf_keeper *keeper, hf_store *take_store, hf_error *err)
{
    hf_store *jobs_store = has_shared_store(keeper)
                               ? hf_store_client_store(keeper->store_clients[HF_LANE_ADMIN])
                               : take_store;
    hf_status st = hf_policies_init(keeper);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "not enough memory to start");
    }
    st = hf_spending_open(keeper, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_requests_init(&keeper->requests, keeper->config.max_in_flight);
    if (!hf_failed(st)) {
        st = hf_signers_init(keeper, keeper->config.max_in_flight, keeper->config.sign_threads);
    }
    if (!hf_failed(st)) {
        st = hf_clerk_init(keeper);
    }
    if (!hf_failed(st)) {
        hf_time_short_slice();
        st = hf_auditor_start(keeper);
    }
    if (!hf_failed(st)) {
        st = hf_protector_init(keeper, take_store, jobs_store);
    }
    if (!hf_failed(st)) {
        st = hf_duties_init(keeper);
    }
    if (!hf_failed(st)) {
        st = hf_custody_init(keeper);
    }
    if (!hf_failed(st)) {
        st = hf_eth1_init(keeper);
    }
    if (!hf_failed(st)) {
        st = hf_pulse_start(HF_FD_CONTROL);
    }
    return hf_failed(st) ? hf_fail(err, st.code, "not enough memory or threads to start") : st;
}

static hf_status open_loop(hf_keeper *keeper, hf_error *err)
{
    keeper->inbox = hf_inbox_new();
    keeper->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    keeper->nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (keeper->inbox == NULL || keeper->epoll_fd < 0 || keeper->nudge_fd < 0 ||
        epoll_ctl(keeper->epoll_fd, EPOLL_CTL_ADD, keeper->nudge_fd, &event) != 0 ||
        fcntl(HF_FD_CONTROL, F_SETFL, O_NONBLOCK) != 0) {
        return hf_fail(err, HF_IO, "event loop: %s", strerror(errno));
    }
    hf_peers_init(keeper);
    keeper->control = hf_peer_open(keeper, HF_FD_CONTROL, HF_CHANNEL_CONTROL, 0);
    return hf_ok();
}

/* The anchor in a shared store is asked for later, when it is there. */
static hf_status open_log(hf_keeper *keeper, hf_store *store, hf_error *err)
{
    hf_status st = hf_auditor_open(keeper, has_shared_store(keeper) ? NULL : store, err);
    return hf_error_wrap(err, st, "audit");
}

/* Where it is switched off nobody relies on it, whether or not the limit allowed it. */
static void note_lock(hf_keeper *keeper)
{
    bool is_off = keeper->config.hardening.mlock == HF_PROTECT_OFF;
    bool is_locked = hf_slab_is_locked(keeper->ring.slab);
    hf_protection_state got = is_locked ? HF_PROTECTION_ON : HF_PROTECTION_UNAVAILABLE;
    hf_harden_note(&keeper->report, "mlock", is_off ? HF_PROTECTION_OFF : got,
                   is_off      ? "switched off by the configuration"
                   : is_locked ? "key memory is locked, guarded and not dumped"
                               : "not locked: RLIMIT_MEMLOCK too small, or an mlock that pretends");
}

static hf_status start(hf_keeper *keeper, hf_error *err)
{
    hf_store *store = NULL;
    hf_status st = hf_harden_process(&keeper->config.hardening,
                                     keeper->config.has_witness ? HF_FD_WITNESS : HF_FD_CONTROL,
                                     &keeper->report, err);
    if (hf_failed(st)) {
        return st;
    }
    bool require_lock = keeper->config.hardening.mlock == HF_PROTECT_REQUIRE;
    if (hf_failed(st = enclose(keeper, err)) ||
        (!has_shared_store(keeper) && hf_failed(st = lock_database(keeper, err))) ||
        hf_failed(st = read_token(keeper, err)) || hf_failed(st = hf_tokens_init(keeper, err)) ||
        hf_failed(st =
                      hf_keyring_init(&keeper->ring, keeper->config.max_keys, require_lock, err)) ||
        hf_failed(st = hf_seal_init(keeper, err)) || hf_failed(st = open_loop(keeper, err)) ||
        hf_failed(st = hf_guard_open(keeper, err)) ||
        hf_failed(st = open_store(keeper, &store, err)) ||
        hf_failed(st = open_log(keeper, store, err))) {
        return st;
    }
    note_lock(keeper);
    if (hf_failed(st = start_threads(keeper, store, err))) {
        return st;
    }
    return hf_harden_seccomp(&keeper->config.hardening, HF_SANDBOX_KEEPER, &keeper->report, err);
}

static void announce(hf_keeper *keeper)
{
    hf_msg_plain ready;
    hf_frame_init(&ready, HF_MSG_READY, 0);
    hf_peer_send(keeper, keeper->control, &ready);
    hf_pulse_announced();
    (void)hf_loading_start(keeper);
}

static void stop(hf_keeper *keeper)
{
    hf_pulse_stop();         /* what is left has a deadline of its own */
    hf_custody_stop(keeper); /* its answers go to the others */
    hf_eth1_stop(keeper);
    hf_auditor_stop(keeper);
    hf_jobs_stop(keeper);
    hf_protector_stop(keeper);
    hf_guard_close(keeper);
    hf_signers_stop(keeper);
    hf_clerk_stop(keeper);
    hf_duties_stop(keeper);
    if (has_shared_store(keeper)) {
        hf_store *exports = hf_store_client_store(keeper->store_clients[HF_LANE_EXPORT]);
        exports->ops->close(exports);
    }
    hf_policies_done(keeper);
    hf_spending_close(keeper);
    hf_seal_done(keeper);
    hf_keyring_done(&keeper->ring);
    hf_requests_done(&keeper->requests);
    hf_inbox_free(keeper->inbox);
    hf_token_looks_done(keeper);
    hf_tokens_done(keeper);
    hf_auditor_close(keeper);
    hf_wipe(keeper->token, sizeof keeper->token);
}

int hf_keeper_run(void)
{
    hf_error err = {.code = HF_OK};
    hf_keeper *keeper = calloc(1, sizeof *keeper);
    if (keeper == NULL) {
        return 1;
    }
    hf_log_init("keeper", HF_LOG_TEXT, HF_LOG_INFO);
    hf_status st = read_config(keeper, &err);
    if (!hf_failed(st)) {
        hf_log_init("keeper", (hf_log_format)keeper->config.log.format,
                    (hf_log_level)keeper->config.log.least);
        keeper->started_unix_ms = hf_time_unix_ms();
        keeper->meter.started_ns = hf_time_mono_ns();
        st = start(keeper, &err);
    }
    if (hf_failed(st)) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): threads may run; the process ends */
        hf_log(HF_LOG_BROKEN, "start_refused", "%s", err.msg);
        return st.code == HF_USAGE ? 2 : 1;
    }
    announce(keeper);
    hf_intake_loop(keeper);
    bool failed = keeper->failed;
    stop(keeper);
    hf_log(HF_LOG_INFO, "stopped", "the keeper stopped; every answer given is on record");
    free(keeper);
    return failed ? 1 : 0;
}
