"""The command line: help, version, unknown commands and options, info and bench with their JSON.

    line.py ATTN
"""

import json
import os
import pty
import subprocess
import sys
import tempfile
import unittest

import attn_command
import gguf_files

ATTN = None
SHORT = "short128_f32_d64"
BENCH_FIELDS = {
    "name": str, "op": str, "dtype": str, "batch": int, "heads": int, "kv_heads": int, "queries": int,
    "keys": int, "head_size": int, "head_size_v": int, "mask": str, "statistics": str, "kernel": str,
    "ms_min": float, "ms_median": float, "ms_max": float, "rate": float, "unit": str, "ceiling": str,
    "share": float, "quiet": bool, "extra_bytes": int, "residual": float, "residual_allowed": float, "passed": bool,
}


def run(*arguments, **more):
    return attn_command.run(ATTN, *arguments, **more)


def read_to_end(terminal):
    """A terminal hands on what was written piece by piece; when all is read it fails, its other side being closed."""
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:
        pass
    return shown


class Line(unittest.TestCase):
    def fails(self, status, *arguments, **more):
        result = run(*arguments, **more)
        self.assertIsNone(attn_command.fault_of_failure(result, status), arguments)
        return result.stderr.decode()

    def prints(self, *arguments, **more):
        """Standard output of a success that wrote nothing to standard error and no escape bytes."""
        result = run(*arguments, **more)
        self.assertEqual((result.returncode, result.stderr), (0, b""), arguments)
        self.assertNotIn(attn_command.ESCAPE, result.stdout)
        return result.stdout.decode()

    def test_help_lists_commands_and_statuses(self):
        for option in ("--help", "-h", "help"):
            text = self.prints(option)
            for word in ("info", "bench", "Exit status"):
                self.assertIn(word, text)

    def test_no_command_is_a_usage_error_with_help(self):
        result = run()
        self.assertEqual((result.returncode, result.stdout), (2, b""))
        self.assertIn(b"Usage: attn COMMAND", result.stderr)

    def test_version_is_that_of_the_library(self):
        version = self.prints("--version").split()
        self.assertEqual(version[0], "attn")
        self.assertEqual(version[1], json.loads(self.prints("info", "--json"))["attn_version"])

    def test_unknown_commands_and_options(self):
        self.assertIn("frobnicate", self.fails(2, "frobnicate"))
        self.assertIn("--frobnicate", self.fails(2, "--frobnicate"))
        for command in ("info", "bench"):
            self.assertIn("--frobnicate", self.fails(2, command, "--frobnicate"))
        self.fails(2, "info", "one", "two")
        self.fails(2, "bench", "one", "two")
        self.fails(2, "bench", "no_such_case")
        for value in ("many", "-1", "1025", "1.5", ""):
            self.assertIn(f"--threads is '{value}'; it may be a whole number from 0 to 1024; 0 is all cores",
                          self.fails(2, "bench", "--threads", value))
        for value in ("-1", "nan", "1s"):
            self.assertIn(f"--seconds is '{value}'; it may be a number from 0 to 3600",
                          self.fails(2, "bench", "--seconds", value))

    def test_help_of_each_command(self):
        for command in ("info", "bench"):
            self.assertIn(f"Usage: attn {command}", self.prints(command, "--help"))

    def test_info_of_the_machine(self):
        text = self.prints("info")
        info = json.loads(self.prints("info", "--json"))
        self.assertEqual(info["schema_version"], 1)
        self.assertIn("portable", info["paths"])
        self.assertIn(info["path"], info["paths"])
        self.assertGreaterEqual(info["cores"], 1)
        self.assertEqual(set(info["cache_bytes"]), {"l1_data", "l2", "l3"})
        self.assertRegex(info["libraries"]["products"], r"oneDNN \d+\.\d+\.\d+")
        for runtime in info["openmp_runtimes"]:
            self.assertRegex(os.path.basename(runtime), r"^lib(gomp|omp|iomp)")
            self.assertIn(runtime, text)
        self.assertIn(info["cpu"], text)

    def test_info_follows_attn_cpu(self):
        info = json.loads(self.prints("info", "--json", env={"ATTN_CPU": "portable"}))
        self.assertEqual((info["path"], info["attn_cpu"]), ("portable", "portable"))
        self.assertIn("ATTN_CPU", self.fails(1, "info", env={"ATTN_CPU": "abacus"}))
        self.assertIn("ATTN_CPU", self.fails(1, "bench", SHORT, env={"ATTN_CPU": "abacus"}))

    def test_info_of_a_model(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tiny.gguf")
            with open(path, "wb") as file:
                file.write(gguf_files.tiny_model())
            text = self.prints("info", path)
            info = json.loads(self.prints("info", path, "--json"))
        model = info["model"]
        self.assertEqual(
            (model["architecture"], model["layers"], model["heads"], model["kv_heads"], model["key_size"]),
            ("gemma3", gguf_files.LAYERS, gguf_files.HEADS, 1, gguf_files.HEAD_SIZE))
        self.assertEqual(model["kv_bytes_per_token"], gguf_files.LAYERS * 2 * gguf_files.HEAD_SIZE * 4)
        self.assertEqual(sum(kind["tensors"] for kind in model["tensor_types"]), len(gguf_files.tiny_tensors()))
        self.assertEqual(info["tokenizer"]["tokens"], len(gguf_files.tiny_vocabulary()[0]))
        self.assertEqual([layer["window"] for layer in info["layers"]], [16] * gguf_files.LAYERS)
        self.assertEqual(info["attention"][0]["layers"], list(range(gguf_files.LAYERS)))
        self.assertIn("path:", info["attention"][0]["explanation"])
        self.assertIn("gemma3", text)

    def test_full_standard_output_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            for arguments in (("--version",), ("--help",), ("info",), ("info", "--json"), ("bench", "--list"),
                              ("bench", "--help")):
                result = run(*arguments, stdout=full)
                self.assertEqual(result.returncode, 1, arguments)
                self.assertRegex(result.stderr, rb"^attn[^\n]*No space left on device\n$", arguments)

    def test_bench_list(self):
        names = [line.split()[0] for line in self.prints("bench", "--list").splitlines()]
        self.assertEqual(len(names), len(set(names)))
        for name in ("forward_f32_d64", "forward_bf16_d128", "causal_f32_d128", "window512_f16_d64", SHORT,
                     "few8_f16_d64", "stats_f32_d64", "statsall_f32_d64", "forward_f32_d64_n131072"):
            self.assertIn(name, names)
        listed = self.prints("bench", "--list", "causal_f32_d*").splitlines()
        self.assertEqual([line.split()[0] for line in listed], ["causal_f32_d64", "causal_f32_d128"])
        self.assertEqual(len(self.prints("bench", "--list", "short").splitlines()), 18)
        self.assertIn("whole name alone", self.prints("bench", "--list", "n131072"))
        self.fails(2, "bench", "d64_n131072")

    def test_bench_json(self):
        for form in (["--json"], ["--json", "-"], ["--json=-"]):
            bench = json.loads(self.prints("bench", SHORT, "--seconds", "0", "--threads", "1", *form))
        self.assertEqual((bench["schema_version"], bench["threads"]), (1, 1))
        self.assertGreater(bench["ceilings"]["fma_gflops"], 0)
        self.assertGreater(bench["ceilings"]["read_gb_s"], 0)
        dots = bench["ceilings"]["bf16_dot_gflops"]
        if bench["path"].endswith("_bf16"):
            self.assertGreater(dots, 0)
        else:
            self.assertIsNone(dots)
        self.assertIsNone(bench["ceilings"]["int8_dot_gops"])
        (case,) = bench["cases"]
        for field, kind in BENCH_FIELDS.items():
            self.assertIsInstance(case[field], kind, field)
        self.assertEqual(case["name"], SHORT)
        self.assertGreater(case["share"], 0)
        self.assertLessEqual(case["ms_min"], case["ms_median"])
        self.assertLessEqual(case["ms_median"], case["ms_max"])
        self.assertTrue(case["passed"])
        self.assertLess(case["residual"], case["residual_allowed"])
        for sample in case["samples"]:
            self.assertAlmostEqual(sample["value"], sample["exact"], delta=1e-5)

    def test_bench_of_bf16_uses_the_ceiling_of_its_path(self):
        bench = json.loads(self.prints("bench", "short128_bf16_d64", "--seconds", "0", "--json"))
        (case,) = bench["cases"]
        self.assertEqual(case["dtype"], "bf16")
        self.assertEqual(case["ceiling"], "bf16_dot" if bench["path"].endswith("_bf16") else "fma")
        narrow = json.loads(self.prints("bench", "short128_bf16_d64", "--seconds", "0", "--json",
                                        env={"ATTN_CPU": "portable"}))
        self.assertEqual(narrow["cases"][0]["ceiling"], "fma")
        self.assertIsNone(narrow["ceilings"]["bf16_dot_gflops"])

    def test_progress_is_shown_on_a_terminal_alone(self):
        try:
            own, other = pty.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo-terminal can be had here: {error}")
        result = subprocess.run([ATTN, "bench", SHORT, "--seconds", "0"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=other, timeout=250)
        os.close(other)
        shown = read_to_end(own)
        os.close(own)
        self.assertEqual(result.returncode, 0)
        self.assertIn(SHORT.encode(), shown)
        self.assertTrue(shown.endswith(b"\r\x1b[K"), shown)  # nothing of it is left on the screen
        self.assertNotIn(attn_command.ESCAPE, result.stdout)

    def test_bench_table_and_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bench.json")
            text = self.prints("bench", SHORT, "--seconds", "0", "--json", path)
            with open(path, encoding="utf-8") as file:
                self.assertEqual([case["name"] for case in json.load(file)["cases"]], [SHORT])
            self.assertIn(SHORT, text)
            self.assertIn("ceilings:", text)
            self.assertEqual(os.listdir(folder), ["bench.json"])
            self.fails(1, "bench", SHORT, "--json", os.path.join(folder, "no", "bench.json"))
            self.fails(1, "bench", SHORT, "--json", folder)


if __name__ == "__main__":
    ATTN = sys.argv.pop(1)
    unittest.main()
