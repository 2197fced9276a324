/* Rotary position embedding (Su et al. 2021, RoFormer, equation 34) of q and k.
 *
 *     attn_rotary rotary = attn_rotary_init(64);       // plain, base 10000, pairs (m, m + 32)
 *     attn_rotary_apply(&rotary, B, Hq, N, 64, q, &q_layout, q, &q_layout, positions, executor, NULL);
 *     attn_rotary_apply(&rotary, B, Hkv, N, 64, k, &k_layout, k, &k_layout, positions, executor, NULL);
 *
 * or problem.rotary = &rotary, and attention turns q and k while it packs them, or reads k from a cache.
 *
 * Pair m of a head turns by the angle position * frequency[m], times a common factor of its length:
 *
 *     (x, y) <- length_factor * (x cos - y sin, x sin + y cos)
 *
 * Pairs are (m, m + size/2) or (2m, 2m + 1), m < size/2, within the first `size` channels of a head; the
 * other channels are copied. Turning by -position undoes it (but for length_factor^2), and is its gradient.
 *
 * Frequencies, with f_m = base^(-2m / size):
 *
 *     PLAIN    f_m
 *     LINEAR   f_m / factor                          (Chen et al. 2023, position interpolation)
 *     NTK      b^(-2m / size), b = base * factor^(size / (size - 2))                (bloc97 2023)
 *              "Dynamic" NTK of Hugging Face at length n: give s n / original - (s - 1) as factor.
 *     YARN     f_m ((1 - r_m) + r_m / factor)        (Peng et al. 2023, section 3.2, with the ramp over
 *              the number of the pair as in the authors' program and Hugging Face:
 *              r_m = clamp((m - low) / (high - low), 0, 1), low = max(0, floor(d(beta_fast))),
 *              high = min(size - 1, ceil(d(beta_slow))), where pair
 *              d(beta) = size ln(original_length / (2 pi beta)) / (2 ln base) turns beta times in
 *              original_length; high <= low makes a step at low)
 *     LLAMA3   by the turns t = original_length f_m / (2 pi) (Llama 3.1, Dubey et al. 2024):
 *              f_m where t > high; f_m / factor where t < low; else ((1 - s) / factor + s) f_m,
 *              s = (t - low) / (high - low)
 *
 * and each is then divided by frequency_divisors[m] if they are given: LongRoPE (Phi-3) is PLAIN with
 * divisors and an attention_factor; GGUF's rope_freqs.weight is an array of divisors. */
#ifndef ATTN_ROTARY_H
#define ATTN_ROTARY_H

#include "attn/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum attn_rotary_pairing {
    ATTN_ROTARY_HALVES = 0,     /* (m, m + size/2): GPT-NeoX, Hugging Face's Llama */
    ATTN_ROTARY_NEIGHBOURS = 1, /* (2m, 2m + 1): the paper, GPT-J, Meta's Llama */
} attn_rotary_pairing;

typedef enum attn_rotary_scaling {
    ATTN_ROTARY_PLAIN = 0,
    ATTN_ROTARY_LINEAR = 1,
    ATTN_ROTARY_NTK = 2,
    ATTN_ROTARY_YARN = 3,
    ATTN_ROTARY_LLAMA3 = 4,
} attn_rotary_scaling;

/* Fields of scalings other than the one chosen are not read. */
typedef struct attn_rotary {
    size_t struct_size;           /* sizeof(attn_rotary) */
    int64_t size;                 /* channels that turn: even, >= 2 */
    attn_rotary_pairing pairing;  /* default HALVES */
    double base;                  /* finite, >= 1 (YARN: > 1); default 10000 */
    attn_rotary_scaling scaling;  /* default PLAIN */
    double factor;                /* all but PLAIN: how much longer than trained; finite, >= 1;
                                    default 1 */
    int64_t original_length;      /* YARN, LLAMA3: context length of training; > 0 */
    double beta_fast, beta_slow;  /* YARN: finite, beta_fast >= beta_slow > 0; default 32, 1 */
    bool whole_ramp;              /* YARN: floor and ceil of the ramp's ends; default true (gpt-oss,
                                    "truncate": false, goes without) */
    double low_frequency_factor;  /* LLAMA3: low; > 0; default 1 */
    double high_frequency_factor; /* LLAMA3: high; finite, > low; default 4 */
    double attention_factor;      /* length_factor: finite, >= 0; 0 (default) = 1, but with YARN
                                     0.1 ln(factor) + 1 (equation 22) */
    const float
        *frequency_divisors; /* [size / 2], each > 0; +inf = the pair does not turn (Gemma 4's
                                        "proportional"); NULL (default) = none */
} attn_rotary;

static inline attn_rotary attn_rotary_init(int64_t size)
{
    attn_rotary rotary;
    memset(&rotary, 0, sizeof rotary);
    rotary.struct_size = sizeof rotary;
    rotary.size = size;
    rotary.base = 10000.0;
    rotary.factor = 1.0;
    rotary.beta_fast = 32.0;
    rotary.beta_slow = 1.0;
    rotary.whole_ramp = true;
    rotary.low_frequency_factor = 1.0;
    rotary.high_frequency_factor = 4.0;
    return rotary;
}

/* The frequencies [size / 2], radians per position, and the common factor of lengths, in double.
 * length_factor may be NULL. Errors: NULL, STRUCT_SIZE, SHAPE, ALIGNMENT, VALUE. */
ATTN_API attn_status attn_rotary_frequencies(const attn_rotary *rotary, double *frequencies,
                                             double *length_factor, attn_error *error);

/* Turn x [batch, heads, length, head_size] into `to`, each of f32, bf16 or f16 by its own layout (last
 * stride 1; zero strides broadcast, in x alone). `to` is x itself with the same layout, or overlaps
 * nothing. Row n of sequence b, all heads, stands at positions[b * length + n] (any int64), or at n where
 * positions is NULL. Counts are 0 .. 2^31 - 1, rotary->size <= head_size; tensors may be NULL where empty.
 *
 * Angles and their cosines are made in double and rounded to f32, in which the pairs turn; a result is
 * rounded to its own dtype once. Channels that do not turn are copied bit by bit between equal dtypes. What
 * a row becomes depends on its position and content alone: the same bits in any batch, with any executor.
 *
 * Allocates, whatever the length, about 516 * size bytes at most and 12 * size + 8 * head_size for each
 * thread, and frees them. A NULL executor is serial.
 *
 * Errors: NULL, STRUCT_SIZE, SHAPE, STRIDE, DTYPE, ALIGNMENT, VALUE, OVERFLOW, MEMORY, EXECUTOR. */
ATTN_API attn_status attn_rotary_apply(const attn_rotary *rotary, int64_t batch, int64_t heads,
                                       int64_t length, int64_t head_size, const void *x,
                                       const attn_layout *x_layout, void *to,
                                       const attn_layout *to_layout, const int64_t *positions,
                                       const attn_executor *executor, attn_error *error);

#ifdef __cplusplus
}
#endif

#endif
