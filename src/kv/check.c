/* What every call on a cache checks first. */
#include <inttypes.h>

#include "base/error.h"
#include "kv/cache.h"

attn_status attn_kv_check(const attn_kv *kv, attn_error *error)
{
    return kv ? ATTN_OK
              : attn_fail(error, ATTN_ERR_NULL, "kv is NULL; it must come from attn_kv_create");
}

attn_status attn_kv_check_layer(const attn_kv *kv, int64_t layer, attn_error *error)
{
    attn_status status = attn_kv_check(kv, error);
    if (!status && (layer < 0 || layer >= kv->layer_count))
        status = attn_fail(error, ATTN_ERR_SHAPE, "layer is %" PRId64 "; it may be 0 to %" PRId64,
                           layer, kv->layer_count - 1);
    return status;
}

attn_status attn_kv_check_sequence(const attn_kv *kv, const char *name, int64_t sequence,
                                   attn_error *error)
{
    if (sequence < 0 || sequence >= kv->sequences)
        return attn_fail(error, ATTN_ERR_SHAPE, "%s is %" PRId64 "; it may be 0 to %" PRId64, name,
                         sequence, kv->sequences - 1);
    return ATTN_OK;
}

attn_status attn_kv_check_sequences(attn_kv *kv, const int32_t *sequences, int64_t count,
                                    bool distinct, attn_error *error)
{
    if (count < 0 || count > kv->sequences)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "count is %" PRId64 " sequences; it may be 0 to %" PRId64, count,
                         kv->sequences);
    if (!sequences)
        return ATTN_OK;
    if ((uintptr_t)sequences % sizeof *sequences != 0)
        return attn_fail(error, ATTN_ERR_ALIGNMENT, "sequences is %p; it must be aligned to %zu",
                         (const void *)sequences, sizeof *sequences);
    attn_status status = ATTN_OK;
    int64_t marked = 0;
    for (; !status && marked < count; marked++) {
        const int32_t sequence = sequences[marked];
        if (sequence < 0 || sequence >= kv->sequences)
            status = attn_fail(error, ATTN_ERR_SHAPE,
                               "sequences[%" PRId64 "] is %" PRId32 "; it may be 0 to %" PRId64,
                               marked, sequence, kv->sequences - 1);
        else if (distinct && kv->marks[sequence])
            status = attn_fail(error, ATTN_ERR_VALUE,
                               "sequences[%" PRId64 "] is %" PRId32
                               ", which is there before; each may come once",
                               marked, sequence);
        else
            kv->marks[sequence] = 1;
    }
    for (int64_t i = 0; i < marked; i++)
        if (sequences[i] >= 0 && sequences[i] < kv->sequences)
            kv->marks[sequences[i]] = 0;
    return status;
}
