"""Tensors as they lie in memory: any strides, NaN in every gap, a guard at both ends.

Everything the library reads is NaN where it has no business to read; everything it writes begins as a
pattern that must survive where it has no business to write."""

import numpy as np
import torch

GUARD = 64  # elements before and behind
TORCH = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
RAW = {"f32": np.float32, "bf16": np.uint16, "f16": np.uint16}
NAN = {"f32": np.float32(np.nan), "bf16": 0x7FC0, "f16": 0x7E00}


def to_raw(values, dtype):
    """A float64 array rounded once to `dtype`, as its bits."""
    narrow = torch.from_numpy(np.ascontiguousarray(values)).to(TORCH[dtype])
    return narrow.numpy() if dtype == "f32" else narrow.view(torch.int16).numpy().view(np.uint16)


def from_raw(raw, dtype):
    raw = np.array(raw)  # strides may be negative here, torch has none
    wide = torch.from_numpy(raw if dtype == "f32" else raw.view(np.int16))
    return (wide if dtype == "f32" else wide.view(TORCH[dtype])).double()


def reach(extents, strides):
    """(lowest, highest) element a tensor touches, counted from its pointer."""
    spans = [stride * (extent - 1) for extent, stride in zip(extents, strides)]
    return sum(min(0, s) for s in spans), sum(max(0, s) for s in spans)


class Tensor:
    """Extents, strides (in elements) and memory of one dtype ("f32", "bf16", "f16")."""

    def __init__(self, dtype, extents, strides, shared=None):
        """`shared`: (buffer, offset of the pointer in it), else memory of its own."""
        self.dtype, self.extents, self.strides = dtype, tuple(extents), tuple(strides)
        self.empty = 0 in self.extents
        if shared:
            self.buffer, self.offset = shared
        else:
            low, high = (0, 0) if self.empty else reach(extents, strides)
            self.buffer = np.full(high - low + 1 + 2 * GUARD, NAN[dtype], RAW[dtype])
            self.offset = GUARD - low
        self.view = self.look(self.buffer)
        self.pointer = self.buffer.ctypes.data + self.offset * self.buffer.itemsize

    def look(self, buffer):
        width = buffer.itemsize
        return np.lib.stride_tricks.as_strided(buffer[self.offset:], self.extents,
                                               [stride * width for stride in self.strides])

    def broadcasts(self):
        return any(stride == 0 and extent > 1 for extent, stride in zip(self.extents, self.strides))

    def write(self, values):
        """Fill the leading part that `values` covers; a broadcast axis keeps what is written last."""
        self.view[tuple(slice(0, n) for n in values.shape)] = to_raw(values, self.dtype)

    def read(self):
        return from_raw(self.view, self.dtype)

    def untouched(self, before, written):
        """Whether all memory outside the leading part `written` is as it was."""
        outside = np.ones(self.buffer.shape, bool)
        if not self.empty:
            self.look(outside)[tuple(slice(0, n) for n in written)] = False
        bits = np.uint32 if self.dtype == "f32" else np.uint16
        return bool((self.buffer.view(bits)[outside] == before.view(bits)[outside]).all())


class Output:
    """A contiguous array the library writes: f32 or int32 behind guards."""

    def __init__(self, kind, *extents):
        count = int(np.prod(extents, dtype=np.int64))
        self.buffer = np.full(count + 2 * GUARD, 0x7FD5A5A5, np.uint32)
        self.values = self.buffer[GUARD:GUARD + count].view(kind).reshape(extents)
        self.pointer = self.buffer.ctypes.data + 4 * GUARD

    def guarded(self):
        return bool((self.buffer[:GUARD] == 0x7FD5A5A5).all() and (self.buffer[-GUARD:] == 0x7FD5A5A5).all())
