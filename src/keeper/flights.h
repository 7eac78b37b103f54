/*
 * flights.c: batches in the air. To a store that is far away the protector sends the next batch
 * before the last one is answered. Included by keeper_internal.h; all on the protector's thread.
 */
#ifndef HF_KEEPER_FLIGHTS_H
#define HF_KEEPER_FLIGHTS_H

typedef struct hf_flight {
    hf_request *list;
    size_t n;
    uint64_t start_ns;
    hf_message messages[HF_BATCH_MAX];
} hf_flight;

typedef struct hf_flights {
    hf_flight ring[HF_FLIGHTS_MAX];
    size_t oldest;
    size_t count;
    uint64_t begun_ns;    /* the last one */
    uint64_t last_way_ns; /* a question there and back that records nothing, as last measured */
    uint64_t way_ns;      /* the shorter of the last two */
} hf_flights;

/* How long such a question took. */
void hf_flights_note_way(hf_flights *flights, uint64_t took_ns);
/* When the next batch may be sent behind the last one. */
uint64_t hf_flights_next_ns(const hf_flights *flights);
/* Is the store so far away that a batch should not wait for the one before? */
bool hf_flights_are_worth(const hf_keeper *keeper);
/*
 * With protector.lock held, also at return: where batches are in the air, waits for the oldest,
 * which it ends, but not beyond the moment when the next may be sent. True: it may be now.
 */
bool hf_flights_wait(hf_keeper *keeper);
/*
 * True: the n requests of the list are on their way, or there are none and nothing else is to be
 * done while others are. False: the caller ends those in the air, and does what is to be done.
 */
bool hf_flights_begin(hf_keeper *keeper, hf_request *list, size_t n);
void hf_flights_end_all(hf_keeper *keeper);

#endif
