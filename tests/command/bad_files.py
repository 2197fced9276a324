"""The bad inputs of bad_inputs.py: files, texts, options and places to write to.

A case is (section, what it is, files, arguments, exit status), files {name: bytes; None for a folder}.
"""

import json
import struct

import gguf_files as g

MODEL = "model.gguf"
FOLDER = "model"  # with model.safetensors and config.json


# ---- GGUF files ----

def without(name):
    return [t for t in g.tiny_tensors() if t[0] != name]


def changed(name, dims, kind, content):
    return [(n, dims, kind, content) if n == name else (n, d, k, c) for n, d, k, c in g.tiny_tensors()]


def with_pair(key, kind, content):
    return g.assemble(g.with_pair(key, kind, content), g.tiny_tensors())


def with_raw_pair(raw):
    return g.assemble([raw] + g.tiny_pairs(), g.tiny_tensors())


def nested_array(depth):
    """A key whose value is an array of one array of one array ..."""
    return g.string("nested") + struct.pack("<I", g.ARRAY) + struct.pack("<IQ", g.ARRAY, 1) * depth + \
        struct.pack("<IQ", g.U8, 0)


def gguf_files():
    whole = g.tiny_model()
    q = "blk.0.attn_q.weight"
    pairs, tensors = g.tiny_pairs(), g.tiny_tensors()
    yield "empty", b""
    yield "one byte", b"G"
    yield "wrong magic", b"GGML" + whole[4:]
    yield "a text", b"This is a text and no model.\n"
    yield "version 99", g.tiny_model(version=99)
    yield "cut in the header", whole[:100]
    yield "cut in the list of tensors", whole[:whole.index(b"blk.1.attn_k.weight") + 10]
    yield "cut in the vocabulary", whole[:whole.index(b"tokenizer.ggml.tokens") + 60]
    yield "cut in the weights", whole[:-1000]
    yield "2^62 tensors", g.tiny_model(tensor_count=1 << 62)
    yield "-1 tensors", g.tiny_model(tensor_count=-1)
    yield "2^62 keys", g.tiny_model(pair_count=1 << 62)
    yield "a string of 2^63 bytes", with_raw_pair(struct.pack("<Q", 1 << 63) + b"key")
    yield "an array of 2^61 numbers", with_raw_pair(
        g.string("many") + struct.pack("<IIQ", g.ARRAY, g.F64, 1 << 61))
    yield "an array in an array", with_raw_pair(nested_array(1))
    yield "arrays nested 100000 deep", with_raw_pair(nested_array(100000))
    yield "a value of type 77", with_raw_pair(g.string("odd") + struct.pack("<I", 77))
    yield "the same key twice", g.assemble(pairs + [pairs[2]], tensors)
    yield "the same tensor twice", g.assemble(pairs, tensors + [tensors[0]])
    yield "tensors that overlap", g.tiny_model(offsets={q: 0})
    yield "a tensor past the end", g.tiny_model(offsets={q: 1 << 40})
    yield "a tensor at offset 2^64 - 32", g.tiny_model(offsets={q: (1 << 64) - 32})
    yield "a tensor off its alignment", g.tiny_model(offsets={q: 7})
    yield "a tensor of 5 dimensions", g.assemble(pairs, changed(q, [32, 32, 1, 1, 1], 0, b"\0" * 4096))
    yield "a tensor of -1 rows", g.assemble(pairs, changed(q, [32, -1], 0, b"\0" * 4096))
    yield "a tensor of 2^62 x 2^62", g.assemble(pairs, changed(q, [1 << 62, 1 << 62], 0, b"\0" * 4096))
    yield "alignment 3", with_pair("general.alignment", g.U32, 3)


def gguf_models():
    q = "blk.0.attn_q.weight"
    pairs, tensors = g.tiny_pairs(), g.tiny_tensors()
    yield "unknown architecture", with_pair("general.architecture", g.STRING, "abacus")
    yield "an architecture with control characters", with_pair("general.architecture", g.STRING, "\x1b[31mred")
    yield "no architecture", g.assemble([p for p in pairs if p[0] != "general.architecture"], tensors)
    yield "no key for the width", g.assemble([p for p in pairs if p[0] != "gemma3.embedding_length"], tensors)
    yield "a number given as a text", with_pair("gemma3.block_count", g.STRING, "two")
    yield "0 layers", with_pair("gemma3.block_count", g.U32, 0)
    yield "2^32 - 1 layers", with_pair("gemma3.block_count", g.U32, (1 << 32) - 1)
    yield "more layers than tensors", with_pair("gemma3.block_count", g.U32, 3)
    yield "3 heads on 2", g.assemble(
        [p for p in pairs if "head_count" not in p[0]] +
        [("gemma3.attention.head_count", g.U32, 3), ("gemma3.attention.head_count_kv", g.U32, 2)], tensors)
    yield "0 heads", with_pair("gemma3.attention.head_count", g.U32, 0)
    yield "an epsilon that is not a number", with_pair("gemma3.attention.layer_norm_rms_epsilon", g.F32, float("nan"))
    yield "a tensor is missing", g.assemble(pairs, without(q))
    yield "a tensor that such a model has not", g.assemble(
        pairs, tensors + [("blk.0.ffn_gate_inp.weight", [32, 4], 0, b"\0" * 512)])
    yield "a tensor of another shape", g.assemble(pairs, changed(q, [16, 64], 0, b"\0" * 4096))
    yield "a tensor of a type that cannot be read (Q2_K)", g.assemble(pairs, changed(q, [256, 4], 10, b"\0" * 4096))
    yield "a tensor of type 99", g.assemble(pairs, changed(q, [32, 32], 99, b"\0" * 4096))


def gguf_tokenizers():
    pairs, tensors = g.tiny_pairs(), g.tiny_tensors()
    tokens, types, scores = g.tiny_vocabulary()
    yield "no tokenizer", g.assemble([p for p in pairs if not p[0].startswith("tokenizer")], tensors)
    yield "an unknown tokenizer", with_pair("tokenizer.ggml.model", g.STRING, "abacus")
    yield "fewer scores than tokens", with_pair("tokenizer.ggml.scores", g.ARRAY, (g.F32, scores[:-1]))
    yield "a token of type 9", with_pair("tokenizer.ggml.token_type", g.ARRAY, (g.I32, [9] + types[1:]))
    yield "a BOS past the vocabulary", with_pair("tokenizer.ggml.bos_token_id", g.U32, len(tokens))
    yield "a score that is not a number", with_pair(
        "tokenizer.ggml.scores", g.ARRAY, (g.F32, [float("nan")] + scores[1:]))

    def byte_bpe(merges, cut):
        changes = {"tokenizer.ggml.model": (g.STRING, "gpt2"), "tokenizer.ggml.pre": (g.STRING, cut),
                   "tokenizer.ggml.merges": (g.ARRAY, (g.STRING, merges))}
        return g.assemble([p for p in pairs if p[0] not in changes] + [(k, *v) for k, v in changes.items()], tensors)

    yield "merges that are no pairs", byte_bpe(["abc"], "gpt-2")
    yield "a merge of what is no token", byte_bpe(["\u4e00 \u4e01"], "gpt-2")
    yield "words cut in an unknown way", byte_bpe([], "abacus")
    yield "words cut in no stated way", byte_bpe([], "default")


# ---- safetensors ----

CONFIG = json.dumps({
    "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64, "type_vocab_size": 2,
    "vocab_size": 100, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}).encode()


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors_folders():
    one = {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}
    good = safetensors({"a": one}, b"\0" * 32)
    yield "nothing in it", {}
    yield "no config.json", {"model.safetensors": good}
    yield "no model.safetensors", {"config.json": CONFIG}
    yield "an empty model.safetensors", {"config.json": CONFIG, "model.safetensors": b""}
    yield "a header of 2^63 bytes", {"config.json": CONFIG, "model.safetensors": struct.pack("<Q", 1 << 63) + b"{}"}
    yield "a header that is no JSON", {"config.json": CONFIG, "model.safetensors": safetensors(b"{\"a\": ")}
    yield "JSON nested 100000 deep", {"config.json": CONFIG, "model.safetensors": safetensors(b"[" * 100000)}
    yield "tensors that share bytes", {"config.json": CONFIG,
                                       "model.safetensors": safetensors({"a": one, "b": one}, b"\0" * 32)}
    yield "a tensor past the end", {"config.json": CONFIG, "model.safetensors": safetensors({"a": one}, b"\0" * 31)}
    yield "a shape of 2^62 x 2^62", {"config.json": CONFIG, "model.safetensors": safetensors(
        {"a": {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 32]}}, b"\0" * 32)}
    yield "a tensor is missing", {"config.json": CONFIG, "model.safetensors": good}
    yield "a config.json that is no JSON", {"config.json": b"{", "model.safetensors": good}
    yield "a config.json nested 100000 deep", {"config.json": b"[" * 100000, "model.safetensors": good}
    index = "model.safetensors.index.json"
    yield "a shard outside the folder", {"config.json": CONFIG, index: b'{"weight_map": {"a": "../x.safetensors"}}'}
    yield "a shard that is missing", {"config.json": CONFIG, index: b'{"weight_map": {"a": "x.safetensors"}}'}
    yield "a shard without its tensor", {
        "config.json": CONFIG, index: b'{"weight_map": {"b": "x.safetensors"}}', "x.safetensors": good}
    yield "a rotary scaling of an unknown kind", {"model.safetensors": good, "config.json": json.dumps(
        {**json.loads(CONFIG), "model_type": "llama", "rms_norm_eps": 1e-5, "hidden_act": "silu",
         "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}).encode()}
    yield "an unknown architecture", {
        "config.json": b'{"model_type": "abacus", "architectures": ["Abacus"]}', "model.safetensors": good}


# ---- texts, options, places to write ----

TEXT = b"The tide comes in, and the tide goes out.\n"


def texts():
    yield "missing", {}, "text.txt"
    yield "a folder", {"text.txt": None}, "text.txt"
    yield "empty", {"text.txt": b""}, "text.txt"
    yield "not UTF-8", {"text.txt": b"The tide \xff comes in.\n"}, "text.txt"
    yield "cut in a character", {"text.txt": "Die Fl\u00fc".encode()[:-1]}, "text.txt"
    yield "longer than the model's context", {"text.txt": TEXT * 10}, "text.txt"


def options():
    yield ["--tokens", "0"], 2
    yield ["--tokens", "many"], 2
    yield ["--tokens", "1.5"], 2
    yield ["--tokens", "99999999999"], 2
    yield ["--threads", "-1"], 2
    yield ["--tokens", "-1"], 2
    yield ["--layers", "9"], 1
    yield ["--layers", "1-"], 2
    yield ["--head", "0.9"], 1
    yield ["--head", "0.0", "--rows", "5:500"], 1
    yield ["--head", "0.0", "--rows", "5:5"], 2
    yield ["--head", "first"], 2
    yield ["--npz", "out.npz"], 2
    yield ["--frobnicate"], 2


def outputs():
    yield "a full disk", ["--json", "/dev/full"]
    yield "a full disk", ["--csv", "/dev/full"]
    yield "a full disk", ["--npz", "/dev/full", "--head", "0.0"]
    yield "a full disk, an old file beside it", ["--json", "old.json", "--csv", "/dev/full"]
    yield "a full standard output", [">/dev/full"]
    yield "a full standard output", ["--json", "-", ">/dev/full"]
    yield "a folder that does not exist", ["--json", "no/report.json"]
    yield "a folder", ["--json", "folder"]
    yield "an empty name", ["--csv="]


def cases():
    inspect = ["inspect", MODEL, "--text", "text.txt"]
    tiny = {MODEL: g.tiny_model(), "text.txt": TEXT}
    for command in (["info", MODEL], inspect):
        yield "Model files", "missing", {"text.txt": TEXT}, command, 1
    yield "Model files", "a device", {}, ["info", "/dev/null"], 1
    for what, content in gguf_files():
        yield "Model files", what, {MODEL: content, "text.txt": TEXT}, ["info", MODEL], 1
    for what, content in (("empty", b""), ("cut in the weights", g.tiny_model()[:-1000])):
        yield "Model files", what, {MODEL: content, "text.txt": TEXT}, inspect, 1
    for what, content in gguf_models():
        yield "What the model file says", what, {MODEL: content}, ["info", MODEL], 1
    for what, content in gguf_tokenizers():
        yield "What the model file says", what, {MODEL: content, "text.txt": TEXT}, inspect, 1
    for what, files in safetensors_folders():
        folder = {f"{FOLDER}/{name}": content for name, content in files.items()}
        yield "Model folders", what, {FOLDER: None, **folder}, ["info", FOLDER], 1
    for what, files, name in texts():
        yield "Texts", what, {MODEL: tiny[MODEL], **files}, ["inspect", MODEL, "--text", name], 1
    for words, status in options():
        yield "Options", " ".join(words), tiny, inspect + words, status
    yield "Options", "no model", tiny, ["inspect"], 2
    yield "Options", "two models", tiny, ["inspect", MODEL, MODEL], 2
    yield "Options", "no such command", tiny, ["frobnicate"], 2
    for what, words in outputs():
        yield "Places to write", what, {**tiny, "old.json": b"old\n", "folder": None}, inspect + words, 1


def interrupted_cases():
    """(what, arguments, files): runs long enough to be stopped with a report half written."""
    yield ("while a report is open, an old one in its place",
           ["bench", "short128", "--seconds", "60", "--json", "report.json"], {"report.json": b"old\n"})
    long = {MODEL: with_pair("gemma3.context_length", g.U32, 8192), "text.txt": TEXT * 190}
    yield ("while weights are written, old ones in their place",
           ["inspect", MODEL, "--text", "text.txt", "--head", "0.0", "--npz", "weights.npz", "--json", "report.json"],
           {**long, "weights.npz": b"old\n", "report.json": b"old\n"})
