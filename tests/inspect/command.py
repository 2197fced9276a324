"""attn inspect as a user runs it, on a tiny model: reports that agree with each other, weights that add up
to one, standard input and output, Ctrl-C, and full disks.

    command.py ATTN-COMMAND
"""

import csv
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "command"))
from attn_command import fault_of_failure, run  # noqa: E402
import gguf_files  # noqa: E402

ATTN = os.path.abspath(sys.argv[1])
TEXT = b"The tide comes in, the tide goes out.\nNobody asked it to. " * 2
faults = []


def expect(condition, what):
    if not condition:
        faults.append(what)
        print("FAILED:", what)


def changed_model(key, number):
    """The tiny model with one setting changed."""
    pairs = [(k, t, number if k == key else v) for k, t, v in gguf_files.tiny_pairs()]
    return gguf_files.assemble(pairs, gguf_files.tiny_tensors())


def read_npy(archive, name):
    data = archive.read(name)
    size = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10:10 + size], {"__builtins__": {}}, {"False": False})  # noqa: S307 (our own file)
    letter = {"<f4": "f", "<i8": "q", "<i4": "i"}[header["descr"]]
    count = 1
    for n in header["shape"]:
        count *= n
    return header["shape"], struct.unpack(f"<{count}{letter}", data[10 + size:])


def check_reports(folder):
    result = run(ATTN, "inspect", "m.gguf", "--text", "t.txt", "--json", "r.json", "--csv", "r.csv",
                 "--head", "1.1", "--rows", "20:40", "--npz", "w.npz", cwd=folder)
    expect(result.returncode == 0 and not result.stderr, f"a plain run: {result.stderr!r}")
    lines = result.stdout.decode().splitlines()
    expect(lines[0].startswith("4 heads: "), f"the verdict: {lines[0]!r}")
    expect("Head 1.1, rows 20 to 39" in lines, "the closer look")
    expect(all(len(line) <= 80 for line in lines), "no more than 80 columns")
    expect("\x1b" not in result.stdout.decode(), "no colour when piped")
    report = json.load(open(os.path.join(folder, "r.json")))
    expect(report["tokens"] == len(TEXT) + 1, "a token per character, and <bos>")
    expect([h["layer"] for h in report["heads"]] == [0, 0, 1, 1], "heads by layer")
    rows = list(csv.DictReader(io.StringIO(open(os.path.join(folder, "r.csv"), newline="").read())))
    expect(len(rows) == 4, "a row per head")
    for row, head in zip(rows, report["heads"]):
        for name, value in head.items():
            if isinstance(value, float):
                expect(float(row[name]) == value, f"{name} agrees")
        expect(row["sinks.0.token"] == head["sinks"][0]["token"], "tokens agree")
        expect(abs(sum(head["mass_classes"].values()) - 1) < 1e-5, "classes add up to 1")
    with zipfile.ZipFile(os.path.join(folder, "w.npz")) as archive:
        expect(archive.testzip() is None, "checksums")
        shape, weights = read_npy(archive, "weights.npy")
        expect(shape == (20, report["tokens"]), f"shape {shape}")
        for r in range(20):
            row = weights[r * shape[1]:(r + 1) * shape[1]]
            expect(abs(sum(row) - 1) < 1e-5, "a row of weights adds up to 1")
            expect(not any(row[20 + r + 1:]), "nothing behind the query")
        expect(read_npy(archive, "rows.npy")[1] == (20, 40), "rows")
        expect(read_npy(archive, "head.npy")[1] == (1, 1), "head")
        expect(read_npy(archive, "tokens.npy")[1][0] == 2, "tokens begin with <bos>")


def check_streams(folder):
    first = run(ATTN, "inspect", "m.gguf", "--text", "t.txt", "--json", "-", cwd=folder)
    with open(os.path.join(folder, "t.txt"), "rb") as text:
        second = run(ATTN, "inspect", "m.gguf", "--text", "-", "--json", "-", "--threads", "1", cwd=folder,
                     stdin=text)
    a, b = json.loads(first.stdout), json.loads(second.stdout)
    expect(a["heads"] == b["heads"], "the same figures for a file, standard input, and any thread count")
    expect(a["text_sha256"] == b["text_sha256"], "the same text")
    built_in = run(ATTN, "inspect", "m.gguf", "--json", "-", "--layers", "1", cwd=folder)
    report = json.loads(built_in.stdout)
    expect(report["tokens"] == gguf_files.CONTEXT, "the built-in text is cut to the context")
    expect([h["layer"] for h in report["heads"]] == [1, 1], "--layers")
    table = run(ATTN, "inspect", "m.gguf", "--text", "t.txt", "--csv", "-", cwd=folder)
    expect(table.stdout.startswith(b"layer,head,kv_head,rows_used,"), "CSV on standard output alone")
    cut = run(ATTN, "inspect", "m.gguf", "--text", "t.txt", "--tokens", "9", "--json", "-", cwd=folder)
    report = json.loads(cut.stdout)
    expect(report["tokens"] == 9 and report["heads"][0]["entropy_mean"] is None, "--tokens")
    expect(report["heads"][0]["entropy_mean_all"] is not None, "nine tokens still have figures")


def check_control_characters(folder):
    with open(os.path.join(folder, "evil.txt"), "wb") as text:
        text.write(b"\x1b[2J\x1b]0;owned\x07 \xe2\x80\xaeabc" * 5)
    result = run(ATTN, "inspect", "m.gguf", "--text", "evil.txt", "--head", "0.0", cwd=folder)
    shown = result.stdout.decode()
    expect(result.returncode == 0, "text with control characters is text")
    expect("\x1b" not in shown and "\x07" not in shown and "\u202e" not in shown, "and shown escaped")


def check_failures(folder):
    for words, sentence in (
            (["--text", "none.txt"], "none.txt: cannot be opened"),
            (["--text", "empty.txt"], "empty.txt: the text is empty"),
            (["--text", "latin.txt"], "latin.txt:"),
            (["--text", "long.txt"], "--tokens 192 takes the first"),
            (["--head", "2.0"], "--head is 2.0; the model's layers are 0 to 1"),
            (["--head", "0.2"], "the heads of a layer are 0 to 1"),
            (["--head", "0.0", "--layers", "1"], "its layer is not among --layers 1"),
            (["--layers", "7"], "the model's are 0 to 1"),
            (["--head", "0.0", "--rows", "5:500"], "--rows is 5:500; it may be a range within 0:117"),
            (["--json", "/dev/full"], "/dev/full: cannot be written: No space left on device"),
            (["--csv", "/dev/full"], "/dev/full: cannot be written: No space left on device"),
            (["--head", "0.0", "--npz", "/dev/full"], "No space left on device"),
            (["--json", "nowhere/r.json"], "nowhere/r.json: cannot be written")):
        if words[0] != "--text":
            words = ["--text", "t.txt"] + words
        result = run(ATTN, "inspect", "m.gguf", *words, cwd=folder)
        fault = fault_of_failure(result)
        expect(fault is None, f"{words}: {fault}")
        expect(sentence in result.stderr.decode(), f"{words}: {result.stderr!r}")
    for words in (["--npz", "w.npz"], ["--rows", "1:2"], ["--json", "-", "--csv", "-"], ["--threads", "0x"],
                  ["--tokens", "-1"], ["--tokens", "0"], ["--bogus"], ["extra"], ["--head", "x"], ["--layers", "1,"],
                  ["--head", "0.0", "--rows", "5:5"], ["--head", "0.0", "--rows", "x"]):
        result = run(ATTN, "inspect", "m.gguf", *words, cwd=folder)
        expect(fault_of_failure(result, 2) is None, f"{words}: {fault_of_failure(result, 2)}")
    missing = run(ATTN, "inspect", "none.gguf", cwd=folder)
    expect(fault_of_failure(missing) is None and b"none.gguf" in missing.stderr, f"{missing.stderr!r}")


def check_full_disk(folder):
    """A disk of 64 KB, where mounting is allowed: the old report stays, no part of the new one does."""
    disk = os.path.join(folder, "disk")
    os.mkdir(disk)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], stderr=subprocess.DEVNULL).returncode:
        print("skipped: no small disk can be mounted here")
        return
    try:
        with open(os.path.join(disk, "w.npz"), "wb") as old:
            old.write(b"old")
        result = run(ATTN, "inspect", "m.gguf", "--head", "0.0", "--npz", "disk/w.npz", cwd=folder)
        fault = fault_of_failure(result)
        expect(fault is None and b"No space left" in result.stderr, f"a full disk: {fault} {result.stderr!r}")
        expect(os.listdir(disk) == ["w.npz"], f"nothing else is left: {os.listdir(disk)}")
        expect(open(os.path.join(disk, "w.npz"), "rb").read() == b"old", "the old file is as it was")
    finally:
        subprocess.run(["umount", disk], check=True)


def check_interrupt(folder):
    """Ctrl-C once the weights' file has been begun. The run takes far longer than noticing that; should it
    finish first all the same, try again."""
    out = os.path.join(folder, "out")
    os.mkdir(out)
    for _ in range(5):
        process = subprocess.Popen([ATTN, "inspect", "../big.gguf", "--text", "../big.txt", "--head", "1.0", "--npz",
                                    "w.npz", "--json", "r.json"], cwd=out, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not os.listdir(out) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=250)
        if process.returncode != 0:
            break
        for name in os.listdir(out):
            os.remove(os.path.join(out, name))
    expect(process.returncode == 130, f"Ctrl-C: exit status {process.returncode}: {error!r}")
    expect(error == b"attn inspect: interrupted\n" and not output, f"Ctrl-C: {error!r}")
    expect(os.listdir(out) == [], f"Ctrl-C leaves nothing: {os.listdir(out)}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = {"m.gguf": changed_model("gemma3.attention.sliding_window", 100),
                 "big.gguf": changed_model("gemma3.context_length", 30000), "t.txt": TEXT,
                 "big.txt": b"abcdefghij " * 2500, "empty.txt": b"", "latin.txt": b"caf\xe9", "long.txt": b"x" * 400}
        for name, content in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        for check in (check_reports, check_streams, check_control_characters, check_failures, check_full_disk,
                      check_interrupt):
            check(folder)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
