"""llama.cpp reads given tokens and writes on; prints JSON.

    worker.py MODEL.gguf TOKENS.json COUNT THREADS on|off      (flash attention)

The prompt is read in pieces of 512, as llama.cpp does by default, and COUNT tokens are written, the best each time. Keys
and values are f16. A short prompt is read and forgotten first, so that weights are in memory, as they are when attn's
clock starts; loading is not counted.
"""

import json
import sys
import time

import llama_cpp
import numpy


def best(llama):
    logits = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
    return int(numpy.ctypeslib.as_array(logits, shape=(llama.n_vocab(),)).argmax())


def main():
    path, tokens_path, count, threads, flash = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), sys.argv[5]
    with open(tokens_path, encoding="utf-8") as file:
        tokens = json.load(file)
    room = (len(tokens) + count + 255) // 256 * 256
    llama = llama_cpp.Llama(path, n_ctx=room, n_batch=512, n_threads=threads, n_threads_batch=threads,
                            flash_attn=flash == "on", verbose=False)
    llama.eval(tokens[:2])
    llama.eval(tokens[:1])
    llama.reset()
    begin = time.perf_counter()
    llama.eval(tokens)
    written = [best(llama)]
    read = time.perf_counter()
    while len(written) < count:
        llama.eval(written[-1:])
        written.append(best(llama))
    end = time.perf_counter()
    print(json.dumps({
        "prompt_rate": len(tokens) / (read - begin), "written_rate": (count - 1) / (end - read), "written": written,
        "version": llama_cpp.__version__, "build": llama_cpp.llama_print_system_info().decode().strip()}))


if __name__ == "__main__":
    main()
