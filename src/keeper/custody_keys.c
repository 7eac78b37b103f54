/*
 * The keys of the back ends of custody. Each lists what it has, again after each reload. Secrets
 * become keys like those of files; of a key that stays inside, the ring has the public half. A key
 * that a whole listing does not name any more is dropped; while a back end is merely away its keys
 * stay. What a listing says is checked as if an attacker had written it: it can bring keys, and
 * drop its own.
 */
#include "keeper/keeper_internal.h"

#include <unistd.h>

/* A load that waits for listings does so for no longer. */
#define AWAIT_NS (30 * HF_NS_PER_SECOND)

static hf_custody_end *end_of(hf_keeper *keeper, uint64_t custody)
{
    return custody < keeper->custody.count ? &keeper->custody.ends[custody] : NULL;
}

static const char *name_of(const hf_custody_end *end)
{
    return hf_key_backend_name((hf_key_backend)end->backend);
}

void hf_custody_give_channel(hf_keeper *keeper, const hf_msg_new_channel *frame, int take_fd)
{
    uint64_t custody = frame->header.request_id;
    hf_custody_end *end = end_of(keeper, custody);
    if (end == NULL) {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
        (void)close(take_fd);
        return;
    }
    if (frame->channel == HF_CHANNEL_CUSTODY) {
        hf_meter_add(&keeper->meter.now.custodies[custody].starts, 1);
        hf_custody_attach(keeper, (uint32_t)custody, take_fd);
        return;
    }
    hf_peer *peer = hf_peer_open(keeper, take_fd, HF_CHANNEL_CUSTODY_KEYS, custody);
    if (peer == NULL) {
        hf_log(HF_LOG_UNUSUAL, "channel_refused", "too many channels are open");
        return;
    }
    end->lister = peer;
    end->is_listing = false;
}

/* ---- a listing --------------------------------------------------------------------------------
 */

static void note_failure(hf_keeper *keeper, hf_custody_end *end, const char *name, const char *why)
{
    end->failed++;
    if (end->problem[0] == '\0') {
        (void)snprintf(end->problem, sizeof end->problem, "%.64s: %.90s", name, why);
    }
    hf_loading_note_failure(keeper, name, why);
}

static hf_status make_key(hf_keeper *keeper, const hf_custody_end *end, uint32_t custody,
                          const hf_msg_custody_key *frame, hf_key **ret_key)
{
    hf_key *key = NULL;
    hf_status st;
    if (frame->is_inside) {
        st = hf_key_new_remote(&keeper->ring, hf_bytes_from(frame->public_key, frame->public_len),
                               &key);
    } else {
        hf_msg_key secret = {.backend = end->backend,
                             .key_type = frame->type == HF_CUSTODY_BLS ? HF_KEY_TYPE_BLS
                                                                       : HF_KEY_TYPE_SECP256K1};
        memcpy(secret.secret, frame->secret, sizeof secret.secret);
        st = hf_key_new(&keeper->ring, &secret, &key);
        hf_wipe(&secret, sizeof secret);
    }
    if (hf_failed(st)) {
        return st;
    }
    memcpy(key->source_id, frame->source_id, sizeof key->source_id);
    key->backend = end->backend;
    key->source = end->source;
    key->load = 0; /* of no load */
    key->custody = custody;
    key->is_of_custody = true;
    key->listing = end->listing;
    atomic_store(&key->handle, frame->handle);
    *ret_key = key;
    return hf_ok();
}

static void add_key(hf_keeper *keeper, hf_custody_end *end, const char *name, hf_key *take_key)
{
    hf_keyring *ring = &keeper->ring;
    char key_name[HF_KEY_NAME_LEN];
    hf_key_name(take_key, key_name);
    hf_key *old = hf_keyring_find_same(ring, take_key);
    bool is_ours = old != NULL && old->is_of_custody && old->custody == take_key->custody;
    if (is_ours && hf_key_is_remote(old) == hf_key_is_remote(take_key)) {
        if (old->listing == take_key->listing) {
            hf_log(HF_LOG_UNUSUAL, "key_twice", "%s is in %s more than once", key_name,
                   name_of(end));
        }
        old->listing = take_key->listing;
        memcpy(old->source_id, take_key->source_id, sizeof old->source_id);
        atomic_store(&old->handle, atomic_load(&take_key->handle));
        hf_key_free(ring, take_key);
        return;
    }
    if (is_ours) { /* it moved into the device, or out of it */
        hf_keyring_remove(ring, old);
    } else if (old != NULL) {
        hf_log(HF_LOG_UNUSUAL, "key_twice", "%s of %s is loaded from %s already", key_name,
               name_of(end), hf_key_backend_name((hf_key_backend)old->backend));
        hf_key_free(ring, take_key);
        return;
    }
    if (hf_failed(hf_keyring_add(ring, take_key))) {
        note_failure(keeper, end, name, "there are more keys than max_keys");
    }
}

static void take_key(hf_keeper *keeper, hf_custody_end *end, uint32_t custody,
                     const hf_msg_custody_key *frame)
{
    hf_key *key = NULL;
    char name[sizeof frame->name];
    (void)snprintf(name, sizeof name, "%.*s", (int)sizeof frame->name - 1, frame->name);
    bool is_known = frame->type == HF_CUSTODY_BLS || frame->type == HF_CUSTODY_SECP256K1;
    if (frame->type >= HF_CUSTODY_TYPE_COUNT ||
        (frame->type == HF_CUSTODY_BLS && frame->is_inside) || (!is_known && !frame->is_inside)) {
        note_failure(keeper, end, name, "a key of a kind that cannot be");
        return;
    }
    if (!is_known) {
        end->others++;
        return;
    }
    hf_status st = make_key(keeper, end, custody, frame, &key);
    if (hf_failed(st)) {
        note_failure(keeper, end, name,
                     st.code == HF_LIMIT ? "there are more keys than max_keys"
                                         : "not a key of its type");
        return;
    }
    end->keys++;
    add_key(keeper, end, name, key);
}

static size_t drop_unlisted(hf_keyring *ring, uint32_t custody, uint32_t listing)
{
    size_t dropped = 0;
    for (size_t i = ring->count; i > 0; i--) {
        hf_key *key = ring->order[i - 1];
        if (key->is_of_custody && key->custody == custody && key->listing != listing) {
            hf_keyring_remove(ring, key);
            dropped++;
        }
    }
    return dropped;
}

static void settle(hf_keeper *keeper, hf_custody_end *end)
{
    bool was_awaited = end->is_awaited;
    end->is_awaited = false;
    hf_loading_publish(keeper);
    if (was_awaited) {
        hf_loading_settle_custody(keeper);
    }
}

static void end_listing(hf_keeper *keeper, hf_custody_end *end, uint32_t custody,
                        const hf_msg_custody_done *frame)
{
    char detail[HF_DETAIL_LEN];
    (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1, frame->detail);
    end->is_listing = false;
    if (frame->code != HF_OK) {
        if (end->is_awaited || end->problem[0] == '\0') {
            note_failure(keeper, end, name_of(end), detail);
        }
        settle(keeper, end);
        return;
    }
    size_t dropped = drop_unlisted(&keeper->ring, custody, end->listing);
    atomic_store(&keeper->closing, true); /* let the removed ones go */
    hf_log(end->failed == 0 ? HF_LOG_INFO : HF_LOG_UNUSUAL, "custody_keys",
           "%s has %u keys; %u more cannot be used, %zu are gone", name_of(end),
           end->keys + end->others, end->failed, dropped);
    hf_auditor_note(keeper, HF_AUDIT_KEYS_LOADED, NULL, end->failed == 0 ? "done" : "failed",
                    "%s: %u keys; %u cannot be used, %zu are gone", name_of(end), end->keys,
                    end->failed, dropped);
    settle(keeper, end);
    if (dropped > 0 && hf_keyring_uncover(&keeper->ring)) {
        (void)hf_loading_start(keeper); /* a file may have one of them as well */
    }
}

void hf_custody_keys_frame(hf_keeper *keeper, hf_peer *peer, const void *frame)
{
    const hf_frame_header *header = frame;
    hf_custody_end *end = end_of(keeper, peer->tag);
    bool is_begin = header->type == HF_MSG_CUSTODY_BEGIN;
    if (end == NULL || end->lister != peer || end->source == HF_SOURCE_NONE ||
        end->is_listing == is_begin) {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
        return;
    }
    uint32_t custody = (uint32_t)peer->tag;
    if (is_begin) {
        end->listing++;
        end->is_listing = true;
        end->keys = 0;
        end->failed = 0;
        end->others = 0;
        end->problem[0] = '\0';
    } else if (header->type == HF_MSG_CUSTODY_KEY) {
        take_key(keeper, end, custody, frame);
    } else if (header->type == HF_MSG_CUSTODY_FAILED) {
        const hf_msg_key_failed *failed = frame;
        char name[sizeof failed->name];
        char why[HF_DETAIL_LEN];
        (void)snprintf(name, sizeof name, "%.*s", (int)sizeof failed->name - 1, failed->name);
        (void)snprintf(why, sizeof why, "%.*s", HF_DETAIL_LEN - 1, failed->detail);
        note_failure(keeper, end, name, why);
    } else {
        end_listing(keeper, end, custody, frame);
    }
}

void hf_custody_peer_gone(hf_keeper *keeper, hf_peer *peer)
{
    hf_custody_end *end =
        peer->channel == HF_CHANNEL_CUSTODY_KEYS ? end_of(keeper, peer->tag) : NULL;
    if (end == NULL || end->lister != peer) {
        return;
    }
    end->lister = NULL;
    end->is_listing = false;
}

/* ---- loads ------------------------------------------------------------------------------------
 */

void hf_custody_list_again(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    hf_msg_plain frame;
    hf_frame_init(&frame, HF_MSG_CUSTODY_LIST, 0);
    for (uint32_t i = 0; i < room->count; i++) {
        hf_custody_end *end = &room->ends[i];
        if (end->source != HF_SOURCE_NONE && end->lister != NULL) { /* else when it comes */
            hf_peer_send(keeper, end->lister, &frame);
        }
    }
}

void hf_custody_load(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    for (uint32_t i = 0; i < room->count; i++) {
        hf_custody_end *end = &room->ends[i];
        if (end->source != HF_SOURCE_NONE && !end->is_awaited) {
            end->is_awaited = true;
            end->await_until_ns = hf_time_mono_ns() + AWAIT_NS;
        }
    }
    hf_custody_list_again(keeper);
}

bool hf_custody_is_awaited(const hf_keeper *keeper)
{
    for (uint32_t i = 0; i < keeper->custody.count; i++) {
        if (keeper->custody.ends[i].is_awaited) {
            return true;
        }
    }
    return false;
}

void hf_custody_turn(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    for (uint32_t i = 0; i < room->count; i++) {
        hf_custody_end *end = &room->ends[i];
        if (end->is_awaited && hf_time_mono_ns() >= end->await_until_ns) {
            note_failure(keeper, end, name_of(end), "did not list its keys in time");
            settle(keeper, end);
        }
    }
}

/* With the lock held. */
static uint8_t protection_of(const hf_custody_end *end, const char *name)
{
    for (uint32_t i = 0; i < end->protection_count; i++) {
        if (strncmp(end->protections[i].name, name, HF_PROTECTION_NAME_LEN) == 0) {
            return (uint8_t)(end->protections[i].state <= HF_PROTECTION_UNAVAILABLE
                                 ? end->protections[i].state
                                 : HF_PROTECTION_OFF);
        }
    }
    return HF_PROTECTION_OFF;
}

uint32_t hf_custody_look(hf_keeper *keeper, hf_custody_report ret[HF_CUSTODIES_MAX])
{
    hf_custody_room *room = &keeper->custody;
    for (uint32_t i = 0; i < room->count; i++) {
        const hf_custody_end *end = &room->ends[i];
        hf_custody_report *out = &ret[i];
        *out = (hf_custody_report){.backend = end->backend,
                                   .source = end->source,
                                   .keys_failed = end->failed,
                                   .keys_other = end->others};
        for (size_t k = 0; k < keeper->ring.count; k++) {
            const hf_key *key = keeper->ring.order[k];
            out->keys += key->is_of_custody && key->custody == i;
        }
        out->healthy = hf_custody_is_healthy(keeper, i, out->detail);
        memcpy(out->problem, end->problem, sizeof out->problem);
        (void)pthread_mutex_lock(&room->lock);
        out->seccomp = protection_of(end, "seccomp");
        out->landlock = protection_of(end, "landlock");
        (void)pthread_mutex_unlock(&room->lock);
    }
    return room->count;
}
