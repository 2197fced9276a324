/* Qwen 3 (Alibaba, 2025), dense: as Qwen 2 without biases, but with an RMS norm of each query and key head,
 * whose size need not be width / heads. */
#include "architecture.h"

const struct architecture architecture_qwen3 = {
    .name = "qwen3",
    .safetensors_prefix = "model.",
    .defaults = {.rotary_base = 1e4, .rotary_factor = 1, .causal = true},
    .norm = NORM_RMS,
    .rotary = ROTARY_HALVES,
    .activation = ACTIVATION_SILU,
    .activation_name = "silu",
    .config_window = true,
    .predicts_tokens = true,
    .passed_over = passed_over_frequencies,
    .part =
        {
            [PART_EMBEDDING] = {"token_embd", "embed_tokens", 0},
            [PART_FINAL_NORM] = {"output_norm", "norm", 0},
            [PART_OUTPUT] = {"output", "lm_head", PART_OPTIONAL},
        },
    .layer_part =
        {
            [PART_ATTENTION_NORM] = {"blk.%d.attn_norm", "layers.%d.input_layernorm", 0},
            [PART_QUERY] = {"blk.%d.attn_q", "layers.%d.self_attn.q_proj", PART_MAY_HAVE_BIAS},
            [PART_KEY] = {"blk.%d.attn_k", "layers.%d.self_attn.k_proj", PART_MAY_HAVE_BIAS},
            [PART_VALUE] = {"blk.%d.attn_v", "layers.%d.self_attn.v_proj", PART_MAY_HAVE_BIAS},
            [PART_QUERY_NORM] = {"blk.%d.attn_q_norm", "layers.%d.self_attn.q_norm", 0},
            [PART_KEY_NORM] = {"blk.%d.attn_k_norm", "layers.%d.self_attn.k_norm", 0},
            [PART_ATTENTION_OUTPUT] = {"blk.%d.attn_output", "layers.%d.self_attn.o_proj",
                                       PART_MAY_HAVE_BIAS},
            [PART_FEED_NORM] = {"blk.%d.ffn_norm", "layers.%d.post_attention_layernorm", 0},
            [PART_GATE] = {"blk.%d.ffn_gate", "layers.%d.mlp.gate_proj", 0},
            [PART_UP] = {"blk.%d.ffn_up", "layers.%d.mlp.up_proj", 0},
            [PART_DOWN] = {"blk.%d.ffn_down", "layers.%d.mlp.down_proj", 0},
        },
};
