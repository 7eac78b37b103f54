/* json_memory: the key manager's bodies carry passwords, so what jansson frees is wiped. */
#ifndef HF_FRONT_JSON_MEMORY_H
#define HF_FRONT_JSON_MEMORY_H

#include "base/base.h"

/* Once, before the first document. */
void hf_json_memory_init(void);

#endif
