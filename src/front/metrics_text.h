/* How a metric is written; for the files that write some. */
#ifndef HF_FRONT_METRICS_TEXT_H
#define HF_FRONT_METRICS_TEXT_H

#include "front/front_internal.h"

#include <inttypes.h>

/* # HELP and # TYPE; names get holdfast_ before them. */
void hf_metric_head(hf_text *out, const char *name, const char *type, const char *help);
/* labels: 'a="x",' each with its comma, or "". */
void hf_metric_histogram(hf_text *out, const char *name, const char *labels, const hf_histogram *h);

/* metrics_custody.c */
void hf_front_put_custodies(hf_text *out, const hf_msg_metrics_reply *reply);

#endif
