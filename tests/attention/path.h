/* What every program here begins with: the kernel path it is about. */
#ifndef TESTS_ATTENTION_PATH_H
#define TESTS_ATTENTION_PATH_H

#include <stdint.h>

enum { PATH_SKIPPED = 77 }; /* ctest: the test is reported as skipped */

/* 0 if the library runs the path that ATTN_CPU names (or ATTN_CPU is not set); PATH_SKIPPED, with a line
 * that says so, if this machine cannot; 1 if the library does not do as told. */
int path_check(void);

/* `count` cases, scaled by ATTN_CHECK_CASES (a percentage; default 100, less under a sanitizer), at least one. */
int64_t path_cases(int64_t count);

#endif
