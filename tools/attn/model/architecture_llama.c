/* Llama (Meta, 2023), and what has its shape: SmolLM 2, Mistral and many more.
 *
 * RMS norms before each branch, a rotary embedding, SiLU-gated feed-forward, grouped heads. The rows of
 * q and k in GGUF files are ordered so that neighbours turn together; Hugging Face's own files turn halves.
 * Llama 3.1's longer context is a tensor of divisors for the frequencies in GGUF files, four numbers in
 * config.json. */
#include "architecture.h"

const struct architecture architecture_llama = {
    .name = "llama",
    .safetensors_prefix = "model.",
    .defaults = {.rotary_base = 1e4, .rotary_factor = 1, .causal = true},
    .norm = NORM_RMS,
    .rotary = ROTARY_HALVES,
    .gguf_turns_pairs = true,
    .activation = ACTIVATION_SILU,
    .activation_name = "silu",
    .predicts_tokens = true,
    .passed_over = passed_over_frequencies,
    .part =
        {
            [PART_EMBEDDING] = {"token_embd", "embed_tokens", 0},
            [PART_FINAL_NORM] = {"output_norm", "norm", 0},
            [PART_OUTPUT] = {"output", "lm_head", PART_OPTIONAL},
            [PART_ROTARY_DIVISORS] = {"rope_freqs", NULL, PART_OPTIONAL},
        },
    .layer_part =
        {
            [PART_ATTENTION_NORM] = {"blk.%d.attn_norm", "layers.%d.input_layernorm", 0},
            [PART_QUERY] = {"blk.%d.attn_q", "layers.%d.self_attn.q_proj", PART_MAY_HAVE_BIAS},
            [PART_KEY] = {"blk.%d.attn_k", "layers.%d.self_attn.k_proj", PART_MAY_HAVE_BIAS},
            [PART_VALUE] = {"blk.%d.attn_v", "layers.%d.self_attn.v_proj", PART_MAY_HAVE_BIAS},
            [PART_ATTENTION_OUTPUT] = {"blk.%d.attn_output", "layers.%d.self_attn.o_proj",
                                       PART_MAY_HAVE_BIAS},
            [PART_FEED_NORM] = {"blk.%d.ffn_norm", "layers.%d.post_attention_layernorm", 0},
            [PART_GATE] = {"blk.%d.ffn_gate", "layers.%d.mlp.gate_proj", PART_MAY_HAVE_BIAS},
            [PART_UP] = {"blk.%d.ffn_up", "layers.%d.mlp.up_proj", PART_MAY_HAVE_BIAS},
            [PART_DOWN] = {"blk.%d.ffn_down", "layers.%d.mlp.down_proj", PART_MAY_HAVE_BIAS},
        },
};
