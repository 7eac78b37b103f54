/*
 * policy: what may be asked for by whom, and what is signed by nobody. Pure: no clock, no file, no
 * thread of its own; bytes in, verdicts out.
 *
 * A policy is a named list of rules. A token (auth) carries the names of its policies; a question
 * is allowed when a rule with effect allow matches it and none with effect deny does, in all of the
 * policies together: deny beats allow, and what no rule speaks of is denied. "*" stands for
 * everything and must be written out where an allow rule would otherwise be silently wide.
 *
 * Text (configuration, HTTP, command line) becomes rules through hf_policy_rule_put alone, so that
 * the words and their errors are the same everywhere; between processes and at rest a policy is a
 * bounded binary encoding with one form only.
 */
#ifndef HF_POLICY_H
#define HF_POLICY_H

#include "base/base.h"
#include "eth/eth.h"

/* ---- scopes ---------------------------------------------------------------------------------- */

/* What a route asks for. Values are stable: they stand in stored policies. */
typedef enum hf_scope {
    HF_SCOPE_SIGN = 0,      /* POST /api/v1/eth2/sign */
    HF_SCOPE_DUTY,          /* POST /api/v1/duty/sign */
    HF_SCOPE_PUBLIC_KEYS,   /* GET /api/v1/eth2/publicKeys */
    HF_SCOPE_STATUS,        /* status with its details, high watermark */
    HF_SCOPE_RELOAD,        /* /reload */
    HF_SCOPE_KEYS_LIST,     /* GET /eth/v1/keystores, remotekeys */
    HF_SCOPE_KEYS_IMPORT,   /* POST /eth/v1/keystores, with the histories in it */
    HF_SCOPE_KEYS_DELETE,   /* DELETE /eth/v1/keystores, with the history it gives back */
    HF_SCOPE_KEYS_GENERATE, /* sealed keys */
    HF_SCOPE_KEYS_CHANGE,   /* activate, deactivate, label */
    HF_SCOPE_EXPORT,        /* slashing histories out */
    HF_SCOPE_IMPORT,        /* slashing histories in */
    HF_SCOPE_STORE,         /* pruning, watermarks, the store's status */
    HF_SCOPE_SEAL_STATUS,
    HF_SCOPE_SEAL_UNSEAL, /* submit shares */
    HF_SCOPE_SEAL_MANAGE, /* init, seal, rekey, rotate, cancel */
    HF_SCOPE_TOKENS,
    HF_SCOPE_POLICIES,
    HF_SCOPE_EXIT_APPROVE, /* the second approval of a voluntary exit */
    HF_SCOPE_AUDIT,
    HF_SCOPE_ETH1_TRANSACTION, /* eth_signTransaction */
    HF_SCOPE_ETH1_MESSAGE,     /* eth_sign, personal_sign */
    HF_SCOPE_ETH1_TYPED_DATA,  /* eth_signTypedData, _v4 */
    HF_SCOPE_ETH1_DATA,        /* POST /api/v1/eth1/sign; what the data is, in addition */
    HF_SCOPE_ETH1_NODE,        /* methods of JSON-RPC that go to a node */
    HF_SCOPE_COUNT
} hf_scope;

/* "sign", "public_keys" and so on; NULL for a value out of range. */
const char *hf_policy_scope_name(hf_scope scope);
bool hf_policy_scope_parse(const char *name, hf_scope *ret_scope);

typedef enum hf_scope_keys {
    HF_SCOPE_KEYLESS = 0, /* keys and tags of a rule say nothing about it */
    HF_SCOPE_KEYS_MAY,    /* a listing: asked without a key, then for each key listed */
    HF_SCOPE_KEYS_MUST    /* asked without a key, it means all keys */
} hf_scope_keys;

hf_scope_keys hf_policy_scope_keys(hf_scope scope);

/* ---- policies -------------------------------------------------------------------------------- */

#define HF_POLICY_NAME_LEN 48        /* NUL-terminated: letters, digits, _ and - */
#define HF_POLICY_TAG_LEN 32         /* the same */
#define HF_POLICY_CERTIFICATE_LEN 64 /* NUL-terminated, printable ASCII without " and \ */
#define HF_POLICY_RULES_MAX 64
#define HF_KEYSET_TAGS_MAX 16
#define HF_POLICY_RULE_NETWORKS_MAX 8
#define HF_POLICY_RULE_RANGES_MAX 16
#define HF_POLICY_RULE_CERTIFICATES_MAX 16
#define HF_POLICY_KEYS_MAX 1024    /* in all rules of a policy; tags name more */
#define HF_POLICY_MAX_BYTES 59900U /* of the encoding: what a record holds, with its seal */
#define HF_POLICY_ALL UINT64_MAX   /* of scopes and operations: "*", also what is added later */

typedef enum hf_effect { HF_EFFECT_ALLOW = 0, HF_EFFECT_DENY } hf_effect;

/* A BLS public key (48 bytes) or an address (20, the rest zero). */
typedef struct hf_policy_key {
    uint8_t len;
    uint8_t bytes[HF_BLS_PUBKEY_BYTES];
} hf_policy_key;

typedef struct hf_policy_tag {
    char name[HF_POLICY_TAG_LEN];
} hf_policy_tag;

/* All keys, or those named (sorted, no two equal) and those with one of the tags. */
typedef struct hf_keyset {
    bool all;
    hf_policy_key *keys; /* owned */
    size_t count;
    size_t room;
    hf_policy_tag tags[HF_KEYSET_TAGS_MAX];
    size_t tag_count;
} hf_keyset;

hf_policy_key hf_policy_key_from(const uint8_t *bytes, size_t len); /* 48 or 20 */
/* 0x and 96 or 40 digits. */
hf_status hf_policy_key_parse(const char *text, hf_policy_key *ret_key,
                              hf_error *err) HF_MUST_CHECK;
bool hf_keyset_has(const hf_keyset *set, const hf_policy_key *key, const hf_policy_tag *tags,
                   size_t tag_count);

/* IPv6, or IPv4 mapped into it (then prefix counts from 96). Bits behind the prefix are zero. */
typedef struct hf_policy_range {
    uint8_t address[16];
    uint8_t prefix;
} hf_policy_range;

/* A token bucket: count in each period, all at once if need be. count 0: no bound. */
typedef struct hf_policy_rate {
    uint32_t count;
    uint32_t period_ms;
} hf_policy_rate;

/*
 * Each member narrows the rule; what is left out does not. An allow rule has to say its scopes, and
 * its keys or tags when a scope works on keys, and its operations when it may sign: "*" if need be.
 * Operations narrow the scope sign alone.
 */
typedef struct hf_policy_rule {
    hf_effect effect;
    uint64_t scopes;     /* bits of hf_scope, or HF_POLICY_ALL */
    uint64_t operations; /* bits of hf_operation, or HF_POLICY_ALL */
    hf_keyset keys;      /* all: "*", or a deny rule that names none */
    char networks[HF_POLICY_RULE_NETWORKS_MAX][HF_NETWORK_NAME_LEN]; /* none: any */
    size_t network_count;
    hf_policy_range ranges[HF_POLICY_RULE_RANGES_MAX]; /* where the client is; none: anywhere */
    size_t range_count;
    char certificates[HF_POLICY_RULE_CERTIFICATES_MAX][HF_POLICY_CERTIFICATE_LEN]; /* none: any */
    size_t certificate_count;
    hf_policy_rate rate;        /* allow only: for each key and operation */
    uint64_t token_ttl_seconds; /* allow only: no longer-lived token; 0: any */
    uint32_t said;              /* members put so far (bits of the table in rule.c) */
} hf_policy_rule;

typedef struct hf_policy {
    char name[HF_POLICY_NAME_LEN];
    hf_policy_rule *rules; /* owned */
    size_t rule_count;
    size_t rule_room;
} hf_policy;

bool hf_policy_name_is_valid(const char *name); /* policies and tags: by their room */
bool hf_policy_tag_is_valid(const char *name);

/* INVALID_INPUT for a name that is none. Freed by hf_policy_free. */
hf_status hf_policy_new(const char *name, hf_policy **ret_policy, hf_error *err) HF_MUST_CHECK;
void hf_policy_free(hf_policy *policy); /* NULL is fine */
/* A rule with nothing said, at the end: borrowed until the next. LIMIT, NOMEM. */
hf_status hf_policy_add_rule(hf_policy *policy, hf_policy_rule **ret_rule,
                             hf_error *err) HF_MUST_CHECK;
/*
 * One word of a member: "effect" "allow"; "scopes" "sign"; "keys" "0x93..." or "*"; "tags",
 * "operations", "networks", "addresses" "10.0.0.0/8", "certificates"; "rate" "10/s" or "5/12s";
 * "token_ttl" "24h". Lists are put word by word. INVALID_INPUT with a sentence that names the word.
 */
hf_status hf_policy_rule_put(hf_policy_rule *rule, const char *member, const char *text,
                             hf_error *err) HF_MUST_CHECK;
bool hf_policy_member_is_known(const char *member);
bool hf_policy_member_is_list(const char *member);
/* Is a finished rule whole, and does each member fit the effect? Sorts the keys. */
hf_status hf_policy_rule_finish(hf_policy_rule *rule, hf_error *err) HF_MUST_CHECK;

/* Appends the encoding. LIMIT beyond HF_POLICY_MAX_BYTES or HF_POLICY_KEYS_MAX. */
hf_status hf_policy_encode(const hf_policy *policy, hf_buf *out) HF_MUST_CHECK;
/* Strict: exactly one policy, in the form that encode gives; INVALID_INPUT otherwise, NOMEM. */
hf_status hf_policy_decode(hf_bytes bytes, hf_policy **ret_policy, hf_error *err) HF_MUST_CHECK;
/* {"name":...,"rules":[...]}: the words that hf_policy_rule_put takes. LIMIT, NOMEM. */
hf_status hf_policy_print_json(const hf_policy *policy, hf_buf *out) HF_MUST_CHECK;

/* ---- questions ------------------------------------------------------------------------------- */

typedef struct hf_policy_question {
    hf_scope scope;
    uint32_t operation;        /* hf_operation, for the scope sign */
    const hf_policy_key *key;  /* NULL: none, or all */
    const hf_policy_tag *tags; /* of that key */
    size_t tag_count;
    const char *network;        /* this signer's */
    const uint8_t *address;     /* 16 bytes; NULL: not known */
    const char *certificate;    /* the client certificate's name; "": none was shown */
    uint64_t token_ttl_seconds; /* from creation to expiry; 0: never expires */
} hf_policy_question;

typedef struct hf_policy_answer {
    bool allowed;
    const hf_policy *policy; /* borrowed: whose rule decided; NULL: none spoke */
    size_t rule;             /* counted from 1; 0: none spoke */
    hf_policy_rate rate;     /* the tightest of the rules that allow; count 0: none */
} hf_policy_answer;

/* No rule, no policy: denied. When allowed, policy and rule are those of the rate, else the first
 * that allows. */
void hf_policy_evaluate(const hf_policy *const policies[], size_t count,
                        const hf_policy_question *question, hf_policy_answer *ret_answer);
/* A sentence for the client and the log: "denied by rule 2 of policy night". */
void hf_policy_explain(const hf_policy_answer *answer, const hf_policy_question *question,
                       char *ret_sentence, size_t len);
/* How long a new token with these policies may live at most; 0: as long as one likes. */
uint64_t hf_policy_token_ttl_max(const hf_policy *const policies[], size_t count);

#include "policy/limits.h"

#endif
