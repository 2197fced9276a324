#!/usr/bin/env python3
"""Write the seeds of the fuzz targets gguf and safetensors: small files that reach every kind of value and type.

    fuzz/make_seeds.py        (over fuzz/seeds/; what a fuzzer found is kept there under other names)
"""
import json
import os
import struct

here = os.path.dirname(os.path.abspath(__file__))
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
          12: (256, 144), 13: (256, 176), 14: (256, 210), 30: (1, 2)}


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, item):
    return string(item) if kind == 8 else struct.pack("<" + SCALARS[kind], item)


def scalar(key, kind, item):
    return string(key) + struct.pack("<I", kind) + value(kind, item)


def array(key, kind, items):
    return (string(key) + struct.pack("<IIQ", 9, kind, len(items))
            + b"".join(value(kind, item) for item in items))


def gguf(version, keys, tensors, alignment=32):
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys)
    data = b""
    for number, (name, kind, dims) in enumerate(tensors):
        data += bytes(-len(data) % alignment)
        header += string(name) + struct.pack("<I", len(dims)) + struct.pack("<%dQ" % len(dims), *dims)
        header += struct.pack("<IQ", kind, len(data))
        values = 1
        for size in dims:
            values *= size
        per, size = BLOCKS.get(kind, (1, 1))
        data += bytes((31 * i + 7 * number) & 255 for i in range(values // per * size))
    return header + bytes(-len(header) % alignment) + data


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write(target, name, data):
    folder = os.path.join(here, "seeds", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as out:
        out.write(data)


def main():
    every_scalar = [scalar("k%d" % kind, kind, 1) for kind in SCALARS] + [scalar("k8", 8, "text")]
    every_array = [array("a%d" % kind, kind, [0, 1, 1]) for kind in SCALARS]
    words = array("tokenizer.ggml.tokens", 8, ["<pad>", "", "\u2581the", "a" * 70])
    write("gguf", "empty", gguf(3, [], []))
    write("gguf", "scalars", gguf(2, every_scalar, []))
    write("gguf", "arrays", gguf(3, every_array + [words], []))
    write("gguf", "aligned", gguf(3, [scalar("general.alignment", 4, 8)],
                                  [("a", 0, [3]), ("b", 1, [1, 2, 1, 2]), ("c", 30, [])], 8))
    for kind, (per, _) in BLOCKS.items():
        write("gguf", "type-%d" % kind, gguf(3, [], [("w", kind, [per, 2])]))
    write("gguf", "other-type", gguf(3, [], [("w", 10, [256]), ("x", 99, [2]), ("y", 0, [2])]))
    write("gguf", "model", gguf(3, [scalar("general.architecture", 8, "gemma3"), words],
                                [("token_embd.weight", 8, [32, 4]), ("norm.weight", 0, [32])]))
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    half = {"dtype": "F16", "shape": [], "data_offsets": [16, 18]}
    brain = {"dtype": "BF16", "shape": [3, 1, 1, 1], "data_offsets": [18, 24]}
    whole = {"dtype": "I64", "shape": [1, 1], "data_offsets": [24, 32]}
    other = {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [32, 34]}
    none = {"dtype": "F32", "shape": [0, 4], "data_offsets": [34, 34]}
    write("safetensors", "empty", safetensors({}, b""))
    write("safetensors", "one", safetensors({"w": tensor}, bytes(range(16))))
    write("safetensors", "all", safetensors(
        {"__metadata__": {"format": "pt"}, "a": tensor, "b": half, "c": brain, "d": whole, "e": other,
         "f": none, "\u00e9\n": none}, bytes(range(34))))
    write("safetensors", "padded", safetensors(json.dumps({"w": tensor}).encode() + b"    ", bytes(16)))
    write("safetensors", "twice", safetensors(b'{"w":1,"w":2}', b""))
    write("safetensors", "deep", safetensors(b'{"w":' + b"[" * 40 + b"]" * 40 + b"}", b""))


main()
