"""What comparisons with a peer share: the same cores for everybody, processes measured from outside,
medians, and JSON written whole or not at all."""

import json
import os
import statistics
import sys
import tempfile
import time


def pin(threads):
    """Keep this process and all its children on the first `threads` cores it may use (0 = all)."""
    cores = sorted(os.sched_getaffinity(0))
    cores = cores[:threads] if threads else cores
    os.sched_setaffinity(0, cores)
    # What starts from here runs as many threads as there are cores, whichever library makes them.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(len(cores))
    return cores


class Finished:
    """A process that has ended: its standard output, wall seconds and peak resident bytes."""

    def __init__(self, output, seconds, peak_bytes):
        self.output, self.seconds, self.peak_bytes = output, seconds, peak_bytes


def measure(arguments):
    """Run to the end. A failure ends this program with what the process printed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        child = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=[
            (os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, err.fileno(), 2)])
        _, status, usage = os.wait4(child, 0)
        seconds = time.perf_counter() - begin
        out.seek(0)
        err.seek(0)
        output = out.read().decode()
        if status != 0:
            sys.exit(f"{' '.join(arguments)}\nfailed:\n{output[-3000:]}{err.read().decode()[-3000:]}")
    return Finished(output, seconds, 1024 * usage.ru_maxrss)


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def write_json(path, content):
    text = json.dumps(content, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)
