"""A case in float64 by PyTorch: what every result should be, and what the bounds are derived from.

Where torch.nn.functional.scaled_dot_product_attention defines the result (its math backend in float64), `o` is
its: is_causal, boolean masks, and anything that is added to a score, as a float64 mask; a sink is one more key of
zeros with the sink's logit as its mask; grouped heads by enable_gqa. A softcap it does not know; there, and for
lse and statistics, the formulas of the headers are written out as tensor code. The two are held to each other in
every case where both exist."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

import call
import rotary

F64 = torch.float64
INFINITY = float("inf")


def grouped(tensor, heads):
    return tensor.repeat_interleave(heads // max(tensor.shape[1], 1), 1) if tensor.shape[1] else tensor


def visible_by_runs(case, position, key):
    """Causal, window, prefixes and excluded keys of every pair, as include/attn/attn.h says them."""
    seen = torch.ones((), dtype=torch.bool)
    if case.causal:
        seen = seen & (key <= position)
    if case.windows is not None:
        left, right, prefix = (torch.from_numpy(case.windows[:, i].copy()).view(1, -1, 1, 1) for i in range(3))
        inside = ((left < 0) | (key >= position - left)) & ((right < 0) | (key <= position + right))
        seen = seen & (inside | (key < prefix))
    if case.prefix_lm is not None:
        seen = seen | (key < torch.from_numpy(case.prefix_lm)[:, :, None, None])
    if case.excluded is not None:
        out = torch.zeros((case.batch, case.heads, case.keys + 1), dtype=torch.bool)
        out.scatter_(2, torch.from_numpy(case.excluded) % (case.keys + 1), True)  # -1: the key that is not there
        seen = seen & ~out[:, :, None, :-1]
    return seen


def visible_by_scores(case, row, key):
    seen = torch.ones((), dtype=torch.bool)
    if case.mask is not None:
        seen = seen & torch.from_numpy(case.mask)
    if case.query_documents is not None:
        seen = seen & (torch.from_numpy(case.query_documents)[:, None, :, None]
                       == torch.from_numpy(case.key_documents)[:, None, None, :])
    if case.blocks is not None:
        rows, keys = case.block_size
        if case.queries and case.keys:
            seen = seen & torch.from_numpy(case.blocks)[:, row.view(-1) // rows][:, :, key.view(-1) // keys]
    return seen


class Exact:
    """Tensors over [B, H, Nq, Nk] (float64, bool): see the assignments. -inf scores are masked."""

    def __init__(self, inputs):
        c = case = inputs.case
        self.case, self.inputs = case, inputs
        self.q, self.v, self.own_k = inputs.dense_q, grouped(inputs.dense_v, c.heads), inputs.dense_k
        self.scale = c.scale if c.scale != 0 else c.head_size ** -0.5
        batch, head, row, key = (torch.arange(n).view([-1 if a == axis else 1 for a in range(4)])
                                 for axis, n in enumerate((c.batch, c.heads, c.queries, c.keys)))
        lengths_q, lengths_k = (torch.from_numpy(n).view(-1, 1, 1, 1) for n in (c.query_lengths, c.key_lengths))
        offset = {"bottom_right": lengths_k - lengths_q, "top_left": torch.zeros_like(lengths_q)}.get(c.alignment)
        if c.alignment == "offset":
            offset = torch.from_numpy(c.offsets).view(-1, 1, 1, 1)
        self.position = row + offset
        self.key = key
        self.turned = None
        if c.rotary is not None:
            own = self.position[:, 0, :, 0].expand(c.batch, -1), key[0, 0].expand(c.batch, -1)
            places = [here if given is None else torch.from_numpy(given)
                      for given, here in zip((c.query_positions, c.key_positions), own)]
            self.turned = [rotary.Turned(c.rotary, x, at) for x, at in zip((self.q, self.own_k), places)]
            self.q, self.own_k = (turned.values for turned in self.turned)
        self.k = grouped(self.own_k, c.heads)
        self.distance = (self.position - key).abs().double()

        shape = (c.batch, c.heads, c.queries, c.keys)
        seen = visible_by_runs(c, self.position, key) & visible_by_scores(c, row, key)
        seen = (seen & (row < lengths_q) & (key < lengths_k)).expand(shape)
        self.logit = self.scale * (self.q @ self.k.transpose(2, 3))
        self.additions(batch, head, row)
        # The library looks at logits before the caller's function, so that what only that hides counts for them.
        before = [term != -INFINITY for term in (self.terms[:-1] if c.function else self.terms)]
        for there in before:
            seen = seen & there
        self.visible_before = seen
        seen = seen & (self.added != -INFINITY)
        self.visible = seen
        self.capped = c.softcap * torch.tanh(self.logit / c.softcap) if c.softcap else self.logit
        self.score = torch.where(seen, self.capped + self.added, -INFINITY)
        self.count = seen.sum(3)
        self.any = self.count > 0
        # a row that sees NaN or Inf is promised nothing but to show it
        bad = grouped(torch.from_numpy(inputs.bad), c.heads)[:, :, None, :]
        self.known = ~(seen & bad).any(3)
        self.known_logits = ~(self.visible_before & bad).any(3)

    def additions(self, batch, head, row):
        """What is added after the cap, and the sizes of the terms and sums on the way (for bounds)."""
        c = self.case
        self.terms = []
        added = torch.zeros((1, 1, 1, 1), dtype=F64)
        if c.bias is not None:
            self.terms.append(torch.from_numpy(c.bias))
            added = added + self.terms[-1]
        if c.slopes is not None:
            self.terms.append(-torch.from_numpy(c.slopes).double().view(1, -1, 1, 1) * self.distance)
            added = added + self.terms[-1]
        if c.function:
            self.terms.append(torch.from_numpy(call.function_values(*(x.numpy() for x in (batch, head, row, self.key)))))
            added = added + self.terms[-1]
        self.added = added.expand(self.logit.shape)

    # ---- softmax ------------------------------------------------------------------------------------

    def softmax(self):
        """Weights of the keys, their logarithms, lse; of the output too where a sink takes its share."""
        self.lse = torch.logsumexp(self.score, 3) if self.case.keys else torch.full(self.count.shape, -INFINITY, dtype=F64)
        safe = torch.where(self.any, self.lse, 0.0)[..., None]
        self.log_weight = self.score - safe
        self.weight = self.log_weight.exp()
        self.lse_with_sink, self.share = self.lse, torch.zeros_like(self.lse)
        if self.case.sinks is not None:
            sink = torch.from_numpy(self.case.sinks).double().view(1, -1, 1)
            self.lse_with_sink = torch.logaddexp(self.lse, sink)
            if not self.case.unnormalised:  # then o is of the keys alone
                self.share = torch.where(self.any, self.lse - self.lse_with_sink, 0.0)
        self.o, self.how = (self.weight * self.share.exp()[..., None]) @ self.v, "formula"
        self.by_torch()

    def by_torch(self):
        c = self.case
        if c.softcap or 0 in self.o.shape or c.keys == 0:
            return
        k, v = self.own_k, self.inputs.dense_v
        options = {"scale": self.scale, "enable_gqa": c.heads != c.kv_heads}
        whole = bool(self.visible.all())
        lower = torch.ones(c.queries, c.keys, dtype=torch.bool).tril()
        if c.sinks is not None and not c.unnormalised:
            mask = torch.where(self.visible, self.added, -INFINITY)
            sink = torch.from_numpy(c.sinks).double().view(1, -1, 1, 1).expand(c.batch, -1, c.queries, 1)
            options["attn_mask"] = torch.cat((mask, sink), 3)
            k, v = (torch.cat((x, torch.zeros_like(x[:, :, :1])), 2) for x in (k, v))
            self.how = "additive mask with a sink"
        elif self.terms:
            options["attn_mask"] = torch.where(self.visible, self.added, -INFINITY)
            self.how = "additive mask"
        elif c.causal and not whole and bool((self.visible == lower).all()):
            options["is_causal"] = True
            self.how = "is_causal"
        elif not whole:
            options["attn_mask"] = self.visible
            self.how = "boolean mask"
        else:
            self.how = "no mask"
        with sdpa_kernel(SDPBackend.MATH):
            o = scaled_dot_product_attention(self.q, k, v, **options)
        sees = self.any[..., None]  # torch gives NaN or 0 to a row without keys, depending on its version; we give 0
        o = torch.where(sees, o, 0.0)
        room = 1e-12 * (1 + self.score.abs().nan_to_num(0, 0, 0).amax(3)[..., None]) * (self.weight @ self.v.abs())
        if not bool(((o - self.o).abs() <= room + 1e-300).all()):
            raise ArithmeticError(f"torch ({self.how}) and the formulas differ: {(o - self.o).abs().max():g}")
        self.o = o

    # ---- statistics ---------------------------------------------------------------------------------

    def mean(self, values):
        """The weighted mean of values over the keys a row sees; 0 for none."""
        return (self.weight * torch.where(self.visible, values, 0.0)).sum(3)

    def moments(self):
        log_weight = torch.where(self.visible, self.log_weight, 0.0)
        self.entropy = -(self.weight * log_weight).sum(3)
        self.centred = torch.where(self.visible, log_weight + self.entropy[..., None], 0.0)
        self.varentropy = (self.weight * self.centred ** 2).sum(3)
        self.participation = torch.where(self.any, 1 / (self.weight ** 2).sum(3), 0.0)
        self.distance_mean = self.mean(self.distance)
        self.distance_variance = self.mean((self.distance - self.distance_mean[..., None]) ** 2)

    def extreme(self, values, largest, empty, seen=None):
        """The largest or smallest over the keys a row sees; `empty` for none."""
        seen = self.visible if seen is None else seen
        if self.case.keys == 0:
            return torch.full(self.count.shape, empty, dtype=F64)
        values = torch.where(seen, values, -INFINITY if largest else INFINITY)
        return torch.where(seen.any(3), values.amax(3) if largest else values.amin(3), empty)

    def segments(self):
        """One-hot [B, Nk, segments]."""
        ids = torch.from_numpy(self.case.segment_ids).long()
        return torch.nn.functional.one_hot(ids, self.case.segments).double()

    def where_of(self, name):
        """The keys that a mass sums, as something that multiplies [B, H, Nq, Nk]."""
        at = self.key - self.position
        return {"mass_self": at == 0, "mass_previous": at == -1, "mass_next": at == 1,
                "mass_first": self.key < self.case.first_keys,
                "mass_local": self.distance <= self.case.local_distance}[name].double()
