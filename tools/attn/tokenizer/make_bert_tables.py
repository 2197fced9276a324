#!/usr/bin/env python3
"""Write bert_tables.h: which code points BERT's tokenizer drops, strips and isolates.

    make_bert_tables.py > bert_tables.h     (needs the Python package `tokenizers`)

The reference implementation carries Unicode tables of its own, older than any system's, and a model's token ids must
not change with the system's library. So the reference is asked about every code point.
"""
import subprocess

from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
OFF = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}


def dropped():
    clean = BertNormalizer(**dict(OFF, clean_text=True))
    return [c for c in SCALARS if clean.normalize_str("a" + chr(c)) == "a"]


def stripped():
    strip, nfd = BertNormalizer(**dict(OFF, strip_accents=True)), NFD()
    return [c for c in SCALARS if nfd.normalize_str(chr(c)) == chr(c) and strip.normalize_str("a" + chr(c)) == "a"]


def isolated():
    split = BertPreTokenizer()
    found = [[piece for piece, _ in split.pre_tokenize_str("a" + chr(c) + "b")] for c in SCALARS]
    return [c for c, pieces in zip(SCALARS, found) if pieces == ["a", chr(c), "b"]]


def ideographs():
    han = BertNormalizer(**dict(OFF, handle_chinese_chars=True))
    return [c for c in SCALARS if han.normalize_str(chr(c)) == " " + chr(c) + " "]


def table(name, meaning, codes):
    ranges = []
    for c in codes:
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    body = ", ".join("{0x%X, 0x%X}" % (first, last) for first, last in ranges)
    return "/* %s */\nstatic const struct code_range %s[] = {%s};\n" % (meaning, name, body)


def main():
    parts = [
        "/* Written by make_bert_tables.py; ranges of code points, both ends included, in order. */",
        "#ifndef ATTN_TOOLS_BERT_TABLES_H\n#define ATTN_TOOLS_BERT_TABLES_H\n",
        "#include <stdint.h>\n",
        "struct code_range {\n    uint32_t first, last;\n};\n",
        table("bert_dropped", "Cleaning removes these: Cc but tab and line ends, Cf, Co, U+0000, U+FFFD.", dropped()),
        table("bert_stripped", "Stripping accents removes these: Mn.", stripped()),
        table("bert_isolated", "Each is a word of its own: P*, and the symbols of ASCII.", isolated()),
        table("bert_ideographs", "Each is a word of its own: Chinese.", ideographs()),
        "#endif",
    ]
    text = "\n".join(parts) + "\n"
    formatted = subprocess.run(["clang-format", "--assume-filename=bert_tables.h"], input=text, text=True,
                               capture_output=True, check=True).stdout
    print(formatted, end="")


main()
