/* holdfast-duty, inside: the parts of the process that asks the database for duty locks. */
#ifndef HF_STORE_DUTY_INTERNAL_H
#define HF_STORE_DUTY_INTERNAL_H

#include "base/base.h"
#include "duty/duty.h"
#include "harden/harden.h"
#include "ipc/ipc.h"

/*
 * Carries the keeper's questions from fd to the engine and the answers back, and the state once a
 * second, until the keeper's end or the supervisor's is closed, or the supervisor says stop. Both
 * descriptors do not block. The report, of this process's protections, goes with the state.
 */
void hf_duty_serve(int fd, int control_fd, hf_duty_engine *engine, const hf_harden_report *report);

#endif
