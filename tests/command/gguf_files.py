"""GGUF files made from nothing: a tiny Gemma 3 that runs, and the means to make broken ones.

A file is a list of (key, type, value) and a list of (name, dims, type, bytes); `assemble` lays them out.
The tiny model has random weights of a fixed seed: 2 layers, width 32, 2 heads of 16 on one, a vocabulary
of three control tokens, the 256 bytes, and the printable ASCII characters.
"""

import random
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
NUMBER = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B",
          U64: "<Q", I64: "<q", F64: "<d"}
TENSOR_F32 = 0
ALIGNMENT = 32

WIDTH, HEADS, HEAD_SIZE, FEED_FORWARD, LAYERS, CONTEXT = 32, 2, 16, 64, 2, 192


def string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    if kind == STRING:
        return string(content)
    if kind == ARRAY:
        element, items = content
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, item) for item in items)
    return struct.pack(NUMBER[kind], content)


def pair(key, kind, content):
    return string(key) + struct.pack("<I", kind) + value(kind, content)


def assemble(pairs, tensors, magic=b"GGUF", version=3, tensor_count=None, pair_count=None, offsets=None):
    """The bytes of a file. `pairs` may hold bytes in place of a (key, type, value). The counts are the
    true ones unless given; `offsets` {name: offset} replaces where a tensor says that its data lies."""
    out = magic + struct.pack("<Iqq", version, len(tensors) if tensor_count is None else tensor_count,
                              len(pairs) if pair_count is None else pair_count)
    for entry in pairs:
        out += entry if isinstance(entry, bytes) else pair(*entry)
    data = b""
    for name, dims, kind, content in tensors:
        data += b"\0" * (-len(data) % ALIGNMENT)
        offset = (offsets or {}).get(name, len(data))
        out += string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}q", *dims)
        out += struct.pack("<IQ", kind, offset)
        data += content
    return out + b"\0" * (-len(out) % ALIGNMENT) + data


def tiny_vocabulary():
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{i:02X}>" for i in range(256)]
    types = [3, 3, 3, 2] + [6] * 256
    tokens += ["\u2581"] + [chr(c) for c in range(33, 127)]
    types += [1] * (len(tokens) - len(types))
    scores = [-1000.0] * 260 + [-float(i) for i in range(len(tokens) - 260)]
    return tokens, types, scores


def tiny_pairs():
    tokens, types, scores = tiny_vocabulary()
    return [
        ("general.architecture", STRING, "gemma3"),
        ("general.name", STRING, "tiny"),
        ("gemma3.context_length", U32, CONTEXT),
        ("gemma3.embedding_length", U32, WIDTH),
        ("gemma3.block_count", U32, LAYERS),
        ("gemma3.feed_forward_length", U32, FEED_FORWARD),
        ("gemma3.attention.head_count", U32, HEADS),
        ("gemma3.attention.head_count_kv", U32, 1),
        ("gemma3.attention.key_length", U32, HEAD_SIZE),
        ("gemma3.attention.value_length", U32, HEAD_SIZE),
        ("gemma3.attention.layer_norm_rms_epsilon", F32, 1e-6),
        ("gemma3.attention.sliding_window", U32, 16),
        ("gemma3.rope.freq_base", F32, 1e6),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
        ("tokenizer.ggml.scores", ARRAY, (F32, scores)),
        ("tokenizer.ggml.token_type", ARRAY, (I32, types)),
        ("tokenizer.ggml.bos_token_id", U32, 2),
        ("tokenizer.ggml.eos_token_id", U32, 1),
        ("tokenizer.ggml.unknown_token_id", U32, 3),
        ("tokenizer.ggml.add_bos_token", BOOL, 1),
        ("tokenizer.ggml.add_eos_token", BOOL, 0),
        ("tokenizer.ggml.add_space_prefix", BOOL, 0),
    ]


def tiny_tensors():
    source = random.Random(1)
    vocabulary = len(tiny_vocabulary()[0])

    def weights(*dims):
        count = 1
        for d in dims:
            count *= d
        scale = dims[0] ** -0.5
        return list(dims), TENSOR_F32, struct.pack(f"<{count}f", *(source.gauss(0, scale) for _ in range(count)))

    def ones(size):
        return [size], TENSOR_F32, struct.pack(f"<{size}f", *[1.0] * size)

    tensors = [("token_embd.weight", *weights(WIDTH, vocabulary)), ("output_norm.weight", *ones(WIDTH))]
    for layer in range(LAYERS):
        for name, tensor in (
                ("attn_norm", ones(WIDTH)), ("attn_q", weights(WIDTH, HEADS * HEAD_SIZE)),
                ("attn_k", weights(WIDTH, HEAD_SIZE)), ("attn_v", weights(WIDTH, HEAD_SIZE)),
                ("attn_q_norm", ones(HEAD_SIZE)), ("attn_k_norm", ones(HEAD_SIZE)),
                ("attn_output", weights(HEADS * HEAD_SIZE, WIDTH)), ("post_attention_norm", ones(WIDTH)),
                ("ffn_norm", ones(WIDTH)), ("ffn_gate", weights(WIDTH, FEED_FORWARD)),
                ("ffn_up", weights(WIDTH, FEED_FORWARD)), ("ffn_down", weights(FEED_FORWARD, WIDTH)),
                ("post_ffw_norm", ones(WIDTH))):
            tensors.append((f"blk.{layer}.{name}.weight", *tensor))
    return tensors


def tiny_model(**changes):
    """The whole file; `changes` go to assemble."""
    return assemble(tiny_pairs(), tiny_tensors(), **changes)


def with_pair(key, kind, content):
    """tiny_pairs with one of them replaced (or added at the end)."""
    pairs = [(k, t, v) for k, t, v in tiny_pairs() if k != key]
    return pairs + [(key, kind, content)]
