/*
 * auth: tokens, the credentials of those who may ask a signer for something. Bytes in, bytes out:
 * no clock, no file, no socket.
 *
 * A token's text is `hft_ACCESSOR.SECRET`: the accessor (24 hex digits) names it in lists, logs and
 * revocations; the secret (256 bits, base64url) is shown once, when it is made, and never kept.
 * What is kept is an HMAC-SHA256 of the whole text under the token key, and a second one over the
 * whole record, so that nobody who can write to the database gives a token other rights. The text
 * has only characters that URLs take as they are: http://x:TOKEN@host works.
 *
 * Two libraries: auth_words (words.c, cidr.c) for those who only read and print, auth for the
 * keeper, which alone has the token key.
 */
#ifndef HF_AUTH_H
#define HF_AUTH_H

#include "base/base.h"

/* ---- words: what a token may be (auth_words) --------------------------------------------------
 */

#define HF_AUTH_PREFIX "hft_"
#define HF_AUTH_ACCESSOR_BYTES 12
#define HF_AUTH_ACCESSOR_CHARS 24
#define HF_AUTH_ACCESSOR_LEN 32 /* NUL-terminated, zeros behind */
#define HF_AUTH_SECRET_CHARS 43
#define HF_AUTH_TEXT_CHARS (4 + HF_AUTH_ACCESSOR_CHARS + 1 + HF_AUTH_SECRET_CHARS)
#define HF_AUTH_TEXT_LEN 80 /* NUL-terminated, zeros behind */

#define HF_AUTH_NAME_LEN 64        /* display name, printable ASCII */
#define HF_AUTH_POLICY_NAME_LEN 48 /* letters, digits, _ and - */
#define HF_AUTH_POLICIES_MAX 8     /* of one token */
#define HF_AUTH_SOURCES_MAX 16
#define HF_AUTH_TOKENS_MAX 10000
#define HF_AUTH_TTL_MAX_SECONDS (UINT64_C(10) * 366 * 86400)
#define HF_AUTH_USES_MAX (UINT64_C(1) << 40)
/* No clock of ours shows a later time: keeps sums from overflowing. */
#define HF_AUTH_TIME_MAX_MS (INT64_C(1) << 52)

typedef enum hf_token_kind {
    HF_TOKEN_CLIENT = 0, /* does what its policies allow */
    HF_TOKEN_MANAGEMENT, /* everything but signing, and what its policies allow */
    HF_TOKEN_KIND_COUNT
} hf_token_kind;

/* "client", "management"; never NULL. */
const char *hf_token_kind_name(hf_token_kind kind);
bool hf_token_kind_parse(const char *name, hf_token_kind *ret_kind);

/* A network; IPv4 as IPv6-mapped (::ffff:a.b.c.d, 96 bits more). Bits behind the prefix are 0. */
typedef struct hf_cidr {
    uint8_t address[16];
    uint8_t bits;
    uint8_t reserved[7];
} hf_cidr;

#define HF_CIDR_TEXT_LEN 64

/* "10.0.0.0/8", "2001:db8::/32", or one address. INVALID_INPUT, naming what is wrong. */
hf_status hf_cidr_parse(const char *text, hf_cidr *ret_cidr, hf_error *err) HF_MUST_CHECK;
void hf_cidr_format(const hf_cidr *cidr, char out[HF_CIDR_TEXT_LEN]);
bool hf_cidr_is_sane(const hf_cidr *cidr);
bool hf_cidr_contains(const hf_cidr *cidr, const uint8_t address[16]);

/* What somebody asks for who makes a token; travels in frames, has no padding. */
typedef struct hf_token_terms {
    uint32_t kind; /* hf_token_kind */
    uint32_t policy_count;
    uint32_t source_count; /* 0: from anywhere */
    uint32_t reserved;
    int64_t expires_unix_ms;     /* 0: never */
    uint64_t max_uses;           /* 0: any number */
    char name[HF_AUTH_NAME_LEN]; /* "" for none */
    char policies[HF_AUTH_POLICIES_MAX][HF_AUTH_POLICY_NAME_LEN];
    hf_cidr sources[HF_AUTH_SOURCES_MAX];
} hf_token_terms;

/* "90s", "15m", "24h", "30d", or seconds alone: 1 second to HF_AUTH_TTL_MAX_SECONDS. */
hf_status hf_ttl_parse(const char *text, uint64_t *ret_seconds, hf_error *err) HF_MUST_CHECK;
bool hf_token_name_is_sane(const char *name, size_t size);
bool hf_auth_policy_name_is_sane(const char *name, size_t size);
/* A frame or a record brought them: every member in its bounds, unused ones zero, no doubles.
 * INVALID_INPUT, naming the member. */
hf_status hf_token_terms_check(const hf_token_terms *terms, hf_error *err) HF_MUST_CHECK;

/* Is this an accessor in an array of HF_AUTH_ACCESSOR_LEN? */
bool hf_accessor_is_sane(const char accessor[HF_AUTH_ACCESSOR_LEN]);
/* Has this the form of a token? Tells nothing about its secret. */
bool hf_token_text_is_sane(const char text[HF_AUTH_TEXT_LEN]);

/* ---- tokens and the key (auth) -----------------------------------------------------------------
 */

#define HF_AUTH_KEY_BYTES 32

/* Two keys from one, one a purpose; to be wiped. */
typedef struct hf_auth_keys {
    uint8_t text[HF_AUTH_KEY_BYTES];
    uint8_t record[HF_AUTH_KEY_BYTES];
} hf_auth_keys;

void hf_auth_keys_derive(const uint8_t token_key[HF_AUTH_KEY_BYTES], hf_auth_keys *ret_keys);

typedef struct hf_token {
    char accessor[HF_AUTH_ACCESSOR_LEN];
    hf_token_terms terms;
    int64_t created_unix_ms;
    uint64_t uses_reserved; /* of terms.max_uses: given out to nodes, on record before they count */
    uint8_t mac[32];        /* of the text */
} hf_token;

/* A new token with these terms (checked by the caller), and its text, to be wiped once shown. */
void hf_token_make(const hf_auth_keys *keys, const hf_token_terms *terms, int64_t now_unix_ms,
                   hf_token *ret_token, char ret_text[HF_AUTH_TEXT_LEN]);

/* ---- records -----------------------------------------------------------------------------------
 */

#define HF_TOKEN_RECORD_VERSION 1
#define HF_TOKEN_RECORD_MAX 2048

/* *ret_len bytes go to out. */
void hf_token_encode(const hf_auth_keys *keys, const hf_token *token,
                     uint8_t out[HF_TOKEN_RECORD_MAX], size_t *ret_len);
/*
 * CORRUPT, naming what is wrong, unless these bytes are exactly what hf_token_encode gives for a
 * sane token of this accessor, under this key.
 */
hf_status hf_token_decode(const hf_auth_keys *keys, const char *accessor, hf_bytes in,
                          hf_token *ret_token, hf_error *err) HF_MUST_CHECK;

/* ---- the table ---------------------------------------------------------------------------------
 */

/*
 * All tokens of a moment, found by accessor in constant time on average. Immutable but for the uses
 * at hand: one thread at a time.
 */
typedef struct hf_token_table hf_token_table;

typedef struct hf_token_entry {
    hf_token token;
    uint64_t record_version; /* of the record that it was read from */
    uint64_t uses_at_hand;   /* reserved by this node and not yet used */
} hf_token_entry;

/* Copies the tokens. CONFLICT: an accessor twice. LIMIT: more than HF_AUTH_TOKENS_MAX. */
hf_status hf_token_table_new(const hf_token_entry *entries, size_t count,
                             hf_token_table **ret_table) HF_MUST_CHECK;
void hf_token_table_free(hf_token_table *table); /* wipes; NULL is fine */
size_t hf_token_table_count(const hf_token_table *table);
/* Has any of them a maximum of uses? */
bool hf_token_table_has_limited(const hf_token_table *table);
/* By accessor, in ascending order: i < count. */
hf_token_entry *hf_token_table_at(hf_token_table *table, size_t i);
/* The first place whose accessor is greater than this one ("" for the first of all). */
size_t hf_token_table_after(const hf_token_table *table, const char *accessor);
hf_token_entry *hf_token_table_find(hf_token_table *table, const char *accessor);
/* The uses at hand go over from the table that this one replaces. */
void hf_token_table_take_over(hf_token_table *table, hf_token_table *old);

/* ---- verifying ---------------------------------------------------------------------------------
 */

typedef enum hf_token_verdict {
    HF_TOKEN_VALID = 0,
    HF_TOKEN_MISSING, /* no text at all */
    HF_TOKEN_UNKNOWN, /* malformed, no such accessor, or another secret: nobody is told which */
    HF_TOKEN_EXPIRED,
    HF_TOKEN_WRONG_SOURCE,
    HF_TOKEN_USED_UP,
    HF_TOKEN_NEEDS_USES, /* valid, but this node has to reserve uses first */
    HF_TOKEN_VERDICT_COUNT
} hf_token_verdict;

/* "unknown" and so on: the label of the metric and the word in the audit; never NULL. */
const char *hf_token_verdict_name(hf_token_verdict verdict);

/*
 * Who shows this text, from this address, at this time? *ret_entry is set for every verdict whose
 * token was recognised. The cost depends neither on the secret nor on whether the accessor exists.
 * Takes no use.
 */
hf_token_verdict hf_token_verify(const hf_auth_keys *keys, hf_token_table *table,
                                 const char text[HF_AUTH_TEXT_LEN], const uint8_t address[16],
                                 int64_t now_unix_ms, hf_token_entry **ret_entry);
/* After VALID, once for each request that is let in. */
void hf_token_take_use(hf_token_entry *entry);
/* How many uses to reserve at once; 0 when none are left. */
uint64_t hf_token_uses_to_reserve(const hf_token *token);

/* ---- guessing ----------------------------------------------------------------------------------
 */

/*
 * Failures by address (IPv6: by /64), forgotten with time, in memory of one size. Who fails too
 * often is told to wait. A valid token passes all the same: clients behind one proxy share an
 * address, and a stranger there must not be able to stop their duties.
 */
#define HF_AUTH_GUESSES_FREE 20      /* in a burst */
#define HF_AUTH_GUESS_SECONDS 3      /* each is forgotten after so long */
#define HF_AUTH_GUESSES_KEPT_MAX 120 /* a flood is over after 300 seconds of silence */

typedef struct hf_auth_guesses hf_auth_guesses;

hf_auth_guesses *hf_auth_guesses_new(void); /* NULL when memory is short */
void hf_auth_guesses_free(hf_auth_guesses *guesses);
/* Notes a failure; the seconds after which this address may fail again, 0: at once. */
uint32_t hf_auth_guesses_note(hf_auth_guesses *guesses, const uint8_t address[16], uint64_t now_ns);

#endif
