/* Functions that do not compile here: each has a safer form in base.h. After git's banned.h. */
#ifndef HF_BANNED_H
#define HF_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define HF_BANNED(func) hf_banned_function_##func

#undef strcpy
#define strcpy(a, b) HF_BANNED(strcpy)
#undef strcat
#define strcat(a, b) HF_BANNED(strcat)
#undef strncpy
#define strncpy(a, b, n) HF_BANNED(strncpy)
#undef strncat
#define strncat(a, b, n) HF_BANNED(strncat)
#undef strtok
#define strtok(a, b) HF_BANNED(strtok)
#undef sprintf
#define sprintf(...) HF_BANNED(sprintf)
#undef vsprintf
#define vsprintf(a, b, c) HF_BANNED(vsprintf)
#undef atoi
#define atoi(a) HF_BANNED(atoi)
#undef atol
#define atol(a) HF_BANNED(atol)
#undef strtol
#define strtol(a, b, c) HF_BANNED(strtol)
#undef strtoul
#define strtoul(a, b, c) HF_BANNED(strtoul)
#undef strtoull
#define strtoull(a, b, c) HF_BANNED(strtoull)
#undef localtime
#define localtime(a) HF_BANNED(localtime)
#undef gmtime
#define gmtime(a) HF_BANNED(gmtime)
#undef ctime
#define ctime(a) HF_BANNED(ctime)
#undef system
#define system(a) HF_BANNED(system)
#undef popen
#define popen(a, b) HF_BANNED(popen)
#undef rand
#define rand() HF_BANNED(rand)
#undef memcmp
#define memcmp(a, b, n) HF_BANNED(memcmp)
#undef alloca
#define alloca(n) HF_BANNED(alloca)

#endif
