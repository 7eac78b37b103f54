/* RLP, the Ethereum execution layer's encoding: each item has exactly one form. */
#include "eth1/eth1.h"

/* First bytes: below STRING the byte is itself; short forms hold up to SHORT_MAX bytes. */
#define STRING 0x80U
#define LIST 0xc0U
#define SHORT_MAX 55U
/* Lengths of 2^32 and more are no lengths here. */
#define LENGTH_BYTES_MAX 4U

hf_rlp_reader hf_rlp_reader_over(hf_bytes items)
{
    return (hf_rlp_reader){items.ptr, items.len};
}

/* A length of its own bytes: no leading zero, and not one that the short form can say. */
static bool read_length(const hf_rlp_reader *reader, size_t bytes, size_t *ret_len)
{
    size_t len = 0;
    if (bytes > LENGTH_BYTES_MAX || bytes >= reader->left || reader->at[1] == 0) {
        return false;
    }
    for (size_t i = 1; i <= bytes; i++) {
        len = len << 8 | reader->at[i];
    }
    *ret_len = len;
    return len > SHORT_MAX;
}

/* A single byte below STRING is its own encoding, and has no other. */
static bool is_shortest(const hf_rlp_reader *reader, bool is_list, size_t head, size_t len)
{
    return is_list || head == 0 || len != 1 || reader->at[head] >= STRING;
}

hf_status hf_rlp_next(hf_rlp_reader *reader, hf_rlp_item *ret_item)
{
    if (reader->left == 0) {
        return (hf_status){HF_INVALID_INPUT};
    }
    unsigned first = reader->at[0];
    bool is_list = first >= LIST;
    unsigned base = is_list ? LIST : STRING;
    size_t head = 1;
    size_t len = 1;
    if (first < STRING) {
        head = 0;
    } else if (first - base <= SHORT_MAX) {
        len = first - base;
    } else if (read_length(reader, first - base - SHORT_MAX, &len)) {
        head += first - base - SHORT_MAX;
    } else {
        return (hf_status){HF_INVALID_INPUT};
    }
    if (len > reader->left - head || !is_shortest(reader, is_list, head, len)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    *ret_item = (hf_rlp_item){is_list, hf_bytes_from(reader->at + head, len)};
    reader->at += head + len;
    reader->left -= head + len;
    return hf_ok();
}

/* ---- writing ----------------------------------------------------------------------------------
 */

void hf_rlp_put_raw(hf_rlp_writer *writer, hf_bytes items)
{
    if (writer->out != NULL && writer->used <= writer->room &&
        items.len <= writer->room - writer->used && items.len > 0) {
        memcpy(writer->out + writer->used, items.ptr, items.len);
    }
    writer->used += items.len;
}

static void put_head(hf_rlp_writer *writer, unsigned base, size_t len)
{
    uint8_t head[1 + LENGTH_BYTES_MAX];
    size_t bytes = 0;
    HF_ASSERT(len <= UINT32_MAX);
    if (len <= SHORT_MAX) {
        head[0] = (uint8_t)(base + len);
    } else {
        for (size_t rest = len; rest > 0; rest >>= 8) {
            bytes++;
        }
        for (size_t i = 0; i < bytes; i++) {
            head[1 + i] = (uint8_t)(len >> (8 * (bytes - 1 - i)));
        }
        head[0] = (uint8_t)(base + SHORT_MAX + bytes);
    }
    hf_rlp_put_raw(writer, hf_bytes_from(head, 1 + bytes));
}

void hf_rlp_put_string(hf_rlp_writer *writer, hf_bytes string)
{
    if (string.len != 1 || string.ptr[0] >= STRING) {
        put_head(writer, STRING, string.len);
    }
    hf_rlp_put_raw(writer, string);
}

void hf_rlp_put_list(hf_rlp_writer *writer, size_t payload_len)
{
    put_head(writer, LIST, payload_len);
}

void hf_rlp_put_number(hf_rlp_writer *writer, const uint8_t *big_endian, size_t len)
{
    while (len > 0 && *big_endian == 0) {
        big_endian++;
        len--;
    }
    hf_rlp_put_string(writer, hf_bytes_from(big_endian, len));
}

void hf_rlp_put_u64(hf_rlp_writer *writer, uint64_t value)
{
    uint8_t big_endian[8];
    for (size_t i = 0; i < sizeof big_endian; i++) {
        big_endian[i] = (uint8_t)(value >> (8 * (sizeof big_endian - 1 - i)));
    }
    hf_rlp_put_number(writer, big_endian, sizeof big_endian);
}
