/* What holds for a change of records in every store. */
#include "protect/protect_internal.h"

hf_status hf_record_changes_check(const hf_record_change *changes, size_t n, hf_error *err)
{
    if (n == 0 || n > HF_RECORD_CHANGES_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "a number of changes that cannot be made together");
    }
    for (size_t i = 0; i < n; i++) {
        const hf_record *record = &changes[i].record;
        if (record->kind == 0 || record->kind >= HF_RECORD_KIND_END ||
            record->len > HF_RECORD_DATA_MAX || changes[i].expected >= HF_PROTECT_MAX_NUMBER ||
            (changes[i].is_removal && changes[i].expected == 0)) {
            return hf_fail(err, HF_INVALID_INPUT, "a record that cannot be kept");
        }
    }
    return hf_ok();
}
