/* The children: what each is told at its start, and which of them are there. */
#include "audit/audit.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* A store of many years is checked before the keeper is ready. */
#define KEEPER_START_NS (300 * HF_SECOND_NS)
/* Schemas may be brought up, in turn with other nodes. */
#define STORE_START_NS (300 * HF_SECOND_NS)
#define FRONT_START_NS (30 * HF_SECOND_NS)
/* Room for a burst of frames between front and keeper, within what the kernel permits. */
#define CHANNEL_BUFFER_BYTES (4 << 20)

/* A front that dies sooner than this counts as one that cannot start. */
#define EARLY_DEATH_NS (2 * HF_SECOND_NS)
#define BACKOFF_FIRST_NS (HF_SECOND_NS / 10)
#define BACKOFF_LAST_NS (2 * HF_SECOND_NS) /* a slot is 12 s: no duty is missed for it */
#define BACKOFF_DOUBLINGS_MAX 5

const char *hf_child_name(hf_child_kind kind)
{
    switch (kind) {
    case HF_CHILD_KEEPER:
        return "keeper";
    case HF_CHILD_FRONT:
        return "front";
    case HF_CHILD_LOADER:
        return "loader";
    case HF_CHILD_IMPORT:
        return "import";
    case HF_CHILD_DUTY:
        return "duty";
    case HF_CHILD_STORE:
        return "store";
    case HF_CHILD_CUSTODY:
        return "hsm";
    case HF_CHILD_RELAY:
        return "relay";
    }
    return "child";
}

static const char *program_of(hf_child_kind kind)
{
    switch (kind) {
    case HF_CHILD_KEEPER:
        return "holdfast-keeper";
    case HF_CHILD_FRONT:
        return "holdfast-front";
    case HF_CHILD_DUTY:
        return "holdfast-duty";
    case HF_CHILD_STORE:
        return "holdfast-store";
    case HF_CHILD_CUSTODY:
        return "holdfast-hsm";
    case HF_CHILD_RELAY:
        return "holdfast-relay";
    case HF_CHILD_LOADER:
    case HF_CHILD_IMPORT:
        break;
    }
    return "holdfast-loader";
}

hf_child *hf_child_by_pid(hf_supervisor *sup, pid_t pid)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        if (sup->children[i].pid == pid) {
            return &sup->children[i];
        }
    }
    return NULL;
}

hf_child *hf_child_keeper(hf_supervisor *sup)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        if (sup->children[i].pid != 0 && sup->children[i].kind == HF_CHILD_KEEPER) {
            return &sup->children[i];
        }
    }
    return NULL;
}

size_t hf_children_count(const hf_supervisor *sup, hf_child_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        count += sup->children[i].pid != 0 && sup->children[i].kind == kind;
    }
    return count;
}

void hf_child_close_control(hf_child *child)
{
    if (child->control_fd >= 0) {
        (void)close(child->control_fd);
        child->control_fd = -1;
    }
}

void hf_child_stop(hf_child *child, uint64_t grace_ns)
{
    hf_msg_plain frame = {0};
    hf_frame_init(&frame, HF_MSG_SHUTDOWN, 0);
    child->is_draining = true;
    child->kill_at_ns = hf_time_mono_ns() + grace_ns;
    if (child->control_fd < 0 || hf_failed(hf_frame_send(child->control_fd, &frame))) {
        (void)kill(child->pid, SIGKILL);
    }
}

void hf_pair_close(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0) {
            (void)close(pair[i]);
            pair[i] = -1;
        }
    }
}

static void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void widen(int fd)
{
    const int wanted = CHANNEL_BUFFER_BYTES;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
}

hf_status hf_pair_open(int pair[2], hf_error *err)
{
    if (hf_failed(hf_channel_pair(false, pair))) {
        return hf_fail(err, HF_IO, "socketpair: %s", strerror(errno));
    }
    set_nonblocking(pair[1]);
    widen(pair[0]);
    widen(pair[1]);
    return hf_ok();
}

hf_status hf_child_start(hf_supervisor *sup, hf_child_kind kind, const void *config, const int *fds,
                         size_t fd_count, bool knows_aws, hf_child **ret_child, hf_error *err)
{
    char program[HF_PATH_LEN + 32];
    int pair[2] = {-1, -1};
    pid_t pid = 0;
    hf_child *child = hf_child_by_pid(sup, 0);
    if (child == NULL) {
        return hf_fail(err, HF_LIMIT, "too many processes");
    }
    hf_status st =
        hf_str_format(program, sizeof program, "%s/%s", sup->programs_dir, program_of(kind));
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", sup->programs_dir);
    }
    st = hf_pair_open(pair, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_spawn_plan plan = {.program = program,
                          .fds = {pair[0]},
                          .fd_count = 1,
                          .keeps_stdout = kind == HF_CHILD_KEEPER &&
                                          (sup->config->audit.sinks & HF_AUDIT_SINK_STDOUT) != 0,
                          .knows_aws = knows_aws};
    for (size_t i = 0; i < fd_count; i++) {
        plan.fds[plan.fd_count++] = fds[i];
    }
    st = hf_frame_send(pair[1], config);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "%s: cannot send its configuration", program);
    } else {
        st = hf_spawn(&plan, &pid, err);
    }
    if (!hf_failed(st)) {
        *child = (hf_child){
            .pid = pid, .kind = kind, .control_fd = pair[1], .started_ns = hf_time_mono_ns()};
        *ret_child = child;
        pair[1] = -1;
    }
    hf_pair_close(pair);
    return st;
}

hf_status hf_give_channel(hf_supervisor *sup, int fd, hf_channel channel, uint64_t request_id)
{
    hf_msg_new_channel frame = {.channel = channel};
    hf_child *keeper = hf_child_keeper(sup);
    if (keeper == NULL || keeper->control_fd < 0) {
        return (hf_status){HF_NOT_FOUND};
    }
    hf_frame_init(&frame, HF_MSG_NEW_CHANNEL, request_id);
    return hf_frame_send_fd(keeper->control_fd, &frame, fd);
}

hf_status hf_start_keeper(hf_supervisor *sup, hf_error *err)
{
    const hf_config *config = sup->config;
    hf_child *child = NULL;
    hf_msg_keeper_config frame = {.network = config->network,
                                  .hardening = config->hardening,
                                  .log = config->log,
                                  .keep_epochs = config->keep_epochs,
                                  .sign_threads = config->sign_threads,
                                  .max_keys = config->max_keys,
                                  .max_in_flight = config->max_in_flight,
                                  .require_all_keys = config->require_all_keys,
                                  .store_backend = config->store_backend,
                                  .has_book = 1,
                                  .sealed_source = HF_SOURCE_NONE,
                                  .guard_mode = config->guard_mode,
                                  .eth1 = config->eth1,
                                  .store_timeout_ms = config->store_timeout_ms,
                                  .audit = config->audit};
    for (uint32_t i = 0; i < config->key_source_count; i++) {
        if (config->key_sources[i].backend == HF_BACKEND_SEALED) {
            frame.has_sealed_keys = 1;
            frame.sealed_source = i;
        }
    }
    frame.custody_count = config->custody_count;
    for (uint32_t i = 0; i < config->custody_count; i++) {
        frame.custodies[i].backend = config->custodies[i].backend;
        frame.custodies[i].source = config->custodies[i].source;
    }
    memcpy(frame.duty_node_id, config->duties.node_id, sizeof frame.duty_node_id);
    memcpy(frame.data_dir, config->data_dir, sizeof frame.data_dir);
    memcpy(frame.store_path, config->store_path, sizeof frame.store_path);
    memcpy(frame.key_manager_token_path, config->key_manager_token_file,
           sizeof frame.key_manager_token_path);
    memcpy(frame.token_key_path, config->token_key_file, sizeof frame.token_key_path);
    frame.auth_mode = config->auth_mode;
    int witness_fd = -1;
    hf_witness_open(config->data_dir, &witness_fd);
    hf_boot_id_read(frame.boot_id);
    frame.has_witness = witness_fd >= 0;
    hf_frame_init(&frame, HF_MSG_KEEPER_CONFIG, 0);
    hf_status st = hf_child_start(sup, HF_CHILD_KEEPER, &frame, &witness_fd, frame.has_witness,
                                  false, &child, err);
    if (witness_fd >= 0) {
        (void)close(witness_fd);
    }
    if (!hf_failed(st)) {
        child->kill_at_ns = child->started_ns + KEEPER_START_NS;
        st = hf_give_book(sup, err);
    }
    return st;
}

/* ---- the store process -------------------------------------------------------------------- */

bool hf_has_store(const hf_config *config)
{
    return config->store_backend != HF_STORE_SQLITE;
}

void hf_url_file_read(const char *path, char *url, size_t len)
{
    hf_error err = {HF_OK, ""};
    hf_buf *text = NULL;
    if (path[0] == '\0') {
        return;
    }
    hf_status st = hf_file_check_private(path, &err);
    if (!hf_failed(st)) {
        st = hf_file_read(path, len - 1, &text, &err);
    }
    size_t line = hf_failed(st) ? 0 : strcspn(hf_buf_text(text), "\r\n");
    if (line > 0) {
        memset(url, 0, len);
        memcpy(url, hf_buf_text(text), line);
    } else {
        hf_log(HF_LOG_UNUSUAL, "url_file_unreadable", "%s: %s; the URL of before is used", path,
               hf_failed(st) ? err.msg : "empty");
    }
    hf_buf_free(text);
}

static void fill_store_config(const hf_config *config, hf_msg_store_config *frame)
{
    *frame = (hf_msg_store_config){.hardening = config->hardening,
                                   .log = config->log,
                                   .backend = config->store_backend,
                                   .timeout_ms = config->store_timeout_ms,
                                   .auto_migrate = config->store_auto_migrate,
                                   .create_table = config->store_create_table};
    memcpy(frame->genesis_validators_root, config->network.genesis_validators_root, HF_ROOT_BYTES);
    memcpy(frame->url, config->store_url, sizeof frame->url);
    hf_url_file_read(config->store_url_file, frame->url, sizeof frame->url);
    memcpy(frame->table, config->store_table, sizeof frame->table);
    memcpy(frame->region, config->store_region, sizeof frame->region);
    memcpy(frame->endpoint, config->store_endpoint, sizeof frame->endpoint);
    hf_frame_init(frame, HF_MSG_STORE_CONFIG, 0);
}

/* A channel for each lane: one end for the store process, the other for the keeper. */
static hf_status give_lanes(hf_supervisor *sup, int pairs[HF_STORE_LANES][2], hf_error *err)
{
    for (int lane = 0; lane < HF_STORE_LANES; lane++) {
        hf_status st = hf_give_channel(sup, pairs[lane][1], HF_CHANNEL_STORE, (uint64_t)lane);
        if (hf_failed(st)) {
            return hf_fail(err, st.code, "the keeper takes no channel");
        }
    }
    return hf_ok();
}

hf_status hf_start_store(hf_supervisor *sup, hf_error *err)
{
    hf_msg_store_config frame;
    hf_child *child = NULL;
    int pairs[HF_STORE_LANES][2];
    int fds[HF_STORE_LANES];
    hf_status st = hf_ok();
    memset(pairs, 0xff, sizeof pairs);
    for (int lane = 0; lane < HF_STORE_LANES && !hf_failed(st); lane++) {
        st = hf_pair_open(pairs[lane], err);
        fds[lane] = pairs[lane][0];
    }
    if (hf_failed(st)) {
        goto out;
    }
    fill_store_config(sup->config, &frame);
    st = hf_child_start(sup, HF_CHILD_STORE, &frame, fds, HF_STORE_LANES,
                        sup->config->store_backend == HF_STORE_DYNAMODB, &child, err);
    hf_wipe(&frame, sizeof frame);
    if (!hf_failed(st)) {
        child->kill_at_ns = child->started_ns + STORE_START_NS;
        st = give_lanes(sup, pairs, err);
    }
out:
    for (int lane = 0; lane < HF_STORE_LANES; lane++) {
        hf_pair_close(pairs[lane]);
    }
    return st;
}

void hf_slot_schedule(hf_slot *slot, const hf_child *child, bool is_started)
{
    uint64_t now_ns = hf_time_mono_ns();
    uint64_t wait_ns = 0;
    bool early = !is_started || now_ns - child->started_ns < EARLY_DEATH_NS;
    slot->failures = early ? slot->failures + 1 : 0;
    if (slot->failures > 1) {
        uint32_t doublings = slot->failures - 2;
        wait_ns = BACKOFF_FIRST_NS
                  << (doublings < BACKOFF_DOUBLINGS_MAX ? doublings : BACKOFF_DOUBLINGS_MAX);
        wait_ns = wait_ns < BACKOFF_LAST_NS ? wait_ns : BACKOFF_LAST_NS;
    }
    slot->start_at_ns = now_ns + wait_ns + 1;
}

/* What all fronts share is divided between them, rounded up. */
static uint32_t share(uint32_t total, uint32_t fronts)
{
    return total / fronts + (total % fronts != 0);
}

static void fill_front_config(const hf_supervisor *sup, hf_msg_front_config *frame)
{
    const hf_config *config = sup->config;
    *frame =
        (hf_msg_front_config){.network = config->network,
                              .hardening = config->hardening,
                              .log = config->log,
                              .request_timeout_ms = config->request_timeout_ms,
                              .max_connections = share(config->max_connections, config->fronts),
                              .max_body_bytes = config->max_body_bytes,
                              .max_in_flight = share(config->max_in_flight, config->fronts),
                              .idle_timeout_seconds = config->idle_timeout_seconds,
                              .key_manager_enabled = config->key_manager_enabled,
                              .eth1 = config->eth1,
                              .node_timeout_ms = config->node_timeout_ms,
                              .has_metrics_listener = sup->metrics_fd >= 0};
    memcpy(frame->tls_cert, config->tls_cert, sizeof frame->tls_cert);
    memcpy(frame->tls_key, config->tls_key, sizeof frame->tls_key);
    memcpy(frame->tls_client_ca, config->tls_client_ca, sizeof frame->tls_client_ca);
    memcpy(frame->tls_known_clients, config->tls_known_clients, sizeof frame->tls_known_clients);
    hf_frame_init(frame, HF_MSG_FRONT_CONFIG, 0);
}

hf_status hf_start_front(hf_supervisor *sup, uint32_t slot, hf_error *err)
{
    hf_msg_front_config frame;
    hf_child *child = NULL;
    int pair[2] = {-1, -1};
    hf_status st = hf_pair_open(pair, err);
    if (hf_failed(st)) {
        return st;
    }
    set_nonblocking(pair[0]); /* one loop serves all clients: it must never wait for the keeper */
    const int fds[] = {pair[0], sup->api_fd, sup->metrics_fd};
    fill_front_config(sup, &frame);
    st = hf_give_channel(sup, pair[1], HF_CHANNEL_FRONT, 0);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "the keeper takes no channel");
        goto out;
    }
    st = hf_child_start(sup, HF_CHILD_FRONT, &frame, fds, sup->metrics_fd >= 0 ? 3 : 2, false,
                        &child, err);
    if (!hf_failed(st)) {
        child->slot = slot;
        child->kill_at_ns = child->started_ns + FRONT_START_NS;
        hf_relay_connect(sup, child);
    }
out:
    hf_pair_close(pair);
    return st;
}

hf_status hf_start_duty(hf_supervisor *sup, hf_error *err)
{
    const hf_config *config = sup->config;
    hf_msg_duty_config frame = {.hardening = config->hardening, .log = config->log};
    hf_child *child = NULL;
    int pair[2] = {-1, -1};
    hf_status st = hf_pair_open(pair, err);
    if (hf_failed(st)) {
        return st;
    }
    memcpy(&frame.duties, &config->duties, sizeof frame.duties);
    hf_url_file_read(config->duty_url_file, frame.duties.database_url,
                     sizeof frame.duties.database_url);
    hf_frame_init(&frame, HF_MSG_DUTY_CONFIG, 0);
    st = hf_give_channel(sup, pair[1], HF_CHANNEL_DUTY, 0);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "the keeper takes no channel");
    } else {
        st = hf_child_start(sup, HF_CHILD_DUTY, &frame, &pair[0], 1, false, &child, err);
    }
    hf_wipe(&frame.duties.database_url, sizeof frame.duties.database_url);
    hf_pair_close(pair);
    return st;
}

static void fill_loader_config(const hf_supervisor *sup, bool is_import,
                               hf_msg_loader_config *frame)
{
    const hf_config *config = sup->config;
    *frame = (hf_msg_loader_config){
        .hardening = config->hardening, .log = config->log, .is_import = is_import};
    /* DATA_DIR fits in HF_PATH_LEN with room to spare: hf_cli_serve checked it. */
    hf_status st = hf_str_format(frame->imported_dir, sizeof frame->imported_dir, "%s/imported",
                                 config->data_dir);
    HF_ASSERT(!hf_failed(st));
    for (uint32_t i = 0; i < config->key_source_count; i++) {
        uint32_t backend = config->key_sources[i].backend;
        if (backend != HF_BACKEND_SEALED && !hf_key_backend_is_custody(backend)) { /* files */
            frame->sources[frame->source_count] = config->key_sources[i];
            frame->sources[frame->source_count++].place = i;
        }
    }
    hf_frame_init(frame, HF_MSG_LOADER_CONFIG, 0);
}

/* The keeper learns of a loader that never came by the end of its channel. */
static hf_status start_on_channel(hf_supervisor *sup, hf_child_kind kind, int import_fd,
                                  uint64_t request_id, hf_error *err)
{
    static hf_msg_loader_config frame; /* large, and this process has one thread */
    hf_child *child = NULL;
    int pair[2] = {-1, -1};
    bool is_import = kind == HF_CHILD_IMPORT;
    hf_status st = hf_pair_open(pair, err);
    if (hf_failed(st)) {
        return st;
    }
    const int fds[] = {pair[0], import_fd};
    fill_loader_config(sup, is_import, &frame);
    st = hf_give_channel(sup, pair[1], is_import ? HF_CHANNEL_IMPORT : HF_CHANNEL_LOADER,
                         request_id);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "the keeper takes no channel");
    } else {
        st = hf_child_start(sup, kind, &frame, fds, is_import ? 2 : 1, false, &child, err);
    }
    hf_pair_close(pair);
    return st;
}

hf_status hf_start_loader(hf_supervisor *sup, hf_error *err)
{
    return start_on_channel(sup, HF_CHILD_LOADER, -1, 0, err);
}

/* One that cannot be had is refused by the same sign: a channel whose other end is gone. */
static hf_status refuse_import(hf_supervisor *sup, uint64_t request_id, hf_error *err)
{
    int pair[2] = {-1, -1};
    hf_status st = hf_pair_open(pair, err);
    if (!hf_failed(st)) {
        (void)!hf_failed(hf_give_channel(sup, pair[1], HF_CHANNEL_IMPORT, request_id));
        hf_pair_close(pair);
        st = hf_fail(err, HF_LIMIT, "%d imports at a time at most, and none while stopping",
                     HF_IMPORTS_MAX);
    }
    return st;
}

hf_status hf_start_import(hf_supervisor *sup, int fd, uint64_t request_id, hf_error *err)
{
    if (hf_children_count(sup, HF_CHILD_IMPORT) >= HF_IMPORTS_MAX ||
        sup->phase >= HF_PHASE_STOP_FRONTS) {
        return refuse_import(sup, request_id, err);
    }
    return start_on_channel(sup, HF_CHILD_IMPORT, fd, request_id, err);
}
