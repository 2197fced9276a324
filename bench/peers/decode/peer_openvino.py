"""OpenVINO: a model of one ScaledDotProductAttention (opset 13) with one query, keys and values its inputs. Its
caches of 8 bits and its grouped heads belong to states of a whole model, which are not asked for here. Where
its CPU plugin has no kernels of a type it computes in another; the call says which."""

import numpy as np
import openvino
from openvino import Type, opset13

import tensors
from turns import Turns

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


def prepare(p):
    if p.heads != p.kv_heads:
        return "openvino: ScaledDotProductAttention wants as many kv heads as heads"
    if p.dtype == "int8":
        return "openvino: no 8-bit keys in ScaledDotProductAttention"
    parameters = [opset13.parameter(list(a.shape), TYPES[p.dtype]) for a in (p.q, p.k, p.v)]
    result = opset13.scaled_dot_product_attention(*parameters)
    try:
        compiled = core.compile_model(openvino.Model([result], parameters, "one"), "CPU", {
            "INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": p.dtype})
    except RuntimeError as error:
        return f"openvino: {p.dtype}: {str(error).strip().splitlines()[-1][:140]}"
    request = compiled.create_infer_request()
    request.set_input_tensor(0, tensor_of(p.q, p.dtype))
    copies = [(tensor_of(p.k, p.dtype), tensor_of(p.v, p.dtype)) for _ in range(p.copies)]

    def one(k, v):
        def run():
            request.set_input_tensor(1, k)
            request.set_input_tensor(2, v)
            request.infer()
        return run

    inside = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    inside = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}.get(inside, inside)

    def row(b, h, i):
        o = request.get_output_tensor(0).data[b, h, i]
        if p.dtype == "bf16":
            return (o.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
        return o.astype(np.float32)

    return f"ScaledDotProductAttention, computing in {inside}", Turns([one(*copy) for copy in copies]), row
