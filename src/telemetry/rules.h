/* The check of attn_label_rules that every entry point shares. */
#ifndef ATTN_TELEMETRY_RULES_H
#define ATTN_TELEMETRY_RULES_H

#include <attn/summary.h>

/* ATTN_OK, or the status and a sentence about the first rule that is wrong. */
attn_status attn_label_rules_check(const attn_label_rules *rules, attn_error *error);

#endif
