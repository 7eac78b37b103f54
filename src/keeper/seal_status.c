/* What the seal machine tells of itself: nothing that a stranger could use. */
#include "keeper/keeper_internal.h"

static void put_holder(const hf_seal_holder *holder, hf_seal_holder_state *ret)
{
    memcpy(ret->name, holder->name, sizeof ret->name);
    memcpy(ret->reference, holder->reference, sizeof ret->reference);
    ret->kind = holder->kind;
    ret->is_required = holder->is_required;
    ret->kdf = holder->kdf;
}

static void put_holders(const hf_seal_room *room, hf_msg_seal_status_reply *reply)
{
    for (unsigned i = 0; i < room->config.holder_count; i++) {
        put_holder(&room->config.holders[i], &reply->holders[i]);
        reply->holders[i].is_given = (uint8_t)(room->given >> i & 1U);
        reply->holders[i].is_registered = 1;
        reply->holders[i].wrong = room->wrong[i];
    }
    reply->holder_count = room->config.holder_count;
    reply->missing = (uint8_t)hf_seal_missing(&room->config, room->given);
    if (!room->has_next) {
        return;
    }
    reply->candidate_count = room->next.holder_count;
    reply->missing = (uint8_t)hf_seal_unregistered(room);
    for (unsigned i = 0; i < room->next.holder_count; i++) {
        hf_seal_holder_state *state = &reply->holders[reply->holder_count + i];
        put_holder(&room->next.holders[i], state);
        state->is_registered = (uint8_t)(room->next_registered >> i & 1U);
    }
}

void hf_seal_on_status(hf_keeper *keeper, hf_peer *peer, const hf_msg_ask *frame)
{
    const hf_seal_room *room = &keeper->seal;
    static hf_msg_seal_status_reply reply; /* intake thread only; 11 KiB */
    memset(&reply, 0, sizeof reply);
    hf_frame_init(&reply, HF_MSG_SEAL_STATUS_REPLY, frame->header.request_id);
    reply.is_configured = room->is_configured;
    reply.is_known = room->is_known;
    reply.state = (uint8_t)room->state;
    reply.threshold = room->config.threshold;
    reply.is_loading = room->is_loading;
    reply.generation = room->config.generation;
    reply.since_unix_ms = (uint64_t)room->since_unix_ms;
    reply.term = room->config.term;
    reply.keys_active = room->keys_active;
    reply.keys_inactive = room->keys_inactive;
    reply.keys_refused = room->keys_refused;
    reply.keys_to_rotate = room->keys_to_rotate;
    memcpy(reply.seal_id, room->config.seal_id, sizeof reply.seal_id);
    memcpy(reply.detail, room->detail, sizeof reply.detail);
    put_holders(room, &reply);
    hf_peer_send(keeper, peer, &reply);
}

uint8_t hf_seal_state_for_status(const hf_keeper *keeper)
{
    const hf_seal_room *room = &keeper->seal;
    return room->is_configured ? (uint8_t)(1 + room->state) : 0;
}
