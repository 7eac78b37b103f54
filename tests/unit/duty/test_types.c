/* Duty types, identity, normal form, stored text, configuration: without a database. */
#include "support.h"

static void block_index_of_a_proposal_is_the_given_one(void **state)
{
    (void)state;
    int32_t index = 99;
    assert_false(hf_failed(hf_aztec_block_index(HF_DUTY_BLOCK_PROPOSAL, true, 0, &index, NULL)));
    assert_int_equal(index, 0);
    assert_false(hf_failed(hf_aztec_block_index(HF_DUTY_BLOCK_PROPOSAL, true, 7, &index, NULL)));
    assert_int_equal(index, 7);
}

static void a_proposal_without_index_is_refused(void **state)
{
    (void)state;
    int32_t index = 99;
    hf_error err = {0};
    hf_status st = hf_aztec_block_index(HF_DUTY_BLOCK_PROPOSAL, false, 0, &index, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "blockIndexWithinCheckpoint"));
    st = hf_aztec_block_index(HF_DUTY_BLOCK_PROPOSAL, true, -1, &index, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
    st = hf_aztec_block_index(HF_DUTY_BLOCK_PROPOSAL, true, INT64_C(2147483648), &index, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
    assert_int_equal(index, 99);
}

static void every_other_type_has_index_minus_one(void **state)
{
    (void)state;
    for (uint32_t type = 1; type < HF_DUTY_TYPE_COUNT; type++) {
        int32_t index = 99;
        assert_false(hf_failed(hf_aztec_block_index(type, true, 5, &index, NULL)));
        assert_int_equal(index, -1);
        assert_false(hf_failed(hf_aztec_block_index(type, false, 0, &index, NULL)));
        assert_int_equal(index, -1);
    }
}

static void votes_have_block_number_zero(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < HF_DUTY_TYPE_COUNT; type++) {
        hf_duty duty = {.type = type, .block_number = (UINT64_C(1) << 53) - 1};
        bool vote = type == HF_DUTY_GOVERNANCE_VOTE || type == HF_DUTY_SLASHING_VOTE;
        assert_int_equal(hf_aztec_block_number(&duty), vote ? 0 : (UINT64_C(1) << 53) - 1);
    }
}

static void only_auth_requests_and_txs_are_unprotected(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < HF_DUTY_TYPE_COUNT; type++) {
        assert_int_equal(hf_duty_type_is_protected(type),
                         type != HF_DUTY_AUTH_REQUEST && type != HF_DUTY_TXS);
    }
    assert_false(hf_duty_type_is_protected(HF_DUTY_TYPE_COUNT));
}

static void names_are_read_back(void **state)
{
    (void)state;
    uint32_t type = 99;
    for (uint32_t i = 0; i < HF_DUTY_TYPE_COUNT; i++) {
        const char *name = hf_duty_type_name(i);
        assert_true(hf_duty_type_parse(name, strlen(name), &type));
        assert_int_equal(type, i);
    }
    assert_false(hf_duty_type_parse("CHECKPOINT_ATTESTATION", 22, &type));
    assert_false(hf_duty_type_parse("attestation", 11, &type));
    assert_false(hf_duty_type_parse("ATTESTATIONX", 12, &type));
    assert_null(hf_duty_type_name(HF_DUTY_TYPE_COUNT));
    for (int i = 0; i < HF_DUTY_RESULT_COUNT; i++) {
        assert_string_not_equal(hf_duty_result_name((hf_duty_result)i), "");
    }
    assert_string_equal(hf_duty_result_name(HF_DUTY_CONFLICT), "CONFLICT");
    assert_string_equal(hf_duty_result_name(HF_DUTY_NO_MEMORY), "NO_MEMORY");
}

static void numbers_beyond_sql_are_refused(void **state)
{
    (void)state;
    hf_error err = {0};
    hf_duty duty = {.type = HF_DUTY_ATTESTATION, .slot = (uint64_t)INT64_MAX};
    assert_false(hf_failed(hf_aztec_duty_normalize(&duty, &err)));
    duty.slot++;
    assert_int_equal(hf_aztec_duty_normalize(&duty, &err).code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "slot"));
    duty = (hf_duty){.type = HF_DUTY_ATTESTATION, .block_number = UINT64_MAX};
    assert_int_equal(hf_aztec_duty_normalize(&duty, &err).code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "blockNumber"));
    duty = (hf_duty){.type = HF_DUTY_ATTESTATION, .checkpoint_number = UINT64_MAX};
    assert_int_equal(hf_aztec_duty_normalize(&duty, &err).code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "checkpointNumber"));
    duty = (hf_duty){.type = HF_DUTY_TYPE_COUNT};
    assert_int_equal(hf_aztec_duty_normalize(&duty, &err).code, HF_INVALID_INPUT);
    /* A vote has no block number at all. */
    duty = (hf_duty){.type = HF_DUTY_SLASHING_VOTE, .block_number = UINT64_MAX};
    assert_false(hf_failed(hf_aztec_duty_normalize(&duty, &err)));
    assert_int_equal(duty.block_number, 0);
}

static void identity_is_that_of_the_primary_key(void **state)
{
    (void)state;
    hf_duty base = duty_new(), other = base;
    other.block_number = 7;
    other.checkpoint_number = 9;
    assert_true(hf_aztec_duty_equal(&base, &other));
    assert_true(hf_aztec_duty_fingerprint(&base) == hf_aztec_duty_fingerprint(&other));
    for (int member = 0; member < 5; member++) {
        other = base;
        other.rollup[19] ^= member == 0;
        other.validator[0] ^= member == 1;
        other.slot += member == 2;
        other.type += member == 3;
        other.block_index += member == 4;
        assert_false(hf_aztec_duty_equal(&base, &other));
        assert_false(hf_aztec_duty_fingerprint(&base) == hf_aztec_duty_fingerprint(&other));
    }
}

static hf_status parse(const char *text, uint8_t *signature)
{
    return hf_aztec_signature_parse(text, strlen(text), signature);
}

static void stored_signatures_are_checked_for_their_shape(void **state)
{
    (void)state;
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES], back[HF_DUTY_SIGNATURE_BYTES];
    uint8_t hash[HF_DUTY_HASH_BYTES] = {3};
    char text[HF_AZTEC_SIGNATURE_TEXT_LEN];
    test_signature(hash, signature);
    hf_aztec_signature_format(signature, text);
    assert_false(hf_failed(parse(text, back)));
    assert_memory_equal(signature, back, sizeof(back));
    text[131] = '0'; /* v = 0x10 */
    assert_true(hf_failed(parse(text, back)));
    text[130] = '0'; /* v = 0, as some signers write 27 */
    assert_false(hf_failed(parse(text, back)));
    assert_int_equal(back[64], 27);
    text[40] = 'g';
    assert_true(hf_failed(parse(text, back)));
    assert_true(hf_failed(parse("", back)));
    assert_true(hf_failed(parse("0x", back)));
    memset(signature, 0, 32);
    hf_aztec_signature_format(signature, text);
    assert_true(hf_failed(parse(text, back)));
}

static const char *const variables[] = {"VALIDATOR_HA_SIGNING_ENABLED",
                                        "VALIDATOR_HA_NODE_ID",
                                        "VALIDATOR_HA_POLLING_INTERVAL_MS",
                                        "VALIDATOR_HA_SIGNING_TIMEOUT_MS",
                                        "VALIDATOR_HA_MAX_STUCK_DUTIES_AGE_MS",
                                        "VALIDATOR_HA_OLD_DUTIES_MAX_AGE_H",
                                        "VALIDATOR_HA_DATABASE_URL",
                                        "VALIDATOR_HA_POOL_MAX",
                                        "VALIDATOR_HA_POOL_MIN",
                                        "VALIDATOR_HA_POOL_IDLE_TIMEOUT_MS",
                                        "VALIDATOR_HA_POOL_CONNECTION_TIMEOUT_MS"};

static void clear_environment(void)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(variables); i++) {
        assert_int_equal(unsetenv(variables[i]), 0);
    }
}

static void the_package_s_variables_configure(void **state)
{
    (void)state;
    static const char *const values[] = {
        "TRUE", "node-7", "20", "2000", "90000", "48", "postgresql://u:p@h/d",
        "5",    "1",      "11", "12"};
    hf_duty_config config;
    hf_duty_error error = {0};
    clear_environment();
    hf_duty_config_init(&config);
    assert_int_equal(hf_duty_config_from_env(&config, &error), HF_DUTY_OK);
    assert_false(config.enabled);
    assert_int_equal(config.polling_interval_ms, 100);
    assert_int_equal(config.signing_timeout_ms, 3000);
    assert_int_equal(config.max_stuck_age_ms, 144000);
    assert_int_equal(config.old_age_hours, 0);
    assert_int_equal(config.pool_max, 10);
    for (size_t i = 0; i < HF_ARRAY_LEN(variables); i++) {
        assert_int_equal(setenv(variables[i], values[i], 1), 0);
    }
    assert_int_equal(hf_duty_config_from_env(&config, &error), HF_DUTY_OK);
    clear_environment();
    assert_true(config.enabled);
    assert_string_equal(config.node_id, "node-7");
    assert_string_equal(config.database_url, "postgresql://u:p@h/d");
    assert_int_equal(config.polling_interval_ms, 20);
    assert_int_equal(config.signing_timeout_ms, 2000);
    assert_int_equal(config.max_stuck_age_ms, 90000);
    assert_int_equal(config.old_age_hours, 48);
    assert_int_equal(config.pool_max, 5);
    assert_int_equal(config.pool_min, 1);
    assert_int_equal(config.pool_idle_timeout_ms, 11);
    assert_int_equal(config.pool_connection_timeout_ms, 12);
}

static void a_wrong_variable_is_named_and_its_value_is_not(void **state)
{
    (void)state;
    static const struct {
        const char *variable, *value;
    } wrong[] = {{"VALIDATOR_HA_POLLING_INTERVAL_MS", "soon"},
                 {"VALIDATOR_HA_POLLING_INTERVAL_MS", "0"},
                 {"VALIDATOR_HA_SIGNING_TIMEOUT_MS", "-1"},
                 {"VALIDATOR_HA_SIGNING_ENABLED", "perhaps"},
                 {"VALIDATOR_HA_MAX_STUCK_DUTIES_AGE_MS", "99999999999"}};
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        hf_duty_config config, before;
        hf_duty_error error = {0};
        clear_environment();
        hf_duty_config_init(&config);
        memcpy(&before, &config, sizeof(before));
        assert_int_equal(setenv(wrong[i].variable, wrong[i].value, 1), 0);
        assert_int_equal(hf_duty_config_from_env(&config, &error), HF_DUTY_CONFIG);
        assert_non_null(strstr(error.message, wrong[i].variable));
        assert_memory_equal(&before, &config, sizeof(before));
    }
    clear_environment();
}

static void open_refuses_what_is_not_configured(void **state)
{
    (void)state;
    hf_duty_config config;
    hf_duty_error error = {0};
    hf_duty_signer *signer = NULL;
    hf_duty_config_init(&config);
    assert_int_equal(hf_duty_open(&config, &signer, &error), HF_DUTY_CONFIG);
    assert_non_null(strstr(error.message, "VALIDATOR_HA_SIGNING_ENABLED"));
    config.enabled = true;
    assert_int_equal(hf_duty_open(&config, &signer, &error), HF_DUTY_CONFIG);
    assert_non_null(strstr(error.message, "VALIDATOR_HA_DATABASE_URL"));
    assert_false(hf_failed(hf_str_copy(config.database_url, sizeof(config.database_url),
                                       "postgresql://user:secret@localhost:99999999/x")));
    assert_int_equal(hf_duty_open(&config, &signer, &error), HF_DUTY_CONFIG);
    assert_non_null(strstr(error.message, "VALIDATOR_HA_NODE_ID"));
    assert_false(hf_failed(hf_str_copy(config.node_id, sizeof(config.node_id), "n")));
    assert_false(hf_failed(hf_str_copy(config.database_url, sizeof(config.database_url),
                                       "nonsense://user:secret@localhost/x")));
    assert_int_equal(hf_duty_open(&config, &signer, &error), HF_DUTY_CONFIG);
    assert_null(strstr(error.message, "secret"));
    assert_null(signer);
    assert_int_equal(hf_duty_open(NULL, &signer, &error), HF_DUTY_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_index_of_a_proposal_is_the_given_one),
        cmocka_unit_test(a_proposal_without_index_is_refused),
        cmocka_unit_test(every_other_type_has_index_minus_one),
        cmocka_unit_test(votes_have_block_number_zero),
        cmocka_unit_test(only_auth_requests_and_txs_are_unprotected),
        cmocka_unit_test(names_are_read_back),
        cmocka_unit_test(numbers_beyond_sql_are_refused),
        cmocka_unit_test(identity_is_that_of_the_primary_key),
        cmocka_unit_test(stored_signatures_are_checked_for_their_shape),
        cmocka_unit_test(the_package_s_variables_configure),
        cmocka_unit_test(a_wrong_variable_is_named_and_its_value_is_not),
        cmocka_unit_test(open_refuses_what_is_not_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
