"""OpenVINO: a model of one ScaledDotProductAttention (opset 13), the hint for precision the case's type.
Where its CPU plugin has no kernels of f16 it computes in another type; the call says which."""

import numpy as np
from openvino import opset13

from on_openvino import TYPES, request_of, rows_of, said, start, tensor_of


def mask_of(p):
    bias = p.bias()
    if bias is not None:
        return bias[None], ", attention_mask of biases"
    if p.mask in ("none", "causal"):
        return None, ", causal" if p.mask == "causal" else ""
    seen = p.visible()
    if p.mask == "padded":
        seen = (np.arange(p.keys)[None, :] < np.array(p.lengths)[:, None])[:, None, None, :]
        seen = np.broadcast_to(seen, (p.batch, 1, p.queries, p.keys))
    else:
        seen = seen[None, None]
    return np.where(seen, 0, -np.inf).astype(np.float32), ", attention_mask"


def prepare(p):
    if p.case["statistics"] != "none":
        return "openvino: no statistics"
    if p.heads != p.kv_heads:
        return "openvino: ScaledDotProductAttention wants as many kv heads as heads"
    if p.mask == "ragged":
        return "openvino: no packed sequences in ScaledDotProductAttention"
    if p.mask == "causal" and p.queries != p.keys:
        return "openvino: causal from the top left alone"
    mask, words = mask_of(p)
    arrays = [p.q, p.k, p.v] + ([mask] if mask is not None else [])
    parameters = [opset13.parameter(list(a.shape), TYPES[p.dtype]) for a in arrays]
    result = opset13.scaled_dot_product_attention(*parameters, causal=p.mask == "causal")
    try:
        request, inside = request_of(result, parameters, p.dtype)
    except RuntimeError as error:
        return f"openvino: {p.dtype} {p.mask}: {said(error)}"
    for number, array in enumerate(arrays):
        request.set_input_tensor(number, tensor_of(array, p.dtype))
    return f"ScaledDotProductAttention{words}, computing in {inside}", request.infer, rows_of(request, p.dtype)
