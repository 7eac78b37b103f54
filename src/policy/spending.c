/* What each key has spent within a day, hour by hour; and its records. */
#include "policy_internal.h"

/* The running hour and the 24 before it. */
#define HOURS 25
#define CHECK_BYTES 4

typedef struct account {
    uint8_t address[HF_ADDRESS_BYTES];
    uint64_t hour; /* the latest with anything in it */
    hf_u256 spent[HOURS];
} account;

struct hf_spending {
    account *accounts; /* owned; in no order */
    size_t count;
    size_t room;
    size_t keys_max;
    uint64_t hour; /* the latest that was seen */
};

hf_spending *hf_spending_new(size_t keys_max)
{
    hf_spending *spending = calloc(1, sizeof *spending);
    if (spending != NULL) {
        spending->keys_max = keys_max;
    }
    return spending;
}

void hf_spending_free(hf_spending *spending)
{
    if (spending != NULL) {
        free(spending->accounts);
        free(spending);
    }
}

uint64_t hf_spending_hour(const hf_spending *spending, uint64_t now_unix_ms)
{
    uint64_t hour = now_unix_ms / HF_SPENDING_MS_PER_HOUR;
    return hour > spending->hour ? hour : spending->hour;
}

static account *find(const hf_spending *spending, const uint8_t address[HF_ADDRESS_BYTES])
{
    for (size_t i = 0; spending->accounts != NULL && i < spending->count; i++) {
        if (hf_bytes_equal(spending->accounts[i].address, address, HF_ADDRESS_BYTES)) {
            return &spending->accounts[i];
        }
    }
    return NULL;
}

/* Does something of this hour still count in that one? */
static bool counts(uint64_t hour, uint64_t now)
{
    return hour + HOURS > now;
}

void hf_spending_sum(const hf_spending *spending, const uint8_t address[HF_ADDRESS_BYTES],
                     uint64_t hour, hf_u256 *ret_wei)
{
    const account *a = find(spending, address);
    hf_u256 sum = {{0}};
    for (uint64_t back = 0; a != NULL && back < HOURS && back <= a->hour; back++) {
        if (counts(a->hour - back, hour)) {
            hf_amount_add(&sum, &a->spent[(a->hour - back) % HOURS]);
        }
    }
    *ret_wei = sum;
}

/* One in which nothing counts any more, or NULL. */
static account *find_spare(const hf_spending *spending, uint64_t hour)
{
    for (size_t i = 0; spending->accounts != NULL && i < spending->count; i++) {
        if (!counts(spending->accounts[i].hour, hour)) {
            return &spending->accounts[i];
        }
    }
    return NULL;
}

bool hf_spending_has_room(const hf_spending *spending, const uint8_t address[HF_ADDRESS_BYTES],
                          uint64_t hour)
{
    return spending->count < spending->keys_max || find(spending, address) != NULL ||
           find_spare(spending, hour) != NULL;
}

static hf_status grow(hf_spending *spending)
{
    size_t room = spending->room == 0 ? 8 : 2 * spending->room;
    account *accounts = realloc(spending->accounts, room * sizeof *accounts);
    if (accounts == NULL) {
        return (hf_status){HF_NOMEM};
    }
    spending->accounts = accounts;
    spending->room = room;
    return hf_ok();
}

static hf_status open_account(hf_spending *spending, const uint8_t address[HF_ADDRESS_BYTES],
                              uint64_t hour, account **ret_account)
{
    account *a = find_spare(spending, hour);
    if (a == NULL && spending->count == spending->keys_max) {
        return (hf_status){HF_LIMIT};
    }
    if (a == NULL && spending->count == spending->room) {
        hf_status st = grow(spending);
        if (hf_failed(st)) {
            return st;
        }
    }
    HF_ASSERT(spending->accounts != NULL);
    a = a != NULL ? a : &spending->accounts[spending->count++];
    *a = (account){.hour = hour};
    memcpy(a->address, address, sizeof a->address);
    *ret_account = a;
    return hf_ok();
}

/* Makes this the latest hour of the account: what lies between is empty. */
static void move_on(account *a, uint64_t hour)
{
    uint64_t empty = hour - a->hour;
    for (uint64_t i = 0; i < empty && i < HOURS; i++) {
        a->spent[(hour - i) % HOURS] = (hf_u256){{0}};
    }
    a->hour = hour;
}

hf_status hf_spending_add(hf_spending *spending, const uint8_t address[HF_ADDRESS_BYTES],
                          uint64_t hour, const hf_u256 *wei)
{
    account *a = find(spending, address);
    hf_status st = hf_ok();
    if (!counts(hour, spending->hour)) {
        return hf_ok();
    }
    spending->hour = hour > spending->hour ? hour : spending->hour;
    if (a == NULL) {
        st = open_account(spending, address, hour, &a);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (hour > a->hour) {
        move_on(a, hour);
    }
    if (counts(hour, a->hour)) {
        hf_amount_add(&a->spent[hour % HOURS], wei);
    }
    return hf_ok();
}

/* ---- records --------------------------------------------------------------------------------- */

static void make_check(const uint8_t record[HF_SPENDING_RECORD_BYTES], uint8_t ret[CHECK_BYTES])
{
    static const char purpose[] = "holdfast spending";
    uint8_t bytes[sizeof purpose + HF_SPENDING_RECORD_BYTES - CHECK_BYTES];
    uint8_t digest[32];
    memcpy(bytes, purpose, sizeof purpose);
    memcpy(bytes + sizeof purpose, record, HF_SPENDING_RECORD_BYTES - CHECK_BYTES);
    hf_sha256(bytes, sizeof bytes, digest);
    memcpy(ret, digest, CHECK_BYTES);
}

void hf_spending_encode(const uint8_t address[HF_ADDRESS_BYTES], uint64_t hour, const hf_u256 *wei,
                        uint8_t ret_record[HF_SPENDING_RECORD_BYTES])
{
    hf_le64_put(ret_record, hour);
    memcpy(ret_record + 8, address, HF_ADDRESS_BYTES);
    memcpy(ret_record + 8 + HF_ADDRESS_BYTES, wei->bytes, sizeof wei->bytes);
    make_check(ret_record, ret_record + HF_SPENDING_RECORD_BYTES - CHECK_BYTES);
}

static bool is_whole(const uint8_t record[HF_SPENDING_RECORD_BYTES])
{
    uint8_t check[CHECK_BYTES];
    make_check(record, check);
    return hf_bytes_equal(check, record + HF_SPENDING_RECORD_BYTES - CHECK_BYTES, sizeof check);
}

static hf_status add_record(hf_spending *spending, const uint8_t *record)
{
    hf_u256 wei;
    memcpy(wei.bytes, record + 8 + HF_ADDRESS_BYTES, sizeof wei.bytes);
    return hf_spending_add(spending, record + 8, hf_le64_get(record), &wei);
}

/* Bytes at the end that were written and never synced: no whole record follows what is broken. */
static bool is_torn_tail(hf_bytes file, size_t at)
{
    for (at += HF_SPENDING_RECORD_BYTES; file.len - at >= HF_SPENDING_RECORD_BYTES;
         at += HF_SPENDING_RECORD_BYTES) {
        if (is_whole(file.ptr + at)) {
            return false;
        }
    }
    return true;
}

hf_status hf_spending_read(hf_spending *spending, hf_bytes file, size_t *ret_len, hf_error *err)
{
    size_t at = 0;
    while (file.len - at >= HF_SPENDING_RECORD_BYTES) {
        const uint8_t *record = file.ptr + at;
        if (!is_whole(record)) {
            if (!is_torn_tail(file, at)) {
                return hf_fail(err, HF_CORRUPT, "what stands at byte %zu is no record", at);
            }
            break;
        }
        hf_status st = add_record(spending, record);
        if (hf_failed(st)) {
            return hf_fail(err, st.code, "it has more keys than there is room for");
        }
        at += HF_SPENDING_RECORD_BYTES;
    }
    *ret_len = at;
    return hf_ok();
}

hf_status hf_spending_write(const hf_spending *spending, hf_buf *out)
{
    uint8_t record[HF_SPENDING_RECORD_BYTES];
    hf_status st = hf_ok();
    for (size_t i = 0; i < spending->count; i++) {
        const account *a = &spending->accounts[i];
        for (uint64_t back = 0; back < HOURS && back <= a->hour && !hf_failed(st); back++) {
            uint64_t hour = a->hour - back;
            const hf_u256 *wei = &a->spent[hour % HOURS];
            if (counts(hour, spending->hour) && !hf_bytes_is_zero(wei->bytes, sizeof wei->bytes)) {
                hf_spending_encode(a->address, hour, wei, record);
                st = hf_buf_put(out, record, sizeof record);
            }
        }
    }
    return st;
}
