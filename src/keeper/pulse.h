/*
 * The keeper's signs of life. A thread of its own tells the supervisor each second that the threads
 * without which nothing is signed (intake, protector, auditor, signers) go on; when one of them
 * does not, it says nothing, and the supervisor ends what nobody else can mend.
 *
 * A thread that waits for a disk or a database is not stuck, however long that takes: requests are
 * refused with 503 meanwhile, and it goes on when they do. So each such wait is marked as one.
 */
#ifndef HF_KEEPER_PULSE_H
#define HF_KEEPER_PULSE_H

#include "base/base.h"

/* A thread that said nothing for so long is stuck. Its longest work without a word takes
 * milliseconds. */
#define HF_PULSE_STUCK_NS (5 * HF_NS_PER_SECOND)

/* The calling thread takes part from here on, under a literal name. At most HF_PULSES_MAX do. */
#define HF_PULSES_MAX 80
void hf_pulse_join(const char *name);
/* The calling thread goes on. Each of these does nothing in a thread that takes no part. */
void hf_pulse_turn(void);
/* It waits until somebody wakes it; hf_pulse_turn ends that. */
void hf_pulse_rest(void);
/* It is in the hands of a disk or a database; and not any more. */
void hf_pulse_to_disk(void);
void hf_pulse_from_disk(void);
/* The name of a thread that is stuck; NULL: none is. */
const char *hf_pulse_find_stuck(uint64_t now_ns);

/* Starts the thread; signs of life go to this channel once the first was given by others. */
hf_status hf_pulse_start(int control_fd) HF_MUST_CHECK;
void hf_pulse_announced(void);
void hf_pulse_stop(void);

#endif
