/*
 * Children that hang: a front, the store or the process of duties that gives no sign of life is
 * killed, and replaced like one that died. Not the keeper: its end would be the end of the service,
 * and what waits for it is answered 503 by the fronts.
 */
#include "supervisor/supervisor_internal.h"

bool hf_child_gives_signs(const hf_child *child)
{
    return child->kind == HF_CHILD_FRONT || child->kind == HF_CHILD_STORE ||
           child->kind == HF_CHILD_DUTY;
}

bool hf_child_is_watched(const hf_child *child)
{
    return child->pid != 0 && hf_child_gives_signs(child) && child->is_ready &&
           !child->is_draining && child->control_fd >= 0;
}

void hf_child_heard(hf_child *child)
{
    child->kill_at_ns = hf_time_mono_ns() + HF_SILENCE_NS;
}

void hf_forgive_silence(hf_supervisor *sup)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        if (hf_child_is_watched(&sup->children[i])) {
            hf_child_heard(&sup->children[i]);
        }
    }
}
