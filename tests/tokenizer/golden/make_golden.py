#!/usr/bin/env python3
"""Write ids.txt: what Hugging Face makes of the texts of make_lines.py, as a hash for every 8 of them.

    make_golden.py GEMMA.gguf MINILM/tokenizer.json > ids.txt
    (needs the Python packages transformers, tokenizers, sentencepiece, gguf)

Columns: number of the block; Gemma with control strings as plain text; Gemma with control strings parsed; MiniLM the
same two ways. All with the tokens that begin and end a text. The hash is FNV-1a, 32 bits, over each text's count of ids
and its ids, as 32-bit little-endian numbers.

Gemma is encoded a second time, by SentencePiece itself, which the model was trained with: its model file is rebuilt from
the vocabulary in the GGUF file. The two differ in one thing, checked here: of more than 31 spaces SentencePiece first
takes the longest token (31 spaces), while the merges that transformers rebuilds from a GGUF vocabulary grow 2, 4, 8, 16
together (32 spaces: 16 + 16, not 31 + 1). There SentencePiece is right, and its ids are the ones written.
"""
import re
import struct
import sys

import gguf
import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer

import make_lines

BLOCK = 8
CONTROL = 3


def read_vocabulary(path):
    fields = gguf.GGUFReader(path).fields

    def values(key):
        field = fields["tokenizer.ggml." + key]
        return [field.parts[i] for i in field.data]

    tokens = [bytes(part).decode() for part in values("tokens")]
    return tokens, [float(part[0]) for part in values("scores")], [int(part[0]) for part in values("token_type")]


def transformers_gemma(tokens, scores, types):
    backend, _ = convert_gguf_tokenizer("gemma3", {
        "tokenizer_type": "llama", "pre_tokenizer_type": "default", "tokens": tokens, "scores": scores,
        "token_type": types, "bos_token_id": 2, "eos_token_id": 1, "unk_token_id": 3, "pad_token_id": 0})
    return backend


def sentencepiece_gemma(tokens, scores, types):
    model = sentencepiece_model_pb2.ModelProto()
    for i, (token, score, kind) in enumerate(zip(tokens, scores, types)):
        piece = model.pieces.add()
        piece.piece, piece.score, piece.type = token.replace(" ", "\u2581"), score, 2 if i == 3 else kind
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.byte_fallback = 2, True
    trainer.pad_id, trainer.eos_id, trainer.bos_id, trainer.unk_id = 0, 1, 2, 3
    trainer.pad_piece, trainer.eos_piece, trainer.bos_piece, trainer.unk_piece = tokens[:4]
    normalizer.name, normalizer.add_dummy_prefix = "identity", False
    normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces = False, True
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def gemma(path, lines):
    tokens, scores, types = read_vocabulary(path)
    hf, spm = transformers_gemma(tokens, scores, types), sentencepiece_gemma(tokens, scores, types)
    controls = {token: i for i, (token, kind) in enumerate(zip(tokens, types)) if kind == CONTROL}
    pattern = re.compile("(" + "|".join(re.escape(c) for c in sorted(controls, key=len, reverse=True)) + ")")
    columns = []
    for parse in (False, True):
        hf.encode_special_tokens = not parse
        column, differ = [], 0
        for line in lines:
            parts = pattern.split(line) if parse else [line]
            want = [i for part in parts for i in ([controls[part]] if parse and part in controls else spm.encode(part))]
            if hf.encode(line, add_special_tokens=False).ids != want:
                assert re.search("[ \u2581]{32}", line), line
                differ += 1
            column.append([2] + want)
        print("gemma, parse=%s: %d of %d texts differ from transformers, all with 32 spaces or more in a row"
              % (parse, differ, len(lines)), file=sys.stderr)
        columns.append(column)
    return columns


def minilm(path, lines):
    hf = tokenizers.Tokenizer.from_file(path)
    hf.no_truncation()
    hf.no_padding()
    columns = []
    for parse in (False, True):
        hf.encode_special_tokens = not parse
        columns.append([hf.encode(line).ids for line in lines])
    return columns


def block_hash(texts):
    value = 0x811C9DC5
    for ids in texts:
        for byte in struct.pack("<%dI" % (len(ids) + 1), len(ids), *ids):
            value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def main():
    lines = make_lines.lines()
    columns = gemma(sys.argv[1], lines) + minilm(sys.argv[2], lines)
    for first in range(0, len(lines), BLOCK):
        print(first // BLOCK, *("%08x" % block_hash(column[first:first + BLOCK]) for column in columns))


main()
