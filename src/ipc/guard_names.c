/* The words for what the start guard found. */
#include "ipc/ipc.h"

const char *hf_guard_state_name(hf_guard_state state)
{
    static const char *const names[HF_GUARD_STATE_COUNT] = {
        [HF_GUARD_PENDING] = "pending", [HF_GUARD_PASSED] = "passed",
        [HF_GUARD_RAISED] = "raised",   [HF_GUARD_REFUSED] = "refused",
        [HF_GUARD_STOPPED] = "stopped",
    };
    return (unsigned)state < HF_GUARD_STATE_COUNT ? names[state] : "unknown";
}

const char *hf_guard_cause_sentence(hf_guard_cause cause)
{
    static const char *const sentences[HF_GUARD_CAUSE_COUNT] = {
        [HF_GUARD_NOT_DECIDED] = "the store was not reached yet",
        [HF_GUARD_SWITCHED_OFF] = "start_guard is off",
        [HF_GUARD_NEW_STORE] = "the record is new, and there is no trace of an earlier one",
        [HF_GUARD_CONTINUITY] = "the record is where this machine left it",
        [HF_GUARD_NODE_IS_NEW] = "this machine is new to the shared record",
        [HF_GUARD_CONFIGURED] = "start_guard is always",
        [HF_GUARD_NO_WITNESS] = "nothing shows that this machine worked on this record last",
        [HF_GUARD_MEMORY_LOST] = "the machine or container was started anew, or the folder moved",
        [HF_GUARD_DISK_LOST] = "the data folder was emptied or replaced",
        [HF_GUARD_UNREADABLE] = "what was remembered of the record is damaged",
        [HF_GUARD_OTHER_STORE] = "the record is not the one that this machine worked on",
        [HF_GUARD_OTHER_FILE] = "the database's file was replaced by a copy",
        [HF_GUARD_STORE_IS_BEHIND] = "the record lacks what it held before: an older copy",
        [HF_GUARD_DISK_IS_FROM_BEFORE] = "the data folder is older than this run of the machine",
        [HF_GUARD_NO_GENESIS_TIME] = "the network has no genesis_time: set it",
        [HF_GUARD_BEFORE_GENESIS] = "the clock is before the network's genesis: correct it",
        [HF_GUARD_CLOCK_WENT_BACK] = "the clock is behind the newest record: correct it",
        [HF_GUARD_CLOCK_IS_AHEAD] = "the clock is years ahead of the newest record: correct it",
        [HF_GUARD_WENT_BACK_RUNNING] = "the store lost records while in use: restart to go on",
    };
    return (unsigned)cause < HF_GUARD_CAUSE_COUNT ? sentences[cause] : "unknown";
}
