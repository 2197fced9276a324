"""Random problems: every option of attn_problem and attn_scores, from one seed.

A Case holds options and values as dense arrays over [B, H, Nq, Nk], whatever their form in memory is going
to be (call.py) and however long each sequence is; the computation in PyTorch reads them in this form."""

import dataclasses

import numpy as np

import binding
import rotary

HEAD_SIZES = (16, 32, 64, 64, 80, 96, 128, 128)
MOST_PAIRS = 500_000  # of queries and keys; a few cases may have LARGE_PAIRS
LARGE_PAIRS = 3_000_000


@dataclasses.dataclass
class Case:
    seed: int
    dtype: str = "f32"
    dtype_o: str = "f32"
    batch: int = 1
    heads: int = 1
    kv_heads: int = 1
    queries: int = 1
    keys: int = 1
    head_size: int = 64
    head_size_v: int = 64
    spare: tuple = (0, 0, 0)  # how much more batch, queries, keys the plan allows
    scale: float = 0.0
    softcap: float = 0.0
    causal: bool = False
    alignment: str = "bottom_right"
    offsets: np.ndarray = None         # [B]
    windows: np.ndarray = None         # [H, 3]: left, right, prefix; all rows alike unless head_windows
    head_windows: bool = False
    prefix_lm: np.ndarray = None       # [B, H]
    prefix_axes: tuple = (1, 0)        # which of B, H it depends on
    excluded: np.ndarray = None        # [B, H, E], -1 = none
    lengths: str = "equal"             # equal, padded, ragged_i32, ragged_i64
    query_lengths: np.ndarray = None   # [B], always there
    key_lengths: np.ndarray = None
    sinks: np.ndarray = None           # [H]
    mask: np.ndarray = None            # bool [B|1, H|1, Nq|1, Nk]
    mask_bits: bool = False
    bias: np.ndarray = None            # f64 holding values of bias_dtype, likewise
    bias_dtype: str = "f32"
    slopes: np.ndarray = None          # [H]
    query_documents: np.ndarray = None  # [B, Nq]
    key_documents: np.ndarray = None
    blocks: np.ndarray = None          # bool [H, R, C]
    block_size: tuple = (0, 0)
    function: bool = False
    statistics: tuple = ()             # names
    first_keys: int = 4
    local_distance: int = 16
    segments: int = 0
    top_keys: int = 0
    segment_ids: np.ndarray = None     # [B, Nk]
    weights: tuple = ()                # (batch, head, row_begin, row_end)
    pairs: tuple = ()                  # (batch, head, query, key)
    layout: str = "bhsd"               # bhsd, bshd, packed, strided
    threads: int = 0                   # 0 = no executor
    want_o: bool = True
    want_lse: bool = True
    values: str = "plain"
    sharpness: float = 1.0
    poisoned: int = 0                  # NaN or Inf keys that most rows should not see
    unnormalised: bool = False
    constant: bool = False             # what attn/scores.h takes is promised when planning
    limit: float = None                # of the workspace: 0 the least that will do, 1 all of it
    rotary: dict = None                # what rotary.draw made
    query_positions: np.ndarray = None  # [B, Nq], [B, Nk]; where rows are turned to
    key_positions: np.ndarray = None
    random: np.random.Generator = dataclasses.field(default=None, repr=False)  # for values and layouts

    def ragged(self):
        return self.lengths.startswith("ragged")

    def describe(self):
        """The case in words, on one line."""
        words = [f"seed {self.seed}: {self.dtype} to {self.dtype_o}, B {self.batch}, "
                 f"heads {self.heads}/{self.kv_heads}, {self.queries} x {self.keys}, "
                 f"sizes {self.head_size}/{self.head_size_v}, {self.layout}"]
        if any(self.spare):
            words.append("plan larger by {}/{}/{}".format(*self.spare))
        if self.lengths != "equal":
            words.append(f"{self.lengths} queries {self.query_lengths.tolist()} keys {self.key_lengths.tolist()}")
        for name in ("scale", "softcap"):
            if getattr(self, name):
                words.append(f"{name} {getattr(self, name):.4g}")
        if self.causal:
            words.append("causal")
        words.append(self.alignment + (f" {self.offsets.tolist()}" if self.offsets is not None else ""))
        if self.windows is not None:
            words.append(("head windows " if self.head_windows else "window ")
                         + str((self.windows if self.head_windows else self.windows[0]).tolist()))
        for name in ("prefix_lm", "excluded", "sinks", "slopes"):
            if getattr(self, name) is not None:
                words.append(f"{name} {np.round(getattr(self, name), 4).tolist()}")
        if self.mask is not None:
            words.append(f"mask {'bits' if self.mask_bits else 'bytes'} {list(self.mask.shape)}")
        if self.bias is not None:
            words.append(f"bias {self.bias_dtype} {list(self.bias.shape)}")
        if self.query_documents is not None:
            words.append("documents")
        if self.blocks is not None:
            words.append("blocks {} x {}".format(*self.block_size))
        if self.function:
            words.append("score function")
        for name in ("unnormalised", "constant"):
            if getattr(self, name):
                words.append(name)
        if self.limit is not None:
            words.append(f"workspace limit {self.limit:.3g}")
        if self.rotary is not None:
            words.append(f"rotary {self.rotary}")
            words += [name for name in ("query_positions", "key_positions") if getattr(self, name) is not None]
        if self.statistics:
            words.append("statistics " + " ".join(self.statistics))
        words.append(f"values {self.values}, sharpness {self.sharpness:g}, {self.poisoned} poisoned, "
                     f"threads {self.threads}")
        if not self.want_o:
            words.append("no o")
        return ", ".join(words)


class Dice:
    def __init__(self, seed):
        self.numpy = np.random.default_rng(seed)

    def chance(self, probability):
        return bool(self.numpy.random() < probability)

    def between(self, low, high):
        """Inclusive; low if high is less."""
        return int(self.numpy.integers(low, max(low, high) + 1))

    def pick(self, items):
        return items[self.between(0, len(items) - 1)]


def head_size(dice):
    if dice.chance(0.5):
        return dice.pick(HEAD_SIZES)
    if dice.chance(0.08):
        return 256
    return dice.between(1, 24) if dice.chance(0.6) else dice.between(25, 140)


def shape(case, dice):
    case.dtype = dice.pick(("f32", "bf16", "f16"))
    case.dtype_o = case.dtype if dice.chance(0.6) else "f32"
    case.head_size = head_size(dice)
    case.head_size_v = case.head_size if dice.chance(0.7) else head_size(dice)
    if dice.chance(0.02):
        case.head_size, case.head_size_v = 576, 512
    case.batch = dice.between(1, 3)
    case.kv_heads = dice.pick((1, 1, 2, 3))
    case.heads = case.kv_heads * dice.pick((1, 1, 2, 3, 4, 8))
    longest = dice.pick((12, 40, 90, 300))
    case.queries = dice.between(1, longest)
    case.keys = case.queries if dice.chance(0.35) else dice.between(1, longest)
    most = MOST_PAIRS
    if dice.chance(0.1):  # several blocks of keys
        case.batch = case.kv_heads = 1
        case.heads = dice.between(1, 2)
        case.queries, case.keys = dice.pick(((1, 9000), (5, 6000), (700, 700), (33, 4000), (1500, 300), (900, 1400)))
        case.keys += dice.between(-40, 40)
        most = LARGE_PAIRS
    if dice.chance(0.12):
        case.queries = 1
    if dice.chance(0.25):
        case.keys = (case.keys + 63) // 64 * 64  # whole panels
    if dice.chance(0.02):
        setattr(case, dice.pick(("batch", "queries", "keys")), 0)
    while case.batch * case.heads * case.queries * case.keys > most:
        if case.batch > 1:
            case.batch -= 1
        elif case.heads > case.kv_heads:
            case.heads = case.kv_heads
        else:
            case.heads = case.kv_heads = 1
            case.queries = min(case.queries, most // case.keys)
    if dice.chance(0.15):
        case.spare = (dice.between(0, 2), dice.between(0, 70), dice.between(0, 600))
    case.threads = dice.pick((0, 1, 2, 2, 3))


def sequence_lengths(case, dice):
    b, nq, nk = case.batch, case.queries, case.keys
    case.query_lengths = np.full(b, nq, np.int64)
    case.key_lengths = np.full(b, nk, np.int64)
    if not dice.chance(0.35):
        return
    case.lengths = dice.pick(("padded", "ragged_i32", "ragged_i64"))
    same = nq == nk and dice.chance(0.7)
    for i in range(b):
        low = 0 if dice.chance(0.2) else 1
        case.query_lengths[i] = dice.between(min(low, nq), nq)
        case.key_lengths[i] = case.query_lengths[i] if same else dice.between(min(low, nk), nk)


def window(dice, n):
    left, right, prefix = -1, -1, 0
    if dice.chance(0.75):
        left = dice.between(0, 5 if dice.chance(0.4) else n)
    if dice.chance(0.5):
        right = dice.between(0, 3 if dice.chance(0.5) else n)
    if dice.chance(0.35):
        prefix = dice.between(0, 6 if dice.chance(0.6) else 2 * n)
    return left, right, prefix


def runs_of_keys(case, dice):
    """Masks that are runs of keys, and the keys taken out of them."""
    b, h, nq, nk = case.batch, case.heads, case.queries, case.keys
    case.causal = dice.chance(0.45)
    case.alignment = dice.pick(("bottom_right", "top_left", "offset"))
    if case.alignment == "offset":
        case.offsets = np.array([dice.between(-nq - 2, nk + 2) for _ in range(b)], np.int64)
    if dice.chance(0.35):
        case.head_windows = dice.chance(0.4)
        rows = [window(dice, nk) for _ in range(h if case.head_windows else 1)]
        case.windows = np.array(rows if case.head_windows else rows * h, np.int64).reshape(h, 3)
    if dice.chance(0.15):
        case.prefix_axes = dice.pick(((1, 0), (0, 0), (0, 1), (1, 1)))
        dense = np.array([[dice.between(0, nk if dice.chance(0.9) else 2 * nk) for _ in range(h)] for _ in range(b)],
                         np.int64).reshape(b, h)
        if b and h:
            dense = dense if case.prefix_axes[0] else np.repeat(dense[:1], b, 0)
            dense = dense if case.prefix_axes[1] else np.repeat(dense[:, :1], h, 1)
        case.prefix_lm = dense
    if dice.chance(0.15):
        case.excluded = dice.numpy.integers(-1, max(nk, 1) if nk else 0, (b, h, dice.between(1, 5)))


def broadcast_shape(case, dice):
    full = (case.batch, case.heads, case.queries)
    return tuple(n if dice.chance(0.6) else min(n, 1) for n in full) + (case.keys,)


def tensors_of_scores(case, dice):
    """What attn/scores.h has."""
    b, h, nq, nk = case.batch, case.heads, case.queries, case.keys
    if dice.chance(0.3):
        dims = broadcast_shape(case, dice)
        case.mask_bits = dice.chance(0.5)
        case.mask = dice.numpy.random(dims) < dice.pick((0.05, 0.5, 0.9, 0.995))
        if dice.chance(0.3) and nk:  # whole stretches alike: tiles that are full or skipped
            case.mask[..., dice.between(0, nk - 1):] = dice.chance(0.5)
        if dice.chance(0.15):
            case.mask[:] = dice.chance(0.7)
    if dice.chance(0.25):
        case.bias = dice.numpy.normal(0, dice.pick((0.1, 1, 8)), broadcast_shape(case, dice))
        case.bias_dtype = case.dtype if dice.chance(0.5) else "f32"
        if dice.chance(0.4):
            case.bias[dice.numpy.random(case.bias.shape) < dice.pick((0.1, 0.9))] = -np.inf
        if dice.chance(0.2) and nk:
            case.bias[..., :dice.between(0, nk - 1)] = -np.inf
    if dice.chance(0.2):
        case.slopes = (2.0 ** -dice.numpy.uniform(0, 8, h)).astype(np.float32)
        if dice.chance(0.15):
            case.slopes *= -0.05
    if dice.chance(0.15):
        count = dice.between(1, 6)
        ids = [np.sort(dice.numpy.integers(0, count, (b, n)), 1) for n in (nq, nk)]
        if dice.chance(0.2):
            ids = [dice.numpy.permuted(i, axis=1) for i in ids]
        case.query_documents, case.key_documents = (i.astype(np.int32) - 1 for i in ids)
    if dice.chance(0.15):
        case.block_size = tuple(dice.pick((1, 3, 16, 32, 64, 100)) for _ in range(2))
        rows, columns = (-(-n // size) for n, size in zip((nq, nk), case.block_size))
        case.blocks = dice.numpy.random((h, rows, columns)) < dice.pick((0.3, 0.7, 1.0))
    case.function = dice.chance(0.06) and b * h * nq * nk < 200_000


def statistics(case, dice):
    names = binding.STATISTICS
    if dice.chance(0.45):
        return
    roll = dice.numpy.random()
    if roll < 0.3:
        case.statistics = ("entropy", "max_weight")
    elif roll < 0.5:
        case.statistics = tuple(names)
    elif roll < 0.8:
        case.statistics = tuple(name for name in names if dice.chance(0.4))
    else:
        case.statistics = (dice.pick(names),)
    b, h, nq, nk = case.batch, case.heads, case.queries, case.keys
    case.first_keys = dice.between(0, 9 if dice.chance(0.8) else 600)
    case.local_distance = dice.between(0, 20 if dice.chance(0.8) else 1024)
    case.segments = dice.between(1, 32)
    case.top_keys = dice.between(1, 8 if dice.chance(0.8) else 64)
    case.segment_ids = dice.numpy.integers(0, case.segments, (b, nk)).astype(np.uint8)
    if b * h == 0:
        return
    if "weights" in case.statistics:
        for _ in range(dice.between(0, 3)):
            batch = dice.between(0, b - 1)
            rows = int(case.query_lengths[batch])
            begin = dice.between(0, rows)
            case.weights += ((batch, dice.between(0, h - 1), begin, dice.between(begin, rows)),)
    if "pairs" in case.statistics:
        for _ in range(dice.between(0, 20)):
            batch = dice.between(0, b - 1)
            if case.query_lengths[batch] and case.key_lengths[batch]:
                case.pairs += ((batch, dice.between(0, h - 1), dice.between(0, int(case.query_lengths[batch]) - 1),
                                dice.between(0, int(case.key_lengths[batch]) - 1)),)


def places(dice, dims):
    most = 2.0 ** 40 if dice.chance(0.1) else 6000
    return (most * (dice.numpy.random(dims) - 0.1)).astype(np.int64)


def more_of_the_plan(case, dice):
    """Unnormalised results, a promise, a limit, a rotary embedding."""
    if dice.chance(0.15):
        case.unnormalised, case.dtype_o = True, "f32"
    case.constant = dice.chance(0.3) and not any(case.spare)
    if dice.chance(0.2):
        case.limit = 0.0 if dice.chance(0.4) else float(dice.numpy.random())
    if dice.chance(0.25) and case.head_size >= 2:
        case.rotary = rotary.draw(dice, case.head_size)
        if dice.chance(0.3):
            case.query_positions = places(dice, (case.batch, case.queries))
        if dice.chance(0.3):
            case.key_positions = places(dice, (case.batch, case.keys))


def generate(seed):
    dice = Dice(seed)
    case = Case(seed)
    shape(case, dice)
    sequence_lengths(case, dice)
    if dice.chance(0.4):
        case.scale = float(np.float32((-1 if dice.chance(0.1) else 1) * (0.02 + 2 * dice.numpy.random())
                                      / np.sqrt(case.head_size)))
    if dice.chance(0.25):
        case.softcap = float(np.float32(0.5 + 50 * dice.numpy.random() ** 2))
    if dice.chance(0.25):
        case.sinks = dice.numpy.normal(0, 4, case.heads).astype(np.float32)
        if dice.chance(0.1):
            case.sinks[:1] = -np.inf
    if dice.chance(0.2):  # torch's own: causal from the top left, or no mask at all
        case.causal, case.alignment = dice.chance(0.5), "top_left"
    else:
        runs_of_keys(case, dice)
        if dice.chance(0.6):
            tensors_of_scores(case, dice)
    statistics(case, dice)
    case.layout = dice.pick(("bhsd", "bshd", "packed", "strided", "strided"))
    case.values = dice.pick(("plain", "plain", "plain", "rising", "outliers", "tiny", "large"))
    case.sharpness = dice.pick((0.0, 0.1, 0.5, 1.0, 1.0, 3.0, 10.0))
    if case.keys > 500 and dice.chance(0.6):  # the running maximum has to follow from block to block
        case.values, case.sharpness = "rising", dice.pick((1.0, 3.0, 10.0))
    case.poisoned = dice.between(1, 3) if dice.chance(0.15) else 0
    case.want_o = not dice.chance(0.03)
    case.want_lse = dice.chance(0.8)
    case.random = dice.numpy
    more_of_the_plan(case, Dice(seed + 0x5EED0000))  # of its own, so that older seeds keep the rest of their case
    return case
