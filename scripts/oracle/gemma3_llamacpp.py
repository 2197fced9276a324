#!/usr/bin/env python3
"""Gemma 3 through llama.cpp on the same GGUF file: a sanity check by a program of another family.

    gemma3_llamacpp.py MODEL.gguf build/.../attn_score TEXT...

llama.cpp rounds activations to 8 bits, so that it is no oracle: mean NLL of each text to 5e-3
relative, at least 95% the same argmax over all texts, and a different one only where llama.cpp's two best
logits are within 1.0. The ids
are llama.cpp's own. Needs requirements.txt in a virtual environment: llama.cpp comes from xllamacpp, and
the declarations of its C functions from llama-cpp-py-sync, made from the build before (whose own library
needs a newer libc than Debian 12 has).
"""
import argparse
import json
import os
import subprocess
import sys

import numpy
import xllamacpp.xllamacpp
from llama_cpp_py_sync._cffi_bindings import ffi

NLL_RELATIVE = 5e-3
SAME = 0.95
GAP = 1.0

lib = ffi.dlopen(xllamacpp.xllamacpp.__file__)


@ffi.callback("void(enum ggml_log_level, const char *, void *)")
def quiet(_level, _text, _data):
    """llama.cpp tells much while loading."""


def open_model(path, tokens):
    lib.llama_log_set(quiet, ffi.NULL)
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(os.fsencode(path), lib.llama_model_default_params())
    parameters = lib.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = tokens
    context = lib.llama_init_from_model(model, parameters)
    if model == ffi.NULL or context == ffi.NULL:
        sys.exit(f"{path} cannot be opened by llama.cpp")
    return model, context


def tokenize(model, text):
    vocabulary = lib.llama_model_get_vocab(model)
    data = text.encode()
    ids = ffi.new("int32_t[]", len(data) + 8)
    count = lib.llama_tokenize(vocabulary, data, len(data), ids, len(ids), True, False)
    return list(ids[0:count])


def all_logits(model, context, ids):
    """[tokens, vocabulary] in f32, from one batch that asks for every row."""
    lib.llama_memory_clear(lib.llama_get_memory(context), True)
    batch = lib.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i] = token
        batch.pos[i] = i
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = 1
    if lib.llama_decode(context, batch) != 0:
        sys.exit("llama.cpp could not decode the text")
    lib.llama_batch_free(batch)
    width = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    buffer = ffi.buffer(lib.llama_get_logits(context), 4 * width * len(ids))
    return numpy.frombuffer(buffer, dtype=numpy.float32).reshape(len(ids), width)


def compare(name, ids, logits, ours):
    nll, same, bad = 0.0, 0, []
    for i, row in enumerate(logits):
        row = row.astype(numpy.float64)
        second, best = numpy.partition(row, -2)[-2:]
        if int(row.argmax()) == ours["argmax"][i]:
            same += 1
        elif best - second > GAP:
            bad.append(i)
        if i + 1 < len(ids):
            nll += best + numpy.log(numpy.exp(row - best).sum()) - row[ids[i + 1]]
    theirs = nll / (len(ids) - 1)
    relative = abs(sum(ours["nll"]) / len(ours["nll"]) - theirs) / theirs
    ok = relative <= NLL_RELATIVE and not bad
    print(f"{name}: {len(ids)} tokens; mean nll {theirs:.5f}, relative difference {relative:.1e}; "
          f"argmax the same at {same} ({100 * same / len(ids):.1f}%), {len(bad)} different with a "
          f"gap > {GAP:g}: {'PASS' if ok else 'FAIL'}", flush=True)
    return ok, same


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("score")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--tokens", type=int, default=2048, help="the first N of each text")
    arguments = parser.parse_args()
    model, context = open_model(arguments.model, arguments.tokens)
    ok, same, count = True, 0, 0
    for path in arguments.texts:
        with open(path, encoding="utf-8") as file:
            ids = tokenize(model, file.read())[:arguments.tokens]
        logits = all_logits(model, context, ids)
        run = subprocess.run([arguments.score, arguments.model], text=True, check=True,
                             input=" ".join(map(str, ids)), stdout=subprocess.PIPE)
        passed, alike = compare(os.path.basename(path), ids, logits, json.loads(run.stdout))
        ok, same, count = ok and passed, same + alike, count + len(ids)
    ok = ok and same >= SAME * count
    print(f"all: {count} tokens; argmax the same at {same} ({100 * same / count:.1f}%): "
          f"{'PASS' if ok else 'FAIL'}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
