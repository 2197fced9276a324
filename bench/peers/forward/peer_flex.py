"""PyTorch's flex_attention, compiled: masks by rule, blocks of which it skips. It needs a C++ compiler when
it runs."""

import numpy as np
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import on_torch

compiled = None


def start(threads):
    global compiled
    about = on_torch.start(threads)
    compiled = torch.compile(flex_attention, dynamic=False)
    return {**about, "name": "torch flex"}


def rule(p):
    """mask_mod of the case, or None."""
    if p.mask == "causal":
        return lambda b, h, i, j: j <= i
    if p.mask == "window 511,0":
        return lambda b, h, i, j: (j <= i) & (j >= i - 511)
    if p.mask == "documents, causal":
        document = torch.from_numpy(p.document(np.arange(p.keys), p.keys))
        return lambda b, h, i, j: (j <= i) & (document[i] == document[j])
    if p.mask == "blocks of 128":
        return lambda b, h, i, j: p.block(i // 128, j // 128)
    return None


def prepare(p):
    if p.case["statistics"] != "none":
        return "torch flex: no statistics"
    full = p.mask == "none" and "full_ms_median" in p.case  # what a masked case is compared with
    if not full and p.mask != "alibi" and rule(p) is None or p.queries != p.keys:
        return "torch flex: compared where a mask is a rule"
    q, k, v = (torch.from_numpy(t).to(on_torch.TYPES[p.dtype]) for t in (p.q, p.k, p.v))
    mask = create_block_mask(rule(p), None, None, p.queries, p.keys, device="cpu") if rule(p) else None
    score = None
    if p.mask == "alibi":
        slopes = torch.from_numpy(p.slopes())
        score = lambda s, b, h, i, j: s - slopes[h] * torch.abs(i - j)  # noqa: E731
    out = {}

    def run():
        out["o"] = compiled(q, k, v, score_mod=score, block_mask=mask, enable_gqa=p.heads != p.kv_heads)

    try:
        run()
    except Exception as error:  # pylint: disable=broad-except
        return f"torch flex: {p.dtype} {p.mask}: {str(error).strip().splitlines()[0][:140]}"
    return "flex_attention, compiled", run, lambda b, h, i: out["o"][b, h, i].float().numpy()
