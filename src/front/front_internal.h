/* What the handlers share: asking, answering, and the handlers themselves for the route table. */
#ifndef HF_FRONT_INTERNAL_H
#define HF_FRONT_INTERNAL_H

#include "front/front.h"

#include <jansson.h>

/* ---- answering (respond.c) ---------------------------------------------------------------- */

/* An error by the keeper's word: it has counted it already. detail "" or NULL: the reason's own. */
hf_next hf_front_refused_by_keeper(hf_exchange *x, hf_reason reason, const char *detail);
/* An error with another HTTP status than the reason's own. */
hf_next hf_front_refuse_as(hf_exchange *x, hf_reason reason, unsigned status, const char *detail);
hf_next hf_front_answer_small(hf_exchange *x, unsigned status, hf_content content, const char *fmt,
                              ...) __attribute__((format(printf, 4, 5)));
/* Writes the body of an answer; the first failure sticks, so that callers check once, at the end.
 */
typedef struct hf_text {
    hf_buf *buf;
    hf_status st;
} hf_text;

void hf_text_put(hf_text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hf_text_put_bytes(hf_text *text, const void *ptr, size_t len);
/* As a JSON string with its quotes. */
void hf_text_put_json(hf_text *text, const char *value, size_t len);

/* Makes x->out and a writer on it; false, with the answer set, when memory is short. */
bool hf_front_open_text(hf_exchange *x, hf_text *ret_text);
/* The answer is what was written; 500 in its place when a write failed. */
hf_next hf_front_answer_text(hf_exchange *x, unsigned status, hf_content content,
                             const hf_text *text);
/* The body, for the caller to free; NULL, with the answer set, when it is not JSON. */
json_t *hf_front_read_json(hf_exchange *x);
/* Does the Accept header name this media type? */
bool hf_front_accepts(const hf_exchange *x, const char *media_type);

/* ---- asking ------------------------------------------------------------------------------- */

/* Says who asks, where the frame has a place for it. */
hf_next hf_front_ask(hf_exchange *x, void *frame, hf_msg_type expected, hf_front_on_reply on_reply);
/* The same of several frames, one behind the other, which live until they are answered. on_reply
 * says HF_NEXT_WAIT until it has had a reply to each (hf_front_place_of). */
hf_next hf_front_ask_several(hf_exchange *x, void *frames, uint32_t count, hf_msg_type expected,
                             hf_front_on_reply on_reply);
/* Once the question is sent, or never will be. Fine when there is none. */
void hf_front_close_ask_fd(hf_exchange *x);
/* A question that says no more than its type, and who asks. */
hf_next hf_front_ask_simply(hf_exchange *x, hf_msg_type type, hf_msg_type expected,
                            hf_front_on_reply on_reply);

/* ---- who asks (caller.c) ------------------------------------------------------------------ */

/* The credential that came with the request, and where it came from. */
void hf_front_fill_caller(const hf_exchange *x, hf_caller *ret_caller);
/* Was a credential shown at all, of whatever worth? */
bool hf_front_has_credential(const hf_exchange *x);

/* ---- handlers ----------------------------------------------------------------------------- */

hf_next hf_front_sign(hf_exchange *x);
hf_next hf_front_duty_sign(hf_exchange *x);
hf_next hf_front_rpc(hf_exchange *x);
hf_next hf_front_eth1_sign(hf_exchange *x);
hf_next hf_front_eth1_public_keys(hf_exchange *x);
hf_next hf_front_voluntary_exit(hf_exchange *x);
hf_next hf_front_public_keys(hf_exchange *x);
hf_next hf_front_high_watermark(hf_exchange *x);
hf_next hf_front_upcheck(hf_exchange *x);
hf_next hf_front_healthcheck(hf_exchange *x);
hf_next hf_front_reload(hf_exchange *x);
hf_next hf_front_reload_status(hf_exchange *x);
hf_next hf_front_status(hf_exchange *x);
hf_next hf_front_metrics(hf_exchange *x);
hf_next hf_front_keystores_list(hf_exchange *x);
hf_next hf_front_keystores_import(hf_exchange *x);
hf_next hf_front_keystores_delete(hf_exchange *x);
hf_next hf_front_remote_keys_list(hf_exchange *x);
hf_next hf_front_remote_keys_refuse(hf_exchange *x);
hf_next hf_front_not_ours(hf_exchange *x);
hf_next hf_front_seal_status(hf_exchange *x);
hf_next hf_front_seal_init(hf_exchange *x);
hf_next hf_front_seal_register(hf_exchange *x);
hf_next hf_front_seal_unseal(hf_exchange *x);
hf_next hf_front_seal_seal(hf_exchange *x);
hf_next hf_front_seal_rekey(hf_exchange *x);
hf_next hf_front_seal_rotate(hf_exchange *x);
hf_next hf_front_seal_cancel(hf_exchange *x);
hf_next hf_front_sealed_list(hf_exchange *x);
hf_next hf_front_sealed_import(hf_exchange *x);
hf_next hf_front_sealed_generate(hf_exchange *x);
hf_next hf_front_sealed_activate(hf_exchange *x);
hf_next hf_front_sealed_deactivate(hf_exchange *x);
hf_next hf_front_sealed_delete(hf_exchange *x);
hf_next hf_front_tokens_create(hf_exchange *x);
hf_next hf_front_tokens_list(hf_exchange *x);
hf_next hf_front_tokens_revoke(hf_exchange *x);
hf_next hf_front_policies_list(hf_exchange *x);
hf_next hf_front_policies_show(hf_exchange *x);
hf_next hf_front_policies_apply(hf_exchange *x);
hf_next hf_front_policies_delete(hf_exchange *x);
hf_next hf_front_exits_approve(hf_exchange *x);

#endif
