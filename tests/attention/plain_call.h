/* What a call of refusal.h must give, by plain loops in double: o, lse and lse with a sink. */
#ifndef TESTS_ATTENTION_PLAIN_CALL_H
#define TESTS_ATTENTION_PLAIN_CALL_H

#include "attention/refusal.h"

/* Compares the outputs of a call that was served; false, with a line on stderr, where they are off. Values
 * must be of moderate size. Score functions are not known here. */
bool plain_call_agrees(const struct call *c);

#endif
