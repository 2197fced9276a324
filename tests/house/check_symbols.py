"""The libraries show what the public headers declare, and no more: libattn.so exports exactly the
functions declared ATTN_API, every global symbol of libattn.a begins with attn_, and libattn.so needs
nothing but the C library and the thread library.

    check_symbols.py TOP libattn.so libattn.a
"""

import re
import sys

import house

NEEDED = re.compile(r"^(libc|libm|libpthread|libgomp|libomp|ld-linux-[\w-]+)\.so")


def defined(*options):
    result = house.run("nm", *options)
    if result.returncode != 0:
        house.finish([result.stdout.strip()], "")
    return {parts[2] for parts in map(str.split, result.stdout.split("\n")) if len(parts) == 3}


def check(top, shared, static):
    faults = []
    declared = house.declared_functions(top)
    exported = defined("-D", "--defined-only", shared)
    for name in sorted(declared - exported):
        faults.append(f"{name} is declared in a public header, but libattn.so does not export it")
    for name in sorted(exported - declared):
        faults.append(f"{name} is exported by libattn.so, but no public header declares it")
    for name in sorted(defined("-g", "--defined-only", static)):
        if not name.startswith("attn_"):
            faults.append(f"{name} is a global symbol of libattn.a and does not begin with attn_")
    dynamic = house.run("readelf", "-d", shared).stdout
    for library in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic):
        if not NEEDED.match(library):
            faults.append(f"libattn.so needs {library}")
    if not re.search(r"\(SONAME\).*\[libattn\.so\.\d+\]", dynamic):
        faults.append("libattn.so has no soname libattn.so.N")
    return faults, f"{len(exported)} functions exported, as declared"


if __name__ == "__main__":
    house.finish(*check(*sys.argv[1:4]))
