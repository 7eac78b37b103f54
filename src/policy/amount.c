/* Amounts of wei: 256 bits, from and to text, added and multiplied up to the highest number. */
#include "policy_internal.h"

static const struct {
    const char *name;
    unsigned zeros;
} units[] = {{"wei", 0}, {"gwei", 9}, {"ether", 18}};

static void set_highest(hf_u256 *value)
{
    memset(value->bytes, 0xff, sizeof value->bytes);
}

void hf_amount_add(hf_u256 *sum, const hf_u256 *more)
{
    unsigned carry = 0;
    for (size_t i = sizeof sum->bytes; i > 0; i--) {
        carry += (unsigned)sum->bytes[i - 1] + more->bytes[i - 1];
        sum->bytes[i - 1] = (uint8_t)carry;
        carry >>= 8;
    }
    if (carry != 0) {
        set_highest(sum);
    }
}

/* product * factor + more; false, and the highest number, beyond 256 bits. */
static bool multiply(hf_u256 *product, uint32_t factor, uint32_t more)
{
    uint64_t carry = more;
    for (size_t i = sizeof product->bytes; i > 0; i--) {
        carry += (uint64_t)product->bytes[i - 1] * factor;
        product->bytes[i - 1] = (uint8_t)carry;
        carry >>= 8;
    }
    if (carry != 0) {
        set_highest(product);
    }
    return carry == 0;
}

void hf_amount_multiply(hf_u256 *product, uint64_t factor)
{
    hf_u256 high = *product;
    (void)multiply(product, (uint32_t)factor, 0);
    if (multiply(&high, (uint32_t)(factor >> 32), 0) && multiply(&high, 1U << 16, 0)) {
        (void)multiply(&high, 1U << 16, 0);
    }
    hf_amount_add(product, &high);
}

/* *ret_zeros: how many digits may stand behind the point. */
static bool read_unit(const char *text, unsigned *ret_zeros)
{
    text += strspn(text, " ");
    for (size_t i = 0; i < HF_ARRAY_LEN(units); i++) {
        if (strcmp(text, units[i].name) == 0) {
            *ret_zeros = units[i].zeros;
            return true;
        }
    }
    *ret_zeros = 0;
    return *text == '\0';
}

static bool put_digits(hf_u256 *value, const char *digits, size_t count)
{
    bool fits = true;
    for (size_t i = 0; i < count && fits; i++) {
        fits = multiply(value, 10, (uint32_t)(digits[i] - '0'));
    }
    return fits;
}

static bool parse_amount(const char *text, hf_u256 *value)
{
    static const char decimals[] = "0123456789";
    unsigned zeros = 0;
    size_t whole = strspn(text, decimals);
    const char *behind = text + whole;
    const char *fraction = *behind == '.' ? behind + 1 : behind;
    size_t places = fraction == behind ? 0 : strspn(fraction, decimals);
    bool is_good = whole > 0 && (*behind != '.' || places > 0) &&
                   read_unit(fraction + places, &zeros) && places <= zeros &&
                   put_digits(value, text, whole) && put_digits(value, fraction, places);
    for (size_t i = places; i < zeros && is_good; i++) {
        is_good = multiply(value, 10, 0);
    }
    return is_good;
}

hf_status hf_amount_parse(const char *text, hf_u256 *ret_wei, hf_error *err)
{
    hf_u256 value = {{0}};
    if (!parse_amount(text, &value)) {
        return hf_fail(
            err, HF_INVALID_INPUT,
            "\"%.64s\" is no amount: write a number of wei, or one with its unit, such as "
            "\"1.5 ether\" or \"30 gwei\"",
            text);
    }
    *ret_wei = value;
    return hf_ok();
}

/* Divides by ten; the remainder is the last digit. */
static unsigned take_digit(hf_u256 *value)
{
    unsigned rest = 0;
    for (size_t i = 0; i < sizeof value->bytes; i++) {
        unsigned here = rest << 8 | value->bytes[i];
        value->bytes[i] = (uint8_t)(here / 10);
        rest = here % 10;
    }
    return rest;
}

void hf_amount_format(const hf_u256 *wei, char ret_text[HF_AMOUNT_TEXT_LEN])
{
    hf_u256 left = *wei;
    size_t at = HF_AMOUNT_TEXT_LEN - 1;
    char text[HF_AMOUNT_TEXT_LEN];
    text[at] = '\0';
    do {
        text[--at] = (char)('0' + take_digit(&left));
    } while (!hf_bytes_is_zero(left.bytes, sizeof left.bytes));
    memmove(ret_text, text + at, HF_AMOUNT_TEXT_LEN - at);
}
