/* What frames.c and batch.c share. */
#ifndef HF_IPC_INTERNAL_H
#define HF_IPC_INTERNAL_H

#include "ipc/ipc.h"

#include <sys/socket.h>

/* Takes the first passed descriptor out of a received message (-1: none) and closes any beyond it.
 */
int hf_frame_take_descriptor(struct msghdr *message);

#endif
