#!/usr/bin/env python3
"""Random attention problems against PyTorch's float64, on every kernel path this machine can run.

    check.py LIBRARY INCLUDE [--cases N] [--seed S] [--only SEED] [--path NAME]

Seeds S .. S + N - 1 are run, after the cases of kept_cases.txt. Each prints nothing unless a result is further from
the exact one than its bound; then the case is told in words, and --only SEED runs it alone. Ends with one table:
kernel path and dtype, cases, numbers compared, and the worst error as a multiple of its bound."""

import os
import sys
import tempfile

import torch

import arguments
import binding
import bounds
import call
import compare
import exact
import options

HERE = os.path.dirname(os.path.abspath(__file__))


def kept_cases():
    with open(os.path.join(HERE, "kept_cases.txt"), encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                seed, words, _ = (part.strip() for part in line.split("|"))
                if words not in options.generate(int(seed)).describe():
                    sys.exit(f"kept_cases.txt: seed {seed} no longer draws its case; options.py has changed")
                yield int(seed)


class Record:
    """What was found on one path with one dtype."""

    def __init__(self):
        self.cases = self.compared = 0
        self.worst = {}  # name -> (multiple, seed)

    def add(self, seed, comparison):
        self.cases += 1
        self.compared += comparison.compared
        for name, multiple in comparison.worst.items():
            if multiple >= self.worst.get(name, (-1.0, 0))[0]:
                self.worst[name] = multiple, seed


def run_case(seed, libraries, records, ways):
    """The number of paths on which the case failed; the exact computation is shared by all."""
    case = options.generate(seed)
    words = case.describe()
    failed, lines = 0, []
    try:
        inputs = call.Inputs(case)
        problem = inputs.problem()  # rounds the bias to its dtype, once
        del problem
        made = exact.Exact(inputs)
        made.softmax()
        if case.statistics:
            made.moments()
    except ArithmeticError as error:
        print(f"{words}\n    {error}")
        return 1
    ways[made.how] = ways.get(made.how, 0) + 1
    known_bounds = {}
    for library in libraries:
        try:
            results = call.Results(inputs, library)
            pairs = "multiplied in pairs" in results.explain
            if pairs not in known_bounds:
                known_bounds[pairs] = bounds.Bounds(made, pairs)
            comparison = compare.Comparison(made, known_bounds[pairs], results)
            kernels = case.dtype + (" by dot products" if pairs else "")
            records.setdefault((library.path, kernels), Record()).add(seed, comparison)
            faults = comparison.faults
        except binding.Refused as error:
            faults = [str(error)]
        if faults:
            failed += 1
            lines += [f"    {library.path}: {fault}" for fault in faults[:compare.PRINTED]]
    if lines:
        print("\n".join([words] + lines), flush=True)
    return failed


def report(records, ways, cases, libraries, details):
    cpu = libraries[0].cpu
    print(f"\n{cases} cases against torch {torch.__version__} in float64, {cpu.name.decode()}")
    print("o by: " + ", ".join(f"{how} {count}" for how, count in sorted(ways.items())))
    print(f"\n{'path':<14}{'dtype':<24}{'cases':>7}{'numbers':>13}  worst error / bound")
    for (path, kernels), record in sorted(records.items()):
        worst = sorted(((m, name, seed) for name, (m, seed) in record.worst.items()), reverse=True)
        told = ", ".join(f"{name} {m:.3f} (seed {seed})" for m, name, seed in (worst if details else worst[:1]))
        print(f"{path:<14}{kernels:<24}{record.cases:>7}{record.compared:>13}  {told}"
              + ("" if details else f"; o {record.worst.get('o', (0, 0))[0]:.3f}"))


def main():
    given = arguments.parse()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    binding.check_against_headers(given.include)
    kept = list(kept_cases())
    records, ways, failures = {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        any_path = binding.Library(given.library, None, folder)
        paths = [given.path] if given.path else any_path.cpu.paths.decode().split()
        libraries = [binding.Library(given.library, path, folder) for path in paths]
        if given.only is not None:
            seeds = [given.only]
            print(options.generate(given.only).describe())
        else:
            seeds = kept + list(range(given.seed, given.seed + given.cases))
        for seed in seeds:
            if run_case(seed, libraries, records, ways):
                failures.append(seed)
    report(records, ways, len(seeds), libraries, given.only is not None)
    if failures:
        shown = " ".join(map(str, failures[:50]))
        sys.exit(f"\n{len(failures)} of {len(seeds)} cases failed: {shown}")
    print(f"\nall {len(seeds)} within their bounds")


if __name__ == "__main__":
    main()
