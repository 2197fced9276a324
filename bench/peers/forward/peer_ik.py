"""The ggml of ik_llama.cpp, as ik-llama-cpp-python's source package has it; see ggml_flash.py."""

import ggml_flash
import ggml_library

library = None


def start(threads):
    global library
    library = ggml_library.Library("ik", threads, 16, True)  # GGML_KQ_MASK_PAD
    return {"name": "ik_llama", **library.about}


def prepare(p):
    if p.dtype == "f32":
        return "ik_llama: no kernels for k of f32"
    return ggml_flash.prepare(library, "ik_llama", p)
