"""OpenVINO: a model of one ScaledDotProductAttention (opset 13), the hint for precision the case's type.
Where its CPU plugin has no kernels of f16 it computes in another type; the call says which."""

import numpy as np
import openvino
from openvino import Type, opset13

import tensors

TYPES = {"f32": Type.f32, "bf16": Type.bf16, "f16": Type.f16}
THREADS = 1
core = openvino.Core()


def start(threads):
    global THREADS
    THREADS = threads
    return {"name": "openvino", "version": openvino.__version__.split("-")[0],
            "build": f"wheel; {core.get_property('CPU', 'FULL_DEVICE_NAME')}: "
                     f"{' '.join(core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))}"}


def tensor_of(array, dtype):
    """bf16 has no name in numpy: bits of 16."""
    tensor = openvino.Tensor(TYPES[dtype], openvino.Shape(array.shape))
    if dtype == "bf16":
        tensor.data.view(np.uint16)[...] = tensors.bf16_bits(array).reshape(array.shape)
    else:
        tensor.data[...] = array
    return tensor


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
        compiled = core.compile_model(openvino.Model([result], parameters, "one"), "CPU", {
            "INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": p.dtype})
    except RuntimeError as error:
        return f"openvino: {p.dtype} {p.mask}: {str(error).strip().splitlines()[-1][:140]}"
    request = compiled.create_infer_request()
    for number, array in enumerate(arrays):
        request.set_input_tensor(number, tensor_of(array, p.dtype))
    inside = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    inside = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}.get(inside, inside)

    def row(b, h, i):
        o = request.get_output_tensor(0).data[b, h, i]
        if p.dtype == "bf16":
            return (o.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
        return o.astype(np.float32)

    return f"ScaledDotProductAttention{words}, computing in {inside}", request.infer, row
