#!/usr/bin/env python3
"""What Hugging Face transformers makes of rotary embeddings: its frequencies (ROPE_INIT_FUNCTIONS) for the
parameters of known models, and a few turned rows.

    make_golden.py > tests/rotary/golden/transformers.txt

Needs torch and transformers (5.23.0 was used) in a virtual environment. Its arithmetic is f32.
"""
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as turn_neighbours
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as turn_halves

DEFAULTS = dict(base=10000.0, scaling="plain", factor=1.0, original=0, fast=32.0, slow=1.0, whole=1,
                low=1.0, high=4.0, attention=0.0)


def text(values):
    return " ".join("%.9g" % float(value) for value in values)


def case(name, kind, head, parameters, ours, divisors=None, length=None, maximum=131072):
    """`parameters` are theirs; `ours` are the fields of attn_rotary that say the same."""
    base = ours.get("base", 10000.0)
    config = LlamaConfig(hidden_size=head * 4, num_attention_heads=4, head_dim=head,
                         max_position_embeddings=maximum,
                         rope_parameters=dict(rope_type=kind, rope_theta=base, **parameters))
    if kind == "default":
        frequencies, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
        size = head
    else:
        frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu", length)
        size = 2 * len(frequencies)
    print("case", name, "size", size, *(f"{key} {value}" for key, value in {**DEFAULTS, **ours}.items()))
    print(("divisors %d " % len(divisors or []) + text(divisors or [])).rstrip())
    print("length_factor", "%.9g" % factor)
    print("frequencies", len(frequencies), text(frequencies))


def turned(pairing, size, head, position):
    """A row of `head` channels, the first `size` of which turn, plain frequencies of base 10000."""
    generator = torch.Generator().manual_seed(head + position)
    x = torch.randn(head, generator=generator)
    angles = position / 10000 ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
    part = x[None, None, None, :size]  # llama: [batch, heads, rows, channels]
    if pairing == "halves":
        cosine, sine = (torch.cat((f(angles), f(angles))).float()[None, None] for f in (torch.cos, torch.sin))
        y, _ = turn_halves(part, part, cosine, sine)
    else:  # gptj: [batch, rows, heads, channels]
        y = turn_neighbours(part, angles.sin().float()[None, None], angles.cos().float()[None, None])
    y = torch.cat((y.reshape(-1), x[size:]))
    print("turned", pairing, "size", size, "head", head, "position", position)
    print("x", text(x))
    print("y", text(y))


case("llama2", "default", 128, {}, {})
case("phi2", "linear", 80, dict(factor=1.0, partial_rotary_factor=0.4), {})
case("gemma3", "linear", 256, dict(factor=8.0), dict(base=1e6, scaling="linear", factor=8.0))
# at twice the length it was made for: 2 * 8192 / 4096 - 1 = 3
case("dynamic", "dynamic", 128, dict(factor=2.0), dict(scaling="ntk", factor=3.0), length=8192, maximum=4096)
case("qwen2.5", "yarn", 128, dict(factor=4.0, original_max_position_embeddings=32768),
     dict(base=1e6, scaling="yarn", factor=4.0, original=32768))
case("gpt-oss", "yarn", 64, dict(factor=32.0, original_max_position_embeddings=4096, truncate=False),
     dict(base=150000.0, scaling="yarn", factor=32.0, original=4096, whole=0))
case("deepseek-v2-lite", "yarn", 64,
     dict(factor=40.0, original_max_position_embeddings=4096, mscale=0.707, mscale_all_dim=1.0),
     dict(scaling="yarn", factor=40.0, original=4096,
          attention=(0.0707 * 3.6888794541139363 + 1) / (0.1 * 3.6888794541139363 + 1)))  # ln 40
case("yarn-betas", "yarn", 96, dict(factor=16.0, original_max_position_embeddings=2048, beta_fast=20.0,
                                    beta_slow=2.0, attention_factor=1.5),
     dict(base=50000.0, scaling="yarn", factor=16.0, original=2048, fast=20.0, slow=2.0, attention=1.5))
case("llama3.1", "llama3", 128, dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                     original_max_position_embeddings=8192),
     dict(base=500000.0, scaling="llama3", factor=8.0, original=8192))
case("llama3.2", "llama3", 64, dict(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                    original_max_position_embeddings=8192),
     dict(base=500000.0, scaling="llama3", factor=32.0, original=8192))
divisors = [1 + m / 4 for m in range(48)]
case("longrope", "longrope", 96, dict(long_factor=divisors, short_factor=[1.0] * 48, factor=32.0,
                                      original_max_position_embeddings=4096),
     dict(attention=(1 + 3.4657359027997265 / 8.317766166719343) ** 0.5),  # ln 32, ln 4096
     divisors=divisors, length=8192)
case("gemma4", "proportional", 64, dict(partial_rotary_factor=0.25), dict(base=1e6),
     divisors=[1.0] * 8 + [float("inf")] * 24)
for pairing in ("halves", "neighbours"):
    turned(pairing, 8, 8, 5)
    turned(pairing, 16, 24, 1000)
