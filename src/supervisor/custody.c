/* The back ends of custody: a process each, and none of them holds up another or the service. */
#include "supervisor/supervisor_internal.h"

#include <sys/wait.h>

/* It says that it lives before it opens its device. */
#define CUSTODY_START_NS (30 * HF_SECOND_NS)
/* One that will never start with this configuration is tried again for the sake of its files. */
#define NEVER_NS (30 * HF_SECOND_NS)
#define STATUS_USAGE 2

/* Key files may say that the environment has the credentials. */
static bool is_of_aws(uint32_t backend)
{
    return backend == HF_BACKEND_WEB3SIGNER || backend == HF_BACKEND_AWS_KMS ||
           backend == HF_BACKEND_AWS_SECRETS_MANAGER || backend == HF_BACKEND_AWS_CLOUDHSM;
}

static void fill_config(const hf_config *config, uint32_t i, hf_msg_custody_config *frame)
{
    const hf_custody_source *custody = &config->custodies[i];
    *frame = (hf_msg_custody_config){
        .hardening = config->hardening,
        .log = config->log,
        .backend = custody->backend,
        .place = i,
        .threads = (uint32_t)hf_custody_setting_number(&custody->settings, "threads", 0),
        .timeout_ms = (uint32_t)hf_custody_setting_number(&custody->settings, "timeout_ms", 0),
        .lists = custody->source != HF_SOURCE_NONE,
        .settings = custody->settings};
    hf_frame_init(frame, HF_MSG_CUSTODY_CONFIG, 0);
}

static hf_status give_channels(hf_supervisor *sup, uint32_t i, int pairs[HF_CUSTODY_FDS][2],
                               hf_error *err)
{
    hf_status st = hf_give_channel(sup, pairs[0][1], HF_CHANNEL_CUSTODY_KEYS, i);
    if (!hf_failed(st)) {
        st = hf_give_channel(sup, pairs[1][1], HF_CHANNEL_CUSTODY, i);
    }
    return hf_failed(st) ? hf_fail(err, st.code, "the keeper takes no channel") : st;
}

static hf_status start_one(hf_supervisor *sup, uint32_t i, hf_error *err)
{
    static hf_msg_custody_config frame; /* large, and this process has one thread */
    hf_child *child = NULL;
    int pairs[HF_CUSTODY_FDS][2] = {{-1, -1}, {-1, -1}};
    hf_status st = hf_pair_open(pairs[0], err);
    if (!hf_failed(st)) {
        st = hf_pair_open(pairs[1], err);
    }
    if (!hf_failed(st)) {
        st = give_channels(sup, i, pairs, err);
    }
    if (!hf_failed(st)) {
        const int fds[HF_CUSTODY_FDS] = {pairs[0][0], pairs[1][0]};
        fill_config(sup->config, i, &frame);
        st = hf_child_start(sup, HF_CHILD_CUSTODY, &frame, fds, HF_CUSTODY_FDS,
                            is_of_aws(frame.backend), &child, err);
    }
    if (!hf_failed(st)) {
        child->slot = i;
        child->kill_at_ns = child->started_ns + CUSTODY_START_NS;
    }
    hf_pair_close(pairs[0]);
    hf_pair_close(pairs[1]);
    return st;
}

void hf_start_custodies(hf_supervisor *sup, uint64_t now_ns)
{
    for (uint32_t i = 0; i < sup->config->custody_count; i++) {
        hf_slot *slot = &sup->custody_slots[i];
        hf_error err = {HF_OK, ""};
        if (slot->start_at_ns == 0 || now_ns < slot->start_at_ns) {
            continue;
        }
        slot->start_at_ns = 0;
        if (hf_failed(start_one(sup, i, &err))) {
            hf_log(HF_LOG_BROKEN, "custody_failed", "%s", err.msg);
            slot->start_at_ns = now_ns + HF_SECOND_NS;
        }
    }
}

void hf_custody_ended(hf_supervisor *sup, const hf_child *child, int status, const char *how)
{
    hf_slot *slot = &sup->custody_slots[child->slot];
    if (sup->phase >= HF_PHASE_STOP_FRONTS) {
        return;
    }
    hf_log(HF_LOG_BROKEN, "custody_died",
           "holdfast-hsm of %s (pid %d) %s; another takes its place, and its keys sign nothing "
           "meanwhile",
           hf_key_backend_name((hf_key_backend)sup->config->custodies[child->slot].backend),
           (int)child->pid, how);
    hf_slot_schedule(slot, child, child->is_ready);
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_USAGE) {
        slot->start_at_ns = hf_time_mono_ns() + NEVER_NS;
    }
}
