/*
 * Management actions: whatever changes something, or takes something out, on somebody's word. Each
 * waits until the audit log has the line that says who wants it; what cannot be written down is not
 * done (docs/adr/0016-audit-journal.md). Intake thread; the waiting is the auditor's.
 */
#include "keeper/keeper_internal.h"

#include <unistd.h>

hf_parked *hf_parked_new(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    const hf_frame_header *header = frame;
    size_t len = hf_frame_size(header->type);
    hf_parked *parked = calloc(1, sizeof *parked + len);
    if (parked == NULL) {
        return NULL;
    }
    parked->peer = peer;
    parked->fd = *fd;
    parked->len = len;
    memcpy(parked->frame, frame, len);
    *fd = -1;
    hf_peer_ref(peer);
    if (hf_dispatch_is_action(header->type)) { /* as its handler may say too late */
        keeper->inbox_is_secret = true;
    }
    return parked;
}

hf_peer *hf_parked_let_go(hf_keeper *keeper, hf_parked *parked)
{
    hf_peer *peer = parked->peer;
    parked->peer = NULL;
    hf_peer_unref(keeper, peer);
    return peer;
}

void hf_parked_free(hf_keeper *keeper, hf_parked *parked)
{
    if (parked == NULL) {
        return;
    }
    if (parked->fd >= 0) {
        (void)close(parked->fd);
    }
    if (parked->peer != NULL) {
        hf_peer_unref(keeper, parked->peer);
    }
    hf_wipe(parked->frame, parked->len);
    free(parked);
}

void hf_parked_free_list(hf_keeper *keeper, hf_parked *list)
{
    while (list != NULL) {
        hf_parked *parked = list;
        list = parked->next;
        hf_parked_free(keeper, parked);
    }
}

/* ---- what the line says -----------------------------------------------------------------------
 */

static void fill_key(hf_audit_event *event, const uint8_t *name, size_t len)
{
    event->subject_len = (uint8_t)len;
    memcpy(event->subject, name, len);
}

/* Which key, where it is about one; and what else the action is about. */
static void fill_subject(const void *frame, hf_audit_event *event)
{
    const hf_frame_header *header = frame;
    if (header->type == HF_MSG_KEY_DELETE || header->type == HF_MSG_EXPORT_OPEN) {
        const hf_msg_pubkey *about = frame;
        fill_key(event, about->pubkey, about->has_pubkey ? sizeof about->pubkey : 0);
    } else if (header->type == HF_MSG_EXIT_APPROVE) {
        fill_key(event, ((const hf_msg_exit_approve *)frame)->pubkey, HF_BLS_PUBKEY_BYTES);
    } else if (header->type == HF_MSG_SEALED_CHANGE) {
        hf_gate_question about = {.operation = HF_OP_COUNT};
        hf_seal_describe(frame, &about);
        fill_key(event, about.name.bytes, about.name.len);
    } else if (header->type == HF_MSG_TOKEN_REVOKE) {
        const hf_msg_token_revoke *about = frame;
        (void)snprintf(event->text, sizeof event->text, "%.*s", HF_AUTH_ACCESSOR_CHARS,
                       about->accessor);
    } else if (header->type == HF_MSG_POLICY_PUT || header->type == HF_MSG_POLICY_DELETE) {
        const hf_msg_policy_ask *about = frame;
        (void)snprintf(event->text, sizeof event->text, "%.*s", HF_POLICY_NAME_LEN - 1,
                       about->name);
    } else if (header->type == HF_MSG_SEAL_SUBMIT) {
        const hf_msg_seal_submit *about = frame;
        (void)snprintf(event->text, sizeof event->text, "%.*s", HF_SEAL_NAME_LEN - 1, about->name);
    }
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

static void refuse(hf_keeper *keeper, hf_peer *peer, const void *frame, hf_reason reason)
{
    const hf_frame_header *header = frame;
    hf_meter_add(&keeper->meter.now.refusals[reason], 1);
    if (hf_refusal_may_be_logged(keeper)) {
        hf_log(HF_LOG_UNUSUAL, "action_refused", "%s: %s", hf_frame_name(header->type),
               hf_reason_describe(reason)->sentence);
    }
    hf_peer_send_result(keeper, peer, header->request_id, reason, 0, "");
}

bool hf_actions_hold(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    const hf_frame_header *header = frame;
    if (!keeper->auditor.is_on || peer->channel == HF_CHANNEL_CONTROL) {
        return false;
    }
    hf_parked *parked = hf_parked_new(keeper, peer, frame, fd);
    if (parked == NULL) {
        refuse(keeper, peer, frame, HF_REASON_OVERLOADED);
        return true;
    }
    hf_audit_event event = {.kind = HF_AUDIT_ASKED,
                            .request_id = header->request_id,
                            .operation = hf_frame_name(header->type)};
    fill_subject(frame, &event);
    parked->pass = keeper->asker;
    if (!hf_auditor_ask(keeper, &event, parked)) {
        refuse(keeper, peer, frame, HF_REASON_AUDIT_UNAVAILABLE);
        hf_parked_free(keeper, parked);
    }
    return true;
}

static void take_up(hf_keeper *keeper, hf_parked *parked)
{
    if (parked->peer->is_gone) {
        return; /* nobody would hear of it */
    }
    if (!parked->is_logged) {
        refuse(keeper, parked->peer, parked->frame, HF_REASON_AUDIT_UNAVAILABLE);
        return;
    }
    keeper->asker = parked->pass;
    hf_dispatch_now(keeper, parked->peer, parked->frame, &parked->fd);
}

void hf_actions_turn(hf_keeper *keeper)
{
    hf_parked *list = hf_auditor_take_asked(keeper);
    while (list != NULL) {
        hf_parked *parked = list;
        list = list->next;
        take_up(keeper, parked);
        hf_parked_free(keeper, parked);
    }
}
