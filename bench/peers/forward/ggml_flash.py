"""The cases as graphs of ggml, for two libraries that have it: see ggml_library.py. k and v are of the case's
type. Masks are a tensor of f16 that all heads share, -inf where nothing is seen; ALiBi is its max_bias over a
mask of distances."""

import numpy as np

from ggml_library import Context, Graph, held


def mask_of(p, rows_of, always):
    """(mask [1, 1, rows, keys] or None, max_bias, words)"""
    rows = -(-p.queries // rows_of) * rows_of
    mask = np.zeros((1, 1, rows, p.keys), np.float16)
    if p.mask == "alibi":
        i, j = np.arange(p.queries)[:, None], np.arange(p.keys)[None, :]
        mask[0, 0, :p.queries] = -np.abs(i + p.keys - p.queries - j)
        return mask, 8.0, ", max_bias over a mask of distances"
    seen = p.visible()
    if seen is None:
        return (mask, 0.0, ", mask of zeros") if always else (None, 0.0, "")
    mask[0, 0, :p.queries] = np.where(seen, 0, -np.inf)
    return mask, 0.0, ", mask of f16"


def prepare(library, name, p):
    if p.case["statistics"] != "none":
        return f"{name}: no statistics"
    if p.mask in ("ragged", "padded", "bias"):
        return f"{name}: a mask is shared by all heads and sequences"
    mask, max_bias, words = mask_of(p, library.mask_rows, library.always_masks)
    given = [held(p.q, "f32"), held(p.k, p.dtype), held(p.v, p.dtype), None if mask is None else held(mask, "f16")]
    room = sum(one[0].nbytes for one in given if one) + p.q.size * 4
    context = Context(library, room + (16 << 20))
    made = [context.tensor(*one) if one else None for one in given]
    graph = Graph(context, made, p.q.shape, p.scale, max_bias)
    return f"ggml_flash_attn_ext, q f32, k and v {p.dtype}{words}", graph.run, graph.row
