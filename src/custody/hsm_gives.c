/* What back ends that give their keys away answer to the operations they have none of. */
#include "custody/hsm.h"

hf_status hf_custody_never_signs(hf_custody *custody, uint64_t handle, hf_bytes message,
                                 uint64_t deadline_ns,
                                 uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES], hf_error *err)
{
    (void)custody, (void)handle, (void)message, (void)deadline_ns, (void)ret_signature;
    return hf_fail(err, HF_USAGE, "this back end gives its keys away: it signs nothing");
}

hf_status hf_custody_never_wraps(hf_custody *custody, const char *reference, hf_bytes context,
                                 hf_bytes data, uint64_t deadline_ns, uint8_t *out, size_t *out_len,
                                 hf_error *err)
{
    (void)custody, (void)reference, (void)context, (void)data, (void)deadline_ns, (void)out,
        (void)out_len;
    return hf_fail(err, HF_USAGE, "this back end gives its keys away: it wraps nothing");
}
