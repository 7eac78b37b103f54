/* What the audit log says: requests and their results, notes of other rooms, the anchor. */
#include "keeper/keeper_internal.h"

#include <unistd.h>

#define ANCHOR_INTERVAL_NS HF_NS_PER_SECOND
/* Whoever can cause refusals shall not fill the disk with them: the rest is one number. */
#define REFUSED_LINES_A_SECOND 500

/* ---- slots, with the lock held ----------------------------------------------------------------
 */

hf_audit_slot *hf_auditor_take_slot(hf_auditor *auditor)
{
    hf_audit_slot *slot = auditor->free;
    if (slot == NULL) {
        auditor->unlogged++;
        return NULL;
    }
    auditor->free = slot->next;
    slot->next = NULL;
    slot->request = NULL;
    slot->parked = NULL;
    slot->ticket = 0;
    slot->state = HF_AUDIT_SLOT_QUEUED;
    slot->has_result = false;
    slot->event = (hf_audit_event){0};
    return slot;
}

void hf_auditor_queue(hf_auditor *auditor, hf_audit_slot *slot, bool in_a_hurry)
{
    slot->next = NULL;
    *(auditor->queue != NULL ? &auditor->queue_tail->next : &auditor->queue) = slot;
    auditor->queue_tail = slot;
    auditor->hurried += in_a_hurry;
}

static const char *decision_of(hf_reason reason)
{
    if (reason == HF_REASON_OK) {
        return "signed";
    }
    return hf_reason_describe(reason)->http_status >= 500 ? "failed" : "refused";
}

void hf_auditor_make_result(hf_audit_slot *slot)
{
    hf_audit_event *event = &slot->event;
    *event = (hf_audit_event){
        .kind = HF_AUDIT_RESULT,
        .of = slot->seq,
        .decision = decision_of(slot->result),
        .reason = slot->result == HF_REASON_OK ? NULL : hf_reason_describe(slot->result)->code,
    };
    hf_str_cut(event->text, sizeof event->text, slot->detail);
}

void hf_auditor_fill_caller(const hf_pass *pass, hf_audit_caller *ret_caller)
{
    *ret_caller = (hf_audit_caller){.port = pass->port};
    memcpy(ret_caller->address, pass->address, sizeof ret_caller->address);
    ret_caller->has_address = !hf_bytes_is_zero(pass->address, sizeof pass->address);
    hf_str_cut(ret_caller->accessor, sizeof ret_caller->accessor, pass->accessor);
    hf_str_cut(ret_caller->certificate, sizeof ret_caller->certificate, pass->certificate);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void fill_slot(hf_audit_event *event, uint64_t slot)
{
    event->has_slot = true;
    event->slot = slot;
}

static void fill_epoch(hf_audit_event *event, uint64_t epoch)
{
    event->has_epoch = true;
    event->target = epoch;
}

/* The slot or the epoch that a request is about, where it has one. */
static void fill_time(const hf_eth_request *asked, hf_audit_event *event)
{
    const hf_eth_fields *fields = &asked->fields;
    switch ((hf_operation)asked->operation) {
    case HF_OP_ATTESTATION:
        event->has_epochs = true;
        event->source = fields->attestation.source.epoch;
        event->target = fields->attestation.target.epoch;
        return;
    case HF_OP_BLOCK:
    case HF_OP_BLOCK_V2:
        fill_slot(event, fields->block.slot);
        return;
    case HF_OP_AGGREGATION_SLOT:
        fill_slot(event, fields->aggregation_slot);
        return;
    case HF_OP_RANDAO_REVEAL:
        fill_epoch(event, fields->randao_epoch);
        return;
    case HF_OP_VOLUNTARY_EXIT:
        fill_epoch(event, fields->voluntary_exit.epoch);
        return;
    case HF_OP_SYNC_COMMITTEE_SELECTION_PROOF:
        fill_slot(event, fields->sync_selection.slot);
        return;
    case HF_OP_PAYLOAD_ATTESTATION:
        fill_slot(event, fields->payload_attestation.slot);
        return;
    case HF_OP_PROPOSER_PREFERENCES:
        fill_slot(event, fields->proposer_preferences.proposal_slot);
        return;
    case HF_OP_AGGREGATE_AND_PROOF:
    case HF_OP_AGGREGATE_AND_PROOF_V2:
    case HF_OP_SYNC_COMMITTEE_MESSAGE:
    case HF_OP_SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF:
    case HF_OP_EXECUTION_PAYLOAD_BID:
    case HF_OP_EXECUTION_PAYLOAD_ENVELOPE:
    case HF_OP_BUILDER_REQUEST_AUTH:
        fill_slot(event, fields->rooted.slot);
        return;
    case HF_OP_DEPOSIT:
    case HF_OP_VALIDATOR_REGISTRATION:
    case HF_OP_COUNT:
        return;
    }
}

/* What a line says of the request, the duty or the work that it is about. */
typedef void (*event_filler)(const void *what, hf_audit_event *event);

static void fill_request(const void *what, hf_audit_event *event)
{
    const hf_request *request = what;
    event->request_id = request->reply.header.request_id;
    event->operation = hf_eth_operation_name((hf_operation)request->operation);
    event->subject_len = HF_BLS_PUBKEY_BYTES;
    memcpy(event->subject, request->message.pubkey, HF_BLS_PUBKEY_BYTES);
    hf_auditor_fill_caller(&request->pass, &event->caller);
}

bool hf_auditor_admit(hf_keeper *keeper, hf_request *request, const hf_eth_request *asked,
                      const hf_admission *admission, bool *ret_is_taken)
{
    hf_auditor *auditor = &keeper->auditor;
    *ret_is_taken = false;
    if (!auditor->is_on) {
        return true;
    }
    if (!atomic_load(&auditor->is_healthy)) {
        return false;
    }
    (void)pthread_mutex_lock(&auditor->lock);
    hf_audit_slot *slot = hf_auditor_take_slot(auditor);
    if (slot != NULL) {
        slot->event.kind = HF_AUDIT_REQUEST;
        fill_request(request, &slot->event);
        fill_time(asked, &slot->event);
        slot->event.has_root = true;
        memcpy(slot->event.root, admission->root, HF_ROOT_BYTES);
        slot->ticket = ++auditor->tickets;
        *ret_is_taken = auditor->is_strict && !admission->is_slashable &&
                        !hf_look_is_needed(keeper, request->key);
        slot->request = *ret_is_taken ? request : NULL;
        request->audit = slot;
        request->ticket = slot->ticket;
        /* For what can be slashed the protector wakes the thread, when it begins its commit: woken
         * before, it would be in the way of that. */
        hf_auditor_queue(auditor, slot, *ret_is_taken);
    }
    (void)pthread_mutex_unlock(&auditor->lock);
    return slot != NULL;
}

static void fill_duty(const void *what, hf_audit_event *event)
{
    const hf_duty_work *work = what;
    const char *type = hf_duty_type_name(work->ask.duty.type);
    event->request_id = work->reply.header.request_id;
    event->operation = type != NULL ? type : "duty";
    event->subject_len = HF_ADDRESS_BYTES;
    memcpy(event->subject, work->ask.duty.validator, HF_ADDRESS_BYTES);
    fill_slot(event, work->ask.duty.slot);
    hf_auditor_fill_caller(&work->pass, &event->caller);
}

/* A line that is to be durable before anything leaves: *ret_ticket is what to wait for. */
static bool admit_work(hf_keeper *keeper, event_filler fill, const void *what,
                       const uint8_t digest[HF_ROOT_BYTES], hf_audit_slot **ret_slot,
                       uint64_t *ret_ticket)
{
    hf_auditor *auditor = &keeper->auditor;
    if (!auditor->is_on) {
        return true;
    }
    if (!atomic_load(&auditor->is_healthy)) {
        return false;
    }
    (void)pthread_mutex_lock(&auditor->lock);
    hf_audit_slot *slot = hf_auditor_take_slot(auditor);
    if (slot != NULL) {
        slot->event.kind = HF_AUDIT_REQUEST;
        fill(what, &slot->event);
        slot->event.has_root = true;
        memcpy(slot->event.root, digest, HF_ROOT_BYTES);
        slot->ticket = ++auditor->tickets;
        *ret_slot = slot;
        *ret_ticket = slot->ticket;
        hf_auditor_queue(auditor, slot, true);
    }
    (void)pthread_mutex_unlock(&auditor->lock);
    return slot != NULL;
}

bool hf_auditor_admit_duty(hf_keeper *keeper, hf_duty_work *work)
{
    return admit_work(keeper, fill_duty, work, work->digest, &work->audit, &work->ticket);
}

/* With the lock held: what came of a request that has its line, or will have it in a moment. */
static void give_result(hf_auditor *auditor, hf_audit_slot *slot, hf_reason reason,
                        const char *detail)
{
    slot->result = reason;
    hf_str_cut(slot->detail, sizeof slot->detail, detail);
    slot->has_result = true;
    if (slot->state == HF_AUDIT_SLOT_WRITTEN) {
        hf_auditor_make_result(slot);
        hf_auditor_queue(auditor, slot, false);
    } else if (slot->state == HF_AUDIT_SLOT_FAILED) {
        slot->next = auditor->free;
        auditor->free = slot;
    }
}

/* With the lock held; NULL: there are too many in this second, and they are only counted. */
static hf_audit_event *begin_refusal(hf_auditor *auditor, hf_reason reason, const char *detail,
                                     hf_audit_slot **ret_slot)
{
    uint64_t second = hf_time_mono_ns() / HF_NS_PER_SECOND;
    if (auditor->refused_second != second) {
        auditor->refused_second = second;
        auditor->refused_lines = 0;
    }
    if (!atomic_load(&auditor->is_healthy) || auditor->refused_lines++ >= REFUSED_LINES_A_SECOND) {
        auditor->unlogged++;
        return NULL;
    }
    *ret_slot = hf_auditor_take_slot(auditor);
    if (*ret_slot == NULL) {
        return NULL;
    }
    hf_audit_event *event = &(*ret_slot)->event;
    event->kind = HF_AUDIT_REFUSED;
    event->decision = decision_of(reason);
    event->reason = hf_reason_describe(reason)->code;
    hf_str_cut(event->text, sizeof event->text, detail);
    return event;
}

/* What came of a question that has its line goes there, and NULL comes back; of one that has none
 * yet the refusal is begun, to be filled and queued. With the lock held. */
static hf_audit_event *begin_result(hf_auditor *auditor, hf_audit_slot *take_slot, hf_reason reason,
                                    const char *detail, hf_audit_slot **ret_slot)
{
    if (take_slot != NULL) {
        give_result(auditor, take_slot, reason, detail);
        return NULL;
    }
    return begin_refusal(auditor, reason, detail, ret_slot);
}

static void note_result(hf_keeper *keeper, event_filler fill, const void *what, hf_reason reason,
                        const char *detail, hf_audit_slot *take_slot)
{
    hf_auditor *auditor = &keeper->auditor;
    hf_audit_slot *slot = NULL;
    if (!auditor->is_on) {
        return;
    }
    (void)pthread_mutex_lock(&auditor->lock);
    hf_audit_event *event = begin_result(auditor, take_slot, reason, detail, &slot);
    if (event != NULL) {
        fill(what, event);
        hf_auditor_queue(auditor, slot, false);
    }
    (void)pthread_mutex_unlock(&auditor->lock);
}

void hf_auditor_result(hf_keeper *keeper, const hf_request *request, hf_audit_slot *take_slot)
{
    note_result(keeper, fill_request, request, (hf_reason)request->reply.reason,
                request->reply.detail, take_slot);
}

void hf_auditor_duty_result(hf_keeper *keeper, const hf_duty_work *work, hf_audit_slot *take_slot)
{
    note_result(keeper, fill_duty, work, (hf_reason)work->reply.reason, work->reply.detail,
                take_slot);
}

static void fill_eth1(const void *what, hf_audit_event *event)
{
    const hf_eth1_work *work = what;
    event->request_id = work->reply.header.request_id;
    event->operation = hf_eth1_kind_name(work->kind);
    event->subject_len = HF_ADDRESS_BYTES;
    memcpy(event->subject, work->address, HF_ADDRESS_BYTES);
    hf_auditor_fill_caller(&work->pass, &event->caller);
}

bool hf_auditor_admit_eth1(hf_keeper *keeper, hf_eth1_work *work)
{
    return admit_work(keeper, fill_eth1, work, work->digest, &work->audit, &work->ticket);
}

void hf_auditor_eth1_result(hf_keeper *keeper, const hf_eth1_work *work, hf_audit_slot *take_slot)
{
    note_result(keeper, fill_eth1, work, (hf_reason)work->reply.reason, work->reply.detail,
                take_slot);
}

/* ---- notes ------------------------------------------------------------------------------------
 */

static void note(hf_keeper *keeper, const hf_audit_event *event)
{
    hf_auditor *auditor = &keeper->auditor;
    if (!auditor->is_on) {
        return;
    }
    (void)pthread_mutex_lock(&auditor->lock);
    hf_audit_slot *slot = hf_auditor_take_slot(auditor);
    if (slot != NULL) {
        slot->event = *event;
        hf_auditor_queue(auditor, slot, true);
        (void)pthread_cond_signal(&auditor->work);
    }
    (void)pthread_mutex_unlock(&auditor->lock);
}

static void fill_asker(const hf_pass *pass, hf_audit_event *event)
{
    if (pass != NULL) {
        hf_auditor_fill_caller(pass, &event->caller);
        event->of = pass->asked;
    }
}

void hf_auditor_note(hf_keeper *keeper, hf_audit_kind kind, const hf_pass *pass,
                     const char *decision, const char *fmt, ...)
{
    hf_audit_event event = {.kind = kind, .decision = decision};
    va_list ap;
    fill_asker(pass, &event);
    va_start(ap, fmt);
    (void)vsnprintf(event.text, sizeof event.text, fmt, ap);
    va_end(ap);
    note(keeper, &event);
}

bool hf_auditor_ask(hf_keeper *keeper, const hf_audit_event *event, hf_parked *take_parked)
{
    hf_auditor *auditor = &keeper->auditor;
    if (!atomic_load(&auditor->is_healthy)) {
        return false;
    }
    (void)pthread_mutex_lock(&auditor->lock);
    bool fits = auditor->parked_count < HF_AUDIT_PARKED_MAX;
    hf_audit_slot *slot = fits ? hf_auditor_take_slot(auditor) : NULL;
    if (slot != NULL) {
        auditor->parked_count++;
        slot->event = *event;
        hf_auditor_fill_caller(&take_parked->pass, &slot->event.caller);
        slot->parked = take_parked;
        hf_auditor_queue(auditor, slot, true);
        (void)pthread_cond_signal(&auditor->work);
    }
    (void)pthread_mutex_unlock(&auditor->lock);
    return slot != NULL;
}

void hf_auditor_settle_asked(hf_auditor *auditor, hf_audit_slot *take_slot, bool is_written)
{
    hf_parked *parked = take_slot->parked;
    parked->is_logged = is_written;
    parked->pass.asked = take_slot->seq;
    parked->next = NULL;
    *(auditor->asked != NULL ? auditor->asked_end : &auditor->asked) = parked;
    auditor->asked_end = &parked->next;
    atomic_store(&auditor->has_asked, true);
    auditor->unlogged += !is_written;
    take_slot->next = auditor->free;
    auditor->free = take_slot;
}

hf_parked *hf_auditor_take_asked(hf_keeper *keeper)
{
    hf_auditor *auditor = &keeper->auditor;
    if (!atomic_load(&auditor->has_asked)) {
        return NULL;
    }
    (void)pthread_mutex_lock(&auditor->lock);
    hf_parked *list = auditor->asked;
    auditor->asked = NULL;
    atomic_store(&auditor->has_asked, false);
    for (const hf_parked *parked = list; parked != NULL; parked = parked->next) {
        auditor->parked_count--;
    }
    (void)pthread_mutex_unlock(&auditor->lock);
    return list;
}

void hf_auditor_note_denial(hf_keeper *keeper, const hf_pass *pass, const char *what,
                            hf_reason reason)
{
    hf_auditor *auditor = &keeper->auditor;
    hf_audit_slot *slot = NULL;
    if (!auditor->is_on) {
        return;
    }
    (void)pthread_mutex_lock(&auditor->lock);
    hf_audit_event *event = begin_refusal(auditor, reason, pass->detail, &slot);
    if (event != NULL) {
        event->kind = HF_AUDIT_DENIED;
        event->operation = what;
        hf_auditor_fill_caller(pass, &event->caller);
        hf_auditor_queue(auditor, slot, false);
    }
    (void)pthread_mutex_unlock(&auditor->lock);
}

void hf_auditor_note_key(hf_keeper *keeper, hf_audit_kind kind, const hf_pass *pass,
                         const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], const char *decision,
                         const char *text)
{
    hf_audit_event event = {.kind = kind, .decision = decision, .subject_len = HF_BLS_PUBKEY_BYTES};
    fill_asker(pass, &event);
    memcpy(event.subject, pubkey, HF_BLS_PUBKEY_BYTES);
    hf_str_cut(event.text, sizeof event.text, text);
    note(keeper, &event);
}

/* ---- opening and anchor -----------------------------------------------------------------------
 */

static void name_log(hf_auditor *auditor, const uint8_t key[HF_AUDIT_KEY_BYTES])
{
    static const uint8_t zero[HF_AUDIT_MAC_BYTES];
    uint8_t mac[HF_AUDIT_MAC_BYTES];
    hf_audit_mac(key, zero, "anchor", 6, mac);
    memcpy(auditor->log_id, mac, sizeof auditor->log_id);
}

static hf_status fill_config(const hf_keeper *keeper, hf_audit_config *ret_config, hf_error *err)
{
    const hf_audit_settings *settings = &keeper->config.audit;
    char key_path[HF_PATH_LEN + 16];
    *ret_config = (hf_audit_config){.rotate_bytes = settings->rotate_bytes,
                                    .is_strict = settings->sync == HF_AUDIT_SYNC_ALWAYS};
    memcpy(ret_config->path, settings->path, sizeof ret_config->path);
    memcpy(ret_config->node, settings->node, sizeof ret_config->node);
    hf_status st =
        hf_str_format(key_path, sizeof key_path, "%s/audit.key", keeper->config.data_dir);
    return hf_failed(st) ? hf_fail(err, st.code, "data_dir: path too long")
                         : hf_audit_key_read(key_path, true, ret_config->key, err);
}

/* False: the store cannot say. *ret_has: there is one. */
static bool ask_anchor(const hf_auditor *auditor, hf_store *store, hf_audit_head *ret_head,
                       bool *ret_has)
{
    hf_store_anchor anchor;
    hf_error err = {.code = HF_OK};
    if (store == NULL || store->ops->anchor_get == NULL) {
        return false;
    }
    hf_status st = store->ops->anchor_get(store, auditor->log_id, &anchor, &err);
    if (hf_failed(st) && st.code != HF_NOT_FOUND) {
        return false;
    }
    *ret_has = !hf_failed(st);
    if (*ret_has) {
        ret_head->seq = anchor.seq;
        memcpy(ret_head->mac, anchor.mac, sizeof ret_head->mac);
    }
    return true;
}

static void tell_broken(hf_keeper *keeper, const char *sentence)
{
    atomic_store(&keeper->auditor.is_broken, true);
    hf_meter_set(&keeper->meter.now.audit_broken, 1);
    hf_log(HF_LOG_BROKEN, "audit_broken", "%s", sentence);
}

hf_status hf_auditor_open(hf_keeper *keeper, hf_store *store, hf_error *err)
{
    hf_auditor *auditor = &keeper->auditor;
    hf_audit_config config;
    hf_audit_head anchor = {0};
    bool has_anchor = false;
    auditor->sinks.socket = -1;
    if (keeper->config.audit.path[0] == '\0') {
        return hf_ok();
    }
    hf_status st = fill_config(keeper, &config, err);
    if (hf_failed(st)) {
        return st;
    }
    name_log(auditor, config.key);
    auditor->is_compared = ask_anchor(auditor, store, &anchor, &has_anchor);
    st = hf_audit_sinks_open(keeper->config.audit.sinks, &auditor->sinks, err);
    if (!hf_failed(st)) {
        st = hf_audit_log_open(&config, has_anchor ? &anchor : NULL, &auditor->log,
                               &auditor->opening, err);
    }
    hf_wipe(&config, sizeof config);
    auditor->is_on = !hf_failed(st);
    auditor->is_strict = keeper->config.audit.sync == HF_AUDIT_SYNC_ALWAYS;
    return st;
}

void hf_auditor_tell_opening(hf_keeper *keeper)
{
    hf_auditor *auditor = &keeper->auditor;
    const hf_audit_opening *opening = &auditor->opening;
    bool is_wrong = opening->is_broken || opening->is_ahead ||
                    (opening->has_anchor && !opening->has_anchored_line);
    auditor->head = hf_audit_log_head(auditor->log);
    hf_auditor_note(keeper, HF_AUDIT_STARTED, NULL, NULL, "holdfast " HF_VERSION ", %s",
                    auditor->is_strict ? "strict" : "interval");
    if (opening->sentence[0] != '\0') {
        hf_auditor_note(keeper, HF_AUDIT_MENDED, NULL, NULL, "%s", opening->sentence);
    }
    if (is_wrong) {
        char sentence[HF_ERROR_MSG_LEN];
        (void)snprintf(sentence, sizeof sentence, "%s%s%.128s", opening->sentence,
                       opening->aside[0] == '\0' ? "" : "; the old file is kept as ",
                       opening->aside);
        tell_broken(keeper, sentence);
    } else if (opening->sentence[0] != '\0') {
        hf_log(HF_LOG_UNUSUAL, "audit_mended", "%s", opening->sentence);
    }
}

/* A shared store may be reached only now: is what it knows of our log in our log? */
static void compare(hf_keeper *keeper, hf_store *store)
{
    hf_auditor *auditor = &keeper->auditor;
    hf_audit_head anchor = {0};
    bool has_anchor = false;
    if (!ask_anchor(auditor, store, &anchor, &has_anchor)) {
        return;
    }
    auditor->is_compared = true;
    if (has_anchor && !hf_audit_log_contains(auditor->log, &anchor)) {
        tell_broken(keeper, "the shared store knows a line of this audit log that is not in it");
        hf_auditor_note(keeper, HF_AUDIT_MENDED, NULL, "",
                        "the shared store knows line %llu of this log, which is not in it",
                        (unsigned long long)anchor.seq);
    }
}

void hf_auditor_anchor(hf_keeper *keeper, hf_store *store, bool now)
{
    hf_auditor *auditor = &keeper->auditor;
    uint64_t time_ns = hf_time_mono_ns();
    hf_error err = {.code = HF_OK};
    if (!auditor->is_on || store->ops->anchor_set == NULL ||
        (!now && time_ns < auditor->next_anchor_ns)) {
        return;
    }
    auditor->next_anchor_ns = time_ns + ANCHOR_INTERVAL_NS;
    if (!auditor->is_compared) {
        compare(keeper, store);
    }
    (void)pthread_mutex_lock(&auditor->lock);
    hf_audit_head head = auditor->head;
    (void)pthread_mutex_unlock(&auditor->lock);
    if (!auditor->is_compared || head.seq == auditor->anchored) {
        return;
    }
    hf_store_anchor anchor = {.seq = head.seq};
    memcpy(anchor.log_id, auditor->log_id, sizeof anchor.log_id);
    memcpy(anchor.mac, head.mac, sizeof anchor.mac);
    if (!hf_failed(store->ops->anchor_set(store, &anchor, &err))) {
        auditor->anchored = head.seq;
    }
}
