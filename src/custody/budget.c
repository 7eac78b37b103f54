/* How much memory key derivations may take: of the machine, or of the control group we are in. */
#include "custody.h"

/* Longest file of /proc or /sys that is read here. */
#define TEXT_MAX_BYTES 16384
/* scrypt with n = 2^18, r = 8, as every staking tool writes it, and something for its surroundings.
 */
#define USUAL_KEYSTORE_BYTES (UINT64_C(257) << 20)
#define CGROUP_MAX "/sys/fs/cgroup/memory.max"
#define CGROUP_CURRENT "/sys/fs/cgroup/memory.current"

bool hf_memory_budget_take(hf_memory_budget *budget, uint64_t bytes)
{
    HF_ASSERT(budget->used_bytes <= budget->total_bytes);
    if (bytes > budget->total_bytes - budget->used_bytes) {
        return false;
    }
    budget->used_bytes += bytes;
    return true;
}

void hf_memory_budget_give(hf_memory_budget *budget, uint64_t bytes)
{
    HF_ASSERT(bytes <= budget->used_bytes);
    budget->used_bytes -= bytes;
}

/* The digits that begin text, as a number; 0 when there are none. */
static uint64_t leading_number(const char *text)
{
    uint64_t value = 0;
    size_t digits = strspn(text, "0123456789");
    return hf_failed(hf_num_parse_u64(text, digits, &value)) ? 0 : value;
}

uint64_t hf_meminfo_available(const char *text)
{
    static const char label[] = "MemAvailable:";
    const char *at = strstr(text, label);
    if (at == NULL) {
        return 0;
    }
    at += sizeof label - 1;
    uint64_t kib = leading_number(at + strspn(at, " \t"));
    return kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024;
}

uint64_t hf_cgroup_available(const char *max_text, const char *current_text)
{
    if (max_text[0] < '0' || max_text[0] > '9') {
        return UINT64_MAX; /* "max", or no such file */
    }
    uint64_t max = leading_number(max_text);
    uint64_t current = leading_number(current_text);
    return current < max ? max - current : 0;
}

uint64_t hf_memory_budget_of(uint64_t available_bytes)
{
    uint64_t half = available_bytes / 2;
    if (half >= USUAL_KEYSTORE_BYTES) {
        return half;
    }
    return available_bytes < USUAL_KEYSTORE_BYTES ? available_bytes : USUAL_KEYSTORE_BYTES;
}

/* The text of a file that may be missing: then "". */
static const char *read_text(const char *path, hf_buf **ret_buf)
{
    *ret_buf = NULL;
    return hf_failed(hf_file_read(path, TEXT_MAX_BYTES, ret_buf, NULL)) ? ""
                                                                        : hf_buf_text(*ret_buf);
}

uint64_t hf_memory_budget_bytes(uint64_t configured)
{
    hf_buf *meminfo = NULL;
    hf_buf *max = NULL;
    hf_buf *current = NULL;
    if (configured != 0) {
        return configured;
    }
    uint64_t machine = hf_meminfo_available(read_text("/proc/meminfo", &meminfo));
    const char *max_text = read_text(CGROUP_MAX, &max);
    uint64_t group = hf_cgroup_available(max_text, read_text(CGROUP_CURRENT, &current));
    hf_buf_free(meminfo);
    hf_buf_free(max);
    hf_buf_free(current);
    return hf_memory_budget_of(machine < group ? machine : group);
}
