/* Order statistics by radix selection; see percentile.h. */
#include "telemetry/percentile.h"

#include <string.h>

/* Bits that compare as unsigned numbers the way the floats compare: the sign bit is flipped, and for
 * negative numbers all others too. */
static uint32_t ordered_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float value_of_ordered_bits(uint32_t ordered)
{
    uint32_t bits = ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float attn_select(const float *values, int64_t count, int64_t index)
{
    uint32_t found = 0, mask = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        int64_t tally[256] = {0};
        for (int64_t i = 0; i < count; i++) {
            uint32_t bits = ordered_bits(values[i]);
            if ((bits & mask) == found)
                tally[(bits >> shift) & 255]++;
        }
        uint32_t digit = 0;
        while (digit < 255 && index >= tally[digit])
            index -= tally[digit++];
        found |= digit << shift;
        mask |= 255u << shift;
    }
    return value_of_ordered_bits(found);
}

double attn_quantile(const float *values, int64_t count, double share)
{
    double position = share * (double)(count - 1);
    int64_t below = (int64_t)position;
    double part = position - (double)below;
    double low = (double)attn_select(values, count, below);
    if (part == 0.0 || below + 1 >= count)
        return low;
    double high = (double)attn_select(values, count, below + 1);
    return low + part * (high - low);
}
