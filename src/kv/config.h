/* A checked description of a cache, as the sizes of what it is made of. */
#ifndef ATTN_KV_CONFIG_H
#define ATTN_KV_CONFIG_H

#include "kv/cache.h"

/* Everything of *config. Errors: NULL, STRUCT_SIZE, SHAPE, STRIDE, DTYPE, ALIGNMENT, VALUE, OVERFLOW. */
attn_status attn_kv_config_check(const attn_kv_config *config, attn_error *error);

/* Of one checked layer: everything but memory. */
struct attn_kv_store attn_kv_store_of(const attn_kv_config *config, const attn_kv_layer *layer);

#endif
