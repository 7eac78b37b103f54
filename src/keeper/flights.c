/*
 * Batches in the air (docs/adr/0023-batches-in-the-air.md). One at a time would have every request
 * wait for the batch before it and then for its own: nothing beside a database of this machine, but
 * half of it idle when the database is 10 ms away. Each is decided, recorded, signed and answered
 * as if it were the only one, in the order in which they were sent; only the waiting overlaps.
 */
#include "keeper/keeper_internal.h"
#include "keeper/pulse.h"

/* From here on a store is far away. */
#define FAR_NS (4 * HF_NS_PER_MS)
/* While a batch is in the air and no other may follow yet, or none waits: so often, on its way,
 * does the thread look whether one does now. */
#define GLANCES 8

void hf_flights_note_way(hf_flights *flights, uint64_t took_ns)
{
    uint64_t last_ns = flights->last_way_ns;
    flights->last_way_ns = took_ns;
    flights->way_ns = took_ns < last_ns ? took_ns : last_ns;
}

/* Evenly over the way, so that each waits for a part of it only, and has company. */
uint64_t hf_flights_next_ns(const hf_flights *flights)
{
    return flights->count == 0 ? 0 : flights->begun_ns + flights->way_ns / HF_FLIGHTS_MAX;
}

bool hf_flights_are_worth(const hf_keeper *keeper)
{
    const hf_protector *protector = &keeper->protector;
    return protector->store->ops->decide_begin != NULL && protector->flights.way_ns >= FAR_NS &&
           protector->healthy;
}

/* ---- end ---------------------------------------------------------------------------------- */

static void end_oldest(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    hf_flights *flights = &protector->flights;
    const hf_flight *flight = &flights->ring[flights->oldest];
    hf_error err = {.code = HF_OK};
    hf_pulse_to_disk();
    hf_status st = protector->store->ops->decide_end(protector->store, protector->verdicts, &err);
    hf_pulse_from_disk();
    flights->oldest = (flights->oldest + 1) % HF_FLIGHTS_MAX;
    flights->count--;
    (void)hf_protector_finish(keeper, flight->list, flight->n, flight->start_ns, st, &err);
}

void hf_flights_end_all(hf_keeper *keeper)
{
    while (keeper->protector.flights.count > 0) {
        end_oldest(keeper);
    }
}

bool hf_flights_wait(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    hf_flights *flights = &protector->flights;
    if (flights->count == 0) {
        return true;
    }
    uint64_t until_ns = UINT64_MAX;
    if (flights->count < HF_FLIGHTS_MAX) {
        uint64_t glance_ns = hf_time_mono_ns();
        glance_ns += protector->head == NULL ? flights->way_ns / GLANCES : 0;
        until_ns = hf_flights_next_ns(flights);
        until_ns = until_ns < glance_ns ? glance_ns : until_ns;
    }
    (void)pthread_mutex_unlock(&protector->lock);
    hf_pulse_to_disk();
    bool is_back = protector->store->ops->decide_wait(protector->store, -1, until_ns);
    hf_pulse_from_disk();
    if (is_back) {
        end_oldest(keeper);
    }
    (void)pthread_mutex_lock(&protector->lock);
    return flights->count < HF_FLIGHTS_MAX && hf_time_mono_ns() >= hf_flights_next_ns(flights);
}

/* ---- begin -------------------------------------------------------------------------------- */

/* Does somebody wait for a look, or is it time to ask for the store's health? */
static bool has_questions(const hf_protector *protector)
{
    return protector->looks.taken != protector->looks.done ||
           hf_time_mono_ns() >= protector->next_health_ns;
}

/* What needs more than one trip, or none, is not for the air: a validator that the store meets for
 * the first time, and what it does not decide on. */
static bool is_for_the_air(const hf_request *list)
{
    while (list != NULL && list->is_slashable && list->key->is_known_to_store) {
        list = list->next;
    }
    return list == NULL;
}

bool hf_flights_begin(hf_keeper *keeper, hf_request *list, size_t n)
{
    hf_protector *protector = &keeper->protector;
    hf_flights *flights = &protector->flights;
    if (has_questions(protector)) {
        return false;
    }
    if (n == 0) {
        return flights->count > 0;
    }
    if (!hf_flights_are_worth(keeper) || flights->count == HF_FLIGHTS_MAX ||
        !is_for_the_air(list) || !hf_guard_is_open(keeper)) {
        return false;
    }
    hf_flight *flight = &flights->ring[(flights->oldest + flights->count) % HF_FLIGHTS_MAX];
    hf_protector_prepare(keeper, list, flight->messages);
    uint64_t now = hf_time_mono_ns();
    if (!protector->store->ops->decide_begin(protector->store, flight->messages, n)) {
        flights->way_ns = 0; /* the store has no halves, or no channel: until it was well again */
        return false;
    }
    flight->list = list;
    flight->n = n;
    flight->start_ns = now;
    flights->begun_ns = now;
    flights->count++;
    return true;
}
