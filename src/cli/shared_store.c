/* Which back ends this build has, for the command line. */
#include "shared_store.h"

#include <stdlib.h>

/* An operator waits longer than a signature may. */
#define DEADLINE_MS 10000

struct hf_shared_store {
    hf_store_backend backend;
    hf_postgres_config postgres;
    hf_dynamodb_config dynamodb;
};

hf_shared_store *hf_shared_store_of(const hf_config *config)
{
    hf_shared_store *shared = calloc(1, sizeof *shared);
    if (shared == NULL) {
        return NULL;
    }
    shared->backend = (hf_store_backend)config->store_backend;
    shared->postgres.deadline_ms = DEADLINE_MS;
    shared->postgres.auto_migrate = config->store_auto_migrate;
    memcpy(shared->postgres.url, config->store_url, sizeof shared->postgres.url);
    memcpy(shared->postgres.genesis_validators_root, config->network.genesis_validators_root,
           HF_ROOT_BYTES);
    shared->dynamodb.deadline_ms = DEADLINE_MS;
    shared->dynamodb.create_table = config->store_create_table;
    memcpy(shared->dynamodb.table, config->store_table, sizeof shared->dynamodb.table);
    memcpy(shared->dynamodb.region, config->store_region, sizeof shared->dynamodb.region);
    memcpy(shared->dynamodb.endpoint, config->store_endpoint, sizeof shared->dynamodb.endpoint);
    memcpy(shared->dynamodb.genesis_validators_root, config->network.genesis_validators_root,
           HF_ROOT_BYTES);
    return shared;
}

void hf_shared_store_free(hf_shared_store *shared)
{
    if (shared != NULL) {
        hf_wipe(shared, sizeof *shared);
        free(shared);
    }
}

static hf_status refuse(const hf_shared_store *shared, hf_error *err)
{
    return hf_fail(err, HF_USAGE, "slashing_protection.backend: %s is not in this build",
                   hf_store_backend_name(shared->backend));
}

hf_status hf_shared_store_open(const hf_shared_store *shared, hf_store **ret_store, hf_error *err)
{
    if (shared->backend == HF_STORE_POSTGRES) {
        return hf_store_open_postgres(&shared->postgres, ret_store, err);
    }
    if (shared->backend == HF_STORE_DYNAMODB) {
        return hf_store_open_dynamodb(&shared->dynamodb, ret_store, err);
    }
    return refuse(shared, err);
}

hf_status hf_shared_store_export(const hf_shared_store *shared,
                                 const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                                 hf_export_visitor visitor, void *context, hf_error *err)
{
    if (shared->backend == HF_STORE_POSTGRES) {
        return hf_store_export_postgres(&shared->postgres, only, only_count, visitor, context, err);
    }
    if (shared->backend == HF_STORE_DYNAMODB) {
        return hf_store_export_dynamodb(&shared->dynamodb, only, only_count, visitor, context, err);
    }
    return refuse(shared, err);
}
