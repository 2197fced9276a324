"""`attn inspect` beside transformers; run it by bench/peers/inspect/run.

Rounds of: attn, transformers with SDPA; the eager way with entropies once, at the end. Each is a process of
its own on the same cores. Of attn the whole process is counted, from start to the last byte of its report,
probes included; of transformers the forward alone (and the entropies, in the eager way).
"""

import argparse
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import together  # noqa: E402
from make_text import make_text  # noqa: E402

BYTES_PER_TOKEN = 8  # more than any text of ours has


def run_attn(options, text, cores, folder):
    report = os.path.join(folder, "report.json")
    # --special: transformers too reads "<bos>" inside a text as that token.
    finished = together.measure([options.attn, "inspect", options.model, "--text", text, "--tokens",
                                 str(options.tokens), "--special", "--threads", str(len(cores)), "--json", report])
    with open(report, encoding="utf-8") as file:
        content = json.load(file)
    if content["tokens"] != options.tokens:
        sys.exit(f"attn read {content['tokens']} tokens, not {options.tokens}")
    return {"seconds": finished.seconds, "process_seconds": finished.seconds,
            "peak_bytes": finished.peak_bytes}, content


def run_transformers(options, text, attention):
    finished = together.measure([sys.executable, "-B", os.path.join(HERE, "forward.py"), options.model, text,
                                 str(options.tokens), attention])
    content = json.loads(finished.output.strip().splitlines()[-1])
    if content["tokens"] != options.tokens:
        sys.exit(f"transformers read {content['tokens']} tokens, not {options.tokens}")
    return {"seconds": content["seconds"], "process_seconds": finished.seconds,
            "peak_bytes": finished.peak_bytes}, content


def largest_difference(report, eager):
    """Between the mean entropies of each head; the rows of both are the same."""
    return max(abs(head["entropy_mean_all"] - eager["entropies"][head["layer"]][head["head"]])
               for head in report["heads"])


def summary(name, runs, ours):
    seconds = together.spread([run["seconds"] for run in runs])
    result = {"name": name, "seconds": seconds, "peak_bytes": max(run["peak_bytes"] for run in runs), "runs": runs}
    if ours:
        result["ratio"] = seconds["median"] / ours["seconds"]["median"]
        result["memory_ratio"] = result["peak_bytes"] / ours["peak_bytes"]
    return result


def print_table(content):
    print(f"{content['tokens']} tokens of {os.path.basename(content['model'])}, {content['threads']} threads on cores "
          f"{','.join(map(str, content['cores']))}\nattn {content['attn_version']} ({content['path']}), "
          f"torch {content['torch']}, transformers {content['transformers']}\n")
    print(f"{'':38}{'seconds':>9}{'spread':>16}{'peak memory':>14}{'attn is faster':>17}")
    for row in content["results"]:
        seconds = row["seconds"]
        faster = f"{row['ratio']:.2f} x" if "ratio" in row else ""
        print(f"{row['name']:38}{seconds['median']:9.2f}{seconds['min']:8.2f}-{seconds['max']:<7.2f}"
              f"{row['peak_bytes'] / 1e9:11.2f} GB{faster:>17}")
    if content["entropy_largest_difference"] is not None:
        print(f"\nmean entropies of all heads: at most {content['entropy_largest_difference']:.2g} nats apart")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--attn", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokens", type=int, default=6144)
    parser.add_argument("--threads", type=int, default=0, help="default: every core")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-eager", action="store_true")
    parser.add_argument("--json", help="also write everything to this file")
    options = parser.parse_args()
    options.attn, options.model = os.path.abspath(options.attn), os.path.abspath(options.model)

    cores = together.pin(options.threads)
    ours, sdpa, eager, report, eager_content = [], [], [], None, None
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "text.txt")
        with open(text, "w", encoding="utf-8") as file:
            file.write(make_text(BYTES_PER_TOKEN * options.tokens))
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            run, report = run_attn(options, text, cores, folder)
            ours.append(run)
            run, sdpa_content = run_transformers(options, text, "sdpa")
            sdpa.append(run)
        if not options.no_eager:
            print("eager, once", file=sys.stderr)
            run, eager_content = run_transformers(options, text, "eager")
            eager.append(run)

    first = summary("attn inspect, all row statistics", ours, None)
    results = [first, summary("transformers SDPA, the forward alone", sdpa, first)]
    if eager:
        results.append(summary("transformers eager, with entropies", eager, first))
    content = {
        "schema_version": 1, "tokens": options.tokens, "model": options.model, "threads": len(cores), "cores": cores,
        "attn_version": report["attn_version"], "path": report["cpu"], "torch": sdpa_content["torch"],
        "transformers": sdpa_content["transformers"], "text_sha256": report["text_sha256"], "results": results,
        "entropy_largest_difference": largest_difference(report, eager_content) if eager else None,
    }
    print_table(content)
    if options.json:
        together.write_json(options.json, content)


if __name__ == "__main__":
    main()
