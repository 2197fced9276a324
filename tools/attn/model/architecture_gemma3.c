/* Gemma 3 (Google, 2025), text only.
 *
 * Norms on both sides of each branch, an RMS norm of each query and key head, GELU-gated
 * feed-forward, five layers with a window of 512 to one without, and a rotary base of their own for
 * the local layers. In GGUF files the "+ 1" of the norms is already in the weights. */
#include "architecture.h"

#include <math.h>

/* The 27B size, known by its 62 layers, scales scores by the width per head instead of the head
 * size. */
static void adjust_27b(struct settings *settings)
{
    if (settings->layers == 62 && settings->scale == 0)
        settings->scale = 1 / sqrt((double)settings->width / (double)settings->heads);
}

const struct architecture architecture_gemma3 = {
    .name = "gemma3",
    .defaults = {.window_pattern = 6,
                 .rotary_base = 1e6,
                 .rotary_base_local = 1e4,
                 .rotary_factor = 1,
                 .rotary_factor_local = 1,
                 .causal = true},
    .norm = NORM_RMS,
    .rotary = ROTARY_HALVES,
    .activation = ACTIVATION_GELU_TANH,
    .activation_name = "gelu_pytorch_tanh",
    .scaled_embedding = true,
    .predicts_tokens = true,
    .adjust = adjust_27b,
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
            [PART_ATTENTION_BRANCH_NORM] = {"blk.%d.post_attention_norm", NULL, 0},
            [PART_FEED_NORM] = {"blk.%d.ffn_norm", NULL, 0},
            [PART_GATE] = {"blk.%d.ffn_gate", NULL, 0},
            [PART_UP] = {"blk.%d.ffn_up", NULL, 0},
            [PART_DOWN] = {"blk.%d.ffn_down", NULL, 0},
            [PART_FEED_BRANCH_NORM] = {"blk.%d.post_ffw_norm", NULL, 0},
        },
};
