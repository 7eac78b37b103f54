/* What the files of this folder share. */
#ifndef HF_POLICY_INTERNAL_H
#define HF_POLICY_INTERNAL_H

#include "policy/policy.h"

/* ---- names.c --------------------------------------------------------------------------------- */

/* Letters, digits, _ and -, 1 to room - 1 of them. */
bool hf_policy_word_is_plain(const char *text, size_t room);
bool hf_policy_certificate_is_valid(const char *text);
/* The operations that a bit of a rule can stand for. */
#define HF_POLICY_OPERATION_BITS ((UINT64_C(1) << HF_OP_COUNT) - 1)
#define HF_POLICY_SCOPE_BITS ((UINT64_C(1) << HF_SCOPE_COUNT) - 1)

/* ---- words.c: values with a grammar of their own --------------------------------------------- */

hf_status hf_policy_range_parse(const char *text, hf_policy_range *ret_range,
                                hf_error *err) HF_MUST_CHECK;
bool hf_policy_range_is_valid(const hf_policy_range *range);
bool hf_policy_range_has(const hf_policy_range *range, const uint8_t address[16]);
#define HF_POLICY_RANGE_TEXT_LEN 56
void hf_policy_range_format(const hf_policy_range *range, char ret_text[HF_POLICY_RANGE_TEXT_LEN]);
/* "10/s", "5/12s". */
hf_status hf_policy_rate_parse(const char *text, hf_policy_rate *ret_rate,
                               hf_error *err) HF_MUST_CHECK;
bool hf_policy_rate_is_valid(const hf_policy_rate *rate);
/* "24h", "90m", "30d", "3600". */
hf_status hf_policy_duration_parse(const char *text, uint64_t *ret_seconds,
                                   hf_error *err) HF_MUST_CHECK;
#define HF_POLICY_DURATION_MAX_SECONDS (UINT64_C(100) * 366 * 86400)

/* ---- rule.c ---------------------------------------------------------------------------------- */

/* The same demands on a rule from text and on one from bytes. */
hf_status hf_policy_rule_check(const hf_policy_rule *rule, hf_error *err) HF_MUST_CHECK;

/* ---- limit.c ----------------------------------------------------------------------------------
 */

hf_status hf_limit_check(const hf_limit *limit, hf_error *err) HF_MUST_CHECK;

/* Where the sentence of a refusal goes, for the log. */
typedef struct hf_limit_sentence {
    char *text;
    size_t len;
} hf_limit_sentence;

/* Says why, and returns verdict. */
hf_limit_verdict hf_limit_refuse(const hf_limit_sentence *sentence, hf_limit_verdict verdict,
                                 const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- limit_eth1.c: the members that speak of the execution layer ------------------------------
 */

/* The rate of what is named, such as ETH1_TRANSACTION; NULL: none of these. */
hf_policy_rate *hf_limit_eth1_rate(hf_limit *limit, const char *name);
hf_status hf_limit_put_chain(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_limit_put_target(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_limit_put_method(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_limit_put_creation(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_limit_put_messages(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_limit_put_typed_data(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_limit_put_value(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_limit_put_day(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_limit_put_fee(hf_limit *limit, const char *text, hf_error *err) HF_MUST_CHECK;

/* ---- reader.c: bounded reading and writing of the encodings ---------------------------------- */

typedef struct hf_policy_reader {
    const uint8_t *next;
    size_t left;
    bool failed; /* something was missing: everything read since is zero */
} hf_policy_reader;

uint64_t hf_policy_get(hf_policy_reader *reader, unsigned bytes); /* little endian, at most 8 */
void hf_policy_get_bytes(hf_policy_reader *reader, void *out, size_t len);
/* A length of one byte and so much text; fails when it does not fit out with its NUL. */
void hf_policy_get_text(hf_policy_reader *reader, char *out, size_t room);
/* A count in so many bytes, not above most. */
size_t hf_policy_get_count(hf_policy_reader *reader, unsigned bytes, size_t most);

typedef struct hf_policy_writer {
    hf_buf *out;
    hf_status status; /* of the first put that failed */
} hf_policy_writer;

void hf_policy_put(hf_policy_writer *writer, uint64_t value, unsigned bytes);
void hf_policy_put_bytes(hf_policy_writer *writer, const void *bytes, size_t len);
void hf_policy_put_text(hf_policy_writer *writer, const char *text);

/* ---- keyset.c ---------------------------------------------------------------------------------
 */

int hf_policy_key_compare(const void *a, const void *b);
void hf_keyset_done(hf_keyset *set);
bool hf_keyset_is_empty(const hf_keyset *set);
hf_status hf_keyset_add(hf_keyset *set, const hf_policy_key *key) HF_MUST_CHECK;
void hf_keyset_sort(hf_keyset *set);
hf_status hf_keyset_check(const hf_keyset *set, hf_error *err) HF_MUST_CHECK;
hf_status hf_keyset_put_key(hf_keyset *set, const char *text, hf_error *err) HF_MUST_CHECK;
hf_status hf_keyset_put_tag(hf_keyset *set, const char *text, hf_error *err) HF_MUST_CHECK;
void hf_keyset_write(hf_policy_writer *writer, const hf_keyset *set);
void hf_keyset_read(hf_policy_reader *reader, hf_keyset *set); /* unchecked: hf_keyset_check */
void hf_policy_key_read(hf_policy_reader *reader, hf_policy_key *ret_key);

/* ---- limit_wire.c: a limit as bytes -----------------------------------------------------------
 */

void hf_limit_write(hf_policy_writer *writer, const hf_limit *limit);
hf_status hf_limit_read(hf_policy_reader *reader, hf_limit *limit, hf_error *err) HF_MUST_CHECK;

#endif
