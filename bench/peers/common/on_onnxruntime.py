"""What comparisons by ONNX Runtime share: its types and threads, and a model of one node."""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

TYPES = {"f32": (TensorProto.FLOAT, np.float32), "f16": (TensorProto.FLOAT16, np.float16)}
THREADS = 1


def start(threads):
    global THREADS
    THREADS = threads
    return {"name": "onnxruntime", "version": ort.__version__, "build": "wheel; kernels chosen at run time"}


def session_of(node, feeds, outputs):
    """`outputs`: (name, type) of each."""
    names = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16,
             np.dtype(np.int32): TensorProto.INT32}
    graph = helper.make_graph(
        [node], "one",
        [helper.make_tensor_value_info(name, names[array.dtype], array.shape) for name, array in feeds.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs])
    model = helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)])
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
