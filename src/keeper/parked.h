/*
 * Questions that wait for something on a disk before they are taken up. Intake thread, but for what
 * the auditor's thread says of them. Included by keeper_internal.h.
 */
#ifndef HF_KEEPER_PARKED_H
#define HF_KEEPER_PARKED_H

typedef struct hf_parked {
    struct hf_parked *next;
    hf_peer *peer; /* refs held */
    int fd;        /* came with the frame, or -1 */
    hf_pass pass;  /* who asks; of an action let in as that */
    bool is_logged;
    uint64_t look;     /* of one that waits for the store: hf_look_ask */
    uint64_t until_ns; /* and how long */
    size_t len;
    _Alignas(8) uint8_t frame[];
} hf_parked;

/* A copy of the frame; *fd becomes its own. NULL: no memory, and nothing was taken. */
hf_parked *hf_parked_new(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);
/* It waits no more, and does not count among what its peer has under way; the peer. */
hf_peer *hf_parked_let_go(hf_keeper *keeper, hf_parked *parked);
/* Wiped; NULL is fine. */
void hf_parked_free(hf_keeper *keeper, hf_parked *parked);
/* That one and those after it; when their channels are closed. */
void hf_parked_free_list(hf_keeper *keeper, hf_parked *list);

#endif
