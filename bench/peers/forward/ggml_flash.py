"""ggml's flash attention through its C interface, for two libraries that have it: ggml itself and the one of
ik_llama.cpp. A graph of one ggml_flash_attn_ext runs on the CPU backend.

q and the result are f32 always; k and v are of the case's type. Masks are a tensor of f16 that all heads
share, -inf where nothing is seen; ALiBi is its max_bias over a mask of distances. The libraries are built
from source packages for this CPU by bench/peers/forward/build, which keeps the compiler's flags beside
them."""

import ctypes
import glob
import json
import os

import numpy as np

import problem

F32, F16 = 0, 1  # of enum ggml_type
KINDS = {"f32": F32, "f16": F16, "bf16": 30}
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
            raise SystemExit(f"{folder} has no about.json: bench/peers/forward/build makes it")
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
        self.graph = self.function("ggml_new_graph", pointer, pointer)
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


class Graph:
    """The graph of a problem, and the memory it lives in."""

    def __init__(self, library, p, mask, max_bias):
        self.library, self.p = library, p
        values = [(p.q, F32), (p.k, KINDS[p.dtype]), (p.v, KINDS[p.dtype])]
        count = sum(a.size for a, _ in values) + p.q.size + (mask.size if mask is not None else 0)
        self.context = library.init(InitParams(4 * count + (16 << 20), None, False))
        tensors = [self.tensor(array, kind) for array, kind in values]
        tensors.append(self.tensor(mask, F16) if mask is not None else None)
        self.result = library.flash(self.context, *tensors, p.scale, max_bias, 0.0)
        self.graph = library.graph(self.context)
        library.expand(self.graph, self.result)

    def __del__(self):
        self.library.free(self.context)

    def tensor(self, array, kind):
        """Its axes are ours, the last first."""
        tensor = self.library.new(self.context, kind, *array.shape[::-1])
        held = {F32: lambda: array.astype(np.float32), F16: lambda: array.astype(np.float16)}.get(
            kind, lambda: problem.bf16_bits(array))()
        held = np.ascontiguousarray(held)
        ctypes.memmove(self.library.data(tensor), held.ctypes.data, held.nbytes)
        return tensor

    def run(self):
        if self.library.compute(self.library.backend, self.graph) != 0:
            raise RuntimeError("ggml_backend_graph_compute failed")

    def row(self, b, h, i):
        """The result is [B, Nq, H, D]."""
        p = self.p
        first = self.library.data(self.result) + 4 * p.size * ((b * p.queries + i) * p.heads + h)
        return np.ctypeslib.as_array((c_float * p.size).from_address(first)).copy()


def mask_of(p, rows_of, always):
    """(mask [1, 1, rows, keys] or None, max_bias, words)"""
    rows = -(-p.queries // rows_of) * rows_of
    mask = np.zeros((1, 1, rows, p.keys), np.float16)
    if p.mask == "alibi":
        i, j = np.arange(p.queries)[:, None], np.arange(p.keys)[None, :]
        mask[0, 0, :p.queries] = -np.abs(i + p.keys - p.queries - j)
        return mask, 8.0, ", max_bias over a mask of distances"
    seen = p.visible()
    if seen is None:
        return (mask, 0.0, ", mask of zeros") if always else (None, 0.0, "")
    mask[0, 0, :p.queries] = np.where(seen, 0, -np.inf)
    return mask, 0.0, ", mask of f16"


def prepare(library, name, p):
    if p.case["statistics"] != "none":
        return f"{name}: no statistics"
    if p.mask in ("ragged", "padded", "bias"):
        return f"{name}: a mask is shared by all heads and sequences"
    mask, max_bias, words = mask_of(p, library.mask_rows, library.always_masks)
    graph = Graph(library, p, mask, max_bias)
    return f"ggml_flash_attn_ext, q f32, k and v {p.dtype}{words}", graph.run, graph.row
