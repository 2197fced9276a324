/* cmocka, with what it wants included before it. */
#ifndef ATTN_TESTS_TOKENIZER_CMOCKA_ALL_H
#define ATTN_TESTS_TOKENIZER_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#endif
