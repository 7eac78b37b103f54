/*
 * A back end of custody for one command. A module is foreign code, and may read all that its
 * process holds: so it is loaded by a child that was forked before the command read its
 * configuration or any secret, and that gets what it has to know and nothing else. What it wraps it
 * sees, as any token does.
 */
#ifndef HF_CLI_CUSTODY_CHILD_H
#define HF_CLI_CUSTODY_CHILD_H

#include "custody/hsm.h"
#include "ipc/ipc.h"

typedef struct hf_custody_child hf_custody_child;

/* Before anything is read. */
hf_status hf_custody_child_start(hf_custody_child **ret_child, hf_error *err) HF_MUST_CHECK;
/* NULL is fine. */
void hf_custody_child_stop(hf_custody_child *child);

/* Opens the back end: PKCS11, AWS_CLOUDHSM. */
hf_status hf_custody_child_open(hf_custody_child *child, hf_key_backend backend,
                                const hf_custody_settings *settings, hf_error *err) HF_MUST_CHECK;
/* As hf_custody_ops. */
hf_status hf_custody_child_wrap(hf_custody_child *child, const char *reference, hf_bytes context,
                                hf_bytes secret, uint8_t *out, size_t *out_len,
                                hf_error *err) HF_MUST_CHECK;
/* A new key inside; BLS: a key that wraps BLS keys, and ret_key stays as it is. */
hf_status hf_custody_child_generate(hf_custody_child *child, hf_custody_type type,
                                    const char *label, hf_custody_key *ret_key,
                                    hf_error *err) HF_MUST_CHECK;

#endif
