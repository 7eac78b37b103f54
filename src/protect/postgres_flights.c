/*
 * Batches in the air: to a database that is far away the next one is sent before the last one is
 * answered, on the same connection, so that the server decides them in their order. Each is a
 * transaction of its own.
 *
 * A connection that fails leaves all of them in doubt. Each is then decided again, when it is its
 * turn to end, as decide does with the only one: what was recorded is a REPEAT then.
 */
#include "protect/postgres_internal.h"

#include <errno.h>
#include <poll.h>

static bool is_on_connection(const hf_pg_store *store, const hf_pg_flight *flight)
{
    return store->link.conn != NULL && flight->connection == store->link.connection;
}

/* ---- begin -------------------------------------------------------------------------------- */

/* Can a batch go at once, behind those that are in the air? */
static bool may_begin(const hf_pg_store *store)
{
    const hf_pg_link *link = &store->link;
    if (link->conn == NULL || link->fault.code != HF_OK || store->flight_count == HF_FLIGHTS_MAX ||
        hf_time_mono_ns() < store->careful_until_ns) {
        return false;
    }
    for (size_t i = 0; i < store->flight_count; i++) {
        if (!is_on_connection(store, &store->flights[i])) {
            return false;
        }
    }
    return true;
}

/* A validator that is not known yet takes a question of its own. */
static bool knows_all(hf_pg_store *store, const hf_message *messages, size_t n)
{
    hf_error err;
    for (size_t i = 0; i < n; i++) {
        if (hf_failed(hf_rules_check(&messages[i], &err))) {
            return false; /* decide says why */
        }
    }
    if (hf_failed(hf_pg_find_entries(store, messages, n, &err))) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (store->cache.entries[store->items[i].entry].id <= 0) {
            return false;
        }
    }
    return true;
}

static void swap_items(hf_pg_store *store, hf_pg_flight *flight)
{
    hf_pg_item *items = store->items;
    size_t capacity = store->items_capacity;
    store->items = flight->items;
    store->items_capacity = flight->items_capacity;
    flight->items = items;
    flight->items_capacity = capacity;
}

bool hf_pg_decide_begin(hf_store *self, const hf_message *messages, size_t n)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_link *link = &store->link;
    hf_error err;
    size_t statements = 0;
    if (n == 0 || !may_begin(store) || !knows_all(store, messages, n)) {
        return false;
    }
    hf_pg_set_deadline(store);
    hf_status st = hf_pg_send_batch(store, messages, n, &err);
    if (!hf_failed(st)) {
        st = hf_pg_launch(link, &statements, &err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_flush(link, &err);
    }
    if (hf_failed(st)) { /* also when it has arrived: who decides it again is told REPEAT */
        hf_pg_disconnect(link);
        return false;
    }
    hf_pg_flight *flight = &store->flights[store->flight_count++];
    flight->messages = messages;
    flight->n = n;
    flight->statements = statements;
    flight->connection = link->connection;
    flight->deadline_ns = link->deadline_ns;
    swap_items(store, flight);
    return true;
}

/* ---- wait --------------------------------------------------------------------------------- */

bool hf_pg_decide_wait(hf_store *self, int fd, uint64_t until_ns)
{
    hf_pg_store *store = (hf_pg_store *)self;
    const hf_pg_flight *flight = &store->flights[0];
    HF_ASSERT(store->flight_count > 0);
    while (is_on_connection(store, flight) && !hf_pg_has_landed(&store->link)) {
        uint64_t now = hf_time_mono_ns();
        struct pollfd fds[] = {{.fd = PQsocket(store->link.conn), .events = POLLIN},
                               {.fd = fd, .events = POLLIN}};
        if (now >= flight->deadline_ns) {
            return true;
        }
        if (now >= until_ns) {
            return false;
        }
        uint64_t end_ns = until_ns < flight->deadline_ns ? until_ns : flight->deadline_ns;
        struct timespec left = {.tv_sec = (time_t)((end_ns - now) / HF_NS_PER_SECOND),
                                .tv_nsec = (long)((end_ns - now) % HF_NS_PER_SECOND)};
        int n = ppoll(fds, HF_ARRAY_LEN(fds), &left, NULL);
        if (n < 0 && errno != EINTR) {
            return true; /* landing it tells */
        }
        if (n > 0 && fds[0].revents == 0) {
            return false;
        }
    }
    return true;
}

/* ---- end ---------------------------------------------------------------------------------- */

/* flight->items are as planned when it was sent. */
static hf_status land(hf_pg_store *store, hf_pg_flight *flight, hf_verdict *ret_verdicts,
                      hf_error *err)
{
    swap_items(store, flight);
    hf_status st = hf_pg_land(&store->link, flight->statements, err);
    if (!hf_failed(st)) {
        st = hf_pg_take_batch(store, flight->messages, flight->n, ret_verdicts, err);
        hf_pg_forget(&store->link);
    }
    swap_items(store, flight);
    return st;
}

/* The oldest leaves; its room for items goes to the end. */
static void drop_oldest(hf_pg_store *store)
{
    hf_pg_flight oldest = store->flights[0];
    store->flight_count--;
    for (size_t i = 0; i < store->flight_count; i++) {
        store->flights[i] = store->flights[i + 1];
    }
    store->flights[store->flight_count] = oldest;
}

hf_status hf_pg_decide_end(hf_store *self, hf_verdict *ret_verdicts, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_flight *flight = &store->flights[0];
    hf_status st = hf_ok();
    HF_ASSERT(store->flight_count > 0);
    store->link.deadline_ns = flight->deadline_ns;
    bool was_sent_here = is_on_connection(store, flight);
    if (was_sent_here) {
        st = land(store, flight, ret_verdicts, err);
    }
    if (!was_sent_here || (hf_failed(st) && hf_pg_may_try_again(store))) {
        st = hf_pg_decide_until(store, flight->messages, flight->n,
                                was_sent_here || store->link.conn != NULL, ret_verdicts, err);
    }
    if (hf_failed(st)) {
        /* Nothing here may be taken for a permission. */
        for (size_t i = 0; i < flight->n; i++) {
            ret_verdicts[i] = HF_VERDICT_COUNT;
        }
    }
    drop_oldest(store);
    return st;
}
