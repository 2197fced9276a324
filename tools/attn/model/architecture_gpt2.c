/* GPT-2 (OpenAI, 2019): learned positions, LayerNorm before each branch, biases everywhere, q, k and v from
 * one tensor, GELU by its tanh formula. */
#include "architecture.h"

const struct architecture architecture_gpt2 = {
    .name = "gpt2",
    .defaults = {.rotary_factor = 1, .causal = true},
    .norm = NORM_LAYER,
    .rotary = ROTARY_NONE,
    .activation = ACTIVATION_GELU_TANH,
    .activation_name = "gelu_new",
    .predicts_tokens = true,
    .part =
        {
            [PART_EMBEDDING] = {"token_embd", NULL, 0},
            [PART_POSITIONS] = {"position_embd", NULL, 0},
            [PART_FINAL_NORM] = {"output_norm", NULL, PART_HAS_BIAS},
            [PART_OUTPUT] = {"output", NULL, PART_OPTIONAL},
        },
    .layer_part =
        {
            [PART_ATTENTION_NORM] = {"blk.%d.attn_norm", NULL, PART_HAS_BIAS},
            [PART_QUERY] = {"blk.%d.attn_qkv", NULL, PART_HAS_BIAS | PART_STACKED},
            [PART_KEY] = {"blk.%d.attn_qkv", NULL, PART_HAS_BIAS | PART_STACKED},
            [PART_VALUE] = {"blk.%d.attn_qkv", NULL, PART_HAS_BIAS | PART_STACKED},
            [PART_ATTENTION_OUTPUT] = {"blk.%d.attn_output", NULL, PART_HAS_BIAS},
            [PART_FEED_NORM] = {"blk.%d.ffn_norm", NULL, PART_HAS_BIAS},
            [PART_UP] = {"blk.%d.ffn_up", NULL, PART_HAS_BIAS},
            [PART_DOWN] = {"blk.%d.ffn_down", NULL, PART_HAS_BIAS},
        },
};
