/* BERT (Devlin et al. 2018) and what has its shape, such as MiniLM.
 *
 * Sees in both directions, learned positions, biases everywhere, LayerNorm of the sum after each
 * branch. It predicts no tokens here: its output is one vector for the text. The activation is the
 * GELU with erf, as the model was trained. */
#include "architecture.h"

const struct architecture architecture_bert = {
    .name = "bert",
    .safetensors_prefix = "bert.",
    .defaults = {.window_pattern = 1,
                 .rotary_factor = 1,
                 .causal = false,
                 .pooling = MODEL_POOLING_MEAN},
    .norm = NORM_LAYER,
    .rotary = ROTARY_NONE,
    .activation = ACTIVATION_GELU_ERF,
    .activation_name = "gelu",
    .part =
        {
            [PART_EMBEDDING] = {"token_embd", "embeddings.word_embeddings", 0},
            [PART_POSITIONS] = {"position_embd", "embeddings.position_embeddings", 0},
            [PART_TOKEN_TYPES] = {"token_types", "embeddings.token_type_embeddings", 0},
            [PART_EMBEDDING_NORM] = {"token_embd_norm", "embeddings.LayerNorm", PART_HAS_BIAS},
        },
    .layer_part =
        {
            [PART_QUERY] = {"blk.%d.attn_q", "encoder.layer.%d.attention.self.query",
                            PART_HAS_BIAS},
            [PART_KEY] = {"blk.%d.attn_k", "encoder.layer.%d.attention.self.key", PART_HAS_BIAS},
            [PART_VALUE] = {"blk.%d.attn_v", "encoder.layer.%d.attention.self.value",
                            PART_HAS_BIAS},
            [PART_ATTENTION_OUTPUT] = {"blk.%d.attn_output",
                                       "encoder.layer.%d.attention.output.dense", PART_HAS_BIAS},
            [PART_ATTENTION_SUM_NORM] = {"blk.%d.attn_output_norm",
                                         "encoder.layer.%d.attention.output.LayerNorm",
                                         PART_HAS_BIAS},
            [PART_UP] = {"blk.%d.ffn_up", "encoder.layer.%d.intermediate.dense", PART_HAS_BIAS},
            [PART_DOWN] = {"blk.%d.ffn_down", "encoder.layer.%d.output.dense", PART_HAS_BIAS},
            [PART_FEED_SUM_NORM] = {"blk.%d.layer_output_norm", "encoder.layer.%d.output.LayerNorm",
                                    PART_HAS_BIAS},
        },
};
