"""What comparisons by OpenVINO share: its types and threads, and a model of one node."""

import numpy as np
import openvino
from openvino import Type

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


def request_of(result, parameters, dtype):
    """(a request of the model, the type it computes in); RuntimeError where its plugin has no such kernel."""
    compiled = core.compile_model(openvino.Model([result], parameters, "one"), "CPU", {
        "INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": dtype})
    inside = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return (compiled.create_infer_request(),
            {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}.get(inside, inside))


def said(error):
    """The last line of what it says, which is the one that tells."""
    return str(error).strip().splitlines()[-1][:140]


def rows_of(request, dtype):
    """A function of a row of the result as f32."""
    def row(b, h, i):
        o = request.get_output_tensor(0).data[b, h, i]
        if dtype == "bf16":
            return (o.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
        return o.astype(np.float32)
    return row
