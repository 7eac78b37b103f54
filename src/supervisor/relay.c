/* The process that passes calls to a node, where one is configured, and its channels to the fronts.
 */
#include "supervisor/supervisor_internal.h"

#include <sys/wait.h>

#define RELAY_START_NS (30 * HF_SECOND_NS)
/* One that will never start with this configuration is tried again for the sake of its files. */
#define NEVER_NS (30 * HF_SECOND_NS)
#define STATUS_USAGE 2

bool hf_has_relay(const hf_config *config)
{
    return config->node_timeout_ms != 0;
}

static hf_child *find_relay(hf_supervisor *sup)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        if (sup->children[i].pid != 0 && sup->children[i].kind == HF_CHILD_RELAY) {
            return &sup->children[i];
        }
    }
    return NULL;
}

/* One end each. Both may still be starting: the frames wait for them. */
static void connect_pair(const hf_child *relay, const hf_child *front)
{
    hf_msg_new_channel frame = {.channel = HF_CHANNEL_RELAY};
    hf_error err = {HF_OK, ""};
    int pair[2] = {-1, -1};
    hf_frame_init(&frame, HF_MSG_NEW_CHANNEL, 0);
    hf_status st = hf_pair_open(pair, &err);
    if (!hf_failed(st)) {
        st = hf_frame_send_fd(relay->control_fd, &frame, pair[0]);
    }
    if (!hf_failed(st)) {
        st = hf_frame_send_fd(front->control_fd, &frame, pair[1]);
    }
    if (hf_failed(st)) {
        hf_log(HF_LOG_UNUSUAL, "relay_failed", "front %u gets no channel to the relay",
               front->slot);
    }
    hf_pair_close(pair);
}

void hf_relay_connect(hf_supervisor *sup, const hf_child *front)
{
    const hf_child *relay = find_relay(sup);
    if (relay != NULL && relay->control_fd >= 0 && front->control_fd >= 0) {
        connect_pair(relay, front);
    }
}

static hf_status start(hf_supervisor *sup, hf_error *err)
{
    const hf_config *config = sup->config;
    hf_child *child = NULL;
    hf_msg_relay_config frame = {.hardening = config->hardening,
                                 .log = config->log,
                                 .max_call_bytes = config->max_body_bytes + HF_RELAY_CALL_EXTRA};
    memcpy(frame.url, config->node_url, sizeof frame.url);
    hf_url_file_read(config->node_url_file, frame.url, sizeof frame.url);
    memcpy(frame.ca_file, config->node_ca_file, sizeof frame.ca_file);
    memcpy(frame.client_cert_file, config->node_cert_file, sizeof frame.client_cert_file);
    memcpy(frame.client_key_file, config->node_key_file, sizeof frame.client_key_file);
    hf_frame_init(&frame, HF_MSG_RELAY_CONFIG, 0);
    hf_status st = hf_child_start(sup, HF_CHILD_RELAY, &frame, NULL, 0, false, &child, err);
    hf_wipe(frame.url, sizeof frame.url);
    if (hf_failed(st)) {
        return st;
    }
    child->kill_at_ns = child->started_ns + RELAY_START_NS;
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        const hf_child *front = &sup->children[i];
        if (front->pid != 0 && front->kind == HF_CHILD_FRONT && !front->is_draining) {
            hf_relay_connect(sup, front);
        }
    }
    return st;
}

void hf_relay_start_due(hf_supervisor *sup, uint64_t now_ns)
{
    hf_error err = {HF_OK, ""};
    if (sup->relay_slot.start_at_ns == 0 || now_ns < sup->relay_slot.start_at_ns) {
        return;
    }
    sup->relay_slot.start_at_ns = 0;
    if (hf_failed(start(sup, &err))) {
        hf_log(HF_LOG_BROKEN, "relay_failed", "%s", err.msg);
        sup->relay_slot.start_at_ns = now_ns + HF_SECOND_NS;
    }
}

void hf_relay_ended(hf_supervisor *sup, const hf_child *child, int status, const char *how)
{
    if (sup->phase >= HF_PHASE_STOP_FRONTS) {
        return;
    }
    hf_log(HF_LOG_UNUSUAL, "relay_died",
           "holdfast-relay (pid %d) %s; another takes its place, and no call goes to the node "
           "meanwhile",
           (int)child->pid, how);
    hf_slot_schedule(&sup->relay_slot, child, child->is_ready);
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_USAGE) {
        sup->relay_slot.start_at_ns = hf_time_mono_ns() + NEVER_NS;
    }
}
