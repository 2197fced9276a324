"""PyTorch's scaled_dot_product_attention on its fused CPU kernel. Masks it has no option for are given as
a tensor of booleans (or, for ALiBi, of biases), as its users do. The statistics of a row, which the fused
call does not give, are computed from the weights, by hand."""

import math

import numpy as np
import torch

from on_torch import TYPES, start


def mask_of(p):
    """(attn_mask, is_causal, the options in words)"""
    if p.mask == "none":
        return None, False, ""
    if p.mask == "causal" and p.queries == p.keys:
        return None, True, ", is_causal"
    bias = p.bias()
    if bias is not None:
        return torch.from_numpy(bias)[None].to(TYPES[p.dtype]), False, ", attn_mask of biases"
    if p.mask == "padded":
        seen = np.arange(p.keys)[None, :] < np.array(p.lengths)[:, None]
        return torch.from_numpy(seen)[:, None, None, :], False, ", attn_mask of key lengths"
    return torch.from_numpy(p.visible())[None, None], False, ", attn_mask of booleans"


def prepare(p):
    if p.mask == "ragged":
        return "torch: no fused call on packed sequences for CPUs"
    if p.case["statistics"] == "all of a row":
        return "torch: no such statistics"
    q, k, v = (torch.from_numpy(t).to(TYPES[p.dtype]) for t in (p.q, p.k, p.v))
    mask, causal, words = mask_of(p)
    grouped = p.heads != p.kv_heads
    out = {}

    def fused():
        out["o"] = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped)

    def by_hand():
        scores = q @ k.repeat_interleave(p.heads // p.kv_heads, 1).transpose(2, 3) / math.sqrt(p.size)
        if p.visible() is not None:
            scores.masked_fill_(~torch.from_numpy(p.visible()), -math.inf)
        weights = torch.softmax(scores, -1)
        out["o"] = weights @ v.repeat_interleave(p.heads // p.kv_heads, 1)
        out["statistics"] = torch.special.entr(weights).sum(-1), weights.amax(-1)

    def row(b, h, i):
        return out["o"][b, h, i].float().numpy()

    if p.case["statistics"] != "none":
        return "matmul, softmax, entr, amax by hand", by_hand, row
    return f"scaled_dot_product_attention{words}{', enable_gqa' if grouped else ''}", fused, row
