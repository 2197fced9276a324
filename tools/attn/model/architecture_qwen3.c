/* Qwen 3 (Alibaba, 2025), dense: as Qwen 2 without biases, but with an RMS norm of each query and key head,
 * whose size need not be width / heads. */
#include "architecture.h"

const struct architecture architecture_qwen3 = {
    .name = "qwen3",
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
            [PART_QUERY] = {"blk.%d.attn_q", NULL, 0},
            [PART_KEY] = {"blk.%d.attn_k", NULL, 0},
            [PART_VALUE] = {"blk.%d.attn_v", NULL, 0},
            [PART_QUERY_NORM] = {"blk.%d.attn_q_norm", NULL, 0},
            [PART_KEY_NORM] = {"blk.%d.attn_k_norm", NULL, 0},
            [PART_ATTENTION_OUTPUT] = {"blk.%d.attn_output", NULL, 0},
            [PART_FEED_NORM] = {"blk.%d.ffn_norm", NULL, 0},
            [PART_GATE] = {"blk.%d.ffn_gate", NULL, 0},
            [PART_UP] = {"blk.%d.ffn_up", NULL, 0},
            [PART_DOWN] = {"blk.%d.ffn_down", NULL, 0},
        },
};
