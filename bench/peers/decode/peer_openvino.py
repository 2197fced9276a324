"""OpenVINO: a model of one ScaledDotProductAttention (opset 13) with one query, keys and values its inputs. Its
caches of 8 bits and its grouped heads belong to states of a whole model, which are not asked for here. Where
its CPU plugin has no kernels of a type it computes in another; the call says which."""

from openvino import opset13

from on_openvino import TYPES, request_of, rows_of, said, start, tensor_of
from turns import Turns


def prepare(p):
    if p.heads != p.kv_heads:
        return "openvino: ScaledDotProductAttention wants as many kv heads as heads"
    if p.dtype == "int8":
        return "openvino: no 8-bit keys in ScaledDotProductAttention"
    parameters = [opset13.parameter(list(a.shape), TYPES[p.dtype]) for a in (p.q, p.k, p.v)]
    result = opset13.scaled_dot_product_attention(*parameters)
    try:
        request, inside = request_of(result, parameters, p.dtype)
    except RuntimeError as error:
        return f"openvino: {p.dtype}: {said(error)}"
    request.set_input_tensor(0, tensor_of(p.q, p.dtype))
    copies = [(tensor_of(p.k, p.dtype), tensor_of(p.v, p.dtype)) for _ in range(p.copies)]

    def one(k, v):
        def run():
            request.set_input_tensor(1, k)
            request.set_input_tensor(2, v)
            request.infer()
        return run

    return f"ScaledDotProductAttention, computing in {inside}", Turns([one(*copy) for copy in copies]), rows_of(request, p.dtype)
