"""ONNX Runtime: a model of one node, GroupQueryAttention (its contrib operator, with past and present in one
buffer that has the new token's room at its end, as its users decode) or ONNX's own Attention (opset 23): of the
two the one that is faster on the case. Types f32 and f16: its CPU kernels have no bf16."""

import time

import numpy as np
import onnxruntime as ort
from onnx import helper

from on_onnxruntime import TYPES, session_of, start
from turns import Turns


def last_token(t):
    """[B, H, n, D] -> [B, 1, H * D]"""
    return np.ascontiguousarray(t[:, :, -1]).reshape(t.shape[0], 1, -1)


def runs_of(node, inputs, caches, kind, presents):
    """A function for each copy of the cache, and what gives the result of the one called last. `presents`:
    outputs that are the buffers of inputs."""
    session = session_of(node, inputs, [(name, kind) for name in node.output])
    bindings = []
    for copy in caches:
        binding = session.io_binding()
        for name, array in {**inputs, **copy}.items():
            value = ort.OrtValue.ortvalue_from_numpy(array)
            bindings.append(value)
            binding.bind_ortvalue_input(name, value)
            if name in presents:
                binding.bind_ortvalue_output(presents[name], value)
        binding.bind_output(node.output[0])
        bindings.append(binding)
    own = [binding for binding in bindings if isinstance(binding, ort.IOBinding)]
    turns = Turns([lambda binding=binding: session.run_with_iobinding(binding) for binding in own])
    turns.kept = bindings
    place = [output for output in [*presents.values(), node.output[0]]].index(node.output[0])
    return turns, lambda: own[turns.last].get_outputs()[place].numpy()


def group_query(p, q, k, v, kind):
    inputs = {"q": last_token(q), "new_k": last_token(k), "new_v": last_token(v), "past_k": k, "past_v": v,
              "ends": np.full(p.batch, p.keys - 1, np.int32), "total": np.array([p.keys], np.int32)}
    node = helper.make_node(
        "GroupQueryAttention", ["q", "new_k", "new_v", "past_k", "past_v", "ends", "total"],
        ["o", "present_k", "present_v"], domain="com.microsoft", num_heads=p.heads, kv_num_heads=p.kv_heads,
        scale=p.scale)
    caches = ({"past_k": k.copy(), "past_v": v.copy()} for _ in range(p.copies))
    return runs_of(node, inputs, caches, kind, {"past_k": "present_k", "past_v": "present_v"})


def attention(p, q, k, v, kind):
    node = helper.make_node("Attention", ["q", "k", "v"], ["o"])
    caches = ({"k": k.copy(), "v": v.copy()} for _ in range(p.copies))
    return runs_of(node, {"q": q, "k": k, "v": v}, caches, kind, {})


def seconds_of(turns):
    """The best of a few, after one."""
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        turns()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def prepare(p):
    if p.dtype not in TYPES:
        return f"onnxruntime: no attention over a cache of {p.dtype} on CPUs"
    kind, dtype = TYPES[p.dtype]
    q, k, v = (np.array(t).astype(dtype) for t in (p.q, p.k, p.v))
    best, reason = None, None
    for name, make in (("GroupQueryAttention, past and present share a buffer", group_query), ("Attention", attention)):
        try:
            turns, result = make(p, q, k, v, kind)
            seconds = seconds_of(turns)
        except Exception as error:  # pylint: disable=broad-except
            reason = f"onnxruntime: {name.split(',', maxsplit=1)[0]} {p.dtype}: {str(error).strip().splitlines()[0][:140]}"
            continue
        if best is None or seconds < best[0]:
            best = seconds, name, turns, result
    if best is None:
        return reason
    _, name, turns, result = best
    return name, turns, lambda b, h, i: result().reshape(p.batch, p.heads, p.size)[b, h]
