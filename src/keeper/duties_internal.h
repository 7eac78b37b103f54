/* What the two files of duties share; the rest of the keeper sees keeper_internal.h. */
#ifndef HF_KEEPER_DUTIES_INTERNAL_H
#define HF_KEEPER_DUTIES_INTERNAL_H

#include "keeper/keeper_internal.h"

/* ---- duty_steps.c: on the thread of duties, but for answer_front -------------------------------
 */

/* A request that was admitted: signs what no lock protects, asks for the lock of the rest. */
void hf_duties_begin(hf_keeper *keeper, hf_duty_work *work);
/* The answer to its question. */
void hf_duties_answered(hf_keeper *keeper, hf_duty_work *work, const hf_msg_duty_answer *answer);
/* A back end of custody has answered: inside_reason and what follows. */
void hf_duties_signed_inside(hf_keeper *keeper, hf_duty_work *work);
/* Nobody will answer its question any more. */
void hf_duties_abandon(hf_keeper *keeper, hf_duty_work *work);
/* Gives the front its answer, counts and logs it, lets go of peer and key. The work stays. */
void hf_duties_answer_front(hf_keeper *keeper, hf_duty_work *work, hf_reason reason,
                            const char *detail);

/* ---- duties.c ----------------------------------------------------------------------------------
 */

/* Back to the pool. */
void hf_duties_put(hf_duties *duties, hf_duty_work *work);
/* On the custody thread, with the work as context: hands it to the thread of duties. */
void hf_duties_take_inside(hf_keeper *keeper, void *context, hf_reason reason,
                           const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES],
                           const char *detail);
/* work->ask goes out when the channel has room. */
void hf_duties_send(hf_duties *duties, hf_duty_work *work);

#endif
