"""attn run as a user runs it, on a tiny model: prompts from everywhere, the same text for the same seed, stop
texts, JSON that agrees with the text, standard output that is full, Ctrl-C.

    command.py ATTN-COMMAND
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "command"))
from attn_command import fault_of_failure, run  # noqa: E402
import gguf_files  # noqa: E402

ATTN = os.path.abspath(sys.argv[1])
PROMPT = "The tide comes in, the tide goes out."
TIMINGS = re.compile(
    r"prompt +\d+ tokens +[\d.]+ s +[\d.]+ tokens/s\n"
    r"written +\d+ tokens +[\d.]+ s +([\d.]+|-) tokens/s  \([a-z' ]+\)\n"
    r"cache +\d+ tokens +[\d.]+ MB of keys and values in (f32|f16|bf16|int8|int4)\n")
faults = []


def expect(condition, what):
    if not condition:
        faults.append(what)
        print("FAILED:", what)


def changed_model(key, number):
    pairs = [(k, t, number if k == key else v) for k, t, v in gguf_files.tiny_pairs()]
    return gguf_files.assemble(pairs, gguf_files.tiny_tensors())


def written(folder, *words, **options):
    """Standard output of a run that must succeed and tell its timings."""
    result = run(ATTN, "run", "m.gguf", *words, cwd=folder, **options)
    error = result.stderr.decode()
    expect(result.returncode == 0 and TIMINGS.fullmatch(error), f"{words}: {result.returncode} {error!r}")
    return result.stdout.decode()


def report_of(folder, *words, **options):
    return json.loads(written(folder, *words, "--json", "-", **options))


def check_prompts(folder):
    first = written(folder, "--prompt", PROMPT, "-n", "20")
    expect(first.endswith("\n") and len(first) > 5, f"a text: {first!r}")
    expect(written(folder, "--file", "p.txt", "-n", "20") == first, "--file")
    for words in (["-"], ["--file", "-"]):
        with open(os.path.join(folder, "p.txt"), "rb") as text:
            expect(written(folder, *words, "-n", "20", stdin=text) == first, f"{words}")
    expect(written(folder, "-p", PROMPT, "-n", "20", "--threads", "1") == first, "--threads")
    expect(written(folder, "-p", PROMPT, "-n", "20", "--cache", "f32") == first, "--cache")
    report = report_of(folder, "-p", "", "-n", "3")
    expect([t["token"] for t in report["prompt"]] == ["<bos>"], "an empty prompt is <bos>")
    plain = report_of(folder, "-p", "<bos>", "-n", "1")
    special = report_of(folder, "-p", "<bos>", "-n", "1", "--special")
    expect(len(plain["prompt"]) == 6 and [t["id"] for t in special["prompt"]] == [2, 2], "--special")


def check_json(folder):
    report = report_of(folder, "-p", PROMPT, "-n", "30", "--stats")
    expect(report["text"] + "\n" == written(folder, "-p", PROMPT, "-n", "30"), "the text of the JSON")
    expect((report["schema_version"], report["ending"], report["stop"]) == (1, "length", None), "ending")
    expect(len(report["prompt"]) == len(PROMPT) + 1 and len(report["written"]) == 30, "tokens")
    expect(report["cache"]["tokens"] == len(PROMPT) + 30, "the last token is not read")
    expect(report["sampling"] == {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 0}, "sampling")
    tokens = [t["token"] for t in report["prompt"] + report["written"]]
    for i, token in enumerate(report["written"]):
        attention = token["attention"]
        position = len(PROMPT) + i  # of the token before
        expect(len(attention["layer_entropy"]) == gguf_files.LAYERS, "an entropy for each layer")
        expect(0 <= min(attention["layer_entropy"]) and max(attention["layer_entropy"]) < 5, "entropies")
        weights = [key["weight"] for key in attention["peaked_keys"]]
        expect(weights == sorted(weights, reverse=True) and sum(weights) <= 1.00001, "weights fall")
        for key in attention["peaked_keys"]:
            expect(position - 16 < key["position"] <= position, f"{key} is within the window")
            expect(key["token"] == tokens[key["position"]], f"{key} is that token")
    with tempfile.TemporaryDirectory() as other:
        path = os.path.join(other, "r.json")
        text = written(folder, "-p", PROMPT, "-n", "30", "--json", path)
        with open(path, encoding="utf-8") as file:
            expect(json.load(file)["text"] + "\n" == text, "text and JSON at once")
        expect(os.listdir(other) == ["r.json"], "nothing beside it")


def check_statistics(folder):
    lines = written(folder, "-p", PROMPT, "-n", "5", "--stats").splitlines()
    expect(lines[0].split() == ["token", "entropy", "mean", "peaked", "on"], f"heading: {lines[0]!r}")
    expect(len(lines) == 6, f"a line for each token: {lines}")
    for line in lines[1:]:
        expect(re.match(r'"(\\.|[^"])+" +[▁-█]{2} +\d\.\d\d  [01]\.[01] +(  \d\.\d\d "[^"]*")+', line), f"{line!r}")


def check_segments(folder):
    """Where the attention went: every token's weight is shared out, and the shares are those of the keys."""
    lines = "# parts\n\n0 8 The tide\r\n 20 - the end\n"
    with open(os.path.join(folder, "s.txt"), "w", encoding="utf-8", newline="") as file:
        file.write(lines)
    words = ["-p", PROMPT, "-n", "25", "--stats", "--segments", "s.txt"]
    report = report_of(folder, *words)
    names = [part["name"] for part in report["segments"]]
    expect(names == ["start", "loaded", "prompt", "own text", "The tide", "the end"], f"{names}")
    count = [part["tokens"] for part in report["segments"]]
    expect(count == [1, 0, 12, 25, 8, len(PROMPT) - 20], f"{count}")
    of = [0] + [4 if i < 8 else 5 if i >= 20 else 2 for i in range(len(PROMPT))] + [3] * 25
    for at, token in enumerate(report["written"]):
        attention = token["attention"]
        for shares in [attention["segments"]] + attention["layer_segments"]:
            expect(abs(sum(shares) - 1) < 1e-5 and shares[1] == 0, f"shares add up to 1: {shares}")
            expect(at > 0 or shares[3] == 0, "nothing is written yet")
        means = [sum(layer[i] for layer in attention["layer_segments"]) / gguf_files.LAYERS for i in range(len(names))]
        expect(max(abs(a - b) for a, b in zip(means, attention["segments"])) < 1e-6, "the mean over layers")
        layer = attention["layer_segments"][attention["peaked_layer"]]
        for key in attention["peaked_keys"]:  # what one head gives a key, the mean of its layer has a part of
            expect(layer[of[key["position"]]] >= key["weight"] / gguf_files.HEADS - 1e-5, f"{key} {layer}")
    heading, *rest = written(folder, *words).splitlines()
    expect(heading.split()[:3] == ["token", "entropy", "mean"] and
           re.search("mean  start  The tide  the end  prompt  own text  peaked  on$", heading), f"{heading!r}")
    expect(len(rest) == 25, f"a line for each token: {rest}")
    report_of(folder, "-p", PROMPT, "-n", "3", "--save-cache", "s.kv")
    later = report_of(folder, "-p", " And?", "-n", "4", "--load-cache", "s.kv", "--stats", "--segments", "none")
    expect([part["tokens"] for part in later["segments"]] == [0, len(PROMPT) + 4, 5, 4], f"{later['segments']}")
    for content, sentence in ((b"0 5\n", "line 1 is no segment"), (b"\n5 5 a\n", "line 2 is no segment"),
                              (b"x 5 a\n", "line 1 is no segment"), (b"-1 5 a\n", "line 1 is no segment"),
                              (b"0 99999999999999999999999 a\n", "line 1 is no segment"),
                              (b"0 5 a\n6 7 a\n", "the name in line 2 is taken already"),
                              (b"0 5 prompt\n", "the name in line 1 is taken already"),
                              (b"0 5 a\n4 7 b\n", "line 2 shares bytes with an earlier one"),
                              (b"0 5 a\n4 - b\n", "line 2 shares bytes with an earlier one"),
                              (b"0 38 a\n", "goes from byte 0 on beyond the prompt, which has 37"),
                              (b"37 - a\n", "goes from byte 37 on beyond the prompt, which has 37"),
                              (b"0 5 caf\xe9\n", "the name in line 1 is not UTF-8"), (b"0 5 a\0b\n", "holds a NUL byte"),
                              (b"".join(b"%d %d s%d\n" % (i, i + 1, i) for i in range(29)),
                               "line 29 is one segment too many; there may be 28")):
        with open(os.path.join(folder, "bad.txt"), "wb") as file:
            file.write(content)
        result = run(ATTN, "run", "m.gguf", "-p", PROMPT, "--stats", "--segments", "bad.txt", cwd=folder)
        fault = fault_of_failure(result)
        expect(fault is None and sentence in result.stderr.decode(), f"{content}: {fault} {result.stderr!r}")


def check_sampling(folder):
    words = ["-p", PROMPT, "-n", "40", "--temperature", "1.5"]
    first = written(folder, *words, "--seed", "7")
    expect(written(folder, *words, "--seed", "7") == first, "the same seed")
    expect(written(folder, *words, "--seed", "8") != first, "another seed")
    greedy = written(folder, "-p", PROMPT, "-n", "40")
    expect(written(folder, *words, "--top-k", "1") == greedy, "the best of one")
    expect(written(folder, *words, "--top-p", "1e-9") == greedy, "the smallest share")
    expect(written(folder, "-p", PROMPT, "-n", "40", "-t", "0") == greedy, "temperature 0")


def check_caches(folder):
    words = ["-p", PROMPT * 4, "-n", "40"]
    text = written(folder, *words)
    reports = {cache: report_of(folder, *words, "--cache", cache) for cache in ("f32", "f16", "bf16", "int8", "int4")}
    for cache, report in reports.items():
        expect(report["cache"]["type"] == cache, f"{cache} is told")
        expect(cache in ("int8", "int4") or report["text"] + "\n" == text, f"{cache}: {report['text']!r}")
    sizes = [report["cache"]["bytes"] for report in reports.values()]
    expect(sizes[0] == 2 * sizes[1] == 2 * sizes[2] and sizes[2] > sizes[3] > sizes[4], f"sizes {sizes}")
    # What one run saves, another goes on behind: as if it had all been one prompt.
    first = report_of(folder, "-p", PROMPT, "-n", "1", "--save-cache", "c.kv")
    expect(first["cache"]["tokens"] == len(PROMPT) + 2, "the last token is saved too")
    second = report_of(folder, "-p", " And?", "-n", "20", "--load-cache", "c.kv", "--stats")
    whole = report_of(folder, "-p", PROMPT + first["text"] + " And?", "-n", "20", "--stats")
    expect(second["text"] == whole["text"], f"{second['text']!r} and {whole['text']!r}")
    expect((second["loaded_tokens"], len(second["prompt"])) == (len(PROMPT) + 2, 5), "what was loaded")
    for a, b in zip(second["written"], whole["written"]):
        for x, y in zip(a["attention"]["peaked_keys"], b["attention"]["peaked_keys"]):
            loaded = x["position"] < second["loaded_tokens"]
            expect(x["position"] == y["position"] and x["token"] == (None if loaded else y["token"]), f"{x} {y}")
    with open(os.path.join(folder, "c.kv"), "rb") as file:
        saved = file.read()
    for name, content in (("cut.kv", saved[:-9]), ("bad.kv", saved[:-9] + b"x" + saved[-8:]), ("no.kv", b"")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    for words, sentence in ((["m.gguf", "--load-cache", "none.kv"], "none.kv"),
                            (["m.gguf", "--load-cache", "cut.kv"], "cut.kv"),
                            (["m.gguf", "--load-cache", "bad.kv"], "bad.kv"),
                            (["m.gguf", "--load-cache", "no.kv"], "no.kv"),
                            (["m.gguf", "--load-cache", "c.kv", "--cache", "f16"], "c.kv"),
                            (["other.gguf", "--load-cache", "c.kv"], "c.kv"),
                            (["m.gguf", "--load-cache", "c.kv", "-p", "y" * 153],
                             "c.kv holds 39 tokens and the prompt has 153; gemma3 reads at most 191")):
        words = words if "-p" in words else words + ["-p", "x"]
        result = run(ATTN, "run", *words, cwd=folder)
        fault = fault_of_failure(result)
        expect(fault is None and sentence in result.stderr.decode(), f"{words}: {fault} {result.stderr!r}")
    # Where it cannot be saved is told before anything is written.
    for bad in ("nowhere/c.kv", ".", "", "/dev/null"):
        result = run(ATTN, "run", "m.gguf", "-p", "x", "-n", "2", "--save-cache", bad, cwd=folder)
        fault = fault_of_failure(result)
        expect(fault is None and not result.stdout and bad in result.stderr.decode(), f"{bad}: {fault} {result}")
    result = run(ATTN, "run", "m.gguf", "-p", "x", "--save-cache", "c.kv", "--load-cache", "none.kv", cwd=folder)
    with open(os.path.join(folder, "c.kv"), "rb") as file:
        expect(result.returncode == 1 and file.read() == saved, "a run that fails leaves the old cache")
    expect(not [name for name in os.listdir(folder) if name.endswith(".part")], "nothing beside it")


def check_endings(folder):
    words = ["-p", PROMPT, "-n", "60", "--temperature", "40", "--seed", "3"]  # of all sorts of characters
    text = report_of(folder, *words)["text"]
    pairs = [m.group(1) for m in re.finditer("(?=([!-~][!-~]))", text)]
    expect(len(pairs) > 3, f"characters to stop at: {text!r}")
    for stop in (pairs[0], pairs[1][0], pairs[-1]):
        report = report_of(folder, *words, "--stop", "never", "--stop", stop)
        expect(report["text"] == text[:text.index(stop)], f"stops in front of {stop!r}: {report['text']!r}")
        expect((report["ending"], report["stop"]) == ("stop", stop), f"{report['ending']} {report['stop']}")
    full = report_of(folder, "-p", "x" * (gguf_files.CONTEXT - 5), "-n", "40")
    expect(full["ending"] == "context" and len(full["written"]) == 4, "the context is full")
    # The second token that is written becomes the one that ends texts.
    second = report_of(folder, "-p", PROMPT, "-n", "40")["written"]
    ids = [t["id"] for t in second]
    at = next(i for i in range(1, len(ids)) if ids[i] not in ids[:i])
    with open(os.path.join(folder, "ends.gguf"), "wb") as file:
        file.write(changed_model("tokenizer.ggml.eos_token_id", ids[at]))
    result = run(ATTN, "run", "ends.gguf", "-p", PROMPT, "-n", "40", "--json", "-", cwd=folder)
    report = json.loads(result.stdout)
    expect(report["ending"] == "end" and [t["id"] for t in report["written"]] == ids[:at], "the model ended it")


def check_failures(folder):
    for words, sentence in (
            (["--file", "none.txt"], "none.txt: cannot be opened: No such file or directory"),
            (["--file", "."], ".: cannot be read: Is a directory"),
            (["--file", "latin.txt"], "latin.txt: the text is not UTF-8: byte 0xE9 at offset 3 does not fit"),
            (["-p", "caf\udce9"], "--prompt: the text is not UTF-8: byte 0xE9 at offset 3 does not fit"),
            (["-p", "x" * 191], "--prompt: the text has 192 tokens; gemma3 reads at most 191 with room for one more"),
            (["-p", "x", "--json", "nowhere/r.json"], "nowhere/r.json: cannot be written"),
            (["-p", "x", "--json", "."], ".:")):
        result = run(ATTN, "run", "m.gguf", *words, cwd=folder)
        fault = fault_of_failure(result)
        expect(fault is None, f"{words}: {fault}")
        expect(sentence in result.stderr.decode(), f"{words}: {result.stderr!r}")
    for words, sentence in (
            ([], "which prompt? give --prompt TEXT, --file FILE, or -"),
            (["-p", "x", "-"], "--prompt, --file and - are each a prompt; it may be one of them"),
            (["-p", "x", "--file", "p.txt"], "it may be one of them"),
            (["-p", "x", "extra"], "'extra' is one argument too many"),
            (["-p", "x", "-n", "0"], "--tokens is '0'; it may be a whole number from 1 to 2147483647"),
            (["-p", "x", "-n", "-1"], "--tokens is '-1'; it may be a whole number from 1 to 2147483647"),
            (["-p", "x", "-n", "many"], "--tokens is 'many'; it may be a whole number from 1 to 2147483647"),
            (["-p", "x", "-n", "1.5"], "--tokens is '1.5'; it may be a whole number"),
            (["-p", "x", "-n", " 5"], "--tokens is ' 5'; it may be a whole number"),
            (["-p", "x", "-n", ""], "--tokens is ''; it may be a whole number"),
            (["-p", "x", "-n", "2147483648"], "--tokens is '2147483648'; it may be a whole number"),
            (["-p", "x", "-t", "1", "--seed", "9223372036854775808"], "--seed is '9223372036854775808'; it may be"),
            (["-p", "x", "-t", "hot\x1b"], "--temperature is 'hot\\x1b'; it may be a number from 0 to 1000"),
            (["-p", "x", "-t", "1", "--top-p", "half"], "--top-p is 'half'; it may be a number from 0 to 1, but not 0"),
            (["-p", "x", "--threads", "0"], "--threads is '0'; it may be a whole number from 1 to 1024"),
            (["-p", "x", "--threads", "1025"], "--threads is '1025'; it may be a whole number from 1 to 1024"),
            (["-p", "x", "--temperature", "-1"], "--temperature is '-1'; it may be a number from 0 to 1000"),
            (["-p", "x", "--temperature", "nan"], "--temperature is 'nan'; it may be a number from 0 to 1000"),
            (["-p", "x", "-t", "1", "--top-k", "-1"],
             "--top-k is '-1'; it may be a whole number from 0 to 2147483647; 0 is all"),
            (["-p", "x", "-t", "1", "--top-p", "0"], "--top-p is '0'; it may be a number from 0 to 1, but not 0"),
            (["-p", "x", "-t", "1", "--top-p", "1.1"], "--top-p is '1.1'; it may be a number from 0 to 1, but not 0"),
            (["-p", "x", "-t", "1", "--seed", "-1"],
             "--seed is '-1'; it may be a whole number from 0 to 9223372036854775807"),
            (["-p", "x", "--top-k", "3"], "--top-k needs --temperature above 0"),
            (["-p", "x", "--top-p", "0.5", "-t", "0"], "--top-p needs --temperature above 0"),
            (["-p", "x", "--seed", "3"], "--seed needs --temperature above 0"),
            (["-p", "x", "--stop", ""], "--stop is empty; it may be any text"),
            (["-p", "x", "--cache", "f12"], "--cache is 'f12'; it may be "),
            (["-p", "x", "--save-cache", "-"], "--save-cache is -; it may be the name of a file"),
            (["-p", "x", "--load-cache", "-"], "--load-cache is -; it may be the name of a file"),
            (["-p", "x", "--segments", "s.txt"], "--segments needs --stats"),
            (["-p", "x", "--stats", "--segments", "-"], "--segments is -; it may be the name of a file"),
            (["-p", "x", "--bogus"], "--bogus")):
        result = run(ATTN, "run", "m.gguf", *words, cwd=folder)
        fault = fault_of_failure(result, 2)
        expect(fault is None, f"{words}: {fault}")
        expect(sentence in result.stderr.decode(), f"{words}: {result.stderr!r}")
    for words in (["none.gguf", "-p", "x"], ["t.txt", "-p", "x"]):
        result = run(ATTN, "run", *words, cwd=folder)
        expect(fault_of_failure(result) is None and words[0] in result.stderr.decode(), f"{result.stderr!r}")
    expect(fault_of_failure(run(ATTN, "run", cwd=folder), 2) is None, "no model")
    expect(b"Usage: attn run" in run(ATTN, "run", "--help").stdout, "--help")


def check_full_output(folder):
    for words in ([], ["--stats"], ["--json", "-"]):
        with open("/dev/full", "wb") as full:
            result = run(ATTN, "run", "m.gguf", "-p", PROMPT, "-n", "100", *words, cwd=folder, stdout=full)
        expect(result.returncode == 1, f"{words}: exit status {result.returncode}")
        expect(re.fullmatch(rb"attn[^\n]*No space left on device\n", result.stderr), f"{words}: {result.stderr!r}")


def check_interrupt(folder):
    """Ctrl-C in the middle of the text: what is written stays, and the timings are told."""
    process = subprocess.Popen([ATTN, "run", "big.gguf", "-p", PROMPT, "-n", "29000", "--save-cache", "i.kv",
                                "--json", "i.json"], cwd=folder, bufsize=0, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    first = process.stdout.read(3)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=250)
    expect(process.returncode == 130, f"Ctrl-C: exit status {process.returncode}: {error!r}")
    expect(TIMINGS.fullmatch(error.decode()) and b"(interrupted)" in error, f"Ctrl-C: {error!r}")
    expect((first + output).endswith(b"\n"), "the line is ended")
    with open(os.path.join(folder, "i.json"), encoding="utf-8") as file:
        report = json.load(file)
    expect((report["ending"], report["text"] + "\n") == ("interrupted", (first + output).decode()), "its JSON")
    expect(report["cache"]["tokens"] == len(report["prompt"]) + len(report["written"]), "all of it is saved")
    process_of_next = run(ATTN, "run", "big.gguf", "-p", "x", "-n", "2", "--load-cache", "i.kv", cwd=folder)
    expect(process_of_next.returncode == 0, f"and can be gone on behind: {process_of_next.stderr!r}")
    process = subprocess.Popen([ATTN, "run", "big.gguf", "-f", "big.txt"], cwd=folder, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=250)
    if process.returncode not in (-signal.SIGINT, 0):  # before it looked, or after all
        expect(process.returncode == 130, f"Ctrl-C while reading: {process.returncode}")
        expect(error == b"attn run: interrupted\n" and not output or TIMINGS.fullmatch(error.decode()),
               f"Ctrl-C while reading: {error!r}")


def check_terminal(folder):
    """What a model writes must not command a terminal."""
    try:
        own, other = os.openpty()
    except OSError as error:
        print("skipped: no pseudo-terminal can be had here:", error)
        return
    process = subprocess.Popen([ATTN, "run", "m.gguf", "-p", PROMPT, "-n", "120", "-t", "40", "--seed", "1"],
                               cwd=folder, stdin=subprocess.DEVNULL, stdout=other, stderr=subprocess.DEVNULL)
    os.close(other)
    shown = b""
    while True:
        try:
            piece = os.read(own, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(own)
    expect(process.wait(timeout=250) == 0, "a run on a terminal")
    expect(re.search(rb"\\x[01][0-9a-f]", shown), "control characters were written, and spelled out")
    expect(not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", shown), f"none reached the terminal: {shown!r}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = {"m.gguf": gguf_files.tiny_model(), "big.gguf": changed_model("gemma3.context_length", 30000),
                 "other.gguf": changed_model("gemma3.rope.freq_base", 2e6), "p.txt": PROMPT.encode(), "t.txt": b"no model", "none": b"",
                 "latin.txt": b"caf\xe9", "big.txt": b"abcdefghij " * 2500}
        for name, content in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        for check in (check_prompts, check_json, check_statistics, check_segments, check_sampling, check_caches, check_endings,
                      check_failures, check_full_output, check_interrupt, check_terminal):
            check(folder)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
