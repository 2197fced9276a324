"""Cases of `attn bench` once more in numpy: the same tensors number for number, the same masks, and rows of
the result in double. The rules stand in tools/attn/bench/masks.h and tensors.h; that both sides agree is
checked on every case, by values of the result that `attn bench` prints."""

import math

import numpy as np

from tensors import UNIT, rounded, values

BLOCK, DOCUMENTS = 128, 8


def meant(name):
    """Whether a case of `attn bench` is one of these."""
    return not name.startswith("decode")


class Problem:
    """q, k, v as f32 [B, H, N, D] (ragged: lists of [H, n, D]), already rounded to the case's type."""

    def __init__(self, case, _=0):
        self.case = case
        self.batch, self.heads, self.kv_heads = case["batch"], case["heads"], case["kv_heads"]
        self.queries, self.keys, self.size = case["queries"], case["keys"], case["head_size"]
        self.mask, self.dtype = case["mask"], case["dtype"]
        self.scale = 1 / math.sqrt(self.size)
        self.lengths = [self.keys * (self.batch - b) // self.batch if self.mask in ("padded", "ragged")
                        else self.keys for b in range(self.batch)]
        self.q = self.tensor(1, self.heads, self.queries)
        self.k = self.tensor(2, self.kv_heads, self.keys)
        self.v = self.tensor(3, self.kv_heads, self.keys)

    def tensor(self, seed, heads, length):
        if self.mask != "ragged":
            flat = rounded(values(seed, self.batch * heads * length * self.size), self.dtype)
            return flat.reshape(self.batch, heads, length, self.size)
        packed = rounded(values(seed, heads * sum(self.lengths) * self.size), self.dtype)
        packed = packed.reshape(heads, sum(self.lengths), self.size)
        ends = np.cumsum(self.lengths)
        return [packed[:, end - n:end] for end, n in zip(ends, self.lengths)]

    def sequence(self, tensor, b):
        """[H, n, D] of one sequence, without its padding."""
        return tensor[b] if self.mask == "ragged" else tensor[b][:, :self.lengths[b]] \
            if self.mask == "padded" else tensor[b]

    def visible(self, rows=None, keys=None, queries=None):
        """[rows, keys]: who sees whom in a sequence; None if all see all."""
        keys = self.keys if keys is None else keys
        queries = self.queries if queries is None else queries
        i = np.arange(queries)[:, None] if rows is None else np.asarray(rows)[:, None]
        j, p = np.arange(keys)[None, :], i + keys - queries
        if self.mask in ("causal", "boolean, causal"):
            return j <= p
        if self.mask == "window 511,0":
            return (j <= p) & (j >= p - 511)
        if self.mask.startswith("boolean"):
            with np.errstate(over="ignore"):
                x = i.astype(np.uint32) * np.uint32(2654435761) + j.astype(np.uint32) * np.uint32(2246822519)
                x = (x ^ (x >> np.uint32(15))) * np.uint32(2246822507)
            return (x >> np.uint32(28)) != 0
        if self.mask == "documents, causal":
            return (j <= p) & (self.document(i, queries) == self.document(j, keys))
        if self.mask == "blocks of 128":
            return self.block(i // BLOCK, j // BLOCK)
        return None

    @staticmethod
    def document(t, n):
        starts = [n * d * (d + 1) // 72 for d in range(1, DOCUMENTS)]
        return np.searchsorted(starts, t, side="right")

    @staticmethod
    def block(row_block, key_block):
        return (key_block == row_block) | (key_block == 0) | ((7 * row_block + 13 * key_block) % 5 == 0)

    def slopes(self):
        return np.exp2(-8 * (np.arange(self.heads) + 1) / self.heads).astype(np.float32)

    def bias(self, head=None, rows=None, queries=None, keys=None):
        """[heads, rows, keys] to add to the scores (of one head: [rows, keys]); None if there is none."""
        keys = self.keys if keys is None else keys
        queries = self.queries if queries is None else queries
        i = np.arange(queries)[:, None] if rows is None else np.asarray(rows)[:, None]
        j = np.arange(keys)[None, :]
        h = np.arange(self.heads)[:, None, None] if head is None else head
        if self.mask == "bias":
            return (((31 * h + 7 * i + 13 * j) % 64) / 32 - 1).astype(np.float32)
        if self.mask == "alibi":
            slope = self.slopes()[:, None, None] if head is None else self.slopes()[head]
            return (-slope * np.abs(i + keys - queries - j)).astype(np.float32)
        return None

    def exact_row(self, b, head, row):
        """(o, sum p |v|, sum p^2 v^2) of one row, [D] each, in double."""
        q, k, v = (self.sequence(t, b) for t in (self.q, self.k, self.v))
        kv_head, n = head // (self.heads // self.kv_heads), k.shape[1]
        queries = q.shape[1]
        scores = k[kv_head].astype(np.float64) @ q[head, row].astype(np.float64) * self.scale
        bias = self.bias(head, [row], queries, n)
        if bias is not None:
            scores += bias[0]
        seen = self.visible([row], n, queries)
        if seen is not None:
            scores[~seen[0]] = -np.inf
        p = np.exp(scores - scores.max())
        p /= p.sum()
        values_of_head = v[kv_head].astype(np.float64)
        return p @ values_of_head, p @ np.abs(values_of_head), p ** 2 @ values_of_head ** 2


def off(problem, exact, row):
    """(how far a row is off: root mean square over that of sum p |v|; what it may be). Beside the rounding
    of the output and of each weight (see tools/attn/bench/verify.c) peers may round scores or inputs, and
    take a coarse exp: four times that, and 1e-4. Some keep a sum over n keys in 16 bits: each addition then
    rounds what is there so far, sqrt(n) times the rounding of the output at most."""
    o, magnitude, squares = exact
    unit, norm = UNIT[problem.dtype], math.sqrt(float(np.mean(magnitude ** 2)))
    expected = math.sqrt(float(np.mean(o ** 2 + squares)))
    sums = math.sqrt(problem.keys * float(np.mean(o ** 2)))
    error = math.sqrt(float(np.mean((np.asarray(row) - o) ** 2)))
    return error / norm, 1e-4 + unit * (4 * 3 * expected + sums) / norm
