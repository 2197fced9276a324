"""README shows the program that is built and run as examples/forward.c, word for word; its two commands
come first; and every file that a page of the documentation links to is there.

    check_readme.py TOP
"""

import os
import re
import sys

import house


def check(top):
    faults = []
    readme = house.read(top, "README.md")
    shown = re.findall(r"```c\n(.*?)```", readme, flags=re.S)
    if house.read(top, "examples/forward.c") not in shown:
        faults.append("README.md: its C program is not examples/forward.c")
    commands = re.findall(r"^    (\S.*?)(?:\s+#.*)?$", readme, flags=re.M)
    if commands[:2] != ["make demo", "make check"]:
        faults.append(f"README.md: the first commands are {commands[:2]}, not make demo and make check")
    pages = ["README.md", "CHANGELOG.md"] + house.files(top, (".md",))
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]+)", house.read(top, page)):
            if "://" not in link and not os.path.exists(os.path.join(top, os.path.dirname(page), link)):
                faults.append(f"{page}: links to {link}, which is not there")
    return faults, f"{len(pages)} pages"


if __name__ == "__main__":
    house.finish(*check(sys.argv[1]))
