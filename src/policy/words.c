/* Values with a grammar of their own: address ranges, rates, durations. */
#include "policy_internal.h"

#include <arpa/inet.h>

#define MAPPED_BITS 96
#define WORD_MAX 63
#define SECOND_MS UINT64_C(1000)

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* ---- address ranges -------------------------------------------------------------------------- */

static bool is_mapped(const hf_policy_range *range)
{
    return range->prefix >= MAPPED_BITS && hf_bytes_equal(range->address, mapped, sizeof mapped);
}

static bool behind_prefix_is_zero(const hf_policy_range *range)
{
    for (unsigned bit = range->prefix; bit < 128; bit++) {
        if ((range->address[bit / 8] & (0x80U >> (bit % 8))) != 0) {
            return false;
        }
    }
    return true;
}

bool hf_policy_range_is_valid(const hf_policy_range *range)
{
    return range->prefix <= 128 && behind_prefix_is_zero(range);
}

hf_status hf_policy_range_parse(const char *text, hf_policy_range *ret_range, hf_error *err)
{
    hf_policy_range range = {0};
    char address[WORD_MAX + 1];
    const char *slash = strchr(text, '/');
    uint64_t prefix = 0;
    hf_str_cut(address, sizeof address, text);
    if (slash != NULL && (size_t)(slash - text) < sizeof address) {
        address[slash - text] = '\0';
    }
    bool is_v4 = inet_pton(AF_INET, address, range.address + sizeof mapped) == 1;
    if (is_v4) {
        memcpy(range.address, mapped, sizeof mapped);
    } else if (inet_pton(AF_INET6, address, range.address) != 1) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\" is no address range: write 10.0.0.0/8, fd00::/8 or one address",
                       text);
    }
    uint64_t most = is_v4 ? 32 : 128;
    if (slash == NULL) {
        prefix = most;
    } else if (hf_failed(hf_num_parse_u64(slash + 1, strlen(slash + 1), &prefix)) ||
               prefix > most) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\": the prefix is a number up to %u", text,
                       (unsigned)most);
    }
    range.prefix = (uint8_t)(is_v4 ? prefix + MAPPED_BITS : prefix);
    if (!behind_prefix_is_zero(&range)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\": the address has bits behind its prefix; write the range's first "
                       "address",
                       text);
    }
    *ret_range = range;
    return hf_ok();
}

bool hf_policy_range_has(const hf_policy_range *range, const uint8_t address[16])
{
    unsigned whole = range->prefix / 8U;
    unsigned rest = range->prefix % 8U;
    if (!hf_bytes_equal(range->address, address, whole)) {
        return false;
    }
    return rest == 0 || ((range->address[whole] ^ address[whole]) >> (8U - rest)) == 0;
}

void hf_policy_range_format(const hf_policy_range *range, char ret_text[HF_POLICY_RANGE_TEXT_LEN])
{
    char address[INET6_ADDRSTRLEN] = "";
    bool is_v4 = is_mapped(range);
    const void *bytes = is_v4 ? range->address + sizeof mapped : range->address;
    (void)inet_ntop(is_v4 ? AF_INET : AF_INET6, bytes, address, sizeof address);
    unsigned prefix = is_v4 ? range->prefix - MAPPED_BITS : range->prefix;
    hf_status st = hf_str_format(ret_text, HF_POLICY_RANGE_TEXT_LEN, "%s/%u", address, prefix);
    HF_ASSERT(!hf_failed(st));
}

/* ---- rates and durations --------------------------------------------------------------------- */

/* A number and a unit: s, m, h or d; no unit means seconds. */
static bool parse_time(const char *text, uint64_t *ret_seconds)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t len = strlen(text);
    uint64_t factor = 1;
    uint64_t value = 0;
    for (size_t i = 0; len > 0 && i < HF_ARRAY_LEN(units); i++) {
        if (text[len - 1] == units[i].unit) {
            factor = units[i].seconds;
            len--;
            break;
        }
    }
    if (hf_failed(hf_num_parse_u64(text, len, &value)) || value == 0 ||
        value > HF_POLICY_DURATION_MAX_SECONDS / factor) {
        return false;
    }
    *ret_seconds = value * factor;
    return true;
}

hf_status hf_policy_duration_parse(const char *text, uint64_t *ret_seconds, hf_error *err)
{
    if (!parse_time(text, ret_seconds)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\" is no length of time: write 90s, 30m, 24h or 30d", text);
    }
    return hf_ok();
}

bool hf_policy_rate_is_valid(const hf_policy_rate *rate)
{
    return (rate->count == 0) == (rate->period_ms == 0) && rate->period_ms % SECOND_MS == 0;
}

hf_status hf_policy_rate_parse(const char *text, hf_policy_rate *ret_rate, hf_error *err)
{
    const char *slash = strchr(text, '/');
    const char *per = slash == NULL ? "" : slash + 1;
    bool is_bare_unit = strlen(per) == 1 && strchr("smhd", per[0]) != NULL;
    char time[WORD_MAX + 1];
    uint64_t count = 0;
    uint64_t seconds = 0;
    if (slash == NULL ||
        hf_failed(hf_str_format(time, sizeof time, "%s%s", is_bare_unit ? "1" : "", per)) ||
        !parse_time(time, &seconds) || seconds > UINT32_MAX / SECOND_MS ||
        hf_failed(hf_num_parse_u64(text, (size_t)(slash - text), &count)) || count == 0 ||
        count > UINT32_MAX) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\" is no rate: write 10/s, 5/12s or 1000/h (at most 49 days)", text);
    }
    *ret_rate = (hf_policy_rate){(uint32_t)count, (uint32_t)(seconds * SECOND_MS)};
    return hf_ok();
}
