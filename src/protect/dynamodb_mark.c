/*
 * How far the store has come is not counted on DynamoDB yet (docs/adr/0017-start-guard.md): the
 * guard is told so (is_counted 0), floors rise for every validator known, and there are no anchors.
 */
#include "protect/dynamodb_internal.h"

hf_status hf_dynamo_mark(hf_store *self, hf_store_mark *ret_mark, hf_error *err)
{
    (void)self;
    (void)err;
    *ret_mark = (hf_store_mark){.is_counted = 0};
    return hf_ok();
}

hf_status hf_dynamo_take_over(hf_store *self, const hf_watermark *low,
                              const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err)
{
    (void)lineage;
    return low != NULL ? self->ops->raise_floors(self, low, err) : hf_ok();
}

hf_status hf_dynamo_anchor_get(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                               hf_store_anchor *ret_anchor, hf_error *err)
{
    (void)self;
    (void)log_id;
    (void)ret_anchor;
    return hf_fail(err, HF_NOT_FOUND, "this store keeps no anchors");
}

hf_status hf_dynamo_anchor_set(hf_store *self, const hf_store_anchor *anchor, hf_error *err)
{
    (void)self;
    (void)anchor;
    return hf_fail(err, HF_UNAVAILABLE, "this store keeps no anchors");
}
