/* holdfast-store: see store.h for what it is, run.c for the order of things. */
#include "store/store.h"

int main(void)
{
    return hf_store_run();
}
