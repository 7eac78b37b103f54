/*
 * keeper: the process that holds the keys and decides what they sign.
 *
 *   intake     one thread: receives frames, checks them, finds the key, computes the signing root
 *   protector  one thread: takes every slashable request that waits, decides all in one transaction
 *   signers    one thread a core: hash the root to the curve while the protector commits, and sign
 *              once the record is durable
 *   clerk      one thread: reads exports over a connection of its own
 *
 *   intake --(slashable)--> protector --(recorded)--> signers --> reply
 *          \--(others)------------------------------->/
 *
 * Invariants (cited in the code):
 *   I1  A signature over a block or an attestation is made only after its record is durable.
 *   I2  The root signed is computed here from the fields; a client's root is only compared.
 *   I3  A key's own public key, derived here, names it in the store: nobody can relabel a key.
 *   I4  Any failure between intake and the durable record ends in a refusal without a signature.
 *   I5  A key that was removed signs nothing whose decision comes after the answer to its removal.
 *   I6  Nothing here grows with what a client sends: requests, groups, jobs and replies are
 * bounded.
 */
#ifndef HF_KEEPER_H
#define HF_KEEPER_H

#include "base/base.h"
#include "ipc/ipc.h"

/*
 * The pure core of intake: may this request be signed as far as its own bytes can tell? Gives OK
 * and the signing root, or the reason of the refusal with a sentence in detail. For blocks and
 * attestations *ret_message is what the protection has to decide; is_slashable says which it is.
 */
typedef struct hf_admission {
    hf_reason reason;
    bool is_slashable;
    uint8_t root[HF_ROOT_BYTES];
    hf_message message;
    char detail[HF_DETAIL_LEN];
} hf_admission;

/* What the protection decides on, by the operation alone: before anything is admitted. */
bool hf_operation_is_slashable(uint32_t operation);
void hf_keeper_admit(const hf_network *network, const hf_eth_request *request,
                     hf_admission *ret_admission);

/* The process: runs on the descriptors of ipc.h until told to stop; returns the exit status. */
int hf_keeper_run(void);

#endif
