/* Unsigned transactions: each type there and back, the example of EIP-155, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "eth1/eth1.h"

#define ROOM 1024

static const uint8_t to[HF_ADDRESS_BYTES] = {0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x35,
                                             0x35, 0x35, 0x35, 0x35, 0x35, 0x35, 0x35,
                                             0x35, 0x35, 0x35, 0x35, 0x35, 0x35};
static uint8_t access_list[ROOM];
static uint8_t blob_hashes[33];
static uint8_t authorizations[ROOM];

static hf_u256 wide(uint64_t value)
{
    hf_u256 number = {{0}};
    for (size_t i = 0; i < 8; i++) {
        number.bytes[31 - i] = (uint8_t)(value >> (8 * i));
    }
    return number;
}

/* One entry: [to, [a key]] */
static hf_bytes make_access_list(void)
{
    static const uint8_t key[32] = {1};
    hf_rlp_writer writer = {access_list, sizeof access_list, 0};
    hf_rlp_put_list(&writer, 21 + 1 + 33);
    hf_rlp_put_string(&writer, hf_bytes_from(to, sizeof to));
    hf_rlp_put_list(&writer, 33);
    hf_rlp_put_string(&writer, hf_bytes_from(key, sizeof key));
    return hf_bytes_from(access_list, writer.used);
}

static hf_bytes make_blob_hashes(uint8_t version)
{
    uint8_t hash[32] = {version, 2, 3};
    hf_rlp_writer writer = {blob_hashes, sizeof blob_hashes, 0};
    hf_rlp_put_string(&writer, hf_bytes_from(hash, sizeof hash));
    return hf_bytes_from(blob_hashes, writer.used);
}

static hf_bytes make_authorizations(uint64_t parity)
{
    static const uint8_t half[32] = {9, 9};
    hf_rlp_writer writer = {authorizations, sizeof authorizations, 0};
    hf_rlp_writer counter = {NULL, 0, 0};
    hf_rlp_put_u64(&counter, parity);
    hf_rlp_put_list(&writer, 1 + 21 + 1 + counter.used + 33 + 33);
    hf_rlp_put_u64(&writer, 1);
    hf_rlp_put_string(&writer, hf_bytes_from(to, sizeof to));
    hf_rlp_put_u64(&writer, 0);
    hf_rlp_put_u64(&writer, parity);
    hf_rlp_put_string(&writer, hf_bytes_from(half, sizeof half));
    hf_rlp_put_string(&writer, hf_bytes_from(half, sizeof half));
    return hf_bytes_from(authorizations, writer.used);
}

static hf_transaction transaction_of(hf_tx_type type)
{
    hf_transaction tx = {.type = type,
                         .has_to = true,
                         .chain_id = 1,
                         .nonce = 9,
                         .gas_limit = 21000,
                         .value = wide(1000000000000000000U),
                         .gas_price = wide(20000000000U),
                         .max_priority_fee = wide(1),
                         .max_fee = wide(20000000000U),
                         .max_blob_fee = wide(7),
                         .data = hf_bytes_from("", 0),
                         .access_list = make_access_list(),
                         .blob_hashes = make_blob_hashes(1),
                         .authorizations = make_authorizations(1)};
    memcpy(tx.to, to, sizeof to);
    return tx;
}

static hf_bytes encode(const hf_transaction *tx, uint8_t out[ROOM])
{
    hf_rlp_writer writer = {out, ROOM, 0};
    hf_tx_encode(tx, &writer);
    assert_true(writer.used <= ROOM);
    return hf_bytes_from(out, writer.used);
}

static void assert_refused(const hf_transaction *tx, const char *beginning)
{
    uint8_t room[ROOM];
    hf_transaction again;
    hf_error err = {HF_OK, ""};
    assert_int_equal(hf_tx_decode(encode(tx, room), &again, &err).code, HF_INVALID_INPUT);
    assert_memory_equal(err.msg, beginning, strlen(beginning));
}

static void the_example_of_eip_155(void **state)
{
    static const char signing_data[] =
        "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a7640000800180"
        "80";
    static const char signing_hash[] =
        "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53";
    static const char signed_tx[] =
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025"
        "a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb7"
        "03304b3800ccf555c9f3dc64214b297fb1966a3b6d83";
    static const char signature_hex[] =
        "28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa63627667cbe9d8997f761aecb70330"
        "4b3800ccf555c9f3dc64214b297fb1966a3b6d831b";
    uint8_t room[ROOM];
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES];
    uint8_t digest[HF_KECCAK_BYTES];
    char hex[2 * ROOM + 1];
    (void)state;
    hf_transaction tx = transaction_of(HF_TX_LEGACY);
    hf_bytes bytes = encode(&tx, room);
    hf_hex_encode(bytes.ptr, bytes.len, hex);
    assert_string_equal(hex, signing_data);
    hf_keccak256(bytes.ptr, bytes.len, digest);
    hf_hex_encode(digest, sizeof digest, hex);
    assert_string_equal(hex, signing_hash);
    assert_false(hf_failed(hf_hex_decode(signature_hex, 130, signature, sizeof signature)));
    uint8_t out[ROOM];
    hf_rlp_writer writer = {out, sizeof out, 0};
    assert_false(hf_failed(hf_tx_encode_signed(bytes, signature, &writer)));
    hf_hex_encode(out, writer.used, hex);
    assert_string_equal(hex, signed_tx);
}

static void every_type_goes_there_and_back(void **state)
{
    (void)state;
    for (unsigned type = 0; type < HF_TX_TYPE_COUNT; type++) {
        uint8_t room[ROOM];
        uint8_t room_again[ROOM];
        hf_transaction tx = transaction_of((hf_tx_type)type);
        hf_transaction read;
        hf_bytes bytes = encode(&tx, room);
        assert_false(hf_failed(hf_tx_decode(bytes, &read, NULL)));
        assert_int_equal(read.type, type);
        assert_int_equal(read.chain_id, 1);
        assert_int_equal(read.nonce, 9);
        assert_int_equal(read.gas_limit, 21000);
        assert_true(read.has_to);
        assert_memory_equal(read.to, to, sizeof to);
        assert_int_equal(hf_u256_compare(&read.value, &tx.value), 0);
        assert_int_equal(read.blob_count, type == HF_TX_BLOB);
        assert_int_equal(read.authorization_count, type == HF_TX_SET_CODE);
        hf_bytes again = encode(&read, room_again);
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.ptr, bytes.ptr, bytes.len);
    }
}

/* Whatever is changed: it is refused, or it is another transaction with its own one encoding. */
static void no_two_encodings_are_the_same_transaction(void **state)
{
    size_t accepted = 0;
    (void)state;
    for (unsigned type = 0; type < HF_TX_TYPE_COUNT; type++) {
        uint8_t room[ROOM];
        hf_transaction tx = transaction_of((hf_tx_type)type);
        hf_bytes bytes = encode(&tx, room);
        for (size_t i = 0; i < bytes.len; i++) {
            for (unsigned change = 1; change < 256; change += 2) {
                uint8_t room_again[ROOM];
                hf_transaction read;
                room[i] ^= (uint8_t)change;
                if (!hf_failed(hf_tx_decode(bytes, &read, NULL))) {
                    hf_bytes again = encode(&read, room_again);
                    assert_int_equal(again.len, bytes.len);
                    assert_memory_equal(again.ptr, room, bytes.len);
                    accepted++;
                }
                room[i] ^= (uint8_t)change;
            }
            hf_transaction read;
            assert_true(hf_failed(hf_tx_decode(hf_bytes_from(room, i), &read, NULL)));
        }
    }
    assert_true(accepted > 1000);
}

static void what_no_node_takes_is_refused_by_name(void **state)
{
    (void)state;
    hf_transaction tx = transaction_of(HF_TX_DYNAMIC_FEE);
    tx.max_priority_fee = wide(20000000001U);
    assert_refused(&tx, "maxPriorityFeePerGas: above maxFeePerGas");
    tx = transaction_of(HF_TX_LEGACY);
    tx.chain_id = 0;
    assert_refused(&tx, "chainId: 0");
    tx.chain_id = HF_TX_CHAIN_ID_MAX + 1;
    assert_refused(&tx, "chainId: too large");
    tx = transaction_of(HF_TX_ACCESS_LIST);
    tx.nonce = UINT64_MAX;
    assert_refused(&tx, "nonce: the highest");
    tx = transaction_of(HF_TX_BLOB);
    tx.has_to = false;
    assert_refused(&tx, "to: missing");
    tx = transaction_of(HF_TX_BLOB);
    tx.blob_hashes = hf_bytes_from(NULL, 0);
    assert_refused(&tx, "blobVersionedHashes: empty");
    tx.blob_hashes = make_blob_hashes(2);
    assert_refused(&tx, "blobVersionedHashes[0]: malformed");
    tx = transaction_of(HF_TX_SET_CODE);
    tx.authorizations = hf_bytes_from(NULL, 0);
    assert_refused(&tx, "authorizationList: empty");
    tx.authorizations = make_authorizations(256);
    assert_refused(&tx, "authorizationList[0]: malformed");
    tx = transaction_of(HF_TX_DYNAMIC_FEE);
    tx.access_list = hf_bytes_from("\x01", 1);
    assert_refused(&tx, "accessList[0]: malformed");
}

static void a_contract_is_created_by_nobodys_address(void **state)
{
    uint8_t room[ROOM];
    hf_transaction read;
    (void)state;
    hf_transaction tx = transaction_of(HF_TX_DYNAMIC_FEE);
    tx.has_to = false;
    assert_false(hf_failed(hf_tx_decode(encode(&tx, room), &read, NULL)));
    assert_false(read.has_to);
}

static void signed_ones_and_other_types_are_refused(void **state)
{
    uint8_t room[ROOM];
    uint8_t out[ROOM];
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES] = {1};
    hf_transaction read;
    (void)state;
    signature[64] = 28;
    for (unsigned type = 0; type < HF_TX_TYPE_COUNT; type++) {
        hf_transaction tx = transaction_of((hf_tx_type)type);
        hf_bytes bytes = encode(&tx, room);
        hf_rlp_writer writer = {out, sizeof out, 0};
        assert_false(hf_failed(hf_tx_encode_signed(bytes, signature, &writer)));
        signature[64] = 29;
        assert_true(hf_failed(hf_tx_encode_signed(bytes, signature, &writer)));
        signature[64] = 28;
        assert_true(hf_failed(hf_tx_decode(hf_bytes_from(out, writer.used), &read, NULL)));
        room[0] = (uint8_t)(type == 0 ? 0x7f : type + 10);
        assert_true(hf_failed(hf_tx_decode(bytes, &read, NULL)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_eip_155),
        cmocka_unit_test(every_type_goes_there_and_back),
        cmocka_unit_test(no_two_encodings_are_the_same_transaction),
        cmocka_unit_test(what_no_node_takes_is_refused_by_name),
        cmocka_unit_test(a_contract_is_created_by_nobodys_address),
        cmocka_unit_test(signed_ones_and_other_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
