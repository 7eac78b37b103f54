/*
 * Children that hang: a front, the store, the relay, the process of duties or one of custody that
 * gives no sign of life is killed, and replaced like one that died. The keeper has more time, as
 * its end is the end of the service, and gives signs while its disk or database keeps it waiting
 * (src/keeper/pulse.h): what is silent for so long comes back by a restart alone.
 */
#include "supervisor/supervisor_internal.h"

bool hf_child_gives_signs(const hf_child *child)
{
    return child->kind == HF_CHILD_FRONT || child->kind == HF_CHILD_STORE ||
           child->kind == HF_CHILD_DUTY || child->kind == HF_CHILD_CUSTODY ||
           child->kind == HF_CHILD_RELAY || child->kind == HF_CHILD_KEEPER;
}

unsigned hf_child_silence_seconds(const hf_child *child)
{
    return child->kind == HF_CHILD_KEEPER ? HF_KEEPER_SILENCE_SECONDS : HF_SILENCE_SECONDS;
}

bool hf_child_is_watched(const hf_child *child)
{
    return child->pid != 0 && hf_child_gives_signs(child) && child->is_ready &&
           !child->is_draining && child->control_fd >= 0;
}

void hf_child_heard(hf_child *child)
{
    child->kill_at_ns = hf_time_mono_ns() + hf_child_silence_seconds(child) * HF_SECOND_NS;
}

void hf_forgive_silence(hf_supervisor *sup)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        if (hf_child_is_watched(&sup->children[i])) {
            hf_child_heard(&sup->children[i]);
        }
    }
}
