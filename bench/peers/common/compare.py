"""Cases of `attn bench` beside other libraries; run it by bench/peers/forward/run or decode/run.

Rounds of: ours (`attn bench --json` of one case, a process), then each peer in its own process, each for
some tenths of a second, all on the same cores with as many threads. Inputs are the same numbers. Some rows
of every result are compared with plain double precision: ours inside `attn bench`, whose values are
compared once more here, a peer's here. Ratio: the peer's time over ours, the median over rounds.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", sys.argv[1])]
import arguments  # noqa: E402
import problem  # noqa: E402
import report  # noqa: E402
import together  # noqa: E402


class Peer:
    """A worker process; it is started again after it died."""

    def __init__(self, operation, key, threads):
        self.operation = operation
        self.key, self.threads, self.process, self.about, self.errors = key, threads, None, None, None

    def start(self):
        self.errors = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, "-B", os.path.join(HERE, "worker.py"), self.operation, self.key, str(self.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the peer {self.key} could not start:\n{self.said()}")
        self.about = json.loads(line)

    def said(self):
        """The end of what it printed."""
        self.errors.seek(0)
        return self.errors.read()[-20000:].strip()

    def ask(self, request):
        if self.process is None:
            self.start()
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        status, self.process = self.process.wait(), None
        case, said = request["case"], self.said().splitlines()
        why = next((line for line in said if "ASSERT" in line or "not a supported" in line), said[-1] if said else f"status {status}")
        why = why.strip("= ").split("/")[-1]
        return {"reason": f"{self.about['name']}: ended at {case['dtype']}, {case['mask']}: {why}"}

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def run_ours(options, threads, name):
    bench = json.loads(together.measure([options.attn, "bench", name, "--threads", str(threads), "--seconds",
                                         str(options.seconds), "--json", "-"]).output)
    case = next(c for c in bench["cases"] if c["name"] == name)
    return case, bench


def exact_rows(case):
    """The rows of our samples in double, after a check that both sides mean the same problem."""
    p = problem.Problem(case, 0)
    rows = []
    for sample in case["samples"]:
        exact = p.exact_row(sample["batch"], sample["head"], sample["query"])
        value = exact[0][sample["channel"]]
        if abs(value - sample["exact"]) > 1e-5 * max(1, abs(value)):
            sys.exit(f"{case['name']}: `attn bench` means another problem: {sample['exact']} here {value}")
        rows.append(exact)
    return p, rows


def check_rows(p, exact, rows):
    """(largest error, what it may be, whether all rows are within theirs)"""
    pairs = [problem.off(p, e, row) for e, row in zip(exact, rows)]
    worst = max(pairs, key=lambda pair: pair[0] / pair[1] if pair[0] == pair[0] else float("inf"))
    return (*worst, all(error <= allowed for error, allowed in pairs))


def share(case, milliseconds):
    """Of the case's ceiling: what it multiplies, or reads."""
    work = case["bytes"] if case["ceiling"] == "read" else case["flops"]
    return work / (1e6 * milliseconds) / case["ceiling_rate"]


class Side:
    """What a peer did with a case, round by round."""

    def __init__(self):
        self.ms, self.full_ms, self.ratios, self.way, self.error = [], [], [], None, None

    def take(self, answer, ours, check):
        median = statistics.median(answer["ms"])
        self.ms.append(median)
        self.ratios.append(median / ours)
        self.way = answer["way"]
        if "full_ms" in answer:
            self.full_ms.append(statistics.median(answer["full_ms"]))
        self.error = check

    def entry(self, peer, case):
        median = statistics.median(self.ms)
        entry = {"peer": f"{peer.about['name']} {peer.about['version']}", "peer_key": peer.key,
                 "peer_build": peer.about["build"], "peer_way": self.way, "peer_ms_median": median,
                 "ratio": statistics.median(self.ratios), "ratio_spread": [min(self.ratios), max(self.ratios)],
                 "peer_share": share(case, median),
                 "peer_residual": self.error[0], "peer_residual_allowed": self.error[1],
                 "same_numbers": self.error[2]}
        if self.full_ms:
            entry["peer_full_ms_median"] = statistics.median(self.full_ms)
        return entry


def compare(options, threads, peers, name):
    """(the case with what its peers did, what is common to the run)"""
    ours, ceilings, sides, full, reasons, exact, p = [], [], {}, [], {}, None, None
    for _ in range(options.rounds):
        case, bench = run_ours(options, threads, name)
        ours.append(case["ms_median"])
        ceilings.append((case["ceiling"], case["ceiling_rate"]))
        full.append(case.get("full_ms_median"))
        if exact is None:
            p, exact = exact_rows(case)
        rows = [[s["batch"], s["head"], s["query"]] for s in case["samples"]]
        for peer in peers:
            if peer.key in reasons:
                continue
            answer = peer.ask({"case": case, "seconds": options.seconds, "rows": rows,
                               "passing": bench["ceilings"]["read_bytes"]})
            if "reason" in answer:
                reasons[peer.key] = answer["reason"]
            else:
                sides.setdefault(peer.key, Side()).take(
                    answer, case["ms_median"], check_rows(p, exact, answer["rows"]))
    case["ms_median"] = statistics.median(ours)
    case["ceiling_rate"] = max(rate for kind, rate in ceilings if kind == case["ceiling"])
    case["share"] = share(case, case["ms_median"])
    if full[0] is not None:
        case["full_ms_median"] = statistics.median(full)
    case["peers"] = [sides[peer.key].entry(peer, case) for peer in peers if peer.key in sides]
    case["cannot"] = reasons
    return case, bench


def kept_cases(options):
    if options.keep and options.json and os.path.exists(options.json):
        with open(options.json, encoding="utf-8") as file:
            return {case["name"]: case for case in json.load(file)["cases"]}
    return {}


def list_names(options, pattern):
    listed = together.measure([options.attn, "bench", "--list"] + ([pattern] if pattern else []))
    # What takes minutes is run when its whole name is given.
    return [line.split()[0] for line in listed.output.splitlines()
            if problem.meant(line.split()[0]) and ("takes minutes" not in line or line.split()[0] == pattern)]


def write_files(options, result):
    """After every case, so that a run that is stopped can go on with --keep."""
    if options.json and options.json != "-":
        together.write_json(options.json, result)
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            report.write_markdown(file, result)


def main():
    options = arguments.parse(__doc__)
    cores = together.pin(options.threads)
    every = list_names(options, None)
    names = [name for pattern in options.patterns or [None] for name in list_names(options, pattern)]
    names = list(dict.fromkeys(names))
    peers = [Peer(options.operation, key, len(cores)) for key in arguments.PEERS[options.operation] if key in options.peers.split(",")]
    cases, bench = kept_cases(options), None
    table = sys.stderr if options.json == "-" else sys.stdout
    for peer in peers:
        peer.start()
    report.print_header(table, peers, len(cores))
    wrong, order = [], {name: number for number, name in enumerate(every)}
    try:
        for name in names:
            cases[name], bench = compare(options, len(cores), peers, name)
            report.print_case(table, cases[name], peers)
            wrong += [f"{name}: {entry['peer']}" for entry in cases[name]["peers"] if not entry["same_numbers"]]
            ordered = sorted(cases.values(), key=lambda case: order.get(case["name"], len(order)))
            write_files(options, {**bench, "rounds": options.rounds, "cores": cores, "cases": ordered})
    finally:
        for peer in peers:
            peer.stop()
    report.print_reasons(table, [cases[name] for name in names])
    if options.json == "-":
        together.write_json("-", {**bench, "rounds": options.rounds, "cores": cores, "cases": ordered})
    if wrong:
        sys.exit("not the same numbers: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
