/*
 * Batches in the air: questions that are sent while earlier ones have no answer yet. The store
 * process answers in their order. A channel that is lost leaves all of them unanswered, as it does
 * with a single question.
 */
#include "keeper/store_client_internal.h"

#include <errno.h>
#include <poll.h>

static bool is_lost(const hf_store_client *client, const hf_client_flight *flight)
{
    return client->fd < 0 || flight->channel != client->channel;
}

bool hf_client_decide_begin(hf_store *self, const hf_message *messages, size_t n)
{
    hf_store_client *client = hf_client_of(self);
    hf_error err;
    if (!client->has_halves || client->flight_count == HF_FLIGHTS_MAX) {
        return false;
    }
    uint64_t until_ns = hf_client_end_of(client, client->timeout_ns);
    if (hf_failed(hf_client_send_messages(client, HF_CALL_DECIDE, messages, n, until_ns, &err))) {
        return false;
    }
    hf_client_flight *flight = &client->flights[client->flight_count++];
    flight->id = client->last_id;
    flight->n = n;
    flight->channel = client->channel;
    flight->until_ns = until_ns;
    flight->is_answered = false;
    return true;
}

bool hf_client_keep_verdicts(hf_store_client *client, const hf_frame_header *header)
{
    for (size_t i = 0; i < client->flight_count && header->type == HF_MSG_STORE_VERDICTS; i++) {
        hf_client_flight *flight = &client->flights[i];
        if (flight->id == header->request_id && !is_lost(client, flight)) {
            memcpy(&flight->answer, client->answer, sizeof flight->answer);
            flight->is_answered = true;
            return true;
        }
    }
    return false;
}

bool hf_client_decide_wait(hf_store *self, int fd, uint64_t until_ns)
{
    const hf_store_client *client = hf_client_of(self);
    const hf_client_flight *flight = &client->flights[0];
    HF_ASSERT(client->flight_count > 0);
    while (!flight->is_answered && !is_lost(client, flight)) {
        uint64_t now = hf_time_mono_ns();
        struct pollfd fds[] = {{.fd = client->fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        if (now >= flight->until_ns) {
            return true;
        }
        if (now >= until_ns) {
            return false;
        }
        uint64_t end_ns = until_ns < flight->until_ns ? until_ns : flight->until_ns;
        struct timespec left = {.tv_sec = (time_t)((end_ns - now) / HF_NS_PER_SECOND),
                                .tv_nsec = (long)((end_ns - now) % HF_NS_PER_SECOND)};
        int n = ppoll(fds, HF_ARRAY_LEN(fds), &left, NULL);
        if (n > 0) {
            return fds[0].revents != 0;
        }
        if (n < 0 && errno != EINTR) {
            return true; /* receiving tells */
        }
    }
    return true;
}

hf_status hf_client_decide_end(hf_store *self, hf_verdict *ret_verdicts, hf_error *err)
{
    hf_store_client *client = hf_client_of(self);
    hf_client_flight *flight = &client->flights[0];
    hf_status st = hf_ok();
    HF_ASSERT(client->flight_count > 0);
    if (!flight->is_answered && is_lost(client, flight)) {
        st = hf_fail(err, HF_UNAVAILABLE, "the store process is gone; another is being started");
    } else if (!flight->is_answered) {
        st =
            hf_client_wait_answer(client, flight->id, HF_MSG_STORE_VERDICTS, flight->until_ns, err);
        if (!hf_failed(st)) {
            memcpy(&flight->answer, client->answer, sizeof flight->answer);
        }
    }
    if (!hf_failed(st)) {
        st = hf_client_take_verdicts(client, &flight->answer, flight->n, ret_verdicts, err);
    }
    client->flight_count--;
    for (size_t i = 0; i < client->flight_count; i++) {
        client->flights[i] = client->flights[i + 1];
    }
    return st;
}
