/*
 * What no token, however powerful, gets signed: limits on the message itself, kept for each key,
 * and judged before a key is touched. Included by policy.h.
 *
 * A limit applies to the keys it chooses; of several that choose a key, all hold. A request that
 * carries nothing a limit speaks of passes it. Time comes in as a number; nothing here waits.
 */
#ifndef HF_POLICY_LIMITS_H
#define HF_POLICY_LIMITS_H

/* ---- verdicts -------------------------------------------------------------------------------- */

typedef enum hf_limit_verdict {
    HF_LIMIT_PASSED = 0,
    HF_LIMIT_FORK_VERSION,  /* a fork version that is not among those allowed */
    HF_LIMIT_EXIT,          /* exits are refused */
    HF_LIMIT_EXIT_APPROVAL, /* an exit that nobody else has approved */
    HF_LIMIT_FEE_RECIPIENT, /* somebody else would be paid */
    HF_LIMIT_GAS_LIMIT,     /* outside of the bounds */
    HF_LIMIT_BLOCK_PROOF,   /* a block that comes without a proof, or with a wrong one */
    HF_LIMIT_CLOCK,         /* a slot or epoch too far from now */
    HF_LIMIT_RATE,          /* too many of the kind for this key */
    HF_LIMIT_CHAIN,         /* a chain that is not among those allowed */
    HF_LIMIT_RECIPIENT,     /* a recipient, or a contract, that is not */
    HF_LIMIT_CREATION,      /* a transaction that creates a contract */
    HF_LIMIT_METHOD,        /* a call of a method that is not among those allowed */
    HF_LIMIT_VALUE,         /* more in one transaction than allowed */
    HF_LIMIT_DAY,           /* more in a day than allowed */
    HF_LIMIT_FEE,           /* a fee higher than allowed */
    HF_LIMIT_MESSAGE,       /* messages, or typed data, of this key are refused */
    HF_LIMIT_OPAQUE,        /* a hash that nobody explains, of a key with limits */
    HF_LIMIT_VERDICT_COUNT
} hf_limit_verdict;

/* ---- limits ---------------------------------------------------------------------------------- */

#define HF_LIMITS_MAX 64
#define HF_LIMIT_VERSIONS_MAX 16
#define HF_LIMIT_RECIPIENTS_MAX 32
#define HF_LIMIT_NO_BOUND UINT64_MAX

#include "policy/transactions.h"

typedef enum hf_exit_rule {
    HF_EXITS_ALLOWED = 0,
    HF_EXITS_APPROVED,
    HF_EXITS_REFUSED
} hf_exit_rule;

typedef struct hf_limit {
    hf_keyset keys; /* all, when the text names none */
    uint8_t versions[HF_LIMIT_VERSIONS_MAX][4];
    size_t version_count; /* 0: any */
    hf_exit_rule exits;
    uint8_t recipients[HF_LIMIT_RECIPIENTS_MAX][20];
    size_t recipient_count; /* 0: any */
    bool needs_proofs;      /* blocks without proofs are refused; wrong ones are in any case */
    uint64_t gas_min;
    uint64_t gas_max;
    uint64_t slots_ahead; /* HF_LIMIT_NO_BOUND: any */
    uint64_t slots_behind;
    hf_policy_rate rates[HF_OP_COUNT]; /* for each key and operation */
    hf_limit_eth1 eth1;
    uint32_t said;
} hf_limit;

void hf_limit_init(hf_limit *limit);
void hf_limit_done(hf_limit *limit);
/*
 * As hf_policy_rule_put: "keys", "tags"; "fork_versions" "0x05000000"; "exits" "allow", "approve"
 * or "refuse"; "fee_recipients" "0x..." (20 bytes); "block_proofs" "check" or "require";
 * "gas_limit_min", "gas_limit_max"; "slots_ahead", "slots_behind"; "rates" "ATTESTATION 2/12s" or
 * "* 100/s". Of the execution layer: "chain_ids" "1"; "recipients" "0x..."; "methods" "0xa9059cbb",
 * "transfer(address,uint256)" or "none"; "contract_creation", "messages", "typed_data" "allow" or
 * "refuse"; "value_max", "value_per_day", "fee_max" "1.5 ether".
 */
hf_status hf_limit_put(hf_limit *limit, const char *member, const char *text,
                       hf_error *err) HF_MUST_CHECK;
bool hf_limit_member_is_known(const char *member);
bool hf_limit_member_is_list(const char *member);
hf_status hf_limit_finish(hf_limit *limit, hf_error *err) HF_MUST_CHECK;

/* ---- rates ----------------------------------------------------------------------------------- */

/*
 * Token buckets by key, operation and what sets the rate, in memory of one size. A bucket that is
 * full again needs no place. When every place that a bucket may have is taken, it counts as empty:
 * a flood cannot make room for itself.
 */
typedef struct hf_rates hf_rates;

/* places is rounded up to a power of two. seed: random, so that nobody chooses who shares a place.
 * NULL when memory is short. */
hf_rates *hf_rates_new(size_t places, const uint8_t seed[16]);
void hf_rates_free(hf_rates *rates);
/* setter tells rules and limits apart. Takes one from the bucket; false, and nothing taken, when it
 * is empty. now_ns never runs backwards. */
bool hf_rates_take(hf_rates *rates, const hf_policy_rate *rate, uint64_t setter,
                   const hf_policy_key *key, uint32_t operation, uint64_t now_ns);
/* Is there one to take? */
bool hf_rates_has(const hf_rates *rates, const hf_policy_rate *rate, uint64_t setter,
                  const hf_policy_key *key, uint32_t operation, uint64_t now_ns);
/* The setter of a rule's rate. */
uint64_t hf_rates_setter(const hf_policy_answer *answer);

/* ---- approvals of exits ---------------------------------------------------------------------- */

#define HF_APPROVALS_MAX 256
#define HF_APPROVAL_MINUTES_MAX 1440
#define HF_APPROVER_LEN 64

/* Who approved is named by the token's accessor, or "admin" for the local socket. */
typedef struct hf_approval {
    hf_policy_key key;
    uint64_t until_ms; /* Unix time; 0: free place */
    char approver[HF_APPROVER_LEN];
} hf_approval;

typedef struct hf_approvals {
    hf_approval items[HF_APPROVALS_MAX];
} hf_approvals;

/* A later approval of the key by the same approver replaces the earlier one; minutes 0 takes it
 * back. LIMIT: no place. */
hf_status hf_approvals_give(hf_approvals *approvals, const hf_policy_key *key, const char *approver,
                            uint64_t minutes, uint64_t now_ms) HF_MUST_CHECK;
/* Has somebody else than the asker approved an exit of this key? */
bool hf_approvals_have(const hf_approvals *approvals, const hf_policy_key *key, const char *asker,
                       uint64_t now_ms);

/* ---- judging a request ----------------------------------------------------------------------- */

typedef struct hf_limit_context {
    const hf_network *network;
    const hf_policy_tag *tags; /* of the key */
    size_t tag_count;
    const char *asker; /* accessor of the token, "" for none */
    uint64_t now_unix_ms;
    uint64_t now_ns; /* monotonic */
    const hf_approvals *approvals;
    hf_rates *rates;
} hf_limit_context;

/* The first limit that does not hold, with a sentence. What the rates allow is taken only when all
 * limits hold. The request was admitted: its operation is one, its root is right. */
hf_limit_verdict hf_limits_judge(const hf_limit *limits, size_t count,
                                 const hf_limit_context *context, const hf_eth_request *request,
                                 char *ret_sentence, size_t len);

/*
 * As hf_limits_judge; of the context the network and the approvals have no part in it. *ret_counts:
 * a bound of a day applies, and the transaction's value has to be added and kept before its
 * signature leaves.
 */
hf_limit_verdict hf_limits_judge_eth1(const hf_limit *limits, size_t count,
                                      const hf_limit_context *context,
                                      const hf_eth1_question *question, bool *ret_counts,
                                      char *ret_sentence, size_t len);

/* ---- canaries -------------------------------------------------------------------------------- */

#define HF_CANARIES_MAX 256

/* Keys that nobody has reason to use: whoever does is not one of us. */
typedef enum hf_canary_action {
    HF_CANARY_ALERT = 0, /* sign, and tell */
    HF_CANARY_DENY,
    HF_CANARY_SEAL, /* deny, and lock every key away */
    HF_CANARY_ACTION_COUNT
} hf_canary_action;

const char *hf_canary_action_name(hf_canary_action action); /* never NULL */
bool hf_canary_action_parse(const char *name, hf_canary_action *ret_action);

typedef struct hf_canary {
    hf_policy_key key;
    hf_canary_action action;
} hf_canary;

/* ---- the book: all that the configuration says ------------------------------------------------
 */

#define HF_BOOK_POLICIES_MAX 256
#define HF_BOOK_SOURCES_MAX 32
#define HF_BOOK_MAX_BYTES (4U << 20)

typedef struct hf_source_tags {
    hf_policy_tag tags[HF_KEYSET_TAGS_MAX];
    size_t count;
} hf_source_tags;

typedef struct hf_book {
    hf_policy *policies[HF_BOOK_POLICIES_MAX]; /* owned; no name twice */
    size_t policy_count;
    hf_limit limits[HF_LIMITS_MAX];
    size_t limit_count;
    hf_canary canaries[HF_CANARIES_MAX]; /* sorted by key, none twice */
    size_t canary_count;
    hf_source_tags sources[HF_BOOK_SOURCES_MAX]; /* by place in signing_keys */
} hf_book;

hf_book *hf_book_new(void);       /* empty; NULL when memory is short */
void hf_book_free(hf_book *book); /* NULL is fine */
/* CONFLICT: there is one of this name (take_policy is then freed). LIMIT. */
hf_status hf_book_add_policy(hf_book *book, hf_policy *take_policy, hf_error *err) HF_MUST_CHECK;
const hf_policy *hf_book_find_policy(const hf_book *book, const char *name);
/* CONFLICT: a key twice. */
hf_status hf_book_add_canary(hf_book *book, const hf_canary *canary, hf_error *err) HF_MUST_CHECK;
const hf_canary *hf_book_find_canary(const hf_book *book, const hf_policy_key *key);
hf_status hf_book_encode(const hf_book *book, hf_buf *out) HF_MUST_CHECK;
hf_status hf_book_decode(hf_bytes bytes, hf_book **ret_book, hf_error *err) HF_MUST_CHECK;

#endif
