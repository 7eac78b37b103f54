/* ipc.h, continued: sending and receiving. Include ipc.h. */
#ifndef HF_IPC_CHANNEL_H
#define HF_IPC_CHANNEL_H

#include "ipc/ipc.h"

/* Fills the header. frame must begin with an hf_frame_header and be of the type's exact size. */
void hf_frame_init(void *frame, hf_msg_type type, uint64_t request_id);

/* The exact size of a frame of this type; 0 for a type that does not exist. */
size_t hf_frame_size(uint16_t type);
const char *hf_frame_name(uint16_t type);
/* Where a frame of this type holds who asks; NULL for types that need no right. */
hf_caller *hf_frame_caller(void *frame);

/*
 * May this frame be handled by a process that receives it on such a channel? to_keeper: the
 * direction. Magic, version, type, size, and the table of what may travel where.
 */
bool hf_frame_is_acceptable(const void *frame, size_t len, hf_channel channel, bool to_keeper);

/* One socketpair, both ends close-on-exec, non-blocking as asked. */
hf_status hf_channel_pair(bool nonblocking, int ret_fds[2]) HF_MUST_CHECK;
/* UNAVAILABLE: the socket is full (non-blocking). NOT_FOUND: the other end is gone. */
hf_status hf_frame_send(int fd, const void *frame) HF_MUST_CHECK;
/*
 * A front, the store and the process of duties tell the supervisor at least so often that they go
 * on, from their main loops. *due_ns, which starts as 0, is when the next sign is due.
 */
#define HF_ALIVE_EVERY_MS 1000
void hf_say_alive(int control_fd, uint64_t *due_ns);
/* The same with one descriptor, which stays open here. */
hf_status hf_frame_send_fd(int fd, const void *frame, int passed_fd) HF_MUST_CHECK;
/*
 * Receives one frame into buf (at least HF_IPC_MAX_BYTES). *ret_len 0 with NOT_FOUND: the other end
 * is gone. UNAVAILABLE: nothing there. *ret_fd is a passed descriptor or -1; the caller owns it.
 * Pass NULL for ret_fd to refuse descriptors (they are closed).
 */
hf_status hf_frame_recv(int fd, void *buf, size_t *ret_len, int *ret_fd) HF_MUST_CHECK;
/*
 * A process's configuration: waits for the first frame of the supervisor's channel (blocking), to
 * be of this type, and wipes what it was received in, because a configuration may hold passwords.
 * USAGE: there is none. Texts in it are as they came. Once a process, before it has threads.
 */
hf_status hf_frame_recv_config(int control_fd, hf_msg_type type, void *ret_config,
                               hf_error *err) HF_MUST_CHECK;

/*
 * Sends frames in order by one system call where that is possible; *ret_sent of n went, the rest
 * did not. The status is that of the first that did not go: UNAVAILABLE, NOT_FOUND, IO.
 */
#define HF_OUTBOX_FRAMES 32
hf_status hf_frames_send(int fd, const void *const frames[], size_t n,
                         size_t *ret_sent) HF_MUST_CHECK;

/* Room for frames that arrive together. One thread; frames are borrowed until the next receive. */
#define HF_INBOX_FRAMES 32
typedef struct hf_inbox hf_inbox;

hf_inbox *hf_inbox_new(void); /* NULL when memory is short */
void hf_inbox_free(hf_inbox *inbox);
/* Takes at most `most` frames that are there, without waiting; otherwise as hf_frame_recv. */
hf_status hf_inbox_receive(hf_inbox *inbox, int fd, size_t most, size_t *ret_n) HF_MUST_CHECK;
const void *hf_inbox_peek(const hf_inbox *inbox, size_t i, size_t *ret_len);
/* The descriptor that came with frame i, or -1; the caller owns it. Those not taken are closed. */
int hf_inbox_take_fd(hf_inbox *inbox, size_t i);
/* Overwrites what was received: for channels that carry secrets. */
void hf_inbox_wipe(hf_inbox *inbox);

#endif
