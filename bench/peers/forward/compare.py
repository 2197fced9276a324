"""Cases of `attn bench` beside PyTorch; run it by bench/peers/forward/run.

Rounds of: ours (`attn bench --json` of one case, a process), then the peer here, each for some tenths of a
second. Both check rows of their result against plain double precision, ours inside `attn bench`. The
statistics of a row, which PyTorch's fused call does not give, are computed from the weights, by hand.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import together  # noqa: E402

ROWS = 8
TOLERANCE = 1e-4  # of values around 1: far above f32's rounding, far below a wrong mask


def peer_call(torch, case):
    """(function that runs the case once, its inputs)."""
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(1, case["heads"], case["queries"], case["head_size"], generator=generator)
    k = torch.randn(1, case["kv_heads"], case["keys"], case["head_size"], generator=generator)
    v = torch.randn(1, case["kv_heads"], case["keys"], case["head_size"], generator=generator)
    grouped = case["heads"] != case["kv_heads"]
    causal = case["mask"] == "causal"
    mask = None
    distance = torch.arange(case["keys"])[None, :] - torch.arange(case["queries"])[:, None]
    if case["mask"].startswith("window"):
        left, right = map(int, case["mask"].split()[1].split(","))
        mask = (distance >= -left) & (distance <= right)
    hidden = ~mask if mask is not None else distance > 0 if causal else None
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def fused():
        return sdpa(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped)

    def by_hand():
        keys = k.repeat_interleave(case["heads"] // case["kv_heads"], 1)
        values = v.repeat_interleave(case["heads"] // case["kv_heads"], 1)
        scores = q @ keys.transpose(2, 3) / math.sqrt(case["head_size"])
        if hidden is not None:
            scores.masked_fill_(hidden, -math.inf)
        weights = torch.softmax(scores, -1)
        return weights @ values, torch.special.entr(weights).sum(-1), weights.amax(-1)

    return (fused if case["statistics"] == "none" else by_hand), (q, k, v)


def check(torch, case, result, inputs):
    q, k, v = (tensor.double() for tensor in inputs)
    o = result[0] if isinstance(result, tuple) else result
    for number in range(ROWS):
        row, head = number * (case["queries"] - 1) // (ROWS - 1), number % case["heads"]
        kv_head = head // (case["heads"] // case["kv_heads"])
        scores = k[0, kv_head] @ q[0, head, row] / math.sqrt(case["head_size"])
        position = torch.arange(case["keys"])
        if case["mask"] != "none":
            scores[position > row] = -math.inf
        if case["mask"].startswith("window"):
            scores[position < row - 511] = -math.inf
        exact = torch.softmax(scores, 0) @ v[0, kv_head]
        if float((o[0, head, row].double() - exact).abs().max()) > TOLERANCE:
            sys.exit(f"{case['name']}: the peer computed something else in row {row} of head {head}")


def time_peer(call, seconds):
    """Milliseconds of single runs, for about so long; five at least."""
    times, begin = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def compare(torch, options, threads, name):
    ratios, ours, peers, case, call, inputs = [], [], [], None, None, None
    for _ in range(options.rounds):
        bench = json.loads(together.measure([options.attn, "bench", name, "--threads", str(threads), "--seconds",
                                             str(options.seconds), "--json", "-"]).output)
        case = next(c for c in bench["cases"] if c["name"] == name)
        if call is None:
            call, inputs = peer_call(torch, case)
            check(torch, case, call(), inputs)
        peer = statistics.median(time_peer(call, options.seconds))
        peers.append(peer)
        ours.append(case["ms_median"])
        ratios.append(peer / case["ms_median"])
    flops = case["rate"] * case["ms_median"] * 1e6
    case.update({
        "ms_median": statistics.median(ours), "peer": f"torch {torch.__version__}",
        "peer_build": torch.__config__.show(),
        "peer_way": "fused" if case["statistics"] == "none" else "by hand, with entropy and maximum",
        "peer_ms_median": statistics.median(peers),
        "ratio": statistics.median(ratios), "ratio_spread": [min(ratios), max(ratios)],
        "peer_share": flops / (1e6 * statistics.median(peers)) / case["ceiling_rate"],
    })
    return case, bench


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pattern", nargs="?")
    parser.add_argument("--attn", required=True)
    parser.add_argument("--threads", type=int, default=0, help="default: every core")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each side of a round")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.attn = os.path.abspath(options.attn)

    cores = together.pin(options.threads)
    import torch
    torch.set_num_threads(len(cores))
    listed = together.measure([options.attn, "bench", "--list"] + ([options.pattern] if options.pattern else []))
    names = [line.split()[0] for line in listed.output.splitlines()]
    table = sys.stderr if options.json == "-" else sys.stdout
    blas = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    print(f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}, {blas}), {len(cores)} threads\n"
          f"{'case':42}{'ours ms':>10}{'share':>8}{'torch ms':>10}{'share':>8}{'ratio':>8}", file=table)
    cases, bench = [], None
    with torch.inference_mode():
        for name in names:
            case, bench = compare(torch, options, len(cores), name)
            cases.append(case)
            print(f"{name:42}{case['ms_median']:10.3f}{case['share']:8.1%}{case['peer_ms_median']:10.3f}"
                  f"{case['peer_share']:8.1%}{case['ratio']:8.2f}"
                  f"{'' if case['statistics'] == 'none' else '  by hand'}", file=table, flush=True)
    if options.json:
        together.write_json(options.json, {**bench, "cases": cases})


if __name__ == "__main__":
    main()
