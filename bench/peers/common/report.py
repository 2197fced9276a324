"""The table of a comparison: on the terminal while it is made, and in Markdown."""

import re

COLUMNS = {"torch": "torch", "flex": "flex", "onnxruntime": "ORT", "openvino": "OpenVINO", "ggml": "ggml",
           "ik": "ik_llama"}


def entry_of(case, key):
    return next((entry for entry in case["peers"] if entry["peer_key"] == key), None)


def print_header(stream, peers, threads):
    for peer in peers:
        print(f"{peer.about['name']} {peer.about['version']}: {peer.about['build']}", file=stream)
    print(f"{threads} threads; a peer's column: milliseconds (ratio: its time over ours); ! = not the same numbers\n"
          f"{'case':28}{'ours ms':>9}{'share':>7}" + "".join(f"{COLUMNS[peer.key]:>20}" for peer in peers),
          file=stream, flush=True)


def marks(case, entry):
    """Which type it computes in where that is not the case's, and whether its result is another."""
    inside = re.search(r"computing in (\w+)", entry["peer_way"])
    other = f" {inside[1]}" if inside and inside[1] != case["dtype"] else ""
    return other + ("" if entry["same_numbers"] else " !")


def cell(case, key):
    entry = entry_of(case, key)
    if entry is None:
        return "-"
    return f"{entry['peer_ms_median']:.2f} ({entry['ratio']:.2f}){marks(case, entry)}"


def print_case(stream, case, peers):
    full = f"  {case['ms_median'] / case['full_ms_median']:.3f} x full" if "full_ms_median" in case else ""
    print(f"{case['name']:28}{case['ms_median']:9.3f}{case['share']:7.1%}"
          + "".join(f"{cell(case, peer.key):>20}" for peer in peers)
          + full + ("" if case["quiet"] else "  busy"), file=stream, flush=True)


def reasons_of(cases):
    return sorted({reason for case in cases for reason in case["cannot"].values()})


def print_reasons(stream, cases):
    for reason in reasons_of(cases):
        print(f"- {reason}", file=stream)


def markdown_cell(case, key):
    entry = entry_of(case, key)
    if entry is None:
        return "-"
    text = f"{entry['peer_ms_median']:.2f} ({entry['ratio']:.2f})"
    if entry["ratio"] < 1:
        text = f"**{text}**"
    return text + marks(case, entry)


def write_markdown(file, result):
    """One table of times, one of times over full, then what each column is."""
    cases = result["cases"]
    keys = [key for key in COLUMNS if any(entry_of(case, key) for case in cases)]
    ceilings = result["ceilings"]
    dots = ceilings["bf16_dot_gflops"]
    print(f"{result['cpu']}, kernels {result['path']}, {result['threads']} threads; ceilings "
          f"{ceilings['fma_gflops']:.0f} GFLOP/s of f32 multiply-adds"
          + (f", {dots:.0f} of bf16 dot products" if dots else "")
          + f", {ceilings['read_gb_s']:.1f} GB/s of reading"
          + ". Ours: milliseconds and share of the ceiling that the case uses. Peers: milliseconds (their time "
          "over ours; bold: faster than ours; a type: it computes in that one; !: not the same numbers).\n", file=file)
    print("| case | ours, ms | share | " + " | ".join(COLUMNS[key] for key in keys) + " |", file=file)
    print("|---|---|---|" + "---|" * len(keys), file=file)
    for case in cases:
        print(f"| `{case['name']}` | {case['ms_median']:.3f} | {case['share']:.0%} | "
              + " | ".join(markdown_cell(case, key) for key in keys) + " |", file=file)
    masked = [case for case in cases if "full_ms_median" in case]
    if masked:
        print("\nTime under the mask over the time of the same without it:\n", file=file)
        print("| case | ours | " + " | ".join(COLUMNS[key] for key in keys) + " |", file=file)
        print("|---|---|" + "---|" * len(keys), file=file)
        for case in masked:
            print(f"| `{case['name']}` | {case['ms_median'] / case['full_ms_median']:.3f} | "
                  + " | ".join(full_cell(case, key) for key in keys) + " |", file=file)
    print(file=file)
    for key in keys:
        entries = [entry for case in cases for entry in [entry_of(case, key)] if entry]
        ways = sorted({entry["peer_way"] for entry in entries})
        print(f"- {entries[0]['peer']}: {'; '.join(ways)}. Build: {entries[0]['peer_build']}.", file=file)
    for reason in reasons_of(cases):
        print(f"- -: {reason}.", file=file)


def full_cell(case, key):
    entry = entry_of(case, key)
    if entry is None or "peer_full_ms_median" not in entry:
        return "-"
    return f"{entry['peer_ms_median'] / entry['peer_full_ms_median']:.2f}"
