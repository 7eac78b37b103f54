/*
 * The store process's life: configuration, protections and sandbox, then the database, then its
 * lanes until the supervisor says stop or is gone.
 */
#include "store/store_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static bool is_text(const char *text, size_t len)
{
    return memchr(text, '\0', len) != NULL;
}

static bool config_is_sane(const hf_msg_store_config *config)
{
    return config->backend > HF_STORE_SQLITE && config->backend < HF_STORE_BACKEND_COUNT &&
           config->timeout_ms > 0 && is_text(config->url, sizeof config->url) &&
           is_text(config->table, sizeof config->table) &&
           is_text(config->region, sizeof config->region) &&
           is_text(config->endpoint, sizeof config->endpoint) &&
           config->log.format <= HF_LOG_JSON && config->log.least <= HF_LOG_BROKEN;
}

static hf_status read_config(hf_msg_store_config *ret_config, hf_error *err)
{
    hf_status st = hf_frame_recv_config(HF_FD_CONTROL, HF_MSG_STORE_CONFIG, ret_config, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!config_is_sane(ret_config)) {
        return hf_fail(err, HF_USAGE, "the configuration frame is malformed");
    }
    return hf_ok();
}

static hf_status enclose(hf_store_process *process, hf_error *err)
{
    static hf_store_reach reach; /* large, and this process has one thread yet */
    const hf_hardening_config *hardening = &process->config.hardening;
    hf_status st =
        hf_harden_process(hardening, HF_FD_STORE_LANES + HF_STORE_LANES - 1, &process->report, err);
    if (!hf_failed(st)) {
        hf_store_reach_find(&process->config, &reach);
        st = hf_harden_landlock_connecting(hardening, reach.paths, reach.count, &process->report,
                                           err);
    }
    if (!hf_failed(st)) {
        st = hf_harden_seccomp(hardening, HF_SANDBOX_STORE, &process->report, err);
    }
    return st;
}

/* ---- lanes -------------------------------------------------------------------------------- */

static void *lane_main(void *context)
{
    hf_store_lane_state *lane = context;
    hf_store_serve(lane->fd, lane->store);
    return NULL;
}

static void *export_main(void *context)
{
    hf_store_process *process = context;
    hf_store_serve_exports(process->lanes[HF_LANE_EXPORT].fd, &process->exporter);
    return NULL;
}

static void say_hello(const hf_store_process *process)
{
    hf_msg_store_hello hello = {.backend = process->config.backend,
                                .protection_count = process->report.count};
    memcpy(hello.protections, process->report.items,
           process->report.count * sizeof hello.protections[0]);
    hf_frame_init(&hello, HF_MSG_STORE_HELLO, 0);
    (void)hf_failed(hf_frame_send(HF_FD_STORE_LANES + HF_LANE_SIGNING, &hello));
}

/* One after the other: the first brings the schema up, and the second finds it. */
static hf_status open_stores(hf_store_process *process, hf_error *err)
{
    for (int i = 0; i < HF_STORE_LANES; i++) {
        hf_store_lane_state *lane = &process->lanes[i];
        lane->fd = HF_FD_STORE_LANES + i;
        if (i == HF_LANE_EXPORT) {
            continue;
        }
        hf_status st = hf_store_backend_open(&process->config, &lane->store, err);
        if (hf_failed(st)) {
            return hf_error_wrap(err, st, "slashing_protection");
        }
    }
    process->exporter = hf_store_backend_exporter(&process->config);
    return hf_ok();
}

static hf_status start_lanes(hf_store_process *process, hf_error *err)
{
    for (int i = 0; i < HF_STORE_LANES; i++) {
        hf_store_lane_state *lane = &process->lanes[i];
        bool is_export = i == HF_LANE_EXPORT;
        if (pthread_create(&lane->thread, NULL, is_export ? export_main : lane_main,
                           is_export ? (void *)process : (void *)lane) != 0) {
            return hf_fail(err, HF_NOMEM, "not enough memory or threads to start");
        }
        lane->is_running = true;
    }
    return hf_ok();
}

/* ---- the process -------------------------------------------------------------------------- */

static hf_status start(hf_store_process *process, hf_error *err)
{
    hf_status st = enclose(process, err);
    if (!hf_failed(st)) {
        st = open_stores(process, err);
    }
    if (!hf_failed(st)) {
        say_hello(process);
        st = start_lanes(process, err);
    }
    return st;
}

/* Says that all is ready, and goes on saying so. The supervisor says one thing alone, and its end
 * means the same. */
static void wait_for_shutdown(void)
{
    static uint8_t frame[HF_IPC_MAX_BYTES];
    size_t len = 0;
    struct pollfd control = {.fd = HF_FD_CONTROL, .events = POLLIN};
    uint64_t alive_ns = 0;
    for (;;) {
        hf_say_alive(HF_FD_CONTROL, &alive_ns);
        int n = poll(&control, 1, HF_ALIVE_EVERY_MS);
        if (n < 0 && errno != EINTR) {
            return;
        }
        if (n <= 0) {
            continue;
        }
        hf_status st = hf_frame_recv(HF_FD_CONTROL, frame, &len, NULL);
        if (hf_failed(st) && st.code != HF_UNAVAILABLE) {
            return;
        }
        if (!hf_failed(st) && hf_frame_is_acceptable(frame, len, HF_CHANNEL_CONTROL, false)) {
            return;
        }
    }
}

int hf_store_run(void)
{
    hf_error err = {.code = HF_OK};
    hf_store_process *process = calloc(1, sizeof *process);
    if (process == NULL) {
        return 1;
    }
    hf_log_init("store", HF_LOG_TEXT, HF_LOG_INFO);
    (void)signal(SIGPIPE, SIG_IGN); /* a database that hangs up is an error of the write */
    hf_status st = read_config(&process->config, &err);
    if (!hf_failed(st)) {
        hf_log_init("store", (hf_log_format)process->config.log.format,
                    (hf_log_level)process->config.log.least);
        st = start(process, &err);
    }
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "start_refused", "%s", err.msg);
    } else {
        wait_for_shutdown();
        hf_log(HF_LOG_INFO, "stopped", "the store process stopped");
    }
    /* Threads may be waiting for the database, which nobody waits for any more: what they asked of
     * it is a transaction that is whole or not at all. */
    hf_wipe(&process->config, sizeof process->config);
    _exit(!hf_failed(st) ? 0 : st.code == HF_USAGE ? 2 : 1);
}
