#!/usr/bin/env python3
"""Write the seeds of the fuzz targets tokenizer_spm, tokenizer_wordpiece, tokenizer_bpe and tokenizer_json.

    fuzz/make_tokenizer_seeds.py     (over fuzz/seeds/)
"""
import json
import os
import struct

here = os.path.dirname(os.path.abspath(__file__))
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
BLOCK = "\u2581"


def write(target, name, data):
    folder = os.path.join(here, "seeds", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as out:
        out.write(data)


def vocabulary(switches, tokens, text):
    data = bytes([switches, len(tokens)])
    for i, (token, kind) in enumerate(tokens):
        token = token.encode()
        data += bytes([kind, (250 - i) % 256, len(token)]) + token
    return data + (text if isinstance(text, bytes) else text.encode())


def spm():
    merges = ["t", "h", "e", "a", "b", BLOCK, BLOCK + "t", "he", BLOCK + "the", "aa", "aaa", "ab", "bab", "a" + BLOCK]
    plain = [("<unk>", UNKNOWN)] + [(token, NORMAL) for token in merges]
    special = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), ("\n", USER), ("\n\n", USER), ("  ", USER),
               ("<b>", USER), ("hidden", UNUSED)] + plain[1:]
    every_byte = [("<0x%02X>" % i, BYTE) for i in range(242)] + plain[2:]
    write("tokenizer_spm", "merges", vocabulary(0, plain, " the aaaa ababab the a the"))
    write("tokenizer_spm", "special", vocabulary(12, special, "a<s>the  \n\n\n<b>the\u2581\u2581b</s>"))
    write("tokenizer_spm", "prefix", vocabulary(2, special, "\nthe hidden"))
    write("tokenizer_spm", "bytes", vocabulary(0, [("<unk>", UNKNOWN)] + every_byte[:200], "caf\u00e9 \U0001F600"))
    write("tokenizer_spm", "every-byte", vocabulary(3, special[1:], "caf\u00e9 \U0001F600\u2581the   \n"))
    write("tokenizer_spm", "invalid", vocabulary(0, plain, b"a\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82 the"))


def wordpiece():
    words = ["[UNK]", "[CLS]", "[SEP]"]
    hashes = ["un", "##aff", "##able", "a", "##a", "b", "##b", "!", "\u4e2d", "\u1100", "##\u1161", "i", "e"]
    blocks = [token[2:] if token.startswith("##") else BLOCK + token for token in hashes]
    text = "[CLS] UnAffable! caf\u00e9e\u0301 \u4e2da\u200db \uac00\u0130\u302e\u0316\u302a\x01" + "a" * 105
    for name, tokens, switches in (("hashes", hashes, 3), ("blocks", blocks, 7), ("cased", hashes, 0x63),
                                   ("raw", hashes, 0x9b)):
        entries = [(word, CONTROL) for word in words] + [("<x>", USER)] + [(token, NORMAL) for token in tokens]
        write("tokenizer_wordpiece", name, vocabulary(switches, entries, text))
    write("tokenizer_wordpiece", "invalid", vocabulary(3, [("[UNK]", CONTROL)] * 3 + [("a", NORMAL)], b"a\xff a\xe2\x82"))


def bpe():
    """Entries: two ids to join (even type), or a special token (odd)."""
    def entries(switches, pairs, text, specials=()):
        data = bytes([switches, len(pairs) + len(specials)])
        for left, right in pairs:
            data += struct.pack("<BBBHH", 0, 0, 4, left, right)
        for i, special in enumerate(specials):
            data += bytes([1 + 2 * (i % 2), 0, len(special)]) + special
        return data + text.encode()

    the = [(ord("t"), ord("h")), (ord("h"), ord("e")), (256, ord("e")), (ord(" "), 258), (ord("a"), ord("a"))]
    text = " the THE the's aaaa 12345  \n\n x\r\n\u3000caf\u00e9 e\u0301\u0316 \U0001F600!?"
    for cut, name in enumerate(("gpt2", "llama", "qwen2", "smollm")):
        write("tokenizer_bpe", name, entries(cut, the, text))
        write("tokenizer_bpe", name + "-special", entries(12 | cut, the, text, [b"<b>", b"the", b" ", b"\xff"]))
    write("tokenizer_bpe", "bad-merge", entries(16, the, "t  h"))


def tokenizer_json():
    vocab = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "un": 3, "##aff": 4, "##able": 5, "cafe": 6, "!": 7, "a": 8}
    added = [{"id": 1, "content": "[CLS]", "special": True, "normalized": False, "single_word": False},
             {"id": 9, "content": "<x>", "special": False, "lstrip": True, "rstrip": False}]
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                                                         {"Sequence": {"id": "A", "type_id": 0}},
                                                         {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]}
    bert = {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}
    for name, post, normalizer in (("template", template, {}), ("bert", bert, {"strip_accents": False}),
                                   ("bare", None, {"clean_text": False, "lowercase": False, "strip_accents": None})):
        write("tokenizer_json", name, json.dumps({
            "version": "1.0", "truncation": {"max_length": 128}, "added_tokens": added,
            "normalizer": {"type": "BertNormalizer", "handle_chinese_chars": True, **normalizer},
            "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": post,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": vocab}}, separators=(",", ":")).encode())
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    bpe_model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "\u0120": 2, "ab": 3, "\u0120a": 4, "1": 5}, "ignore_merges": True,
                 "merges": ["\u0120 a", ["a", "b"]]}
    bpe_template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}
    write("tokenizer_json", "byte-bpe", json.dumps({
        "added_tokens": [{"id": 6, "content": "<s>", "special": True}], "normalizer": {"type": "NFC"}, "model": bpe_model,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, bpe_template]}},
        separators=(",", ":")).encode())
    write("tokenizer_json", "gap", b'{"model":{"type":"WordPiece","vocab":{"a":0,"b":2,"c":2}}}')
    write("tokenizer_json", "deep", b'{"model":' + b"[" * 3000)


spm()
wordpiece()
bpe()
tokenizer_json()
