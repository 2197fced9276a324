"""A Case as a call of the library: values made, laid out in memory, structs filled, results read back.

Results and inputs are seen as [B, H, N, ...] of the run's own B, Nq, Nk, whatever their form: rows of a ragged
batch are gathered into it, and what no sequence owns is absent (0 in inputs, not compared in results)."""

import ctypes

import numpy as np
import torch

import binding
import memory

INT_STATISTICS = ("max_key", "visible_keys", "column_viewers", "top_keys")
COLUMN_STATISTICS = ("column_mass", "column_viewers")


def order_strides(dice, extents, input_):
    """Any order of the axes, gaps, directions; inputs may broadcast."""
    strides, step = [0, 0, 0, 1], extents[3] + int(dice.integers(0, 10)) * int(dice.integers(0, 2))
    for axis in dice.permutation(3):
        strides[axis] = -step if dice.random() < 0.15 else step
        step = step * max(extents[axis], 1) + int(dice.integers(0, 10)) * int(dice.integers(0, 2))
        if input_ and dice.random() < 0.12:
            strides[axis] = 0
    return strides


def strides_of(layout, dice, extents, input_):
    _, h, n, d = extents
    if layout == "bhsd":
        return h * n * d, n * d, d, 1
    if layout in ("bshd", "packed"):
        return h * n * d, d, h * d, 1
    return order_strides(dice, extents, input_)


class Inputs:
    """All that the library reads, in memory, and the same as dense float64 tensors for PyTorch."""

    def __init__(self, case):
        self.case, self.alive = case, []
        dice, c = case.random, case
        spare_b, spare_q, spare_k = c.spare
        batch, queries, keys = c.batch + spare_b, c.queries + spare_q, c.keys + spare_k
        self.starts = [np.concatenate(([0], np.cumsum(n))) for n in (c.query_lengths, c.key_lengths)]
        if c.ragged():
            self.totals = [int(self.starts[0][-1]) + spare_q, int(self.starts[1][-1]) + spare_k]
            batch, queries, keys = 1, *self.totals
        else:
            self.totals = [0, 0]
        q, k, v = ((batch, c.heads, queries, c.head_size), (batch, c.kv_heads, keys, c.head_size),
                   (batch, c.kv_heads, keys, c.head_size_v))
        if c.layout == "packed" and queries == keys:
            self.q, self.k, self.v = self.packed(q, k, v)
        else:
            self.q, self.k, self.v = (memory.Tensor(c.dtype, n, strides_of(c.layout, dice, n, True)) for n in (q, k, v))
        self.o_extents = (batch, c.heads, queries, c.head_size_v)
        self.o_strides = strides_of(c.layout, dice, self.o_extents, False)
        self.fill()

    def packed(self, *extents):
        batch, _, length, _ = extents[0]
        width = sum(n[1] * n[3] for n in extents)
        buffer = np.full(batch * length * width + 2 * memory.GUARD, memory.NAN[self.case.dtype],
                         memory.RAW[self.case.dtype])
        offset = memory.GUARD
        for n in extents:
            yield memory.Tensor(self.case.dtype, n, (length * width, n[3], width, 1), (buffer, offset))
            offset += n[1] * n[3]

    def fill(self):
        c, dice = self.case, self.case.random
        size = {"tiny": 1e-3, "large": 100.0}.get(c.values, 1.0)
        for tensor, factor, lengths, most, starts in (
                (self.q, c.sharpness, c.query_lengths, c.queries, self.starts[0]),
                (self.k, 1.0, c.key_lengths, c.keys, self.starts[1]),
                (self.v, size, c.key_lengths, c.keys, self.starts[1])):
            batch, heads, _, channels = tensor.extents
            rows = int(starts[-1]) if c.ragged() else most
            values = factor * dice.standard_normal((1 if c.ragged() else c.batch, heads, rows, channels))
            if c.values == "rising" and tensor is self.k:
                values *= np.linspace(0.3, 3.0, max(rows, 1))[:rows, None]
            if c.values == "outliers":
                values *= np.where(dice.random(values.shape) < 0.02, 8.0, 1.0)
            tensor.write(values)
            if c.lengths == "padded" and not tensor.broadcasts():
                for b, n in enumerate(lengths):
                    tensor.view[b, :, n:] = memory.NAN[c.dtype]
        self.bad = np.zeros((c.batch, c.kv_heads, c.keys), bool)
        clean = [self.dense(t, n, s) for t, n, s in ((self.q, c.query_lengths, 0), (self.k, c.key_lengths, 1),
                                                     (self.v, c.key_lengths, 1))]
        self.dense_q, self.dense_k, self.dense_v = clean
        self.poison()

    def poison(self):
        """NaN or Inf into a few keys: only rows that see one may notice."""
        c, dice = self.case, self.case.random
        for _ in range(c.poisoned):
            tensor = self.k if dice.random() < 0.5 else self.v
            b = int(dice.integers(0, max(c.batch, 1)))
            if tensor.empty or tensor.broadcasts() or c.batch == 0 or c.key_lengths[b] == 0:
                continue
            head, key = int(dice.integers(0, c.kv_heads)), int(dice.integers(0, c.key_lengths[b]))
            infinite = {"f32": np.float32(np.inf), "bf16": 0x7F80, "f16": 0x7C00}[c.dtype]
            what = infinite if tensor is self.v and dice.random() < 0.5 else memory.NAN[c.dtype]
            row = self.starts[1][b] + key if c.ragged() else key
            tensor.view[0 if c.ragged() else b, head, row, int(dice.integers(0, tensor.extents[3]))] = what
            self.bad[b, head, key] = True

    def dense(self, tensor, lengths, side):
        """float64 [B, H, N, D]; 0 where no sequence is."""
        c = self.case
        most = (c.queries, c.keys)[side]
        whole, out = tensor.read(), torch.zeros((c.batch, tensor.extents[1], most, tensor.extents[3]), dtype=torch.float64)
        for b, n in enumerate(lengths.tolist()):
            first = int(self.starts[side][b])
            out[b, :, :n] = whole[0, :, first:first + n] if c.ragged() else whole[b, :, :n]
        return out

    # ---- structs ----------------------------------------------------------------------------------

    def keep(self, array):
        array = np.ascontiguousarray(array)
        self.alive.append(array)
        return array.ctypes.data

    def keep_struct(self, made):
        made.struct_size = ctypes.sizeof(made)
        self.alive.append(made)
        return ctypes.addressof(made)

    def problem(self):
        c, n = self.case, binding.CONSTANTS
        p = binding.Problem(struct_size=ctypes.sizeof(binding.Problem))
        p.batch, p.queries, p.keys = c.batch + c.spare[0], c.queries + c.spare[1], c.keys + c.spare[2]
        p.heads, p.kv_heads, p.head_size, p.head_size_v = c.heads, c.kv_heads, c.head_size, c.head_size_v
        for name, dtype, strides in (("q", c.dtype, self.q.strides), ("k", c.dtype, self.k.strides),
                                     ("v", c.dtype, self.v.strides), ("o", c.dtype_o, self.o_strides)):
            setattr(p, name, binding.Layout(n["ATTN_" + dtype.upper()], (ctypes.c_int64 * 4)(*strides)))
        p.lengths = n["ATTN_LENGTHS_" + c.lengths.upper()]
        p.total_queries, p.total_keys = self.totals
        p.scale, p.softcap, p.causal = c.scale, c.softcap, c.causal
        p.alignment = n["ATTN_" + c.alignment.upper()]
        p.window = binding.Window(-1, -1, 0)
        if c.windows is not None and not c.head_windows and c.heads:
            p.window = binding.Window(*c.windows[0].tolist())
        p.head_windows, p.prefix_lm, p.sinks = c.head_windows, c.prefix_lm is not None, c.sinks is not None
        p.unnormalised = c.unnormalised
        if c.rotary is not None:
            p.rotary = self.rotary()
        p.excluded_keys = 0 if c.excluded is None else c.excluded.shape[2]
        if self.shaped():
            p.scores = self.scores()
        if c.statistics:
            p.statistics = self.keep_struct(binding.Wanted(
                set=sum(n["ATTN_STAT_" + name.upper()] for name in c.statistics), first_keys=c.first_keys,
                local_distance=c.local_distance, segments=c.segments, top_keys=c.top_keys))
        return p

    def shaped(self):
        c = self.case
        return c.function or any(x is not None for x in (c.mask, c.bias, c.slopes, c.query_documents, c.blocks))

    def laid_out(self, array, pitch):
        """(pointer, strides) of [B|1, H|1, Nq|1, row] with rows `pitch` apart; strides of length 1 are 0."""
        rows = np.zeros(array.shape[:3] + (pitch,), array.dtype)
        rows[..., :array.shape[3]] = array
        strides = [0 if n == 1 else s // rows.itemsize for n, s in zip(rows.shape, rows.strides)][:3]
        return self.keep(rows), (ctypes.c_int64 * 3)(*strides)

    def scores(self):
        c, n = self.case, binding.CONSTANTS
        s, a = binding.Scores(), binding.ScoresArgs()
        pad = int(c.random.integers(0, 8))
        if c.mask is not None:
            s.mask = n["ATTN_MASK_BITS" if c.mask_bits else "ATTN_MASK_BYTES"]
            rows = np.packbits(c.mask, axis=-1, bitorder="little") if c.mask_bits else c.mask.astype(np.uint8)
            a.mask, s.mask_stride = self.laid_out(rows, rows.shape[3] + pad)
        if c.bias is not None:
            s.bias = n["ATTN_" + c.bias_dtype.upper()]
            raw = memory.to_raw(c.bias, c.bias_dtype)
            c.bias = memory.from_raw(raw, c.bias_dtype).numpy()
            a.bias, s.bias_stride = self.laid_out(raw, raw.shape[3] + pad)
        if c.slopes is not None:
            s.alibi, a.alibi_slopes = True, self.keep(c.slopes)
        if c.query_documents is not None:
            s.documents = True
            sides = ((c.query_documents, c.query_lengths), (c.key_documents, c.key_lengths))
            if c.ragged():
                sides = [np.concatenate([row[:m] for row, m in zip(*side)] or [side[0].ravel()]) for side in sides]
            else:
                sides = [side[0] for side in sides]
            a.query_documents, a.key_documents = (self.keep(side.astype(np.int32)) for side in sides)
        if c.blocks is not None:
            s.block_rows, s.block_keys = c.block_size
            counts = c.blocks.sum(-1).ravel()
            a.block_starts = self.keep(np.concatenate(([0], np.cumsum(counts))).astype(np.int64))
            a.block_indices = self.keep(np.append(np.nonzero(c.blocks)[2], 0).astype(np.int32))
        if c.function:
            s.function = binding.SCORE_FUNCTION(score_function)
        self.scores_args = self.keep_struct(a)
        if c.constant:
            s.constant, self.scores_args = self.scores_args, None
        return self.keep_struct(s)

    def rotary(self):
        r, n = self.case.rotary, binding.CONSTANTS
        made = binding.Rotary(
            size=r["size"], pairing=n["ATTN_ROTARY_NEIGHBOURS" if r["neighbours"] else "ATTN_ROTARY_HALVES"],
            base=r["base"], scaling=n["ATTN_ROTARY_" + r["scaling"].upper()], factor=r["factor"],
            original_length=r["original_length"], beta_fast=32, beta_slow=1, whole_ramp=r["whole_ramp"],
            low_frequency_factor=1, high_frequency_factor=4, attention_factor=r["attention_factor"])
        if r["divisors"] is not None:
            made.frequency_divisors = self.keep(r["divisors"])
        return self.keep_struct(made)

    def packed_places(self, array, lengths):
        """An array [B, N] as the library takes it: of a ragged batch, one entry for each row of the packed tensor."""
        if self.case.ragged():
            array = np.concatenate([row[:n] for row, n in zip(array, lengths)] or [array.ravel()])
        return self.keep(array)


def function_values(batch, head, rows, keys):
    """What the score function of these cases adds, from indices that broadcast; -inf where it hides a pair."""
    added = 0.25 * ((7 * rows + 3 * keys + head + batch) % 5)
    return np.where((5 * rows + keys + 3 * head + batch) % 13 == 0, -np.inf, added)


def score_function(_, batch, head, row, rows, key, keys, scores, stride):
    for r in range(rows):
        at = ctypes.addressof(scores.contents) + 4 * r * stride
        line = np.frombuffer((ctypes.c_float * keys).from_address(at), np.float32)
        values = function_values(batch, head, row + r, np.arange(key, key + keys)).astype(np.float32)
        line[:] = np.where(values == -np.inf, values, line + values)  # NaN is hidden too


class Results:
    """What one path made of a case: name -> array [B, H, Nq, ...] (columns: [B, H, Nk])."""

    def __init__(self, inputs, library):
        self.inputs, self.case = inputs, inputs.case
        self.arrays, self.requests, self.faults = {}, [], []
        c = self.case
        inputs.alive = []
        problem = inputs.problem()
        args = self.args()
        if c.limit is not None:
            library.limit(problem, max(c.threads, 1), c.limit)
        o = memory.Tensor(c.dtype_o, inputs.o_extents, inputs.o_strides)
        before = o.buffer.copy()
        args.o = o.pointer if c.want_o else None
        self.explain = library.run(problem, args, c.threads)
        self.check_guards(o, before)
        if c.want_o:
            self.arrays["o"] = inputs.dense(o, c.query_lengths, 0).numpy() if c.ragged() else \
                o.read()[:c.batch, :, :c.queries].numpy()

    def output(self, name, kind, columns=False, *more):
        c = self.case
        side = 1 if columns else 0
        n = int(self.inputs.starts[side][-1]) if c.ragged() else (c.queries, c.keys)[side]
        made = memory.Output(kind, *((c.heads, n) if c.ragged() else (c.batch, c.heads, n)), *more)
        self.raw[name] = (made, side)
        return made.pointer

    def args(self):
        c, i = self.case, self.inputs
        self.raw = {}
        a = binding.Args(struct_size=ctypes.sizeof(binding.Args))
        a.batch, a.queries, a.keys = c.batch, c.queries, c.keys
        a.q, a.k, a.v = i.q.pointer, i.k.pointer, i.v.pointer
        if c.want_lse:
            a.lse = self.output("lse", np.float32)
        if c.unnormalised:
            a.reference, a.sum = self.output("reference", np.float32), self.output("sum", np.float32)
        if c.query_positions is not None:
            a.query_positions = i.packed_places(c.query_positions, c.query_lengths)
        if c.key_positions is not None:
            a.key_positions = i.packed_places(c.key_positions, c.key_lengths)
        if c.sinks is not None:
            a.sinks = i.keep(c.sinks)
            if c.want_lse:
                a.lse_with_sink = self.output("lse_with_sink", np.float32)
        if c.lengths == "padded":
            a.query_lengths, a.key_lengths = i.keep(c.query_lengths), i.keep(c.key_lengths)
        if c.ragged():
            width = np.int32 if c.lengths == "ragged_i32" else np.int64
            a.cu_seqlens_q, a.cu_seqlens_k = (i.keep(s.astype(width)) for s in i.starts)
        if c.offsets is not None:
            a.query_offset = i.keep(c.offsets)
        if c.head_windows:
            a.head_windows = i.keep(c.windows)
        if c.prefix_lm is not None:
            along_b, along_h = c.prefix_axes
            a.prefix_lm = i.keep(c.prefix_lm[:c.batch if along_b else 1, :c.heads if along_h else 1])
            a.prefix_lm_stride = (ctypes.c_int64 * 2)((c.heads if along_h else 1) * along_b, along_h)
        if c.excluded is not None:
            a.excluded_keys = i.keep(c.excluded)
        if i.shaped() and i.scores_args:
            a.scores = i.scores_args
        if c.statistics:
            a.statistics = self.statistics()
        return a

    def statistics(self):
        c, i, s = self.case, self.inputs, binding.Statistics()
        more = {"mass_segments": (c.segments,), "top_keys": (c.top_keys,)}
        for name in c.statistics:
            if name == "weights":
                asked = (binding.WeightsRequest * max(len(c.weights), 1))()
                for slot, (b, h, begin, end) in zip(asked, c.weights):
                    array = memory.Output(np.float32, end - begin, c.keys)
                    self.requests.append(array)
                    slot.batch, slot.head, slot.row_begin, slot.row_end, slot.weights = b, h, begin, end, array.pointer
                i.alive.append(asked)
                s.weights, s.weights_count = ctypes.addressof(asked), len(c.weights)
            elif name == "pairs":
                asked = (binding.Pair * max(len(c.pairs), 1))(*(binding.Pair(*p) for p in c.pairs))
                i.alive.append(asked)
                self.pairs = memory.Output(np.float32, len(c.pairs))
                s.pairs, s.pairs_count, s.pair_weights = ctypes.addressof(asked), len(c.pairs), self.pairs.pointer
            else:
                kind = np.int32 if name in INT_STATISTICS else np.float32
                setattr(s, name, self.output(name, kind, name in COLUMN_STATISTICS, *more.get(name, ())))
        if "top_keys" in c.statistics:
            s.top_weights = self.output("top_weights", np.float32, False, c.top_keys)
        if "mass_segments" in c.statistics:
            # of a ragged batch: one id for each key of the packed tensor
            ids = c.segment_ids
            if c.ragged():
                ids = np.concatenate([row[:n] for row, n in zip(ids, c.key_lengths)] or [ids.ravel()])
            s.segment_ids = i.keep(ids)
        return i.keep_struct(s)

    def check_guards(self, o, before):
        c, written = self.case, None
        if c.want_o:
            written = (1, c.heads, int(self.inputs.starts[0][-1])) if c.ragged() else (c.batch, c.heads, c.queries)
        if not o.untouched(before, written or (0, 0, 0)):
            self.faults.append("o: memory outside the tensor was written")
        for name, (made, side) in self.raw.items():
            if not made.guarded():
                self.faults.append(f"{name}: memory outside the array was written")
            self.arrays[name] = self.spread(made.values, side) if c.ragged() else made.values
        for made in self.requests + ([self.pairs] if "pairs" in c.statistics else []):
            if not made.guarded():
                self.faults.append("weights: memory outside the array was written")

    def spread(self, packed, side):
        """[H, total, ...] of a ragged batch to [B, H, N, ...]; what no sequence owns is 0."""
        c = self.case
        out = np.zeros((c.batch, c.heads, (c.queries, c.keys)[side]) + packed.shape[2:], packed.dtype)
        for b, (first, last) in enumerate(zip(self.inputs.starts[side], self.inputs.starts[side][1:])):
            out[b, :, :last - first] = packed[:, first:last]
        return out
