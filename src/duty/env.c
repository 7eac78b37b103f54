/* Configuration: defaults, and the package's environment variables. */
#include "duty/duty_internal.h"

typedef enum setting_kind { SETTING_TEXT, SETTING_BOOL, SETTING_NUMBER } setting_kind;

typedef struct setting {
    const char *variable;
    setting_kind kind;
    size_t offset;
    size_t size; /* of texts */
    uint32_t least;
} setting;

#define MEMBER(member) offsetof(hf_duty_config, member)
#define TEXT(variable, member)                                                                     \
    {                                                                                              \
        variable, SETTING_TEXT, MEMBER(member), sizeof(((hf_duty_config *)NULL)->member), 0        \
    }

static const setting settings[] = {
    TEXT("VALIDATOR_HA_DATABASE_URL", database_url),
    TEXT("VALIDATOR_HA_NODE_ID", node_id),
    {"VALIDATOR_HA_SIGNING_ENABLED", SETTING_BOOL, MEMBER(enabled), 0, 0},
    {"HOLDFAST_DUTY_AUTO_MIGRATE", SETTING_BOOL, MEMBER(auto_migrate), 0, 0},
    {"VALIDATOR_HA_POLLING_INTERVAL_MS", SETTING_NUMBER, MEMBER(polling_interval_ms), 0, 1},
    {"VALIDATOR_HA_SIGNING_TIMEOUT_MS", SETTING_NUMBER, MEMBER(signing_timeout_ms), 0, 0},
    {"HOLDFAST_DUTY_TAKEOVER_AFTER_MS", SETTING_NUMBER, MEMBER(takeover_after_ms), 0, 0},
    {"HOLDFAST_DUTY_DATABASE_TIMEOUT_MS", SETTING_NUMBER, MEMBER(database_timeout_ms), 0, 1},
    {"VALIDATOR_HA_MAX_STUCK_DUTIES_AGE_MS", SETTING_NUMBER, MEMBER(max_stuck_age_ms), 0, 1},
    {"VALIDATOR_HA_OLD_DUTIES_MAX_AGE_H", SETTING_NUMBER, MEMBER(old_age_hours), 0, 0},
    {"HOLDFAST_DUTY_CLEANUP_INTERVAL_MS", SETTING_NUMBER, MEMBER(cleanup_interval_ms), 0, 1},
    {"VALIDATOR_HA_POOL_MAX", SETTING_NUMBER, MEMBER(pool_max), 0, 0},
    {"VALIDATOR_HA_POOL_MIN", SETTING_NUMBER, MEMBER(pool_min), 0, 0},
    {"VALIDATOR_HA_POOL_IDLE_TIMEOUT_MS", SETTING_NUMBER, MEMBER(pool_idle_timeout_ms), 0, 0},
    {"VALIDATOR_HA_POOL_CONNECTION_TIMEOUT_MS", SETTING_NUMBER, MEMBER(pool_connection_timeout_ms),
     0, 0},
    {"HOLDFAST_DUTY_MAX_WAITING", SETTING_NUMBER, MEMBER(max_waiting), 0, 1},
};

void hf_duty_config_init(hf_duty_config *config)
{
    *config = (hf_duty_config){
        .auto_migrate = true,
        .polling_interval_ms = 100,
        .signing_timeout_ms = 3000,
        .takeover_after_ms = 1000,
        .database_timeout_ms = 700,
        .max_stuck_age_ms = 144000,
        .cleanup_interval_ms = 60000,
        .pool_max = 10,
        .pool_idle_timeout_ms = 10000,
        .max_waiting = 4096,
    };
}

/* The words of the package: true and 1, in any case; everything else it takes as false. */
static bool parse_bool(const char *text, bool *ret_value)
{
    if (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0) {
        *ret_value = true;
        return true;
    }
    if (strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0) {
        *ret_value = false;
        return true;
    }
    return false;
}

static bool setting_apply(const setting *set, const char *text, hf_duty_config *config)
{
    char *member = (char *)config + set->offset;
    uint64_t number = 0;
    switch (set->kind) {
    case SETTING_TEXT:
        return !hf_failed(hf_str_copy(member, set->size, text));
    case SETTING_BOOL:
        return parse_bool(text, (bool *)(void *)member);
    case SETTING_NUMBER:
        if (hf_failed(hf_num_parse_u64(text, strlen(text), &number)) || number < set->least ||
            number > UINT32_MAX / 2) {
            return false;
        }
        *(uint32_t *)(void *)member = (uint32_t)number;
        return true;
    }
    return false;
}

hf_duty_result hf_duty_config_from_env(hf_duty_config *config, hf_duty_error *error)
{
    static const char *const wanted[] = {"a text that is not too long", "true or false",
                                         "a whole number"};
    hf_duty_config found = *config;
    for (size_t i = 0; i < HF_ARRAY_LEN(settings); i++) {
        const char *text = getenv(settings[i].variable);
        if (text == NULL || text[0] == '\0') {
            continue;
        }
        if (!setting_apply(&settings[i], text, &found)) {
            /* Not the value: a URL may hold a password. */
            duty_error_set(error, HF_DUTY_CONFIG, "environment variable %s is not %s%s",
                           settings[i].variable, wanted[settings[i].kind],
                           settings[i].least > 0 ? " of at least 1" : "");
            hf_wipe(&found, sizeof(found));
            return HF_DUTY_CONFIG;
        }
    }
    *config = found;
    hf_wipe(&found, sizeof(found));
    return HF_DUTY_OK;
}
