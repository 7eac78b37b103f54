/* What the parts of auth share, and what its test of timing has to reach. */
#ifndef HF_AUTH_INTERNAL_H
#define HF_AUTH_INTERNAL_H

#include "auth/auth.h"
#include "crypto/crypto.h"

/* The MAC that is kept of a text. */
void hf_auth_text_mac(const hf_auth_keys *keys, const char text[HF_AUTH_TEXT_LEN],
                      uint8_t ret_mac[HF_HMAC_BYTES]);
/*
 * Is this the text of the token that its accessor names? The one step that works on secrets: no
 * branch and no address depends on the text's secret, the key or the MAC; the answer is the first
 * thing that may. *ret_entry: the accessor's token, or one that matches nothing.
 */
bool hf_auth_match(const hf_auth_keys *keys, hf_token_table *table,
                   const char text[HF_AUTH_TEXT_LEN], hf_token_entry **ret_entry);

/* Stands in for the token of an accessor that does not exist. */
hf_token_entry *hf_token_table_nobody(hf_token_table *table);

#endif
