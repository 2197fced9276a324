"""Every C file is as clang-format 14 writes it (.clang-format). Other versions of clang-format differ in
details, so the check is skipped, and says so, where version 14 is not there.

    check_format.py [--fix] TOP
"""

import re
import shutil
import sys

import house


def formatter():
    for name in ("clang-format-14", "clang-format"):
        if shutil.which(name) and re.search(r"version 14\.", house.run(name, "--version").stdout):
            return name
    return None


def main():
    fix = "--fix" in sys.argv
    top = sys.argv[-1]
    program = formatter()
    if not program:
        print("format: skipped, clang-format 14 is not here")
        sys.exit(house.SKIPPED)
    paths = house.files(top, (".c", ".h", ".inc", ".cpp"))
    if not paths:
        house.finish([], "no C files")
    if fix:
        result = house.run(program, "-i", *paths, cwd=top)
    else:
        result = house.run(program, "--dry-run", "--Werror", "--ferror-limit=1", *paths, cwd=top)
    faults = sorted(set(re.findall(r"^([^:\s]+:\d+):\d+: error", result.stdout, flags=re.M)))
    if result.returncode != 0 and not faults:
        faults = [result.stdout.strip() or f"{program} failed"]
    house.finish([f"{fault}: not as clang-format writes it (make format)" if ":" in fault else fault for fault in faults],
                 f"{len(paths)} files formatted")


if __name__ == "__main__":
    main()
