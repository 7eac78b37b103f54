/* New keys and new TLS files, on SIGHUP and by the clock. */
#include "supervisor/supervisor_internal.h"

#include <unistd.h>

void hf_look_at_tls(hf_supervisor *sup)
{
    if (sup->config->tls_cert[0] == '\0' || !hf_tls_watch_look(&sup->tls_watch, sup->config)) {
        return;
    }
    hf_log(HF_LOG_INFO, "tls_changed", "the TLS files changed: fronts that use them are starting");
    sup->tls_is_stale = true;
}

/* The keys, by the same way as POST /reload: an admin channel, of our own. */
void hf_reload_keys(hf_supervisor *sup)
{
    hf_msg_ask frame = {0};
    int pair[2];
    if (sup->reload_fd >= 0) {
        hf_log(HF_LOG_INFO, "reload_busy", "a reload is under way already");
        return;
    }
    if (hf_failed(hf_channel_pair(true, pair))) {
        hf_log(HF_LOG_BROKEN, "reload_failed", "no channel to the keeper");
        return;
    }
    hf_frame_init(&frame, HF_MSG_RELOAD, 1);
    if (hf_failed(hf_give_channel(sup, pair[1], HF_CHANNEL_ADMIN, 0)) ||
        hf_failed(hf_frame_send(pair[0], &frame))) {
        hf_log(HF_LOG_BROKEN, "reload_failed", "the keeper takes no channel");
        (void)close(pair[0]);
    } else {
        sup->reload_fd = pair[0];
    }
    (void)close(pair[1]);
}

void hf_on_reload_answer(hf_supervisor *sup)
{
    static uint8_t buf[HF_IPC_MAX_BYTES];
    size_t len = 0;
    hf_msg_result answer;
    hf_status st = hf_frame_recv(sup->reload_fd, buf, &len, NULL);
    if (st.code == HF_UNAVAILABLE) {
        return;
    }
    if (hf_failed(st) || !hf_frame_is_acceptable(buf, len, HF_CHANNEL_ADMIN, false) ||
        len != sizeof answer) {
        hf_log(HF_LOG_BROKEN, "reload_failed", "the keeper gave no answer");
    } else {
        memcpy(&answer, buf, sizeof answer);
        hf_log(HF_LOG_INFO, "reload", "%s", hf_reason_describe(answer.reason)->sentence);
    }
    (void)close(sup->reload_fd);
    sup->reload_fd = -1;
}
