"""Rotary embedding in float64, by the formulas of include/attn/rotary.h and what a turned channel costs in f32.

Errors: a pair becomes (x c - y s, x s + y c) with c and s rounded to f32: 3 u (|x c| + |y s|) at most, which is no
more than 3 u R, R the length of the turned pair. Angles are made in double on both sides, by other formulas: 2^-48 of
the angle, which moves a channel by as much of R. Where bf16 is multiplied in pairs, 2^-8 of the channel more."""

import math

import numpy as np
import torch

U = 2.0 ** -24
SCALINGS = ("plain", "linear", "ntk", "yarn", "llama3")


def draw(dice, head_size):
    """The fields of an attn_rotary."""
    half = head_size // 2
    size = 2 * (half if dice.chance(0.6) else dice.between(1, half))
    drawn = {"size": size, "neighbours": dice.chance(0.5), "base": dice.pick((1e4, 1e4, 5e5, 1e6, 1.5)),
             "scaling": "plain" if dice.chance(0.4) else dice.pick(SCALINGS[1:]),
             "factor": float(1 + 31 * dice.numpy.random() ** 2), "original_length": dice.pick((64, 2048, 8192)),
             "whole_ramp": dice.chance(0.7),
             "attention_factor": float(0.5 + dice.numpy.random()) if dice.chance(0.3) else 0.0, "divisors": None}
    if dice.chance(0.2):
        drawn["divisors"] = (1 + 3 * dice.numpy.random(size // 2)).astype(np.float32)
        if dice.chance(0.3):
            drawn["divisors"][dice.between(0, size // 2 - 1):] = np.inf
    return drawn


def frequencies(r):
    size, m = r["size"], np.arange(r["size"] // 2, dtype=np.float64)
    plain = r["base"] ** (-2 * m / size)
    if r["scaling"] == "linear":
        plain = plain / r["factor"]
    elif r["scaling"] == "ntk" and size > 2:
        plain = (r["base"] * r["factor"] ** (size / (size - 2))) ** (-2 * m / size)
    elif r["scaling"] == "yarn":
        low, high = (size * math.log(r["original_length"] / (2 * math.pi * beta)) / (2 * math.log(r["base"]))
                     for beta in (32.0, 1.0))
        if r["whole_ramp"]:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(0, low), min(size - 1, high)
        ramp = np.clip((m - low) / (high - low), 0, 1) if high > low else (m > low).astype(np.float64)
        plain = plain * ((1 - ramp) + ramp / r["factor"])
    elif r["scaling"] == "llama3":
        turns = r["original_length"] * plain / (2 * math.pi)
        share = np.clip((turns - 1) / (4 - 1), 0, 1)
        plain = np.where(turns > 4, plain, np.where(turns < 1, plain / r["factor"],
                                                    ((1 - share) / r["factor"] + share) * plain))
    return plain if r["divisors"] is None else plain / r["divisors"].astype(np.float64)


def length_factor(r):
    if r["attention_factor"]:
        return r["attention_factor"]
    return 0.1 * math.log(r["factor"]) + 1 if r["scaling"] == "yarn" else 1.0


class Turned:
    """x [B, H, N, D] turned to positions [B, N]: values, and the error of each channel (no pairs of bf16)."""

    def __init__(self, r, x, positions):
        half, size = r["size"] // 2, r["size"]
        angle = positions[:, None, :, None].double() * torch.from_numpy(frequencies(r))
        cosine, sine = angle.cos() * length_factor(r), angle.sin() * length_factor(r)
        first, second = (slice(0, size, 2), slice(1, size, 2)) if r["neighbours"] else (slice(0, half), slice(half, size))
        a, b = x[..., first], x[..., second]
        self.values, self.error = x.clone(), torch.zeros_like(x)
        self.values[..., first], self.values[..., second] = a * cosine - b * sine, a * sine + b * cosine
        length = torch.hypot(a, b) * length_factor(r)
        self.error[..., first] = self.error[..., second] = (3 * U + 2.0 ** -48 * angle.abs()) * length + 2.0 ** -148

    def error_of(self, pairs):
        return self.error + 2.0 ** -8 * (self.values.abs() + self.error) + 2.0 ** -134 if pairs else self.error
