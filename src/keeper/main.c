/* holdfast-keeper: see keeper.h for the picture, run.c for the order of things. */
#include "keeper/keeper.h"

int main(void)
{
    return hf_keeper_run();
}
