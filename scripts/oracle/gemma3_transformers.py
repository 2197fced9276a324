#!/usr/bin/env python3
"""Gemma 3 through transformers in f32 on the same GGUF file: the oracle of tests/model.

    gemma3_transformers.py MODEL.gguf --write tests/model/golden TEXT...
        one golden file for each text: ids, and for every prediction nll, argmax and the gap between
        the two best logits; per-head mean entropies of its eager attention weights
    gemma3_transformers.py MODEL.gguf --compare build/.../score TEXT...
        the same, set against our program, with the limits that the tests use

Needs requirements.txt in a virtual environment. All arithmetic of the oracle is f32 on the CPU.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys

import torch
import transformers

NLL_RELATIVE = 1e-5  # of the mean NLL of a text
GAP = 1e-3  # the argmax must be the same wherever the two best logits differ by more
ENTROPY = 2e-3  # nats, of each head's mean


def load(path):
    folder, name = os.path.split(os.path.abspath(path))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    return tokenizer, model


def entropies(attentions):
    """Mean over rows of each head's entropy in nats, [layers][heads]."""
    result = []
    for weights in attentions:
        w = weights[0].double()
        result.append(torch.special.entr(w).sum(-1).mean(-1).tolist())
    return result


def oracle(tokenizer, model, path, limit):
    with open(path, encoding="utf-8") as file:
        ids = tokenizer(file.read(), return_tensors="pt").input_ids[:, :limit]
    with torch.no_grad():
        out = model(ids, output_attentions=True)
    result = {"ids": ids[0].tolist(), "nll": [], "argmax": [], "gap": [],
              "entropy": entropies(out.attentions)}
    for i, row in enumerate(out.logits[0]):
        row = row.double()
        best = row.topk(2)
        result["argmax"].append(best.indices[0].item())
        result["gap"].append((best.values[0] - best.values[1]).item())
        if i + 1 < ids.shape[1]:
            result["nll"].append((row.logsumexp(-1) - row[ids[0, i + 1]]).item())
    return result


def mean(values):
    return sum(values) / len(values)


def compare(score, model_path, name, expected):
    ids = " ".join(map(str, expected["ids"]))
    run = subprocess.run([score, model_path, "--entropy"], input=ids, text=True,
                         stdout=subprocess.PIPE, check=True)
    ours = json.loads(run.stdout)
    relative = abs(mean(ours["nll"]) - mean(expected["nll"])) / mean(expected["nll"])
    worst_nll = max(abs(a - b) for a, b in zip(ours["nll"], expected["nll"]))
    differ = [i for i, (a, b) in enumerate(zip(ours["argmax"], expected["argmax"])) if a != b]
    bad = [i for i in differ if expected["gap"][i] > GAP]
    entropy = max(abs(a - b) for x, y in zip(ours["entropy"], expected["entropy"])
                  for a, b in zip(x, y))
    ok = relative <= NLL_RELATIVE and not bad and entropy <= ENTROPY
    print(f"{name}: {len(expected['ids'])} tokens; mean nll {mean(expected['nll']):.6f}, relative "
          f"difference {relative:.1e} (worst token {worst_nll:.1e} nats); argmax differs at "
          f"{len(differ)}, {len(bad)} with a gap > {GAP:g}; mean entropy of a head differs by at "
          f"most {entropy:.1e} nats: {'PASS' if ok else 'FAIL'}", flush=True)
    return ok


def rounded(expected):
    return {
        "ids": expected["ids"],
        "nll_mean": round(mean(expected["nll"]), 9),
        "nll": [round(x, 4) for x in expected["nll"]],
        "argmax": expected["argmax"],
        "gap": [round(x, 4) for x in expected["gap"]],
        "entropy": [[round(x, 5) for x in layer] for layer in expected["entropy"]],
    }


def write(folder, model_path, name, expected):
    with open(model_path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    golden = {"made_by": f"scripts/oracle/gemma3_transformers.py, transformers "
                         f"{transformers.__version__}, torch {torch.__version__}, f32, eager",
              "model_sha256": digest, "text": name} | rounded(expected)
    target = os.path.join(folder, f"gemma3-{os.path.splitext(name)[0]}.json")
    with open(target, "w", encoding="utf-8") as file:
        # One line for each entry: readable differences, small files.
        lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}"
                 for key, value in golden.items()]
        file.write("{" + ",\n ".join(lines) + "}\n")
    print(f"{target}: {len(expected['ids'])} tokens", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--write", metavar="FOLDER")
    parser.add_argument("--compare", metavar="SCORE")
    parser.add_argument("--tokens", type=int, default=32768, help="the first N of each text")
    arguments = parser.parse_args()
    tokenizer, model = load(arguments.model)
    ok = True
    for path in arguments.texts:
        name = os.path.basename(path)
        expected = oracle(tokenizer, model, path, arguments.tokens)
        if arguments.write:
            write(arguments.write, arguments.model, name, expected)
        if arguments.compare:
            ok = compare(arguments.compare, arguments.model, name, expected) and ok
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
