"""A text of at least so many bytes out of this repository: its documents, examples and headers, in a
fixed order, again from the start where they do not suffice. No network; the same tree gives the same text.

    make_text.py BYTES > text.txt
"""

import glob
import os
import sys

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
PARTS = ("examples/texts/*", "README.md", "docs/*.md", "include/attn/*.h", "examples/*.c")


def make_text(size):
    paths = [path for pattern in PARTS for path in sorted(glob.glob(os.path.join(TOP, pattern)))
             if os.path.isfile(path)]
    if not paths:
        sys.exit("make_text: no documents in " + TOP)
    pieces, length = [], 0
    while length < size:
        for path in paths:
            with open(path, encoding="utf-8") as file:
                piece = file.read() + "\n"
            pieces.append(piece)
            length += len(piece.encode())
    return "".join(pieces)


if __name__ == "__main__":
    sys.stdout.write(make_text(int(sys.argv[1])))
