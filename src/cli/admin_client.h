/*
 * The client side of DATA_DIR/admin.sock: how a command speaks to a running signer. One call at a
 * time; each blocks until its answer is there or the patience for it has run out.
 */
#ifndef HF_CLI_ADMIN_CLIENT_H
#define HF_CLI_ADMIN_CLIENT_H

#include "base/base.h"
#include "ipc/ipc.h"

#include <sys/types.h>

/* Merging a large import takes the keeper a while. */
#define HF_ADMIN_PATIENCE_SECONDS 600

typedef struct hf_admin hf_admin;

/* NOT_FOUND: no signer listens there. */
hf_status hf_admin_connect(const char *data_dir, hf_admin **ret_admin, hf_error *err) HF_MUST_CHECK;
void hf_admin_close(hf_admin *admin); /* NULL is fine */

/*
 * Sends a frame of the type (its header is filled in here) and waits for the answer. A RESULT that
 * is not OK becomes an error with the reason's sentence and the keeper's detail. Otherwise the
 * answer must be of type expected, which may be RESULT; it is copied to ret_answer when that is not
 * NULL.
 */
hf_status hf_admin_call(hf_admin *admin, void *frame, hf_msg_type type, hf_msg_type expected,
                        void *ret_answer, hf_error *err) HF_MUST_CHECK;

/* The same with a descriptor, which stays open here. */
hf_status hf_admin_call_fd(hf_admin *admin, void *frame, int fd, hf_msg_type type,
                           hf_msg_type expected, void *ret_answer, hf_error *err) HF_MUST_CHECK;

/* The process that listens there and its user, as the kernel tells; outputs untouched when not. */
void hf_admin_peer(const hf_admin *admin, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid);

/* The status and sentence of a reason; OK for HF_REASON_OK. detail may be "". */
hf_status hf_admin_reason(uint32_t reason, const char *detail, hf_error *err) HF_MUST_CHECK;

#endif
