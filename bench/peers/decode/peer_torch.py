"""PyTorch's scaled_dot_product_attention with one query; enable_gqa where heads share keys."""

import numpy as np
import torch

from on_torch import TYPES, start
from turns import Turns


def prepare(p):
    if p.dtype == "int8":
        return "torch: no attention over an 8-bit cache"
    q, k, v = (torch.from_numpy(np.array(t)).to(TYPES[p.dtype]) for t in (p.q, p.k, p.v))
    grouped = p.heads != p.kv_heads
    out = {}

    def one(k, v):
        def run():
            out["o"] = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=grouped)
        return run

    turns = Turns([one(k, v)] + [one(k.clone(), v.clone()) for _ in range(p.copies - 1)])
    return (f"scaled_dot_product_attention{', enable_gqa' if grouped else ''}", turns,
            lambda b, h, i: out["o"][b, h, i].float().numpy())
