"""`attn run` beside llama.cpp; run it by bench/peers/run/run.

Rounds of: attn, llama.cpp with flash attention, llama.cpp without. Each is a process of its own on the same cores with as
many threads, reads the very same tokens, and writes on by the best token. Both keep keys and values in f16.
"""

import argparse
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
sys.path.insert(0, os.path.join(HERE, "..", "inspect"))
import together  # noqa: E402
from make_text import make_text  # noqa: E402

TRIAL_BYTES = 2000
PEERS = {"llama.cpp, flash attention": "on", "llama.cpp, without": "off"}


def run_attn(options, text, count, threads, folder):
    path, report = os.path.join(folder, "text.txt"), os.path.join(folder, "report.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    finished = together.measure([options.attn, "run", options.model, "--file", path, "-n", str(count), "--cache", "f16",
                                 "--threads", str(threads), "--json", report])
    with open(report, encoding="utf-8") as file:
        content = json.load(file)
    return {"prompt_rate": content["timings"]["prompt_tokens_per_second"],
            "written_rate": content["timings"]["written_tokens_per_second"],
            "written": [token["id"] for token in content["written"]], "peak_bytes": finished.peak_bytes}, content


def run_peer(options, tokens, count, threads, flash, folder):
    path = os.path.join(folder, "tokens.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(tokens, file)
    finished = together.measure([sys.executable, "-B", os.path.join(HERE, "worker.py"), options.model, path, str(count),
                                 str(threads), flash])
    content = json.loads(finished.output.strip().splitlines()[-1])
    return {**content, "peak_bytes": finished.peak_bytes}


def compare(options, length, bytes_per_token, threads, folder):
    """All rounds at one length of the prompt, about `length` tokens."""
    text = make_text(int(length * bytes_per_token) + 1)[:max(1, int(length * bytes_per_token))]
    runs = {"attn": [], **{name: [] for name in PEERS}}
    tokens = []
    for number in range(options.rounds):
        print(f"{length} tokens, round {number + 1} of {options.rounds}", file=sys.stderr)
        run, report = run_attn(options, text, options.count, threads, folder)
        tokens = [token["id"] for token in report["prompt"]]
        runs["attn"].append(run)
        for name, flash in PEERS.items():
            runs[name].append(run_peer(options, tokens, options.count, threads, flash, folder))
    rows = []
    for name, of in runs.items():
        row = {"name": name, "runs": of, "peak_bytes": max(run["peak_bytes"] for run in of)}
        for rate in ("prompt_rate", "written_rate"):
            row[rate] = together.spread([run[rate] for run in of])
            row[rate + "_ratio"] = rows[0][rate]["median"] / row[rate]["median"] if rows else 1.0
        rows.append(row)
    return {"tokens": len(tokens), "rows": rows}


def print_table(result):
    print(f"\nprompt of {result['tokens']} tokens{'':9}{'read/s':>9}{'spread':>16}{'ratio':>7}{'written/s':>11}{'spread':>14}"
          f"{'ratio':>7}")
    for row in result["rows"]:
        read, written = row["prompt_rate"], row["written_rate"]
        print(f"{row['name']:30}{read['median']:9.1f}{read['min']:9.1f}-{read['max']:<7.1f}{row['prompt_rate_ratio']:6.2f}"
              f"{written['median']:11.1f}{written['min']:8.1f}-{written['max']:<6.1f}{row['written_rate_ratio']:6.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--attn", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--lengths", default="16,64,2048,8192", help="tokens of the prompts, about")
    parser.add_argument("--count", type=int, default=33, help="tokens to write")
    parser.add_argument("--threads", type=int, default=0, help="default: every core")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="also write everything to this file")
    options = parser.parse_args()
    options.attn, options.model = os.path.abspath(options.attn), os.path.abspath(options.model)

    cores = together.pin(options.threads)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        _, trial = run_attn(options, make_text(TRIAL_BYTES)[:TRIAL_BYTES], 1, len(cores), folder)
        bytes_per_token = TRIAL_BYTES / len(trial["prompt"])
        for length in map(int, options.lengths.split(",")):
            results.append(compare(options, length, bytes_per_token, len(cores), folder))
            peer = results[-1]["rows"][1]["runs"][0]
            if len(results) == 1:
                print(f"{os.path.basename(options.model)}, {len(cores)} threads, f16 cache; ratio: attn's rate by that of "
                      f"the row\nattn {trial['attn_version']} ({trial['path']}); llama-cpp-python {peer['version']}: "
                      f"{peer['build']}")
            print_table(results[-1])
    if options.json:
        together.write_json(options.json, {
            "schema_version": 1, "model": options.model, "cores": cores, "attn_version": trial["attn_version"],
            "path": trial["path"], "results": results})


if __name__ == "__main__":
    main()
