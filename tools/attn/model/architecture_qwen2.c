/* Qwen 2 and 2.5 (Alibaba, 2024): as Llama, but the rotary embedding turns halves, and queries, keys and
 * values have biases. */
#include "architecture.h"

const struct architecture architecture_qwen2 = {
    .name = "qwen2",
    .defaults = {.rotary_base = 1e4, .rotary_factor = 1, .causal = true},
    .norm = NORM_RMS,
    .rotary = ROTARY_HALVES,
    .activation = ACTIVATION_SILU,
    .activation_name = "silu",
    .predicts_tokens = true,
    .part =
        {
            [PART_EMBEDDING] = {"token_embd", NULL, 0},
            [PART_FINAL_NORM] = {"output_norm", NULL, 0},
            [PART_OUTPUT] = {"output", NULL, PART_OPTIONAL},
        },
    .layer_part =
        {
            [PART_ATTENTION_NORM] = {"blk.%d.attn_norm", NULL, 0},
            [PART_QUERY] = {"blk.%d.attn_q", NULL, PART_HAS_BIAS},
            [PART_KEY] = {"blk.%d.attn_k", NULL, PART_HAS_BIAS},
            [PART_VALUE] = {"blk.%d.attn_v", NULL, PART_HAS_BIAS},
            [PART_ATTENTION_OUTPUT] = {"blk.%d.attn_output", NULL, 0},
            [PART_FEED_NORM] = {"blk.%d.ffn_norm", NULL, 0},
            [PART_GATE] = {"blk.%d.ffn_gate", NULL, 0},
            [PART_UP] = {"blk.%d.ffn_up", NULL, 0},
            [PART_DOWN] = {"blk.%d.ffn_down", NULL, 0},
        },
};
