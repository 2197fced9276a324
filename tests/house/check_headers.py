"""Each public header compiles alone, and twice, as C11 and as C++17, without a warning.

    check_headers.py TOP C-COMPILER C++-COMPILER
"""

import os
import sys
import tempfile

import house

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wundef", "-Werror"]


def check(top, c_compiler, cxx_compiler):
    faults = []
    headers = house.public_headers(top)
    languages = [("C11", ".c", [c_compiler, "-std=c11", "-Wstrict-prototypes"]),
                 ("C++17", ".cpp", [cxx_compiler, "-std=c++17"])]
    with tempfile.TemporaryDirectory() as folder:
        for header in headers:
            for language, suffix, compiler in languages:
                source = os.path.join(folder, "one" + suffix)
                with open(source, "w", encoding="utf-8") as file:
                    file.write(f"#include <attn/{header}>\n#include <attn/{header}>\n"
                               "int attn_header_compiles;\n")
                result = house.run(*compiler, *WARNINGS, "-fsyntax-only", "-I", os.path.join(top, "include"), source)
                if result.returncode != 0:
                    faults.append(f"attn/{header} does not compile alone as {language} with {compiler[0]}:\n{result.stdout}")
    return faults, f"{len(headers)} headers compile alone"


if __name__ == "__main__":
    house.finish(*check(*sys.argv[1:4]))
