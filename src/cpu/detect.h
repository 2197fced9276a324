/* The pieces of finding out what a machine is; attn_cpu_info puts them together once. */
#ifndef ATTN_CPU_DETECT_H
#define ATTN_CPU_DETECT_H

#include "cpu/cpu.h"

void attn_cpu_read_features(struct attn_cpu_features *features);

/* What the machine reports, 0 where it reports nothing. */
void attn_cpu_read_caches(struct attn_cpu_caches *caches);

/* Replace what cannot be (0, or outside any CPU ever made) by a modest default. */
void attn_cpu_make_credible(struct attn_cpu_caches *caches);

/* The CPU's own name, trimmed, into name[size]; "unknown" if it has none. */
void attn_cpu_read_name(char *name, size_t size);

/* From vendor, family and model. Static storage. */
const char *attn_cpu_read_microarchitecture(void);

#endif
