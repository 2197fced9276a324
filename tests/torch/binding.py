"""libattn.so through ctypes: the structs of include/attn/*.h, written down once more, and calls that raise.

What is written here is compared with the headers at start: a small C program prints every size, offset and
constant (check_against_headers), so that a header that moved is noticed before anything is run."""

import ctypes
import os
import shutil
import subprocess
import tempfile

import numpy as np

I32, I64, F32, F64, SIZE, POINTER, BOOL, ENUM = (
    ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_bool, ctypes.c_int)

CONSTANTS = {
    "ATTN_F32": 1, "ATTN_BF16": 2, "ATTN_F16": 3,
    "ATTN_BOTTOM_RIGHT": 0, "ATTN_TOP_LEFT": 1, "ATTN_OFFSET": 2,
    "ATTN_LENGTHS_EQUAL": 0, "ATTN_LENGTHS_PADDED": 1, "ATTN_LENGTHS_RAGGED_I32": 2, "ATTN_LENGTHS_RAGGED_I64": 3,
    "ATTN_ROTARY_HALVES": 0, "ATTN_ROTARY_NEIGHBOURS": 1, "ATTN_ROTARY_PLAIN": 0, "ATTN_ROTARY_LINEAR": 1,
    "ATTN_ROTARY_NTK": 2, "ATTN_ROTARY_YARN": 3, "ATTN_ROTARY_LLAMA3": 4,
    "ATTN_MASK_NONE": 0, "ATTN_MASK_BYTES": 1, "ATTN_MASK_BITS": 2,
}
# Bit number of each ATTN_STAT_*: the names of the arrays of attn_statistics, and two requests.
STATISTICS = ("entropy varentropy participation max_weight max_key max_logit max_abs_logit max_score min_score "
              "mass_self mass_previous mass_next mass_first mass_local mass_segments distance_mean distance_sd "
              "visible_keys column_mass column_viewers top_keys weights pairs").split()
CONSTANTS.update({"ATTN_STAT_" + name.upper(): 1 << bit for bit, name in enumerate(STATISTICS)})

SCORE_FUNCTION = ctypes.CFUNCTYPE(None, POINTER, I64, I64, I64, I64, I64, I64, ctypes.POINTER(F32), I64)


def struct(name, *fields):
    return type(name, (ctypes.Structure,), {"_fields_": list(fields)})


def fields(kind, names):
    return [(name, kind) for name in names.split()]


Error = struct("attn_error", ("status", ENUM), ("message", ctypes.c_char * 252))
Layout = struct("attn_layout", ("dtype", ENUM), ("stride", I64 * 4))
Window = struct("attn_window", *fields(I64, "left right prefix"))
Problem = struct(
    "attn_problem", ("struct_size", SIZE),
    *fields(I64, "batch heads kv_heads queries keys head_size head_size_v"), *fields(Layout, "q k v o"),
    ("lengths", ENUM), *fields(I64, "total_queries total_keys"), *fields(F32, "scale softcap"),
    ("causal", BOOL), ("alignment", ENUM), ("window", Window), *fields(BOOL, "head_windows prefix_lm"),
    ("excluded_keys", I64), *fields(BOOL, "sinks unnormalised"), ("workspace_limit", SIZE),
    ("workspace_threads", ENUM), *fields(POINTER, "rotary scores statistics cache"))
Args = struct(
    "attn_args", ("struct_size", SIZE), *fields(I64, "batch queries keys"),
    *fields(POINTER, "q k v o lse lse_with_sink reference sum query_lengths key_lengths cu_seqlens_q "
                     "cu_seqlens_k sinks query_offset query_positions key_positions head_windows prefix_lm"),
    ("prefix_lm_stride", I64 * 2), *fields(POINTER, "excluded_keys scores statistics cache"))
Scores = struct(
    "attn_scores", ("struct_size", SIZE), ("mask", ENUM), ("mask_stride", I64 * 3), ("bias", ENUM),
    ("bias_stride", I64 * 3), *fields(BOOL, "alibi documents"), *fields(I64, "block_rows block_keys"),
    ("function", SCORE_FUNCTION), ("function_context", POINTER), ("constant", POINTER))
ScoresArgs = struct(
    "attn_scores_args", ("struct_size", SIZE),
    *fields(POINTER, "mask bias alibi_slopes query_documents key_documents block_starts block_indices"))
Rotary = struct(
    "attn_rotary", ("struct_size", SIZE), ("size", I64), ("pairing", ENUM), ("base", F64), ("scaling", ENUM),
    ("factor", F64), ("original_length", I64), *fields(F64, "beta_fast beta_slow"), ("whole_ramp", BOOL),
    *fields(F64, "low_frequency_factor high_frequency_factor attention_factor"), ("frequency_divisors", POINTER))
Wanted = struct(
    "attn_statistics_wanted", ("struct_size", SIZE), ("set", ctypes.c_uint32),
    *fields(I32, "first_keys local_distance segments top_keys"))
WeightsRequest = struct(
    "attn_weights_request", *fields(I64, "batch head row_begin row_end"), ("weights", POINTER))
Pair = struct("attn_pair", *fields(I64, "batch head query key"))
Statistics = struct(
    "attn_statistics", ("struct_size", SIZE), *fields(POINTER, " ".join(STATISTICS[:20])),
    ("column_add", BOOL), *fields(POINTER, "top_keys top_weights segment_ids weights"), ("weights_count", I64),
    ("pairs", POINTER), ("pairs_count", I64), ("pair_weights", POINTER))
Cpu = struct(
    "attn_cpu", ("struct_size", SIZE), ("name", ctypes.c_char * 64), ("features", ctypes.c_char * 192),
    ("paths", ctypes.c_char * 64), ("path", ctypes.c_char * 16), ("threads_by", ctypes.c_char * 32),
    ("cores", ENUM), ("cache_bytes", SIZE * 3))
STRUCTS = (Error, Layout, Window, Problem, Args, Scores, ScoresArgs, Rotary, Wanted, WeightsRequest, Pair, Statistics, Cpu)


def check_against_headers(include):
    """End the program if any struct or constant above differs from the headers under `include`."""
    expected, lines = [], []
    for kind in STRUCTS:
        name = kind.__name__
        expected.append(f"{name} {ctypes.sizeof(kind)}")
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field, _ in kind._fields_:
            place = getattr(kind, field)
            expected.append(f"{name}.{field} {place.offset} {place.size}")
            lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), '
                         f"sizeof(({name} *)0)->{field});")
    for name, value in CONSTANTS.items():
        expected.append(f"{name} {value}")
        lines.append(f'printf("{name} %d\\n", (int){name});')
    program = ("#include <attn/rotary.h>\n#include <attn/scores.h>\n#include <attn/stats.h>\n#include <stdio.h>\nint main(void)\n{\n"
               + "\n".join(lines) + "\n}\n")
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, "sizes.c"), os.path.join(folder, "sizes")
        with open(source, "w", encoding="utf-8") as file:
            file.write(program)
        subprocess.run([os.environ.get("CC", "cc"), "-I", include, source, "-o", binary], check=True)
        found = subprocess.run([binary], check=True, capture_output=True, text=True).stdout.splitlines()
    drift = [f"  the headers say {f!r}, tests/torch/binding.py {e!r}" for e, f in zip(expected, found) if e != f]
    if drift:
        raise SystemExit("the binding differs from the headers:\n" + "\n".join(drift))


class Refused(Exception):
    """A call that did not return ATTN_OK."""


class Library:
    """libattn.so held to one kernel path. A process chooses its path once, so that each path gets a copy of
    the library under a name of its own, which the loader takes for another library."""

    def __init__(self, file, path, folder):
        copy = os.path.join(folder, f"libattn-{path or 'any'}.so")
        shutil.copyfile(file, copy)
        self.c = ctypes.CDLL(copy)
        for name, result in (("attn_plan_workspace", SIZE), ("attn_plan_explain", SIZE),
                             ("attn_plan_destroy", None), ("attn_default_executor", POINTER)):
            getattr(self.c, name).restype = result
        self.executors = {0: None}
        self.cpu = Cpu(struct_size=ctypes.sizeof(Cpu))
        before = os.environ.get("ATTN_CPU")
        if path:
            os.environ["ATTN_CPU"] = path
        self.call("attn_cpu_describe", ctypes.byref(self.cpu))
        if before is None:
            os.environ.pop("ATTN_CPU", None)
        else:
            os.environ["ATTN_CPU"] = before
        self.path = self.cpu.path.decode()

    def call(self, name, *arguments):
        error = Error()
        if getattr(self.c, name)(*arguments, ctypes.byref(error)) != 0:
            raise Refused(f"{name}: {error.message.decode()}")

    def executor(self, threads):
        """NULL for 0, else an executor of so many threads; made once."""
        if threads not in self.executors:
            made = POINTER()
            self.call("attn_executor_create", ctypes.byref(made), ctypes.c_int(threads))
            self.executors[threads] = made
        return self.executors[threads]

    def limit(self, problem, threads, share):
        """Limit the workspace to the least that will do, as the refusal of one byte tells it, and `share` of the
        rest."""
        problem.workspace_threads, problem.workspace_limit = threads, 1
        plan, error = POINTER(), Error()
        if self.c.attn_plan_create(ctypes.byref(plan), ctypes.byref(problem), ctypes.byref(error)) == 0:
            raise Refused("a workspace of one byte was promised")
        least = int(error.message.decode().rsplit("threads is ", 1)[1])
        problem.workspace_limit = 0
        self.call("attn_plan_create", ctypes.byref(plan), ctypes.byref(problem))
        most = self.c.attn_plan_workspace(plan, ctypes.c_int(threads))
        self.c.attn_plan_destroy(plan)
        problem.workspace_limit = least + int(share * max(most - least, 0))

    def run(self, problem, args, threads):
        """Plan and run in a workspace full of NaN with a guard behind it; returns the plan in words."""
        plan = POINTER()
        self.call("attn_plan_create", ctypes.byref(plan), ctypes.byref(problem))
        try:
            text = ctypes.create_string_buffer(8192)
            self.c.attn_plan_explain(plan, text, SIZE(len(text)))
            size = self.c.attn_plan_workspace(plan, ctypes.c_int(max(threads, 1)))
            if 0 < problem.workspace_limit < size:
                raise Refused(f"the workspace is {size} bytes, its limit {problem.workspace_limit}")
            workspace = np.full(size + 64, 0xFF, np.uint8)
            self.call("attn_run", plan, ctypes.byref(args), POINTER(workspace.ctypes.data), SIZE(size),
                      self.executor(threads))
            if (workspace[size:] != 0xFF).any():
                raise Refused("attn_run wrote behind its workspace")
            return text.value.decode()
        finally:
            self.c.attn_plan_destroy(plan)
