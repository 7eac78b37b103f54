/* Frames that are answered from what the keeper knows: keys, status, metrics. */
#include "keeper/keeper_internal.h"

void hf_answer_keys(hf_keeper *keeper, hf_peer *peer, const hf_msg_keys *frame)
{
    const hf_keyring *ring = &keeper->ring;
    static hf_msg_keys_reply reply; /* intake thread only; 14 KiB */
    memset(&reply, 0, sizeof reply);
    hf_frame_init(&reply, HF_MSG_KEYS_REPLY, frame->header.request_id);
    reply.generation = ring->generation;
    bool is_managed = frame->scope == HF_SCOPE_KEYS_LIST;
    hf_scope scope = is_managed ? HF_SCOPE_KEYS_LIST : HF_SCOPE_PUBLIC_KEYS;
    for (size_t i = 0; i < ring->bls_count; i++) {
        const hf_key *key = ring->order[i];
        if (!hf_policies_may_list(keeper, scope, key) || reply.total++ < frame->offset ||
            reply.count == HF_KEYS_PAGE) {
            continue;
        }
        hf_key_entry *entry = &reply.keys[reply.count++];
        memcpy(entry->pubkey, key->pubkey, HF_BLS_PUBKEY_BYTES);
        entry->backend = key->backend;
        entry->source = key->source;
        entry->removable = key->backend == HF_BACKEND_IMPORTED;
    }
    hf_peer_send(keeper, peer, &reply);
}

static uint32_t copy_store_protections(const hf_keeper *keeper, hf_protection *out)
{
    hf_store_client_state state;
    if (keeper->store_clients[HF_LANE_SIGNING] == NULL) {
        return 0;
    }
    hf_store_client_look(keeper->store_clients[HF_LANE_SIGNING], &state);
    memcpy(out, state.protections, sizeof state.protections);
    return state.protection_count;
}

static void count_store_process(hf_keeper *keeper)
{
    hf_metrics *now = &keeper->meter.now;
    uint64_t late = 0;
    for (int lane = 0; lane < HF_STORE_LANES; lane++) {
        hf_store_client_state state;
        if (keeper->store_clients[lane] == NULL) {
            return;
        }
        hf_store_client_look(keeper->store_clients[lane], &state);
        late += state.late_answers;
        hf_meter_set(&now->store_starts, state.attached);
    }
    hf_meter_set(&now->store_late_answers, late);
}

static uint32_t copy_protections(const hf_keeper *keeper, hf_protection *out)
{
    memcpy(out, keeper->report.items, keeper->report.count * sizeof *out);
    return keeper->report.count;
}

static uint32_t copy_addresses(const hf_keyring *ring,
                               uint8_t out[HF_STATUS_ADDRESSES][HF_ADDRESS_BYTES])
{
    uint32_t n = 0;
    for (size_t i = ring->bls_count; i < ring->count && n < HF_STATUS_ADDRESSES; i++) {
        memcpy(out[n++], ring->order[i]->address, HF_ADDRESS_BYTES);
    }
    return n;
}

void hf_answer_status(hf_keeper *keeper, hf_peer *peer, const hf_frame_header *header, bool in_full)
{
    const hf_loading *loading = &keeper->loading;
    hf_protector *protector = &keeper->protector;
    static hf_msg_status_reply reply; /* intake thread only */
    reply = (hf_msg_status_reply){
        .started_unix_ms = (uint64_t)keeper->started_unix_ms,
        .keys_loaded = (uint32_t)keeper->ring.count,
        .keys_by_type = {[HF_KEY_TYPE_BLS] = (uint32_t)keeper->ring.bls_count,
                         [HF_KEY_TYPE_SECP256K1] =
                             (uint32_t)(keeper->ring.count - keeper->ring.bls_count)},
        .load_total = loading->total,
        .load_done = loading->done,
        .load_failed = loading->failed,
        .loading = loading->is_running,
        .first_load_done = loading->first_done,
        .reload_state = (uint8_t)loading->state,
        .reload_unix_ms = (uint64_t)loading->finished_unix_ms,
    };
    hf_frame_init(&reply, HF_MSG_STATUS_REPLY, header->request_id);
    for (size_t i = 0; i < HF_BACKEND_COUNT; i++) {
        reply.keys_by_backend[i] = (uint32_t)keeper->ring.by_backend[i];
    }
    memcpy(reply.network, keeper->config.network.name, sizeof reply.network);
    reply.store_healthy = hf_protector_is_healthy(keeper, reply.store_detail);
    (void)pthread_mutex_lock(&protector->lock);
    reply.high = protector->high;
    (void)pthread_mutex_unlock(&protector->lock);
    hf_guard_look(keeper, &reply.guard);
    reply.duty_configured = keeper->config.duty_node_id[0] != '\0';
    reply.duty_healthy = hf_duties_is_healthy(keeper, reply.duty_detail);
    reply.store_backend = keeper->config.store_backend;
    reply.seal_state = hf_seal_state_for_status(keeper);
    hf_auditor_look(keeper, &reply.audit);
    if (in_full) {
        memcpy(reply.reload_error, loading->error, sizeof reply.reload_error);
        reply.custody_count = hf_custody_look(keeper, reply.custodies);
        reply.address_count = copy_addresses(&keeper->ring, reply.addresses);
        reply.protection_count = copy_protections(keeper, reply.protections);
        reply.store_protection_count = copy_store_protections(keeper, reply.store_protections);
        reply.duty_protection_count = hf_duties_protections(keeper, reply.duty_protections);
    }
    hf_peer_send(keeper, peer, &reply);
}

static void count_custodies(hf_keeper *keeper, hf_msg_metrics_reply *reply)
{
    static hf_custody_report reports[HF_CUSTODIES_MAX]; /* intake thread only */
    reply->custody_count = hf_custody_look(keeper, reports);
    for (uint32_t i = 0; i < reply->custody_count; i++) {
        reply->custody_backends[i] = reports[i].backend;
        reply->custody_sources[i] = reports[i].source;
        reply->metrics.custodies[i].healthy = reports[i].healthy;
        reply->metrics.custodies[i].keys = reports[i].keys;
    }
}

void hf_answer_metrics(hf_keeper *keeper, hf_peer *peer, const hf_frame_header *header)
{
    static hf_msg_metrics_reply reply; /* intake thread only */
    memset(&reply, 0, sizeof reply);
    hf_frame_init(&reply, HF_MSG_METRICS_REPLY, header->request_id);
    char detail[HF_DETAIL_LEN];
    hf_meter_set(&keeper->meter.now.seal_state, hf_seal_state_for_status(keeper));
    hf_meter_set(&keeper->meter.now.sealed_keys_refused, keeper->seal.keys_refused);
    hf_meter_set(&keeper->meter.now.in_flight, atomic_load(&keeper->requests.in_use));
    hf_meter_set(&keeper->meter.now.store_healthy, hf_protector_is_healthy(keeper, detail));
    hf_guard_report guard;
    hf_guard_look(keeper, &guard);
    hf_meter_set(&keeper->meter.now.guard_state, guard.state);
    hf_meter_set(&keeper->meter.now.duty_store_healthy, hf_duties_is_healthy(keeper, detail));
    count_store_process(keeper);
    hf_meter_snapshot(&keeper->meter, &reply.metrics);
    count_custodies(keeper, &reply);
    reply.protection_count = copy_protections(keeper, reply.protections);
    reply.store_backend = keeper->config.store_backend;
    reply.store_protection_count = copy_store_protections(keeper, reply.store_protections);
    reply.duty_protection_count = hf_duties_protections(keeper, reply.duty_protections);
    hf_peer_send(keeper, peer, &reply);
}
