"""What the checks of the house share: which files there are, and how a fault is told.

A check is a script with one argument, the top of the tree to look at, so that planted_faults.py can
show it a tree with a fault in it. It prints one line for each fault and exits 1, or exits 0.
"""

import os
import re
import subprocess
import sys

# Folders of sources; everything else at the top is not ours or is built.
FOLDERS = ["include", "src", "ref", "tools", "tests", "bench", "fuzz", "examples", "cmake", "scripts", "docs", ".ci"]

SKIPPED = 77  # exit status that ctest is told to read as "skipped"


def files(top, suffixes):
    """Paths below `top`, relative to it and sorted, of source files that end in one of `suffixes`."""
    found = []
    for folder in FOLDERS:
        for where, folders, names in os.walk(os.path.join(top, folder)):
            folders[:] = [name for name in folders if name not in ("__pycache__", "seeds", "golden")]
            for name in names:
                if name.endswith(suffixes):
                    found.append(os.path.relpath(os.path.join(where, name), top))
    return sorted(found)


def read(top, path):
    with open(os.path.join(top, path), encoding="utf-8") as file:
        return file.read()


def without_comments(text):
    """C text with its comments blanked; newlines stay, so that line numbers do."""
    def blank(match):
        return match.group(0) if match.group(0)[0] in "\"'" else re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def public_headers(top):
    folder = os.path.join(top, "include", "attn")
    return sorted(name for name in os.listdir(folder) if name.endswith(".h"))


def declared_functions(top):
    """The functions that the public headers declare ATTN_API."""
    names = set()
    for header in public_headers(top):
        text = without_comments(read(top, os.path.join("include", "attn", header)))
        for declaration in re.findall(r"^ATTN_API\b([^;{]*?)\(", text, flags=re.M):
            names.add(re.findall(r"\w+", declaration)[-1])
    return names


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def finish(faults, fine):
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    print(fine)
    sys.exit(0)
