/* The one place of the store process that knows which back ends there are. */
#include "store/store_internal.h"

#include <stdatomic.h>

/* Every lane has a store of its own; the first one speaks for all. */
static void advise(const char *sentence)
{
    static atomic_bool told;
    if (!atomic_exchange(&told, true)) {
        hf_log(HF_LOG_UNUSUAL, "store_advice", "%s", sentence);
    }
}

static void fill_postgres(const hf_msg_store_config *config, hf_postgres_config *out)
{
    *out = (hf_postgres_config){.deadline_ms = config->timeout_ms,
                                .auto_migrate = config->auto_migrate != 0,
                                .advise = advise};
    _Static_assert(sizeof out->url == sizeof config->url, "one length");
    memcpy(out->url, config->url, sizeof out->url);
    memcpy(out->genesis_validators_root, config->genesis_validators_root, HF_ROOT_BYTES);
}

static hf_status open_postgres(const hf_msg_store_config *config, hf_store **ret_store,
                               hf_error *err)
{
    hf_postgres_config own;
    fill_postgres(config, &own);
    hf_status st = hf_store_open_postgres(&own, ret_store, err);
    hf_wipe(&own, sizeof own);
    return st;
}

static hf_status export_postgres(void *context, const uint8_t (*only)[HF_BLS_PUBKEY_BYTES],
                                 size_t only_count, hf_export_visitor visitor,
                                 void *visitor_context, hf_error *err)
{
    hf_postgres_config own;
    fill_postgres(context, &own);
    hf_status st = hf_store_export_postgres(&own, only, only_count, visitor, visitor_context, err);
    hf_wipe(&own, sizeof own);
    return st;
}

static void fill_dynamodb(const hf_msg_store_config *config, hf_dynamodb_config *out)
{
    *out = (hf_dynamodb_config){.deadline_ms = config->timeout_ms,
                                .create_table = config->create_table != 0};
    _Static_assert(sizeof out->table == sizeof config->table, "one length");
    _Static_assert(sizeof out->region == sizeof config->region, "one length");
    _Static_assert(sizeof out->endpoint == sizeof config->endpoint, "one length");
    memcpy(out->table, config->table, sizeof out->table);
    memcpy(out->region, config->region, sizeof out->region);
    memcpy(out->endpoint, config->endpoint, sizeof out->endpoint);
    memcpy(out->genesis_validators_root, config->genesis_validators_root, HF_ROOT_BYTES);
}

static hf_status open_dynamodb(const hf_msg_store_config *config, hf_store **ret_store,
                               hf_error *err)
{
    hf_dynamodb_config own;
    fill_dynamodb(config, &own);
    return hf_store_open_dynamodb(&own, ret_store, err);
}

static hf_status export_dynamodb(void *context, const uint8_t (*only)[HF_BLS_PUBKEY_BYTES],
                                 size_t only_count, hf_export_visitor visitor,
                                 void *visitor_context, hf_error *err)
{
    hf_dynamodb_config own;
    fill_dynamodb(context, &own);
    return hf_store_export_dynamodb(&own, only, only_count, visitor, visitor_context, err);
}

static hf_status refuse(const hf_msg_store_config *config, hf_error *err)
{
    return hf_fail(err, HF_USAGE, "slashing_protection.backend: %s is not in this build",
                   hf_store_backend_name((hf_store_backend)config->backend));
}

hf_status hf_store_backend_open(const hf_msg_store_config *config, hf_store **ret_store,
                                hf_error *err)
{
    if (config->backend == HF_STORE_POSTGRES) {
        return open_postgres(config, ret_store, err);
    }
    if (config->backend == HF_STORE_DYNAMODB) {
        return open_dynamodb(config, ret_store, err);
    }
    return refuse(config, err);
}

static hf_status export_nothing(void *context, const uint8_t (*only)[HF_BLS_PUBKEY_BYTES],
                                size_t only_count, hf_export_visitor visitor, void *visitor_context,
                                hf_error *err)
{
    (void)only;
    (void)only_count;
    (void)visitor;
    (void)visitor_context;
    return refuse(context, err);
}

hf_store_exporter hf_store_backend_exporter(hf_msg_store_config *config)
{
    hf_store_exporter exporter = {.run = export_nothing, .context = config};
    if (config->backend == HF_STORE_POSTGRES) {
        exporter.run = export_postgres;
    }
    if (config->backend == HF_STORE_DYNAMODB) {
        exporter.run = export_dynamodb;
    }
    return exporter;
}
