"""ggml, as llama-cpp-python's source package has it; see ggml_flash.py."""

import ggml_flash
import ggml_library

library = None


def start(threads):
    global library
    library = ggml_library.Library("ggml", threads, 1)
    return {"name": "ggml", **library.about}


def prepare(p):
    return ggml_flash.prepare(library, "ggml", p)
