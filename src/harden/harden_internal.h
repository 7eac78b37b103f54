/* harden, inside: how a requirement, an attempt and the report come together. */
#ifndef HF_HARDEN_INTERNAL_H
#define HF_HARDEN_INTERNAL_H

#include "harden/harden.h"

/*
 * Settles one protection that could not be had: an error when it is required, else a line in the
 * report. why is a sentence with the remedy.
 */
hf_status hf_harden_settle_missing(uint8_t requirement, hf_harden_report *report, const char *name,
                                   const char *why, hf_error *err) HF_MUST_CHECK;

#endif
