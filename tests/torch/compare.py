"""Results of the library against the exact ones, each error as a multiple of its bound.

The number returned stands for all that round to it: an error counts from the nearest of those, so that a result
of 8 bits is judged by the same bound as one of 24. Rows that see a NaN or Inf key are not compared; all others
must be as if it were not there."""

import numpy as np
import torch

import binding

BITS = {"f32": (24, 2.0 ** -126), "bf16": (8, 2.0 ** -126), "f16": (11, 2.0 ** -25)}
MASSES = ("mass_self", "mass_previous", "mass_next", "mass_first", "mass_local")
PRINTED = 4  # faults of a case in words


def rounding(got, dtype):
    """Half a unit in the last place of a number of `dtype`, and what its smallest numbers lose."""
    digits, least = BITS[dtype]
    return np.ldexp(1.0, np.frexp(np.where(np.isfinite(got), got, 0.0))[1] - digits - 1) + least


class Comparison:
    """One path's results of one case. faults: sentences; worst: name -> largest multiple; compared: how many numbers."""

    def __init__(self, exact, bounds, results):
        self.x, self.b, self.r, self.c = exact, bounds, results, exact.case
        self.faults, self.worst, self.compared = list(results.faults), {}, 0
        owned = [np.arange(n)[None, :] < lengths[:, None] if self.c.ragged() else np.ones((self.c.batch, n), bool)
                 for n, lengths in ((self.c.queries, self.c.query_lengths), (self.c.keys, self.c.key_lengths))]
        shape = (self.c.batch, self.c.heads)
        self.rows, self.columns = (np.broadcast_to(o[:, None], shape + o.shape[1:]) for o in owned)
        self.known = self.rows & exact.known.numpy()
        self.rows_of_outputs()
        if self.c.statistics:
            self.row_statistics()
            self.column_statistics()
            self.top_keys()
            self.chosen_weights()

    # ---- numbers --------------------------------------------------------------------------------------

    def fault(self, name, where, got, expected, bound=None):
        within = "" if bound is None else f" within {bound:.3g}"
        self.faults.append(f"{name}{np.asarray(where).tolist()} is {got:.9g}, should be {expected:.9g}{within}")

    def check(self, name, got, expected, bound, valid, dtype="f32"):
        got, expected, bound = (np.asarray(x, np.float64) for x in (got, expected, bound))
        bound, valid = np.broadcast_to(bound, got.shape), np.broadcast_to(valid, got.shape)
        with np.errstate(all="ignore"):
            error = np.where(got == expected, 0.0, np.abs(got - expected) - rounding(got, dtype))
            multiple = np.where(error > 0, error / bound, np.where(np.isnan(error), np.inf, 0.0))
        multiple = np.where(valid, multiple, 0.0)
        self.compared += int(valid.sum())
        if multiple.size:
            self.worst[name] = max(self.worst.get(name, 0.0), float(multiple.max()))
        for where in np.argwhere(~(multiple <= 1))[:PRINTED]:
            at = tuple(where)
            self.fault(name, where, got[at], expected[at], bound[at])

    def check_exact(self, name, got, expected, valid):
        self.compared += int(valid.sum())
        for where in np.argwhere(valid & (got != expected))[:PRINTED]:
            self.fault(name, where, int(got[tuple(where)]), int(expected[tuple(where)]))

    def rows_of_outputs(self):
        x, b, known = self.x, self.b, self.known
        if self.c.unnormalised:
            return self.unnormalised()
        if "o" in self.r.arrays:
            self.check("o", self.r.arrays["o"], x.o, b.o(), known[..., None], self.c.dtype_o)
        self.sums()

    def sums(self):
        x, b = self.x, self.b
        for name, exact, bound in (("lse", x.lse, b.lse), ("lse_with_sink", x.lse_with_sink, b.lse_with_sink)):
            if name in self.r.arrays:
                self.check(name, self.r.arrays[name], exact, bound, self.known)

    def unnormalised(self):
        """The reference is one of several that will do: no score is above it by more than 8 ln 2, and it is none
        above all; the others are told against it. A row without keys: -inf, 0, 0."""
        x, b, known, sees = self.x, self.b, self.known, self.x.any.numpy()
        told = self.r.arrays["reference"].astype(np.float64)
        top = x.extreme(x.score, True, 0.0).numpy()
        room = b.max_score.numpy() + 2.0 ** -22 * (np.abs(top) + 1)
        with np.errstate(invalid="ignore"):
            below = np.where(sees, top - told, 0.0)
        self.check("reference", np.where(sees, 0.0, told), np.where(sees, 0.0, -np.inf), 0.0, known)
        self.check_exact("reference in range", ((below <= 8 * np.log(2) + room) & (below >= -room)).astype(int),
                         np.ones(below.shape, int), known)
        times = torch.where(x.any & torch.from_numpy(known), (x.lse - torch.from_numpy(told)).exp(), 0.0)
        self.check("sum", self.r.arrays["sum"], times, b.sum(times), known)
        if "o" in self.r.arrays:
            self.check("unnormalised o", self.r.arrays["o"], x.o * times[..., None], b.unnormalised(times), known[..., None])
        self.sums()

    # ---- statistics -----------------------------------------------------------------------------------

    def row_statistics(self):
        x, b, known, got = self.x, self.b, self.known, self.r.arrays
        moments = b.moments()
        sd, e = x.distance_variance.clamp(min=0).sqrt(), moments["distance_variance"]
        # an error e of the variance is at most sqrt(e), and at most e / sd, of its root
        below = sd - (sd * sd - e).clamp(min=0).sqrt()
        expected = {
            "entropy": (x.entropy, moments["entropy"]),
            "varentropy": (x.varentropy, moments["varentropy"]),
            "participation": (x.participation, moments["participation"]),
            "max_weight": (x.extreme(x.weight, True, 0.0), b.max_weight),
            "max_logit": (x.extreme(x.logit, True, -np.inf, x.visible_before), b.max_logit),
            "max_abs_logit": (x.extreme(x.logit.abs(), True, 0.0, x.visible_before), b.max_logit),
            "max_score": (x.extreme(x.score, True, -np.inf), b.max_score),
            "min_score": (x.extreme(x.score, False, np.inf), b.max_score),
            "distance_mean": (x.distance_mean, moments["distance_mean"]),
            "distance_sd": (sd, torch.where(e < sd * sd, below, (sd * sd + e).sqrt())),
        }
        for name in MASSES:
            if name in got:
                where = x.where_of(name)
                expected[name] = (x.weight * where).sum(3), (b.weight * where).sum(3)
        for name, (exact, bound) in expected.items():
            if name in got:
                logits = self.rows & x.known_logits.numpy()
                self.check(name, got[name], exact, bound, logits if "logit" in name else known)
        if "mass_segments" in got:
            ids = x.segments()[:, None]
            self.check("mass_segments", got["mass_segments"], x.weight @ ids, b.weight @ ids, known[..., None])
        if "visible_keys" in got:
            self.check_exact("visible_keys", got["visible_keys"], x.count.numpy(), self.rows)
        if "max_key" in got:
            self.max_key()

    def score_at(self, keys):
        """Final scores of keys [B, H, Nq, k]; -inf where there is no such key or it is not seen."""
        if self.c.keys == 0:
            return np.full(keys.shape, -np.inf)
        score = np.take_along_axis(self.x.score.numpy(), np.clip(keys, 0, self.c.keys - 1).astype(np.int64), 3)
        return np.where((keys >= 0) & (keys < self.c.keys), score, -np.inf)

    def max_key(self):
        """The key of a score that may be the largest."""
        got = self.r.arrays["max_key"][..., None]
        room = self.x.extreme(self.x.score, True, -np.inf) - 2 * self.b.max_score
        sees = self.x.any.numpy()
        right = np.where(sees, self.score_at(got)[..., 0] >= room.numpy(), got[..., 0] == -1)
        self.check_exact("max_key", np.where(right, 1, 0), np.ones_like(right, int), self.known)

    def top_keys(self):
        if "top_keys" not in self.r.arrays:
            return
        keys, weights, k = self.r.arrays["top_keys"], self.r.arrays["top_weights"], self.c.top_keys
        valid = self.known[..., None] & np.ones(k, bool)
        there = np.arange(k) < self.x.count.numpy()[..., None]
        score = -np.sort(-self.x.score.numpy(), 3)[..., :k]
        score = np.pad(score, ((0, 0), (0, 0), (0, 0), (0, k - score.shape[3])), constant_values=-np.inf)
        # The t-th largest of perturbed scores lies within the largest perturbation.
        with np.errstate(invalid="ignore"):
            near = np.abs(self.score_at(keys) - score) <= 2 * self.b.max_score.numpy()[..., None]
        self.check_exact("top_keys", np.where(there, near, keys == -1).astype(int), np.ones_like(keys), valid)
        ordered = np.sort(np.where(there, keys, -1 - np.arange(k)), 3)
        self.check_exact("top_keys twice", (np.diff(ordered, axis=3) == 0).astype(int),
                         np.zeros(ordered.shape[:3] + (k - 1,), int), valid[..., 1:])
        if self.c.keys == 0:
            return self.check("top_weights", weights, np.zeros_like(weights), 0.0, valid)
        at = np.clip(keys, 0, self.c.keys - 1).astype(np.int64)
        exact, bound = (np.where(there, np.take_along_axis(w.numpy(), at, 3), 0.0) for w in (self.x.weight, self.b.weight))
        self.check("top_weights", weights, exact, bound, valid)

    def column_statistics(self):
        got, seen = self.r.arrays, self.x.visible
        if "column_viewers" in got:
            self.check_exact("column_viewers", got["column_viewers"], seen.sum(2).numpy(), self.columns)
        if "column_mass" in got:
            known = ~(seen & ~self.x.known[..., None]).any(2).numpy() & self.columns
            self.check("column_mass", got["column_mass"], self.x.weight.sum(2), self.b.column_mass(), known)

    def chosen_weights(self):
        c, x, b = self.c, self.x, self.b
        known = x.known[..., None] | ~x.visible
        if "weights" in c.statistics:
            for (batch, head, begin, end), array in zip(c.weights, self.r.requests):
                at = (batch, head, slice(begin, end))
                self.check("weights", array.values, x.weight[at], b.weight[at], known[at].numpy())
        if "pairs" in c.statistics and c.pairs:
            at = tuple(torch.tensor(index) for index in zip(*c.pairs))
            self.check("pair_weights", self.r.pairs.values, x.weight[at], b.weight[at], known[at].numpy())


assert set(MASSES) <= set(binding.STATISTICS)
