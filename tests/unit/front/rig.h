/*
 * rig: a server of the front in a child process, with the test as its keeper, its supervisor and
 * its client.
 */
#ifndef HF_TEST_FRONT_RIG_H
#define HF_TEST_FRONT_RIG_H

#include "front/server.h"

typedef struct rig {
    pid_t child;
    int keeper;  /* our end of the keeper's channel */
    int control; /* our end of the supervisor's */
    uint16_t port;
    uint16_t metrics_port;
} rig;

typedef struct rig_answer {
    int status;
    char head[4096];
    char body[262144];
    size_t body_len;
} rig_answer;

/* Sensible values, changed by the caller before rig_start. */
hf_server_config rig_defaults(void);
void rig_start(rig *r, const hf_server_config *config);
/* Kills what still runs. */
void rig_stop(rig *r);
/* Waits for the server to end by itself; its exit status, or -1 after timeout_ms. */
int rig_wait(rig *r, int timeout_ms);

int rig_connect(const rig *r, uint16_t port);
void rig_send(int fd, const char *text);
/* One answer; false when the connection ended instead. Asserts that it comes within 5 seconds. */
bool rig_read(int fd, rig_answer *answer);
/* Connects, sends, reads one answer, closes. */
void rig_ask(const rig *r, const char *request, rig_answer *answer);

/* The next frame to the keeper but COUNT, whose reason goes to *ret_counted when not NULL. */
const hf_frame_header *rig_keeper_take(const rig *r, int *ret_fd);
bool rig_keeper_is_quiet(const rig *r, int for_ms);
/* How many of the frames since the last call only said that one comes. */
unsigned rig_take_announced(void);
hf_reason rig_keeper_take_count(const rig *r);
void rig_keeper_send(const rig *r, const void *frame);

#endif
