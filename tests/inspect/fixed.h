/* An inspection whose every figure is fixed, for tests of the reports: two layers of three heads over
 * 320 tokens, among them text that must not reach a terminal. */
#ifndef ATTN_TESTS_INSPECT_FIXED_H
#define ATTN_TESTS_INSPECT_FIXED_H

#include "inspect/inspection.h"

/* Freed with inspection_free. Valid until the next call. */
struct inspection fixed_inspection(void);

#endif
