/* Jansson's memory: wiped when freed. */
#include "front/json_memory.h"

#include <jansson.h>
#include <malloc.h>

static void release(void *ptr)
{
    if (ptr != NULL) {
        hf_wipe(ptr, malloc_usable_size(ptr));
    }
    free(ptr);
}

void hf_json_memory_init(void)
{
    json_set_alloc_funcs(malloc, release);
}
