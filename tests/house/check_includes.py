"""Who may include whom: the rooms of the library go strictly downhill, and everything outside src/ is
built on the public headers alone. The rules are those of docs/architecture.md.

    check_includes.py TOP
"""

import os
import re
import sys

import house

# A room may include rooms of smaller numbers and itself; not its neighbours of the same number.
LIBRARY = {
    "base": 0,
    "cpu": 1,
    "exec": 2, "mask": 2, "kernels": 2,
    "rotary": 3,
    "kv": 4,
    "plan": 5,
    "attention": 6, "linear": 6, "telemetry": 6,
    "layer": 7, "api": 7,
}
COMMAND = {
    "base": 0,
    "files": 1,
    "tokenizer": 2,
    "model": 3,
    "inspect": 4, "bench": 4, "run": 4,
    "": 5,  # tools/attn/*.c: main and the subcommands
}

INTRINSICS = re.compile(r"^(\w*intrin|arm_\w+|cpuid|riscv_vector|altivec)\.h$")
# cpuid.h asks what the machine can do; it is no instruction of an algorithm.
# Bytes become floats by shuffles that GCC 12 does not find by itself.
STORED_WEIGHTS = "tools/attn/model/few_rows_types.h"
INTRINSICS_ALLOWED = {"kernels": lambda name: True, "cpu": lambda name: name == "cpuid.h"}

# What the library may take from the system: C, POSIX threads and OpenMP. libattn needs no other library.
STANDARD = set("""assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal
    stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time
    wchar pthread sched unistd omp sys/auxv sys/types sys/sysinfo sys/mman sys/stat fcntl dirent
    asm/hwcap""".split())


def room_of(path):
    """(side, room) of a file: side is the part of the tree that has rules of its own."""
    parts = path.split(os.sep)
    if parts[0] == "src":
        return "src", parts[1] if len(parts) > 2 else ""
    if parts[:2] == ["tools", "attn"]:
        return "tools/attn", parts[2] if len(parts) > 3 else ""
    return parts[0], ""


def resolve(top, path, name):
    """The file of this tree that `#include "name"` or <name> in `path` means, or None."""
    folders = [os.path.dirname(path), "include"]
    side = room_of(path)[0]
    folders += {"src": ["src"], "tools/attn": ["tools/attn"], "ref": ["ref"], "bench": ["bench"]}.get(side, [])
    for folder in folders:
        candidate = os.path.normpath(os.path.join(folder, name))
        if os.path.isfile(os.path.join(top, candidate)):
            return candidate
    return None


def is_generated(top, path, name):
    """Whether the build makes `name` for the folder of `path`: its CMakeLists.txt says so."""
    lists = os.path.join(os.path.dirname(path), "CMakeLists.txt")
    return os.path.isfile(os.path.join(top, lists)) and f"OUTPUT {name}" in house.read(top, lists)


def fault_of(top, path, name, quoted):
    """Why `path` may not include `name`, or None."""
    side, room = room_of(path)
    if side in ("tests", "fuzz"):
        return None  # tests look into every room
    target = resolve(top, path, name)
    if target is None:
        if quoted and is_generated(top, path, name):
            return None
        if quoted:
            return "no such file of this tree that it may see"
        if side == "src" and INTRINSICS.match(name):
            allowed = INTRINSICS_ALLOWED.get(room)
            if not (allowed and allowed(name)):
                return "intrinsics live in src/kernels alone"
        elif INTRINSICS.match(name) and path != STORED_WEIGHTS:
            return "intrinsics live in src/kernels and few_rows_types.h alone"
        elif side in ("src", "include", "ref") and name[:-2] not in STANDARD:
            return "the library uses C, POSIX threads and OpenMP alone"
        return None

    target_side, target_room = room_of(target)
    if target_side == "include":
        return None
    if side == "include":
        return "a public header includes public headers alone"
    if side == "src":
        if target_side != "src":
            return "the library includes its own rooms alone"
        if room not in LIBRARY or target_room not in LIBRARY:
            return "no such room: " + (room if room not in LIBRARY else target_room)
        if target_room != room and LIBRARY[target_room] >= LIBRARY[room]:
            return f"{room} may not look {'up' if LIBRARY[target_room] > LIBRARY[room] else 'aside'} to {target_room}"
        return None
    if side == "tools/attn":
        if target_side != side:
            return "the command sees the public headers and its own rooms alone"
        if room not in COMMAND or target_room not in COMMAND:
            return "no such room: " + (room if room not in COMMAND else target_room)
        if target_room != room and COMMAND[target_room] >= COMMAND[room]:
            return f"{room or 'main'} may not look up or aside to {target_room or 'main'}"
        return None
    if target_side != side:
        return f"{side}/ sees the public headers and its own files alone"
    return None


def check(top):
    faults = []
    count = 0
    for path in house.files(top, (".c", ".h", ".inc", ".def", ".cpp")):
        for number, line in enumerate(house.without_comments(house.read(top, path)).split("\n"), 1):
            match = re.match(r'\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")', line)
            if match:
                count += 1
                name = match.group(1) or match.group(2)
                fault = fault_of(top, path, name, bool(match.group(2)))
                if fault:
                    faults.append(f"{path}:{number}: includes {name}: {fault}")
    return faults, f"{count} includes, all downhill"


if __name__ == "__main__":
    house.finish(*check(sys.argv[1]))
