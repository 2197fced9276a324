#!/usr/bin/env python3
"""Write quantised.bin: a few random blocks of every tensor type and the floats that gguf-py makes of them.

    python3 -m venv venv && venv/bin/pip install gguf numpy
    venv/bin/python tests/files/golden/make_quantised.py

For each type: i32 id, i32 number of values, the blocks, the float32 values; little-endian. The scales are
random finite binary16 numbers, subnormal ones and the largest among them. Made with gguf 0.19.0.
"""
import os

import gguf
import numpy as np

TYPES = {  # where in a block its binary16 scales are
    "F32": [], "F16": [], "BF16": [], "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def finite_halves(random, count):
    bits = random.integers(0, 65536, count, dtype=np.uint16)
    return np.where(bits & 0x7c00 == 0x7c00, bits & 0xfbff, bits)


def main():
    random = np.random.default_rng(1)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "quantised.bin"), "wb") as out:
        for name, scales in TYPES.items():
            kind = gguf.GGMLQuantizationType[name]
            per, size = gguf.GGML_QUANT_SIZES[kind]
            blocks = 2 if per == 256 else 4 if per == 32 else 64
            if per == 1:
                data = np.ascontiguousarray(finite_halves(random, blocks * size // 2))
                rows = data.view(np.uint8).reshape(1, -1)
            else:
                rows = random.integers(0, 256, (1, blocks * size), dtype=np.uint8)
                values = finite_halves(random, blocks * len(scales)).reshape(blocks, -1)
                values[0, :] = 0x7bff
                values[1, :] = 0x0003
                for block in range(blocks):
                    for which, place in enumerate(scales):
                        at = block * size + place
                        rows[0, at:at + 2] = np.array([values[block, which]]).view(np.uint8)
            source = rows.view(np.float32) if name == "F32" else rows.view(np.float16) if name == "F16" else rows
            floats = np.asarray(gguf.quants.dequantize(source, kind), dtype="<f4")
            np.array([kind.value, blocks * per], dtype="<i4").tofile(out)
            rows.tofile(out)
            floats.tofile(out)


main()
