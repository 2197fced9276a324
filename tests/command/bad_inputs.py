"""Every bad input, and what it printed.

    bad_inputs.py ATTN --calls BAD_CALLS [--write docs/bad-inputs.md]

Each case runs the command in a folder of its own and must end with the exit status that is expected, one
sentence on standard error, nothing on standard output, and the folder as it was: no file more, none
changed. --calls is the program of bad_calls.c, which does the same for the library's functions. --write
puts all of it into a document.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import attn_command
import bad_files

SANITIZER = re.compile(rb"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:")


class Outcome:
    def __init__(self, section, what, how, status, printed, fault):
        self.section, self.what, self.how = section, what, how
        self.status, self.printed, self.fault = status, printed, fault


def snapshot(folder):
    """Every path below `folder` with the content of its regular files."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(root, name), folder)] = None
        for name in files:
            path = os.path.join(root, name)
            content = None
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, folder)] = content
    return found


def difference(before, after):
    if before == after:
        return None
    names = [name for name in sorted(set(before) | set(after)) if before.get(name, 0) != after.get(name, 0)]
    return "the folder is not as it was: " + ", ".join(names)


def clean(printed):
    text = printed.decode("utf-8", "replace").strip()
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", text)


def run_case(command, section, what, files, arguments, status):
    """Make `files` {name: bytes, or None for a folder}, run, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = os.path.join(folder, name)
            if content is None:
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        before = snapshot(folder)
        redirected = arguments[-1] == ">/dev/full"
        words = arguments[:-1] if redirected else arguments
        if redirected:
            with open("/dev/full", "wb") as full:
                result = attn_command.run(command, *words, cwd=folder, stdout=full)
            result.stdout = b""
        else:
            result = attn_command.run(command, *words, cwd=folder)
        fault = attn_command.fault_of_failure(result, status) or difference(before, snapshot(folder))
    how = "attn " + " ".join(arguments)
    return Outcome(section, what, how, f"exit {result.returncode}", clean(result.stderr), fault)


# ---- Ctrl-C ----

def interrupt(command, what, arguments, files, wait_for):
    """Start, wait until `wait_for`(folder) says that a report is being written, send SIGINT."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        before = snapshot(folder)
        process = subprocess.Popen([command, *arguments], cwd=folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 200
        while not wait_for(folder) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        started = wait_for(folder)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=200)
        fault = difference(before, snapshot(folder))
    if not fault and not started:
        fault = "it ended before it wrote"
    if not fault and process.returncode not in (-signal.SIGINT, 128 + signal.SIGINT):
        fault = f"exit status {process.returncode}, not that of an interrupted program: {error!r}"
    if not fault and (SANITIZER.search(error) or (process.returncode > 0 and error.count(b"\n") != 1)):
        fault = f"not one sentence: {error!r}"
    status = "SIGINT" if process.returncode < 0 else f"exit {process.returncode}"
    how = "attn " + " ".join(arguments) + ", then Ctrl-C"
    return Outcome("Interrupted", what, how, status, clean(error), fault)


def has_part(folder):
    return any(name.endswith(".part") for name in os.listdir(folder))


# ---- the library ----

def run_calls(program):
    outcomes = []
    for arguments, env in (([], {}), (["cpu"], {"ATTN_CPU": "abacus"})):
        result = attn_command.run(program, *arguments, env=env)
        fault = None
        if result.returncode != 0 or SANITIZER.search(result.stderr):
            fault = f"exit status {result.returncode}: {result.stderr[-2000:]!r}"
        for line in result.stdout.decode().splitlines():
            what, status, sentence = line.split("\t")
            wrong = "not refused as it should be" if "WRONG" in status else fault
            outcomes.append(Outcome("Calls of the library", what, "", status, clean(sentence.encode()), wrong))
        if not result.stdout:
            outcomes.append(Outcome("Calls of the library", "all", "", "", "", fault or "nothing was printed"))
    return outcomes


# ---- the document ----

def cell(text):
    return text.replace("|", "\\|")


def write_document(path, outcomes):
    lines = [
        "# Bad inputs, and what each one printed",
        "",
        "Made by `python3 tests/command/bad_inputs.py build/attn --calls build/tests/command/bad_calls --write",
        "docs/bad-inputs.md`; `make check` runs the same cases in the release and the sanitized build and fails",
        "unless each ends with its status, exactly one sentence on standard error, nothing on standard output,",
        "and every file as it was.",
    ]
    section = None
    for outcome in outcomes:
        calls = not outcome.how
        if outcome.section != section:
            section = outcome.section
            lines += ["", f"## {section}", ""]
            lines += ["| input | status | what it said |" if calls else "| input | command | ends with | printed |",
                      "|---|---|---|" if calls else "|---|---|---|---|"]
        middle = "" if calls else f" `{cell(outcome.how)}` |"
        printed = f"`{cell(outcome.printed)}`" if outcome.printed else "nothing"
        lines.append(f"| {cell(outcome.what)} |{middle} {outcome.status} | {printed} |")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command")
    parser.add_argument("--calls", required=True)
    parser.add_argument("--write")
    parser.add_argument("--only", help="cases whose description holds this")
    options = parser.parse_args()
    command, calls = os.path.abspath(options.command), os.path.abspath(options.calls)

    outcomes = []
    for case in bad_files.cases():
        if not options.only or options.only in case[1]:
            outcomes.append(run_case(command, *case))
    if not options.only:
        for case in bad_files.interrupted_cases():
            outcomes.append(interrupt(command, *case, has_part))
        outcomes += run_calls(calls)
    faults = [outcome for outcome in outcomes if outcome.fault]
    for outcome in faults:
        print(f"{outcome.section}: {outcome.what}: {outcome.how}\n    {outcome.fault}")
    print(f"{len(outcomes)} bad inputs, {len(faults)} not answered as they should be")
    if options.write and not faults:
        write_document(options.write, outcomes)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
