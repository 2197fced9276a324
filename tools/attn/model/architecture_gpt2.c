/* GPT-2 (OpenAI, 2019): learned positions, LayerNorm before each branch, biases everywhere, q, k and v from
 * one tensor, GELU by its tanh formula. Hugging Face's files hold matrices inputs first. */
#include "architecture.h"

/* The causal mask as a tensor. */
static const char *const passed_over[] = {"h.%d.attn.bias", "h.%d.attn.masked_bias", NULL};

const struct architecture architecture_gpt2 = {
    .name = "gpt2",
    .safetensors_prefix = "transformer.",
    .defaults = {.rotary_factor = 1, .causal = true, .tied = true},
    .norm = NORM_LAYER,
    .rotary = ROTARY_NONE,
    .activation = ACTIVATION_GELU_TANH,
    .activation_name = "gelu_new",
    .predicts_tokens = true,
    .config_words = CONFIG_GPT2,
    .passed_over = passed_over,
    .part =
        {
            [PART_EMBEDDING] = {"token_embd", "wte", 0},
            [PART_POSITIONS] = {"position_embd", "wpe", 0},
            [PART_FINAL_NORM] = {"output_norm", "ln_f", PART_HAS_BIAS},
            [PART_OUTPUT] = {"output", "lm_head", PART_OPTIONAL},
        },
    .layer_part =
        {
            [PART_ATTENTION_NORM] = {"blk.%d.attn_norm", "h.%d.ln_1", PART_HAS_BIAS},
            [PART_QUERY] = {"blk.%d.attn_qkv", "h.%d.attn.c_attn",
                            PART_HAS_BIAS | PART_STACKED | PART_INPUTS_FIRST},
            [PART_KEY] = {"blk.%d.attn_qkv", "h.%d.attn.c_attn",
                          PART_HAS_BIAS | PART_STACKED | PART_INPUTS_FIRST},
            [PART_VALUE] = {"blk.%d.attn_qkv", "h.%d.attn.c_attn",
                            PART_HAS_BIAS | PART_STACKED | PART_INPUTS_FIRST},
            [PART_ATTENTION_OUTPUT] = {"blk.%d.attn_output", "h.%d.attn.c_proj",
                                       PART_HAS_BIAS | PART_INPUTS_FIRST},
            [PART_FEED_NORM] = {"blk.%d.ffn_norm", "h.%d.ln_2", PART_HAS_BIAS},
            [PART_UP] = {"blk.%d.ffn_up", "h.%d.mlp.c_fc", PART_HAS_BIAS | PART_INPUTS_FIRST},
            [PART_DOWN] = {"blk.%d.ffn_down", "h.%d.mlp.c_proj", PART_HAS_BIAS | PART_INPUTS_FIRST},
        },
};
