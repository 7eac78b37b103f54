/* Inside the codec: the member proofs of a block's request. */
#ifndef HF_FRONT_CODEC_PROOFS_H
#define HF_FRONT_CODEC_PROOFS_H

#include "eth/eth.h"
#include "front/codec_fields.h"

/* Fills request->fields.proven from the body, where there are proofs of what limits speak of. */
hf_status hf_codec_read_proofs(const hf_json *json, hf_eth_request *request,
                               hf_error *err) HF_MUST_CHECK;

#endif
