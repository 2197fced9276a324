"""How far each result may be from the exact one: the derivation of tests/attention/bounds.c as tensor code, and
what f16, bf16, biases, ALiBi, score functions and sinks add to it. u = 2^-24, D = Dk, n = visible keys of the row.

Inputs of 16 bits are widened exactly: they cost nothing. The rest, to first order:

  bias, ALiBi, function   each step from s to s' = s + b rounds the term (log2(e) is folded into it), the sum, and
                          for a function two changes of units: 4 u (|b| + |s| + |s'|)
  bf16 by dot products    (kernels that "multiply in pairs") products of bf16 are exact in f32 and summed in any
                          order, but denormals are flushed: D 2^-126 (1 + max|q| + max|k|) |scale| more for a score.
                          The weights, not their sum, are rounded to bf16: 2^-8 sum p |v| more for o
  rotary                  what turning costs a channel is in rotary.py; with e such an error, a score errs by
                          |scale| sum (|q| e_k + |k| e_q + e_q e_k) more
  unnormalised            against the reference that was returned: scores move a sum by sum_j p_j expm1(delta_j) of
                          itself, adding by acc, the rounded reference by 4 u; lse's error is not in it; o likewise
  a sink                  w = p (1 - p_sink): the denominator only gains an exact term, so that relative errors do
                          not grow; lse_with_sink errs by no more than lse
  the result's dtype      is no part of the bounds: an error is counted from the nearest number that rounds to what
                          was returned (compare.py)"""

import torch

F64 = torch.float64
U = 2.0 ** -24
EXP = 2e-7   # relative error of the kernels' exp2
LAG = 8.0    # the reference may lag this far behind the maximum
U_BF16 = 2.0 ** -8


def growth(log_weight, rho):
    """How much a weight p = e^l grows when its score errs by rho: p expm1(rho), but never past 1."""
    small = log_weight.exp() * torch.expm1(rho.clamp(max=1.0))
    large = (log_weight + rho).clamp(max=0.0).exp()
    return torch.where(rho < 1, small, torch.where(log_weight > -1e300, large, 0.0))


class Bounds:
    def __init__(self, exact, pairs):
        self.x, self.c, self.pairs = exact, exact.case, pairs
        c, x = self.c, exact
        seen = x.visible
        n = x.count.double()
        self.acc = (2 * n + 16) * U + EXP
        self.largest = x.extreme(x.score.abs(), True, 0.0)
        scale = abs(x.scale)
        turning, q, k = 0.0, x.q.abs(), x.k.abs()
        if x.turned:
            off_q, off_k = (turned.error_of(pairs) for turned in x.turned)
            off_k = off_k.repeat_interleave(c.heads // max(c.kv_heads, 1), 1)
            turning = scale * (q @ off_k.transpose(2, 3) + off_q @ (k + off_k).transpose(2, 3))
            q, k = q + off_q, k + off_k
        size = scale * (q @ k.transpose(2, 3))
        logit = (c.head_size + 8) * U * size + 4 * U * (x.logit.abs() + self.largest[..., None]) \
            + c.head_size * 2.0 ** -149 / min(1.0, scale) + turning
        if pairs and x.q.numel() and x.k.numel():
            logit = logit + scale * c.head_size * 2.0 ** -126 * (1 + float(x.q.abs().max()) + float(x.k.abs().max()))
        self.logit = torch.where(x.visible_before, logit, 0.0)
        delta = logit.clamp(max=2 * c.softcap) + 8 * U * c.softcap if c.softcap else logit
        before = x.capped
        for term in x.terms:
            after = before + term
            delta = delta + 4 * U * (term.abs() + before.abs() + after.abs())
            before = after
        self.score = torch.where(seen, delta, 0.0)
        self.max_logit, self.max_score = (self.most(d) for d in (self.logit, self.score))
        shift = growth(x.log_weight, self.score).sum(3)
        lse = torch.where(self.max_score < 1, torch.log1p(shift), self.max_score) + self.acc \
            + 4 * U * (x.lse.abs() + self.largest + torch.log(n.clamp(min=1)) + 1)
        self.lse = torch.where(x.any, lse, 0.0)
        self.lse_with_sink = torch.where(x.any, lse + 4 * U * x.lse_with_sink.abs(), 0.0)
        self.rho = self.score + (self.lse + self.acc + 2 * EXP + 4 * U)[..., None]
        self.weight = torch.where(seen, growth(x.log_weight, self.rho) + 2.0 ** -126, 0.0)
        self.max_weight = self.most(self.weight)

    def most(self, values):
        return values.amax(3) if self.c.keys else torch.zeros(values.shape[:3], dtype=F64)

    def free(self, rho):
        """Errors of the weights e^(s - lse) where they need not sum to 1."""
        off = torch.where(rho < 1, self.x.weight * torch.expm1(rho.clamp(max=1.0)), (self.x.log_weight + rho).exp())
        return torch.where(self.x.visible, off, 0.0)

    def sum(self, times):
        """Of a sum told against a reference; `times` = e^(lse - reference)."""
        return times * (self.free(self.score + EXP + 4 * U).sum(3) + self.acc) + 2.0 ** -120

    def unnormalised(self, times):
        """Of o = times * sum p v; lse's own error is not in it."""
        x, acc = self.x, self.acc[..., None]
        off = self.free(self.score + 2 * EXP + 4 * U)
        factor = times[..., None] * (off + acc * x.weight) + 2.0 ** -120
        if self.pairs:
            factor = factor + times[..., None] * U_BF16 * (x.weight + off) + 2.0 ** -118
        flush = 2.0 ** -118 if self.pairs else 2.0 ** -147
        return torch.where(x.visible, factor, 0.0) @ x.v.abs() + flush * x.count[..., None]

    def o(self):
        x = self.x
        with_sink = x.log_weight + x.share[..., None]
        weight = with_sink.exp()
        factor = growth(with_sink, self.rho + 4 * U) + self.acc[..., None] * weight + 2.0 ** -120
        if self.pairs:
            factor = factor + U_BF16 * weight * torch.exp(self.rho.clamp(max=1.0)) + 2.0 ** -118
        factor = torch.where(x.visible, factor, 0.0)
        flush = 2.0 ** -118 if self.pairs else 2.0 ** -147
        return factor @ x.v.abs() + flush * x.count[..., None]

    def moments(self):
        """entropy, varentropy, participation, distance_mean, distance_variance of an Exact with moments()."""
        x, p, acc, delta = self.x, self.x.weight, self.acc, self.score
        centred = x.centred.abs()
        top = x.extreme(x.score, True, 0.0)[..., None]
        below = torch.where(x.visible, (x.score - top).abs(), 0.0)
        linear = (p * centred * delta).sum(3)
        square = (p * ((centred ** 2 - x.varentropy[..., None]).abs() + 2 * centred) * delta).sum(3)
        curve = (p * delta ** 2 * (1 + centred ** 2)).sum(3)
        depth, depth2 = (p * below).sum(3), (p * (below + LAG) ** 2).sum(3)
        entropy = linear + curve + acc * (1 + LAG + depth) + 4 * U * (x.entropy + torch.log(x.count + 1.0))
        varentropy = square + 4 * curve + 2 * acc * depth2 + 4 * U * x.varentropy
        part = (p * self.weight).sum(3)
        participation = x.participation * torch.expm1((2 * part * x.participation + 2 * acc).clamp(max=100.0))
        distance = torch.where(x.visible, x.distance, 0.0)
        farthest = self.most(distance)
        mean = (self.weight * distance).sum(3) + 4 * U * farthest
        off = distance - x.distance_mean[..., None]
        variance = (self.weight * off ** 2).sum(3) + acc * x.distance_variance \
            + 16 * U * U * farthest ** 2 + U * (1 + x.distance_mean)
        return {"entropy": entropy, "varentropy": varentropy, "participation": participation,
                "distance_mean": mean, "distance_variance": variance}

    def column_mass(self):
        """Errors of the weights, and Nq additions of non-negative terms."""
        return self.weight.sum(2) + self.c.queries * U * self.x.weight.sum(2)
