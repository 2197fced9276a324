"""Decoding cases of `attn bench` once more in numpy: one query of each sequence and head on the keys and values
of a cache, the same numbers, and rows of the result in double. The rules stand in tools/attn/bench/tensors.h and
pool.h; that both sides agree is checked on every case, by values that `attn bench` prints.

Keys and values are the first of one long row of numbers each, which is made once and kept in a file
(build/peers-numbers, or the folder ATTN_PEERS_NUMBERS names): every process maps it."""

import math
import os

import numpy as np

import tensors
from tensors import UNIT, rounded

SCALE = np.float32(np.float32(3.5) / np.float32(127))  # of int8
# Rounding q to 8 bits, as int8 products do: at most half of 1/127 of the largest.
UNIT_OF_8_BITS = 2.0 ** -8


def meant(name):
    """Whether a case of `attn bench` is one of these: contiguous, for peers have no pages here."""
    return name.startswith("decode_") and "_page" not in name


def row_of_numbers(seed, count):
    """The first `count` values, mapped."""
    here = os.path.dirname(os.path.abspath(__file__))
    folder = os.environ.get("ATTN_PEERS_NUMBERS") or os.path.join(here, "../../../build/peers-numbers")
    path = os.path.join(folder, f"{seed}.f32")
    if not os.path.exists(path) or os.path.getsize(path) < 4 * count:
        os.makedirs(folder, exist_ok=True)
        tensors.values(seed, count).tofile(path + f".{os.getpid()}")
        os.replace(path + f".{os.getpid()}", path)
    return np.memmap(path, np.float32, "r", shape=(count,))


class Problem:
    """q [B, Hq, 1, D], rounded to its type; k and v [B, Hkv, n, D] as numbers that are still to be rounded:
    held(). `copies` of them must pass by before one is read again."""

    def __init__(self, case, passing):
        self.case, self.dtype = case, case["dtype"]
        self.batch, self.heads, self.kv_heads = case["batch"], case["heads"], case["kv_heads"]
        self.keys, self.size = case["keys"], case["head_size"]
        self.scale = 1 / math.sqrt(self.size)
        self.copies = max(1, -(-passing // int(case["bytes"])))
        self.q = rounded(tensors.values(1, self.batch * self.heads * self.size),
                         "f32" if self.dtype == "int8" else self.dtype).reshape(self.batch, self.heads, 1, self.size)
        shape = (self.batch, self.kv_heads, self.keys, self.size)
        self.k, self.v = (row_of_numbers(seed, math.prod(shape)).reshape(shape) for seed in (2, 3))

    def stored(self, array):
        """f32 values as the cache has them."""
        if self.dtype == "int8":
            return whole_numbers(array).astype(np.float32) * SCALE
        return rounded(np.asarray(array), self.dtype)

    def exact_row(self, b, head, _):
        """(o, sum p |v|, sum p^2 v^2), [D] each, in double."""
        kv_head = head // (self.heads // self.kv_heads)
        k, v = (self.stored(t[b, kv_head]).astype(np.float64) for t in (self.k, self.v))
        scores = k @ self.q[b, head, 0].astype(np.float64) * self.scale
        p = np.exp(scores - scores.max())
        p /= p.sum()
        return p @ v, p @ np.abs(v), p ** 2 @ v ** 2


def whole_numbers(array):
    """int8 of them: to nearest, ties to even."""
    return np.rint(array / SCALE).astype(np.int8)


def off(problem, exact, row):
    """(how far a row is off: root mean square over that of sum p |v|; what it may be), as in
    forward/problem.py. With an 8-bit cache peers multiply q of 8 bits too: each weight is off by some of those,
    of random sign."""
    o, magnitude, squares = exact
    norm = math.sqrt(float(np.mean(magnitude ** 2)))
    expected = math.sqrt(float(np.mean(o ** 2 + squares)))
    sums = math.sqrt(problem.keys * float(np.mean(o ** 2)))
    error = math.sqrt(float(np.mean((np.asarray(row) - o) ** 2)))
    if problem.dtype == "int8":
        return error / norm, 1e-4 + UNIT_OF_8_BITS * 4 * 3 * expected / norm
    return error / norm, 1e-4 + UNIT[problem.dtype] * (4 * 3 * expected + sums) / norm
