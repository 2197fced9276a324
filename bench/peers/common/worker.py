"""One peer in a process of its own: libraries with thread pools and symbols of the same names do not meet.

Run by compare.py as `worker.py <forward|decode> <peer> <threads>`. A line of JSON comes in, a line goes out:

    {"case": a case of `attn bench --json`, "passing": bytes, "seconds": S, "rows": [[b, h, i], ...]}
    -> {"reason": why it cannot} or {"way": the call, "ms": [...], "full_ms": [...], "rows": [[...], ...]}

A peer is a module peer_<name> with
    start(threads) -> {"name", "version", "build"}
    prepare(problem) -> (the call in words, run, result); a string instead says why it cannot;
        run() computes once, result(b, h, i) is a row of what the last run computed.
"""

import importlib
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", sys.argv[1]))
import problem  # noqa: E402


def time_runs(run, seconds):
    """Milliseconds of single runs, for about so long; three at least."""
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return times


class Worker:
    def __init__(self, peer):
        self.peer, self.name, self.ready, self.full = peer, None, None, None

    def prepare(self, case, passing):
        self.ready = self.full = None  # the old ones are freed first
        self.ready = self.peer.prepare(problem.Problem(case, passing))
        if isinstance(self.ready, str):
            return
        self.ready[1]()
        if "full_ms_median" in case and case["mask"] in ("causal", "window 511,0"):
            self.full = self.peer.prepare(problem.Problem({**case, "mask": "none"}, passing))
            if not isinstance(self.full, str):
                self.full[1]()

    def answer(self, request):
        case = request["case"]
        if self.name != case["name"]:
            self.name = case["name"]
            self.prepare(case, request["passing"])
        if isinstance(self.ready, str):
            return {"reason": self.ready}
        way, run, result = self.ready
        answer = {"way": way, "ms": time_runs(run, request["seconds"])}
        if isinstance(self.full, tuple):
            answer["full_ms"] = time_runs(self.full[1], request["seconds"] / 2)
        answer["rows"] = [[float(x) for x in result(*row)] for row in request["rows"]]
        return answer


def main():
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    peer = importlib.import_module(f"peer_{sys.argv[2]}")
    print(json.dumps(peer.start(int(sys.argv[3]))), file=answers, flush=True)
    worker = Worker(peer)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
