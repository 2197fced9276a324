"""ONNX Runtime: a model of one node. MultiHeadAttention (its contrib operator, [B, N, H * D], the faster of
the two where it serves) or, for grouped heads, ONNX's own Attention (opset 23); local windows by
GroupQueryAttention, which is causal always. Types f32 and f16: its CPU kernels have no bf16."""

import numpy as np
from onnx import helper

from on_onnxruntime import TYPES, session_of, start


def bsd(t, n):
    """[B, H, n, D] -> [B, n, H * D]"""
    return np.ascontiguousarray(t.transpose(0, 2, 1, 3)).reshape(t.shape[0], n, -1)


def bias_of(p, dtype):
    """What is added to the scores, [1, 1 or H, Nq, Nk]; None for none."""
    bias = p.bias()
    if bias is not None:
        return bias[None].astype(dtype)
    if p.mask == "padded":
        seen = np.arange(p.keys)[None, :] < np.array(p.lengths)[:, None]
        seen = np.broadcast_to(seen[:, None, None, :], (p.batch, 1, p.queries, p.keys))
    elif p.mask in ("none", "causal"):
        return None
    else:
        seen = p.visible()[None, None]
    return np.where(seen, 0, -np.inf if dtype == np.float32 else -65504).astype(dtype)


def node_of(p, dtype):
    """(node, inputs by name, whether heads come last in the output)"""
    grouped = p.heads != p.kv_heads
    q, k, v = (t.astype(dtype) for t in (p.q, p.k, p.v))
    if p.mask == "window 511,0":
        feeds = {"q": bsd(q, p.queries), "k": bsd(k, p.keys), "v": bsd(v, p.keys), "past_k": k[:, :, :0],
                 "past_v": v[:, :, :0], "ends": np.full(p.batch, p.keys - 1, np.int32),
                 "total": np.array([p.keys], np.int32)}
        node = helper.make_node(
            "GroupQueryAttention", ["q", "k", "v", "past_k", "past_v", "ends", "total"],
            ["o", "present_k", "present_v"], domain="com.microsoft", num_heads=p.heads,
            kv_num_heads=p.kv_heads, local_window_size=512, scale=p.scale)
        return node, feeds, True
    bias = bias_of(p, dtype)
    if grouped:
        feeds = {"q": q, "k": k, "v": v, **({"bias": bias} if bias is not None else {})}
        node = helper.make_node("Attention", list(feeds), ["o"], is_causal=int(p.mask == "causal"))
        return node, feeds, False
    feeds = {"q": bsd(q, p.queries), "k": bsd(k, p.keys), "v": bsd(v, p.keys)}
    inputs = ["q", "k", "v"]
    if bias is not None:
        feeds["bias"] = bias
        inputs += ["", "", "bias"]
    more = {"unidirectional": 1} if p.mask == "causal" else {}
    node = helper.make_node("MultiHeadAttention", inputs, ["o"], domain="com.microsoft", num_heads=p.heads,
                            scale=p.scale, **more)
    return node, feeds, True


def prepare(p):
    if p.case["statistics"] != "none":
        return "onnxruntime: no statistics"
    if p.dtype not in TYPES:
        return "onnxruntime: no bf16 attention on CPUs"
    if p.mask == "ragged":
        return "onnxruntime: no packed sequences on CPUs"
    kind, dtype = TYPES[p.dtype]
    node, feeds, heads_last = node_of(p, dtype)
    try:
        session = session_of(node, feeds, [(name, kind) for name in node.output])
        binding = session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for name in node.output:
            binding.bind_output(name)
        session.run_with_iobinding(binding)
    except Exception as error:  # pylint: disable=broad-except
        return f"onnxruntime: {node.op_type} {p.dtype} {p.mask}: {str(error).strip().splitlines()[0][:140]}"
    shape = (p.batch, p.queries, p.heads, p.size) if heads_last else (p.batch, p.heads, p.queries, p.size)

    def row(b, h, i):
        o = binding.get_outputs()[0].numpy().reshape(shape)
        return o[b, i, h] if heads_last else o[b, h, i]

    masked = ", unidirectional" if p.mask == "causal" else ", attention_bias" if "bias" in feeds else ""
    return f"{node.op_type}{masked}", lambda: session.run_with_iobinding(binding), row
