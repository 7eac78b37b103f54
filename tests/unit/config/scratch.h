/* A scratch folder with the files that the configurations of these tests name; the tests run in it.
 */
#ifndef HF_TEST_CONFIG_SCRATCH_H
#define HF_TEST_CONFIG_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

#define ROOT_HEX "0x1111111111111111111111111111111111111111111111111111111111111111"
#define MAINNET_ROOT_HEX "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"

/* cmocka group setup and teardown: makes the folder, enters it, clears HOLDFAST_* variables. */
int scratch_enter(void **state);
int scratch_leave(void **state);
/* Absolute path of a file in it; static storage, good until the next call. */
const char *scratch_path(const char *name);
void scratch_write(const char *name, const char *text, unsigned mode);

/* Loads text as holdfast.yaml with flags (NULL: none). */
hf_status scratch_load(const char *text, hf_config_flags *flags, hf_config *ret, hf_error *err);
/* The load must succeed, or fail with exactly this sentence. */
void assert_loads(const char *text, hf_config *ret);
void assert_refused(const char *text, const char *sentence);

#endif
