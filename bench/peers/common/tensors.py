"""The numbers of `attn bench`'s tensors (tools/attn/bench/tensors.h), and the types they are rounded to."""

import numpy as np

UNIT = {"f32": 2.0 ** -24, "bf16": 2.0 ** -8, "f16": 2.0 ** -11}
AT_ONCE = 1 << 22


def values(seed, count):
    """Values of variance 1 from splitmix64, as f32: those of a smaller count are the first of these."""
    out = np.empty(count, np.float32)
    for first in range(0, count, AT_ONCE):
        fill(seed, first, out[first:first + AT_ONCE])
    return out


def fill(seed, first, out):
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(first + 1, first + 1 + out.size, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    total = sum(((z >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64) for shift in (0, 16, 32, 48))
    out[...] = (total - 2 * 65535).astype(np.float32) * np.float32(np.float32(1.7320508) / np.float32(65536))


def bf16_bits(array):
    """To nearest, ties to even; no NaN comes here."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def rounded(array, dtype):
    """f32 values as the type holds them."""
    if dtype == "f16":
        return array.astype(np.float16).astype(np.float32)
    if dtype == "bf16":
        return (bf16_bits(array).astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(array.shape)
    return array
