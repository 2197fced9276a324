"""ggml's flash attention through its C interface, for two libraries that have it: ggml itself and the one of
ik_llama.cpp. A graph of one ggml_flash_attn_ext runs on the CPU backend. q and the result are f32 always.
The libraries are built from source packages for this CPU by bench/peers/libraries, which keeps the
compiler's flags beside them."""

import ctypes
import glob
import json
import os

import numpy as np

import tensors

KINDS = {"f32": 0, "f16": 1, "int8": 8, "bf16": 30}  # of enum ggml_type; int8 is its Q8_0
pointer, size_t, c_int, c_float = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_float


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", size_t), ("mem_buffer", pointer), ("no_alloc", ctypes.c_bool)]


class Library:
    def __init__(self, name, threads, mask_rows, always_masks=False):
        """`mask_rows`: a mask has a multiple of so many rows. `always_masks`: its fast kernels want one, if
        of zeros, as its own models give them."""
        os.environ["PATH"] = "/nonexistent"  # after a failed assertion it would look for a debugger
        folder = os.path.join(os.environ["ATTN_PEERS_LIBRARIES"], name)
        if not os.path.exists(os.path.join(folder, "about.json")):
            raise SystemExit(f"{folder} has no about.json: bench/peers/libraries makes it")
        with open(os.path.join(folder, "about.json"), encoding="utf-8") as file:
            self.about = json.load(file)
        paths = sorted(glob.glob(os.path.join(folder, "*.so*")), key=lambda path: (
            "base" not in path, "cpu" not in path))  # what others need comes first
        self.libraries = [ctypes.CDLL(path, ctypes.RTLD_GLOBAL) for path in paths]
        self.mask_rows, self.always_masks = mask_rows, always_masks
        self.init = self.function("ggml_init", pointer, InitParams)
        self.free = self.function("ggml_free", None, pointer)
        self.new = self.function("ggml_new_tensor_4d", pointer, pointer, c_int, *[ctypes.c_int64] * 4)
        self.data = self.function("ggml_get_data", pointer, pointer)
        self.flash = self.function("ggml_flash_attn_ext", pointer, *[pointer] * 5, *[c_float] * 3)
        self.graph = self.function("ggml_new_graph_custom", pointer, pointer, size_t, ctypes.c_bool)
        self.expand = self.function("ggml_build_forward_expand", None, pointer, pointer)
        self.compute = self.function("ggml_backend_graph_compute", c_int, pointer, pointer)
        self.backend = self.function("ggml_backend_cpu_init", pointer)()
        self.function("ggml_backend_cpu_set_n_threads", None, pointer, c_int)(self.backend, threads)

    def function(self, name, result, *arguments):
        for library in self.libraries:
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
                return function
        raise SystemExit(f"{name} is in none of the libraries")


class Context:
    """Memory for tensors and graphs; it is freed with them."""

    def __init__(self, library, size):
        self.library = library
        self.pointer = library.init(InitParams(size, None, False))
        if not self.pointer:
            raise MemoryError(f"ggml_init: {size} bytes")

    def __del__(self):
        if self.pointer:
            self.library.free(self.pointer)

    def tensor(self, array, kind, shape):
        """Of what the type holds. Its axes are ours, the last first."""
        tensor = self.library.new(self.pointer, kind, *shape[::-1])
        source = np.ascontiguousarray(array)
        ctypes.memmove(self.library.data(tensor), source.ctypes.data, source.nbytes)
        return tensor


class Graph:
    """One ggml_flash_attn_ext of tensors of a context; `shape` is q's."""

    BYTES = 16384  # of a context that it takes, its tensors' headers among them, without the result

    def __init__(self, context, tensors_given, shape, scale, max_bias):
        self.context, self.shape, self.library = context, shape, context.library
        self.result = self.library.flash(context.pointer, *tensors_given, scale, max_bias, 0.0)
        self.graph = self.library.graph(context.pointer, 8, False)
        self.library.expand(self.graph, self.result)

    def run(self):
        if self.library.compute(self.library.backend, self.graph) != 0:
            raise RuntimeError("ggml_backend_graph_compute failed")

    def row(self, b, h, i):
        """The result is [B, Nq, H, Dv], with Dv = Dk here."""
        _, heads, queries, size = self.shape
        first = self.library.data(self.result) + 4 * size * ((b * queries + i) * heads + h)
        return np.ctypeslib.as_array((c_float * size).from_address(first)).copy()


def held(array, dtype):
    """(what a tensor of the type holds, the type's number, shape)"""
    as_type = {"f32": lambda: array.astype(np.float32), "f16": lambda: array.astype(np.float16),
               "bf16": lambda: tensors.bf16_bits(array)}[dtype]
    return as_type(), KINDS[dtype], array.shape
