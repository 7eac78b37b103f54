/*
 * typed_data: EIP-712 from JSON, as eth_signTypedData and eth_signTypedData_v4 get it, to what the
 * keeper is told (eth1/eth1_typed.h).
 *
 * The document is an object of types, primaryType, domain and message, or a string with the text of
 * one. Read as the common libraries do: an absent or null struct counts as zero (version 4), every
 * other member has to be there; members of a message that its type does not name are not signed and
 * not looked at; without types.EIP712Domain it consists of what the domain has. Integers are plain
 * JSON integers of any length, decimal or 0x strings; addresses of mixed case have their checksum.
 *
 * Pure, no recursion; time and memory are bounded by the length of the text.
 */
#ifndef HF_FRONT_TYPED_DATA_H
#define HF_FRONT_TYPED_DATA_H

#include "eth1/eth1.h"
#include "front/codec_json.h"

#define HF_TYPED_STRUCTS_MAX HF_JSON_MAX_MEMBERS
#define HF_TYPED_MEMBERS_MAX 64       /* of one struct */
#define HF_TYPED_TYPES_TEXT_MAX 65536 /* of all types, as JSON */

/*
 * value: of a document that was parsed. INVALID_INPUT names the member; DENIED for a vote that
 * cannot be protected (hf_typed_kind_of); NOMEM.
 */
hf_status hf_typed_data_read(const hf_json *json, uint32_t value, hf_typed_message *ret_message,
                             hf_error *err) HF_MUST_CHECK;
/* The same from a text of its own. */
hf_status hf_typed_data_parse(hf_bytes text, hf_typed_message *ret_message,
                              hf_error *err) HF_MUST_CHECK;

#endif
