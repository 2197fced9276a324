"""Decoding cases as graphs of ggml, for two libraries that have it: see ggml_library.py. k and v are of the
cache's type; int8 is Q8_0, blocks of 32 numbers that have their scale beside them as f16."""

import numpy as np

import problem
from ggml_library import Context, Graph, KINDS, held
from turns import Turns


def blocks_of(array):
    """Q8_0: a scale of f16 and 32 whole numbers, 34 bytes."""
    whole = problem.whole_numbers(array).reshape(-1, 32)
    blocks = np.empty((whole.shape[0], 34), np.uint8)
    blocks[:, :2] = np.full(1, problem.SCALE, np.float16).view(np.uint8)
    blocks[:, 2:] = whole.view(np.uint8)
    return blocks, KINDS["int8"], array.shape


def prepare(library, p):
    hold = blocks_of if p.dtype == "int8" else lambda array: held(array, p.dtype)
    k, v = hold(p.k), hold(p.v)
    mask = np.zeros((1, 1, library.mask_rows, p.keys), np.float16) if library.always_masks else None
    room = p.copies * (k[0].nbytes + v[0].nbytes + 4 * p.q.size + Graph.BYTES) + 4 * p.q.size + p.keys * 64
    context = Context(library, room + (16 << 20))
    q = context.tensor(*held(p.q, "f32"))
    zeros = context.tensor(*held(mask, "f16")) if mask is not None else None
    graphs = [Graph(context, [q, context.tensor(*k), context.tensor(*v), zeros], p.q.shape, p.scale, 0.0)
              for _ in range(p.copies)]
    turns = Turns([graph.run for graph in graphs])
    kind = "q8_0" if p.dtype == "int8" else p.dtype
    return (f"ggml_flash_attn_ext, q f32, k and v {kind}{', mask of zeros' if mask is not None else ''}", turns,
            lambda b, h, i: graphs[turns.last].row(b, h, i))
