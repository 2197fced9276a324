#!/usr/bin/env python3
"""all-MiniLM-L6-v2 through transformers in f32: the oracle of tests/model for BERT.

    minilm_transformers.py build/models/minilm --write tests/model/golden/minilm.json TEXT...
    minilm_transformers.py build/models/minilm --compare build/.../attn_score TEXT...

Each text is one input: its ids with [CLS] and [SEP], cut to the table of positions, and its embedding
(mean over all tokens, length 1). A TEXT that is no file is taken as the text itself. Needs
requirements.txt in a virtual environment.
"""
import argparse
import json
import os
import subprocess
import sys

import torch
import transformers

COSINE = 1e-4  # distance


def load(folder):
    # The tokenizer.json asks to cut texts at 128; what limits a text is the table of positions.
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, model_max_length=512)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32,
                                                   attn_implementation="eager")
    model.eval()
    return tokenizer, model


def oracle(tokenizer, model, text):
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=512,
                    padding=False).input_ids
    with torch.no_grad():
        hidden = model(ids).last_hidden_state[0].double()
    embedding = hidden.mean(0)
    return ids[0].tolist(), (embedding / embedding.norm()).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--compare", metavar="SCORE")
    arguments = parser.parse_args()
    tokenizer, model = load(arguments.model)
    texts, ok = [], True
    for given in arguments.texts:
        text = given
        if os.path.isfile(given):
            with open(given, encoding="utf-8") as file:
                text = file.read()
        ids, embedding = oracle(tokenizer, model, text)
        name = os.path.basename(given)
        texts.append({"text": name, "ids": ids, "embedding": [round(x, 7) for x in embedding]})
        if arguments.compare:
            run = subprocess.run([arguments.compare, arguments.model], text=True, check=True,
                                 input=" ".join(map(str, ids)), stdout=subprocess.PIPE)
            ours = json.loads(run.stdout)["embedding"]
            distance = 1 - sum(a * b for a, b in zip(ours, embedding))
            ok = ok and distance <= COSINE
            print(f"{name[:40]!r}: {len(ids)} tokens; cosine distance {distance:.1e}: "
                  f"{'PASS' if distance <= COSINE else 'FAIL'}")
    if arguments.write:
        with open(arguments.write, "w", encoding="utf-8") as file:
            lines = ",\n  ".join(json.dumps(text, separators=(",", ":")) for text in texts)
            file.write(f'{{"made_by": "scripts/oracle/minilm_transformers.py, transformers '
                       f'{transformers.__version__}, torch {torch.__version__}, f32, eager",\n'
                       f' "texts": [\n  {lines}]}}\n')
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
