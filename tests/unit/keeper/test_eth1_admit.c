/* What may be signed for the execution layer: who asks, what the bytes really are, and what of it
 * is hashed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "keeper/keeper_internal.h"

#include <sys/mman.h>
#include <unistd.h>

#define ROOM 4096

typedef struct rig {
    hf_keeper keeper;
    hf_peer peer;
    hf_key *key;
    hf_msg_eth1_sign frame;
    hf_eth1_work work;
    hf_error err;
} rig;

static int setup(void **state)
{
    rig *r = calloc(1, sizeof *r);
    hf_msg_key secret = {.key_type = HF_KEY_TYPE_SECP256K1};
    hf_error err = {HF_OK, ""};
    assert_non_null(r);
    hf_log_init("test", HF_LOG_TEXT, (hf_log_level)(HF_LOG_BROKEN + 1));
    r->keeper.config.eth1.sign_data = 1;
    r->keeper.config.max_keys = 8;
    r->peer.channel = HF_CHANNEL_FRONT;
    assert_int_equal(hf_keyring_init(&r->keeper.ring, 8, false, &err).code, HF_OK);
    assert_int_equal(hf_policies_init(&r->keeper).code, HF_OK);
    secret.secret[31] = 1;
    assert_int_equal(hf_key_new(&r->keeper.ring, &secret, &r->key).code, HF_OK);
    assert_int_equal(hf_keyring_add(&r->keeper.ring, r->key).code, HF_OK);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig *r = *state;
    hf_policies_done(&r->keeper);
    hf_keyring_done(&r->keeper.ring);
    free(r);
    return 0;
}

/* As hf_eth1_take hands it over; the reference to the key is given back. */
static hf_reason admit_frame(rig *r, int fd)
{
    r->err = (hf_error){HF_OK, ""};
    r->work =
        (hf_eth1_work){.answer = {.peer = &r->peer},
                       .kind = r->frame.kind < HF_ETH1_KIND_COUNT ? r->frame.kind : HF_ETH1_DATA};
    memcpy(r->work.address, r->frame.address, sizeof r->work.address);
    hf_reason reason = hf_eth1_admit(&r->keeper, &r->frame, fd, &r->work, &r->err);
    if (r->work.key != NULL) {
        assert_ptr_equal(r->work.key, r->key);
        assert_int_equal(atomic_fetch_sub(&r->key->refs, 1), 1);
    } else {
        assert_int_not_equal(reason, HF_REASON_OK);
        assert_int_equal(atomic_load(&r->key->refs), 0);
    }
    return reason;
}

static void fill(rig *r, uint32_t kind, const void *bytes, size_t len)
{
    assert_true(len <= HF_ETH1_INLINE_BYTES);
    r->frame = (hf_msg_eth1_sign){.kind = kind, .data_len = (uint32_t)len, .timeout_ms = 1000};
    memcpy(r->frame.address, r->key->address, sizeof r->frame.address);
    memcpy(r->frame.data, bytes, len);
}

static hf_reason admit(rig *r, uint32_t kind, const void *bytes, size_t len)
{
    fill(r, kind, bytes, len);
    return admit_frame(r, -1);
}

static void assert_hashed(const rig *r, const void *bytes, size_t len)
{
    uint8_t digest[HF_KECCAK_BYTES];
    hf_keccak256(bytes, len, digest);
    assert_memory_equal(r->work.digest, digest, sizeof digest);
}

/* "\x19Ethereum Signed Message:\n" and the message, as it is hashed. */
static size_t with_prefix(const void *message, size_t len, uint8_t out[ROOM])
{
    int head = snprintf((char *)out, ROOM,
                        "\x19"
                        "Ethereum Signed Message:\n%zu",
                        len);
    memcpy(out + head, message, len);
    return (size_t)head + len;
}

static size_t transaction(uint8_t out[ROOM], size_t data_len)
{
    static const uint8_t data[ROOM] = {0xa9, 0x05, 0x9c, 0xbb};
    hf_transaction tx = {.type = HF_TX_DYNAMIC_FEE,
                         .has_to = true,
                         .chain_id = 1,
                         .nonce = 7,
                         .gas_limit = 21000,
                         .data = hf_bytes_from(data, data_len)};
    tx.max_fee.bytes[31] = 9;
    hf_rlp_writer writer = {out, ROOM, 0};
    hf_tx_encode(&tx, &writer);
    assert_true(writer.used <= ROOM);
    return writer.used;
}

/* ---- who asks, for what ------------------------------------------------------------------------
 */

static void a_key_that_is_not_here_signs_nothing(void **state)
{
    rig *r = *state;
    fill(r, HF_ETH1_MESSAGE, "hello", 5);
    r->frame.address[0] ^= 1;
    assert_int_equal(admit_frame(r, -1), HF_REASON_UNKNOWN_KEY);
    r->frame.address[0] ^= 1;
    assert_int_equal(admit_frame(r, -1), HF_REASON_OK);
    /* While keys are loaded of which none may be missing, none signs. */
    r->keeper.config.require_all_keys = 1;
    assert_int_equal(admit_frame(r, -1), HF_REASON_UNKNOWN_KEY);
    r->keeper.loading.first_done = true;
    assert_int_equal(admit_frame(r, -1), HF_REASON_OK);
    r->keeper.stopping = true;
    assert_int_equal(admit_frame(r, -1), HF_REASON_SHUTTING_DOWN);
}

static void a_kind_that_is_none_is_malformed(void **state)
{
    rig *r = *state;
    assert_int_equal(admit(r, HF_ETH1_KIND_COUNT, "hello", 5), HF_REASON_MALFORMED);
    assert_int_equal(admit(r, UINT32_MAX, "hello", 5), HF_REASON_MALFORMED);
    assert_string_equal(r->err.msg, "kind: unknown");
}

static void nothing_is_signed_that_cannot_be_written_down(void **state)
{
    rig *r = *state;
    r->keeper.auditor.is_on = true;
    assert_int_equal(admit(r, HF_ETH1_MESSAGE, "hello", 5), HF_REASON_AUDIT_UNAVAILABLE);
}

/* ---- messages ----------------------------------------------------------------------------------
 */

static void a_message_is_hashed_with_its_prefix(void **state)
{
    rig *r = *state;
    uint8_t bytes[ROOM];
    assert_int_equal(admit(r, HF_ETH1_MESSAGE, "hello", 5), HF_REASON_OK);
    assert_hashed(r, bytes, with_prefix("hello", 5, bytes));
    /* Whatever it says: a transaction that is called a message is one. */
    uint8_t tx[ROOM];
    size_t len = transaction(tx, 4);
    assert_int_equal(admit(r, HF_ETH1_MESSAGE, tx, len), HF_REASON_OK);
    assert_hashed(r, bytes, with_prefix(tx, len, bytes));
}

static void a_hash_may_be_a_duty(void **state)
{
    static const struct {
        uint8_t hashes;
        bool has_duties;
        hf_reason reason;
    } cases[] = {
        {HF_ETH1_HASHES_AUTO, false, HF_REASON_OK},
        {HF_ETH1_HASHES_AUTO, true, HF_REASON_FORBIDDEN},
        {HF_ETH1_HASHES_ALLOW, true, HF_REASON_OK},
        {HF_ETH1_HASHES_REFUSE, false, HF_REASON_FORBIDDEN},
    };
    static const uint8_t hash[HF_KECCAK_BYTES + 1] = {1, 2, 3};
    rig *r = *state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        uint8_t bytes[ROOM];
        r->keeper.config.eth1.hashes = cases[i].hashes;
        r->keeper.config.duty_node_id[0] = cases[i].has_duties ? 'a' : '\0';
        assert_int_equal(admit(r, HF_ETH1_MESSAGE, hash, 32), cases[i].reason);
        /* The same where the prefix comes along, as data. */
        size_t len = with_prefix(hash, 32, bytes);
        assert_int_equal(admit(r, HF_ETH1_DATA, bytes, len), cases[i].reason);
        assert_int_equal(admit(r, HF_ETH1_MESSAGE, hash, 31), HF_REASON_OK);
        assert_int_equal(admit(r, HF_ETH1_MESSAGE, hash, 33), HF_REASON_OK);
    }
}

/* ---- transactions, and what is called data -----------------------------------------------------
 */

static void a_transaction_is_read_and_hashed_as_it_came(void **state)
{
    rig *r = *state;
    uint8_t tx[ROOM];
    size_t len = transaction(tx, 4);
    assert_int_equal(admit(r, HF_ETH1_TRANSACTION, tx, len), HF_REASON_OK);
    assert_hashed(r, tx, len);
    assert_int_equal(admit(r, HF_ETH1_TRANSACTION, tx, len - 1), HF_REASON_MALFORMED);
    assert_int_equal(admit(r, HF_ETH1_TRANSACTION, tx, len + 1), HF_REASON_MALFORMED);
    assert_int_equal(admit(r, HF_ETH1_TRANSACTION, "", 0), HF_REASON_MALFORMED);
}

static void data_is_judged_as_what_it_is(void **state)
{
    rig *r = *state;
    uint8_t bytes[ROOM];
    size_t len = transaction(bytes, 4);
    assert_int_equal(admit(r, HF_ETH1_DATA, bytes, len), HF_REASON_OK);
    assert_int_equal(r->work.kind, HF_ETH1_TRANSACTION);
    assert_hashed(r, bytes, len);
    bytes[0] = 6; /* of another chain, maybe */
    assert_int_equal(admit(r, HF_ETH1_DATA, bytes, len), HF_REASON_FORBIDDEN);
    len = with_prefix("hello", 5, bytes);
    assert_int_equal(admit(r, HF_ETH1_DATA, bytes, len), HF_REASON_OK);
    assert_int_equal(r->work.kind, HF_ETH1_MESSAGE);
    assert_hashed(r, bytes, len); /* the prefix once */
    assert_int_equal(admit(r, HF_ETH1_DATA, "what else", 9), HF_REASON_OK);
    assert_int_equal(r->work.kind, HF_ETH1_DATA);
    assert_hashed(r, "what else", 9);
    static const uint8_t typed[66] = {0x19, 0x01, 5};
    assert_int_equal(admit(r, HF_ETH1_DATA, typed, sizeof typed), HF_REASON_FORBIDDEN);
    r->keeper.config.eth1.sign_data = 0;
    assert_int_equal(admit(r, HF_ETH1_DATA, "what else", 9), HF_REASON_FORBIDDEN);
    assert_int_equal(admit(r, HF_ETH1_MESSAGE, "what else", 9), HF_REASON_OK);
}

/* ---- bytes that come in a file ------------------------------------------------------------------
 */

static int file_of(const void *bytes, size_t len)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    return fd;
}

static void many_bytes_come_in_a_file(void **state)
{
    rig *r = *state;
    uint8_t tx[ROOM];
    size_t len = transaction(tx, 3000);
    int fd = file_of(tx, len);
    assert_true(len > HF_ETH1_INLINE_BYTES);
    fill(r, HF_ETH1_TRANSACTION, "", 0);
    r->frame.data_len = (uint32_t)len;
    assert_int_equal(admit_frame(r, fd), HF_REASON_OK);
    assert_hashed(r, tx, len);
    assert_int_equal(admit_frame(r, -1), HF_REASON_MALFORMED);
    assert_int_equal(ftruncate(fd, (off_t)len - 1), 0);
    assert_int_equal(admit_frame(r, fd), HF_REASON_MALFORMED);
    (void)close(fd);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(admit_frame(r, ends[0]), HF_REASON_MALFORMED); /* and does not wait */
    (void)close(ends[0]);
    (void)close(ends[1]);
    r->frame.data_len = HF_ETH1_DATA_MAX + 1;
    assert_int_equal(admit_frame(r, -1), HF_REASON_TOO_LARGE);
}

/* ---- typed data ---------------------------------------------------------------------------------
 */

static void typed_data_is_hashed_here_and_votes_want_their_lock(void **state)
{
    rig *r = *state;
    hf_typed_message message = {.kind = HF_TYPED_OTHER};
    uint8_t digest[HF_KECCAK_BYTES];
    message.domain.field_count = 1;
    message.domain.fields[0] = HF_EIP712_CHAIN_ID;
    message.domain.chain_id[31] = 1;
    assert_int_equal(hf_typed_digest(&message, digest, NULL).code, HF_OK);
    assert_int_equal(admit(r, HF_ETH1_TYPED_DATA, &message, sizeof message), HF_REASON_OK);
    assert_memory_equal(r->work.digest, digest, sizeof digest);
    assert_int_equal(admit(r, HF_ETH1_TYPED_DATA, &message, sizeof message - 1),
                     HF_REASON_MALFORMED);
    message.domain.fields[0] = HF_EIP712_FIELD_COUNT;
    assert_int_equal(admit(r, HF_ETH1_TYPED_DATA, &message, sizeof message), HF_REASON_MALFORMED);
    message.domain.fields[0] = HF_EIP712_CHAIN_ID;
    message.kind = HF_TYPED_KIND_COUNT;
    assert_int_equal(admit(r, HF_ETH1_TYPED_DATA, &message, sizeof message), HF_REASON_MALFORMED);
    /* A vote of an Aztec validator: never without a database that sees to its slot. */
    message = (hf_typed_message){.kind = HF_TYPED_AZTEC_VOTE, .slot = 7};
    message.domain.field_count = 4;
    for (uint8_t i = 0; i < 4; i++) {
        message.domain.fields[i] = i;
    }
    hf_keccak256((const uint8_t *)"TallySlashingProposer", 21, message.domain.name_hash);
    hf_keccak256((const uint8_t *)"1", 1, message.domain.version_hash);
    assert_int_equal(admit(r, HF_ETH1_TYPED_DATA, &message, sizeof message),
                     HF_REASON_DUTY_STORE_UNAVAILABLE);
    assert_null(r->work.key);
    assert_false(r->work.is_taken);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_key_that_is_not_here_signs_nothing),
        TEST(a_kind_that_is_none_is_malformed),
        TEST(nothing_is_signed_that_cannot_be_written_down),
        TEST(a_message_is_hashed_with_its_prefix),
        TEST(a_hash_may_be_a_duty),
        TEST(a_transaction_is_read_and_hashed_as_it_came),
        TEST(data_is_judged_as_what_it_is),
        TEST(many_bytes_come_in_a_file),
        TEST(typed_data_is_hashed_here_and_votes_want_their_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
