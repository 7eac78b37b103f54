/* Networks that a token may come from, in one form for IPv4 and IPv6. */
#include "auth/auth.h"

#include <arpa/inet.h>

#define MAPPED_BITS 96
#define ADDRESS_TEXT_LEN 46

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_mapped(const uint8_t address[16])
{
    return hf_bytes_equal(address, mapped, sizeof mapped);
}

static bool parse_address(const char *text, hf_cidr *cidr, bool *ret_is_v4)
{
    *ret_is_v4 = inet_pton(AF_INET, text, cidr->address + sizeof mapped) == 1;
    if (*ret_is_v4) {
        memcpy(cidr->address, mapped, sizeof mapped);
        return true;
    }
    return inet_pton(AF_INET6, text, cidr->address) == 1;
}

/* The network's address alone: `10.1.2.3/8` may mean one machine or sixteen million. */
static bool has_bits_behind(const hf_cidr *cidr)
{
    for (unsigned bit = cidr->bits; bit < 128; bit++) {
        if ((cidr->address[bit / 8] & (0x80U >> bit % 8)) != 0) {
            return true;
        }
    }
    return false;
}

hf_status hf_cidr_parse(const char *text, hf_cidr *ret_cidr, hf_error *err)
{
    char address[ADDRESS_TEXT_LEN];
    hf_cidr cidr = {.bits = 0};
    uint64_t bits;
    bool is_v4;
    size_t len = strcspn(text, "/");
    if (len == 0 || len >= sizeof address) {
        return hf_fail(err, HF_INVALID_INPUT, "not an address or a network such as 10.0.0.0/8");
    }
    memcpy(address, text, len);
    address[len] = '\0';
    if (!parse_address(address, &cidr, &is_v4)) {
        return hf_fail(err, HF_INVALID_INPUT, "not an address or a network such as 10.0.0.0/8");
    }
    uint64_t most = is_v4 ? 32 : 128;
    bits = most;
    if (text[len] == '/' &&
        (hf_failed(hf_num_parse_u64(text + len + 1, strlen(text + len + 1), &bits)) ||
         bits > most)) {
        return hf_fail(err, HF_INVALID_INPUT, "the prefix must be a number from 0 to %u",
                       (unsigned)most);
    }
    cidr.bits = (uint8_t)(bits + (is_v4 ? MAPPED_BITS : 0));
    if (has_bits_behind(&cidr)) {
        return hf_fail(err, HF_INVALID_INPUT, "the address has bits behind the prefix of %u",
                       (unsigned)bits);
    }
    *ret_cidr = cidr;
    return hf_ok();
}

void hf_cidr_format(const hf_cidr *cidr, char out[HF_CIDR_TEXT_LEN])
{
    char address[ADDRESS_TEXT_LEN] = "";
    bool is_v4 = is_mapped(cidr->address) && cidr->bits >= MAPPED_BITS;
    (void)inet_ntop(is_v4 ? AF_INET : AF_INET6, cidr->address + (is_v4 ? sizeof mapped : 0),
                    address, sizeof address);
    unsigned bits = cidr->bits - (is_v4 ? MAPPED_BITS : 0U);
    if (cidr->bits == 128) {
        (void)snprintf(out, HF_CIDR_TEXT_LEN, "%s", address);
    } else {
        (void)snprintf(out, HF_CIDR_TEXT_LEN, "%s/%u", address, bits);
    }
}

bool hf_cidr_is_sane(const hf_cidr *cidr)
{
    return cidr->bits <= 128 && hf_bytes_is_zero(cidr->reserved, sizeof cidr->reserved) &&
           !has_bits_behind(cidr);
}

bool hf_cidr_contains(const hf_cidr *cidr, const uint8_t address[16])
{
    size_t whole = cidr->bits / 8;
    unsigned rest = cidr->bits % 8;
    if (!hf_bytes_equal(cidr->address, address, whole)) {
        return false;
    }
    unsigned mask = rest == 0 ? 0 : 0xffU & (0xff00U >> rest);
    return rest == 0 || ((unsigned)(cidr->address[whole] ^ address[whole]) & mask) == 0;
}
