"""The checks find what they look for: each is shown a small tree without a fault, which it must pass, and
the same tree with one fault, which it must refuse with a line that names the place.

    planted_faults.py C-COMPILER C++-COMPILER
"""

import os
import sys
import tempfile
import unittest

import house

HERE = os.path.dirname(os.path.abspath(__file__))
C_COMPILER, CXX_COMPILER = "cc", "c++"

HEADER = """/* A header. */
#ifndef ATTN_ATTN_H
#define ATTN_ATTN_H

#define ATTN_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* ATTN_API int attn_in_a_comment(void); */
ATTN_API int attn_one(void);
ATTN_API const char *
attn_two(int number, int other);

#ifdef __cplusplus
}
#endif

#endif
"""

SOUND = {
    "include/attn/attn.h": HEADER,
    "src/base/sizes.h": "/* Sizes. */\n",
    "src/kernels/simd.h": "/* Vectors. */\n#include <immintrin.h>\n",
    "src/kernels/body.c": '/* A kernel. */\n#include "base/sizes.h"\n#include "simd.h"\n',
    "src/exec/pool.c": "/* A pool. */\n#include <pthread.h>\n",
    "src/mask/mask.h": "/* Masks. */\n",
    "src/plan/plan.h": '/* Plans. */\n#include "kernels/simd.h"\n#include <attn/attn.h>\n',
    "src/api/api.c": '/* Entry points. */\n#include "plan/plan.h"\n',
    "ref/forward.c": "/* Plain loops. */\n#include <attn/attn.h>\n#include <math.h>\n",
    "tools/attn/base/text.h": "/* Text. */\n",
    "tools/attn/model/model.h": '/* Models. */\n#include "base/text.h"\n#include <jansson.h>\n',
    "tests/any/any.c": '/* A test. */\n#include "plan/plan.h"\n',
}


def grow(top, files):
    for path, text in files.items():
        whole = os.path.join(top, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "w", encoding="utf-8") as file:
            file.write(text)


class PlantedFaults(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = folder.name
        grow(self.top, SOUND)

    def check(self, name, *arguments):
        return house.run(sys.executable, "-B", os.path.join(HERE, f"check_{name}.py"), self.top, *arguments)

    def passes(self, name, *arguments):
        result = self.check(name, *arguments)
        self.assertEqual(result.returncode, 0, result.stdout)

    def refuses(self, name, told, *arguments):
        result = self.check(name, *arguments)
        self.assertEqual(result.returncode, 1, f"check_{name} did not see it: {result.stdout}")
        self.assertIn(told, result.stdout)

    def plant(self, path, text):
        grow(self.top, {path: text})

    def test_includes(self):
        self.passes("includes")
        for path, line, told in [
            ("src/base/up.c", '#include "plan/plan.h"', "may not look up"),
            ("src/kernels/aside.c", '#include "mask/mask.h"', "may not look aside"),
            ("src/plan/path.c", '#  include "../api/hidden.h"', "no such file"),
            ("src/plan/intrinsics.c", "#include <immintrin.h>", "intrinsics"),
            ("src/exec/cpuid.c", "#include <cpuid.h>", "intrinsics"),
            ("src/attention/json.c", "#include <jansson.h>", "alone"),
            ("src/odd/room.c", '#include "base/sizes.h"', "no such room"),
            ("ref/peek.c", '#include "../src/plan/plan.h"', "public headers"),
            ("ref/shortcut.c", '#include "plan/plan.h"', "no such file"),
            ("tools/attn/base/up.c", '#include "model/model.h"', "may not look up"),
            ("tools/attn/model/peek.c", '#include "../../../src/plan/plan.h"', "public headers"),
            ("examples/peek.c", '#include "../src/base/sizes.h"', "public headers"),
            ("bench/fast.c", "#include <immintrin.h>", "intrinsics"),
            ("include/attn/leak.h", '#include "../../src/base/sizes.h"', "public"),
        ]:
            with self.subTest(path):
                self.plant(path, "/* A fault. */\n" + line + "\n")
                self.refuses("includes", f"{path}:2:")
                self.refuses("includes", told)
                os.remove(os.path.join(self.top, path))
        self.plant("tools/attn/model/made.c", '/* Made. */\n#include "made.h"\n')
        self.refuses("includes", "no such file")
        self.plant("tools/attn/model/CMakeLists.txt", "file(CONFIGURE OUTPUT made.h CONTENT x)\n")
        self.passes("includes")
        self.plant("src/base/comment.c", '/* A comment is no include:\n#include "plan/plan.h"\n */\n')
        self.passes("includes")

    def test_format(self):
        self.plant("include/attn/attn.h", HEADER.replace("char *\n", "char *"))
        house.run("cp", os.path.join(HERE, "..", "..", ".clang-format"), self.top)
        if self.check("format").returncode == house.SKIPPED:
            self.skipTest("clang-format 14 is not here")
        self.passes("format")
        self.plant("src/base/ugly.c", "/* Ugly. */\nint attn_ugly( void )\n{ return 1 ; }\n")
        self.refuses("format", "src/base/ugly.c:2")

    def test_hygiene(self):
        self.passes("hygiene")
        for text, told in [
            ("/* Long. */\n" + "int x;\n" * 600, "at most 600"),
            ("/* Promise. */\n/* TO" + "DO: later */\n", ":2: a promise"),
            ("/* Blanks. */ \n", ":1: blanks"),
            ("/* Tab. */\n\tint x;\n", ":2: a tab"),
            ("/* End. */", "no newline"),
            ("int x;\n", "does not begin"),
        ]:
            with self.subTest(told):
                self.plant("src/base/fault.c", text)
                self.refuses("hygiene", told)

    def test_headers(self):
        compilers = (C_COMPILER, CXX_COMPILER)
        self.passes("headers", *compilers)
        for line, told in [
            ("size_t attn_size(void);", "as C11"),              # needs <stddef.h>
            ("struct attn_s { int class; };", "as C++17"),       # a word of C++
            ("static inline int attn_f(void) { return 1; }", "as C11"),  # twice, unless guarded
            ("static const int attn_n = 1.5;", "as C11"),        # a warning
        ]:
            with self.subTest(line):
                self.plant("include/attn/more.h", f"/* A fault. */\n{line}\n")
                self.refuses("headers", told, *compilers)

    def test_readme(self):
        example = "/* First. */\nint main(void) { return 0; }\n"
        readme = f"    make demo   # that\n    make check\n\n```c\n{example}```\n[page](docs/page.md)\n"
        sound = {"examples/forward.c": example, "README.md": readme, "CHANGELOG.md": "", "docs/page.md": ""}
        grow(self.top, sound)
        self.passes("readme")
        for path, text, told in [
            ("examples/forward.c", example.replace("0", "1"), "is not examples/forward.c"),
            ("README.md", "    sudo make install\n" + readme, "first commands"),
            ("docs/page.md", "[more](gone.md)", "docs/page.md: links to gone.md"),
        ]:
            with self.subTest(told):
                grow(self.top, sound)
                self.plant(path, text)
                self.refuses("readme", told)

    def library(self, source):
        self.plant("library.c", source)
        shared, static = os.path.join(self.top, "libattn.so"), os.path.join(self.top, "libattn.a")
        thing = os.path.join(self.top, "library.o")
        for command in [
            (C_COMPILER, "-c", "-fPIC", "-fvisibility=hidden", "-I", os.path.join(self.top, "include"),
             os.path.join(self.top, "library.c"), "-o", thing),
            (C_COMPILER, "-shared", "-Wl,-soname,libattn.so.0", thing, "-o", shared),
            ("rm", "-f", static),
            ("ar", "rc", static, thing),
        ]:
            result = house.run(*command)
            self.assertEqual(result.returncode, 0, result.stdout)
        return shared, static

    def test_symbols(self):
        sound = ("#include <attn/attn.h>\nint attn_one(void) { return 1; }\n"
                 "const char *attn_two(int number, int other) { return number < other ? \"\" : 0; }\n"
                 "int attn_inside(void) { return 1; }\n")
        self.passes("symbols", *self.library(sound))
        for source, told in [
            (sound.replace("attn_one", "attn_won"), "attn_one is declared"),
            (sound + "ATTN_API int attn_three(void) { return 3; }\n", "attn_three is exported"),
            (sound + "int helper(void) { return 3; }\n", "helper is a global symbol"),
        ]:
            with self.subTest(told):
                self.refuses("symbols", told, *self.library(source))


if __name__ == "__main__":
    C_COMPILER, CXX_COMPILER = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
