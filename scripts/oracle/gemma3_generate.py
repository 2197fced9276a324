#!/usr/bin/env python3
"""Greedy text of Gemma 3 by transformers in f32 on the same GGUF file: the oracle of tests/run.

    gemma3_generate.py MODEL.gguf --write tests/run/golden/gemma3-greedy.json [--tokens 64]

For each prompt: its ids, the ids that follow greedily, and at each step the gap between the two best
logits, so that a near-tie can be told from a fault. One prompt is longer than the window of the local
layers. Needs requirements.txt in a virtual environment.
"""
import argparse
import hashlib
import json
import os

import torch
import transformers

from gemma3_transformers import load

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def prompts():
    with open(os.path.join(TOP, "examples/texts/tides.txt"), encoding="utf-8") as file:
        tides = file.read()
    return [
        "The tide is",
        "Once upon a time, in a village by the sea, there lived",
        "def fibonacci(n):\n",
        "Die Hauptstadt von Frankreich ist",
        "Q: What is 12 times 12?\nA:",
        "日本の首都は",
        "The three primary colours are red,",
        tides[:4000],
    ]


def greedy(model, ids, count):
    """The next `count` ids, and how far each was ahead of the second best."""
    new, gaps, cache = [], [], None
    step = torch.tensor([ids])
    with torch.no_grad():
        for _ in range(count):
            out = model(step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            best = out.logits[0, -1].double().topk(2)
            new.append(best.indices[0].item())
            gaps.append(round((best.values[0] - best.values[1]).item(), 5))
            step = best.indices[:1].reshape(1, 1)
    return new, gaps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--write", metavar="FILE", required=True)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    tokenizer, model = load(arguments.model)
    with open(arguments.model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    cases = []
    for prompt in prompts():
        ids = tokenizer(prompt).input_ids
        new, gaps = greedy(model, ids, arguments.tokens)
        cases.append({"prompt": prompt, "ids": ids, "generated": new, "gap": gaps})
        print(f"{len(ids)} tokens, least gap {min(gaps)}: {tokenizer.decode(new)!r}", flush=True)
    with open(arguments.write, "w", encoding="utf-8") as file:
        made_by = (f"scripts/oracle/gemma3_generate.py, transformers {transformers.__version__}, torch "
                   f"{torch.__version__}, f32, eager")
        lines = ",\n".join("  " + json.dumps(case, separators=(",", ":"), ensure_ascii=False) for case in cases)
        file.write(f'{{"made_by": {json.dumps(made_by)},\n "model_sha256": "{digest}",\n "cases": [\n{lines}]}}\n')


if __name__ == "__main__":
    main()
