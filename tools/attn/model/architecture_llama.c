/* Llama (Meta, 2023), and what has its shape: SmolLM 2, Mistral and many more.
 *
 * RMS norms before each branch, a rotary embedding, SiLU-gated feed-forward, grouped heads. The rows of
 * q and k in GGUF files are ordered so that neighbours turn together; Hugging Face's own files turn halves.
 * Llama 3.1's longer context is a tensor of divisors for the frequencies. */
#include "architecture.h"

const struct architecture architecture_llama = {
    .name = "llama",
    .defaults = {.rotary_base = 1e4, .rotary_factor = 1, .causal = true},
    .norm = NORM_RMS,
    .rotary = ROTARY_PAIRS,
    .activation = ACTIVATION_SILU,
    .activation_name = "silu",
    .predicts_tokens = true,
    .part =
        {
            [PART_EMBEDDING] = {"token_embd", NULL, 0},
            [PART_FINAL_NORM] = {"output_norm", NULL, 0},
            [PART_OUTPUT] = {"output", NULL, PART_OPTIONAL},
            [PART_ROTARY_DIVISORS] = {"rope_freqs", NULL, PART_OPTIONAL},
        },
    .layer_part =
        {
            [PART_ATTENTION_NORM] = {"blk.%d.attn_norm", NULL, 0},
            [PART_QUERY] = {"blk.%d.attn_q", NULL, PART_MAY_HAVE_BIAS},
            [PART_KEY] = {"blk.%d.attn_k", NULL, PART_MAY_HAVE_BIAS},
            [PART_VALUE] = {"blk.%d.attn_v", NULL, PART_MAY_HAVE_BIAS},
            [PART_ATTENTION_OUTPUT] = {"blk.%d.attn_output", NULL, PART_MAY_HAVE_BIAS},
            [PART_FEED_NORM] = {"blk.%d.ffn_norm", NULL, 0},
            [PART_GATE] = {"blk.%d.ffn_gate", NULL, PART_MAY_HAVE_BIAS},
            [PART_UP] = {"blk.%d.ffn_up", NULL, PART_MAY_HAVE_BIAS},
            [PART_DOWN] = {"blk.%d.ffn_down", NULL, PART_MAY_HAVE_BIAS},
        },
};
