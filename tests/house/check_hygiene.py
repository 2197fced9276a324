"""Small rules for every text file: no file is two files (600 lines), nothing is promised in a comment,
no trailing blanks or tabs, a newline at the end, and every C file begins by saying what it is.

    check_hygiene.py TOP
"""

import re
import sys

import house

LONGEST = 600
# Spelled so that this file does not find itself.
PROMISES = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
TEXT = (".c", ".h", ".inc", ".def", ".py", ".cmake", ".txt", ".md", ".sh")


def check(top):
    faults = []
    paths = house.files(top, TEXT)
    for path in paths:
        if path.startswith("examples/texts/"):
            continue  # other people's prose
        text = house.read(top, path)
        lines = text.split("\n")
        is_code = path.endswith((".c", ".h", ".inc", ".py"))
        if is_code and len(lines) > LONGEST:
            faults.append(f"{path}: {len(lines)} lines; at most {LONGEST}")
        if text and not text.endswith("\n"):
            faults.append(f"{path}: no newline at the end")
        if path.endswith((".c", ".h")) and not text.startswith("/*"):
            faults.append(f"{path}:1: does not begin with a comment that says what it is")
        for number, line in enumerate(lines, 1):
            if PROMISES.search(line):
                faults.append(f"{path}:{number}: a promise in a comment: {line.strip()}")
            if line.rstrip() != line and not path.endswith(".md"):
                faults.append(f"{path}:{number}: blanks at the end of the line")
            if "\t" in line and is_code:
                faults.append(f"{path}:{number}: a tab")
    return faults, f"{len(paths)} files"


if __name__ == "__main__":
    house.finish(*check(sys.argv[1]))
