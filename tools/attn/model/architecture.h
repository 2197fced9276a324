/* What makes an architecture: a description, read by one loader and one runner.
 *
 * A description holds settings that no file states, the names of the tensors, and which of a few
 * kinds of parts the model is made of. A part whose tensors a description does not name is not
 * there: naming `feed_branch_norm` is what puts a norm behind the feed-forward part. So a new
 * architecture is a new file architecture_<name>.c with data in it, not with code.
 *
 * The stream x [tokens, width] goes through two branches a layer, attention and feed-forward:
 *
 *     a = norm(x)                    ATTENTION_NORM, FEED_NORM: before the branch
 *     y = branch(a)
 *     x = x + norm(y)                ATTENTION_BRANCH_NORM, FEED_BRANCH_NORM: of what is added
 *     x = norm(x)                    ATTENTION_SUM_NORM, FEED_SUM_NORM: of the sum
 */
#ifndef ATTN_TOOLS_ARCHITECTURE_H
#define ATTN_TOOLS_ARCHITECTURE_H

#include "../base/text.h"
#include "model.h"

/* Tensors of the whole model. */
enum model_part {
    PART_EMBEDDING,      /* [width, vocabulary] */
    PART_POSITIONS,      /* [width, context length]: learned, added to the embedding */
    PART_TOKEN_TYPES,    /* [width, kinds]: the first is added to the embedding */
    PART_EMBEDDING_NORM, /* of the sum of these */
    PART_FINAL_NORM,     /* after the last layer */
    PART_OUTPUT,         /* [width, vocabulary]; the embedding where the file has none */
    PART_ROTARY_DIVISORS, /* [rotary size / 2]: frequencies of the rotary embedding are divided by them */
    MODEL_PARTS,
};

/* Tensors of each layer. */
enum layer_part {
    PART_ATTENTION_NORM,
    PART_QUERY,
    PART_KEY,
    PART_VALUE,
    PART_QUERY_NORM, /* of each head, before the rotary embedding */
    PART_KEY_NORM,
    PART_ATTENTION_OUTPUT,
    PART_ATTENTION_BRANCH_NORM,
    PART_ATTENTION_SUM_NORM,
    PART_FEED_NORM,
    PART_GATE, /* down(activation(gate a) * (up a)); without it down(activation(up a)) */
    PART_UP,
    PART_DOWN,
    PART_FEED_BRANCH_NORM,
    PART_FEED_SUM_NORM,
    LAYER_PARTS,
};

enum part_flag {
    PART_HAS_BIAS = 1,      /* "<name>.bias" is there beside "<name>.weight" */
    PART_OPTIONAL = 2,      /* some files have it and some do not */
    PART_MAY_HAVE_BIAS = 4, /* some files have "<name>.bias" and some do not */
    PART_STACKED = 8, /* query, key and value share one tensor: their outputs one after the other */
    PART_INPUTS_FIRST = 16, /* safetensors hold the matrix as [inputs, outputs] */
};

/* The name without its ending; %d stands for the layer. NULL: this kind of file never has it. */
struct part_name {
    const char *gguf;        /* NULL in both: the architecture has no such part */
    const char *safetensors; /* "" and the prefix of the description are both tried in front */
    unsigned flags;
};

enum norm_kind {
    NORM_RMS,   /* x / sqrt(mean(x^2) + epsilon) * weight */
    NORM_LAYER, /* (x - mean) / sqrt(variance + epsilon) * weight + bias */
};

/* How config.json spells the settings. */
enum config_words {
    CONFIG_USUAL, /* hidden_size, num_hidden_layers, ... */
    CONFIG_GPT2,  /* n_embd, n_layer, ... */
};

enum rotary_kind {
    ROTARY_NONE,
    ROTARY_HALVES, /* pairs (i, i + n/2): GPT-NeoX */
    ROTARY_PAIRS,  /* pairs (2i, 2i + 1): the original */
};

enum activation {
    ACTIVATION_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    ACTIVATION_GELU_ERF,  /* x/2 (1 + erf(x / sqrt 2)) */
    ACTIVATION_SILU,      /* x / (1 + exp(-x)) */
};

/* Llama 3's scaling: frequencies that turn fewer than `low` times in `original` positions are divided by
 * `factor`, those that turn more than `high` times stay, and those between are mixed. */
struct rotary_bands {
    double factor, low, high, original;
};

/* Settings that a file may state (settings.c and config.c have the keys). */
struct settings {
    int64_t context_length, width, layers, feed_forward, heads; /* always stated */
    int64_t kv_heads;                                           /* 0 = heads */
    int64_t key_size;                                           /* 0 = width / heads */
    int64_t value_size;                                         /* 0 = width / heads */
    int64_t rotary_size;        /* how many values of a head are rotated; 0 = all */
    int64_t window;             /* 0 = none */
    int64_t window_pattern;     /* layer l is local iff l % pattern < pattern - 1; 1 = none is;
                                 0 = all are */
    int64_t pooling;            /* enum model_pooling */
    int64_t vocabulary;         /* 0 = as many as the embedding has rows */
    double epsilon;             /* of all norms; always stated */
    double scale;               /* of the scores; 0 = 1 / sqrt(key_size) */
    double score_softcap;       /* 0 = none */
    double logit_softcap;       /* 0 = none */
    double rotary_base;         /* of layers without a window */
    double rotary_base_local;   /* of layers with one; 0 = the same */
    double rotary_factor;       /* positions of layers without a window are divided by it */
    double rotary_factor_local; /* of layers with one; 0 = the same */
    struct rotary_bands bands;  /* factor 0 = none: of safetensors; GGUF has divisors instead */
    enum rotary_kind rotary;    /* the architecture's, as this kind of file orders rows */
    bool causal;
    bool tied;           /* the output is the embedding; of safetensors */
    bool attention_bias; /* of safetensors: q, k, v and the attention's output have biases */
    bool feed_bias;      /* of safetensors: so have gate, up and down */
};

struct architecture {
    const char *name;               /* general.architecture of GGUF, model_type of config.json */
    const char *safetensors_prefix; /* before all names, or absent from all; NULL: never read from
                                       safetensors */
    struct settings defaults;       /* of settings that a file need not state */
    enum norm_kind norm;
    enum rotary_kind rotary;
    bool gguf_turns_pairs; /* rows of q and k in GGUF files are reordered for ROTARY_PAIRS */
    enum activation activation;
    const char *activation_name; /* what config.json must call it */
    enum config_words config_words;
    bool config_window;    /* config.json may turn a window on */
    bool scaled_embedding; /* by sqrt(width) */
    bool predicts_tokens;
    /* What no table can say about odd sizes of a family; NULL = nothing. */
    void (*adjust)(struct settings *settings);
    struct part_name part[MODEL_PARTS];
    struct part_name layer_part[LAYER_PARTS];
    /* Tensors of safetensors that change nothing, up to NULL; any other that no part names is refused. NULL
     * in place of the list: such files hold more than the model, and what no part names is passed over. */
    const char *const *passed_over;
};

extern const struct architecture architecture_bert, architecture_gemma3, architecture_gpt2,
    architecture_llama, architecture_qwen2, architecture_qwen3;

/* passed_over of those with a rotary embedding: old files hold its frequencies beside the weights. */
extern const char *const passed_over_frequencies[];

/* By name; NULL if there is none. */
const struct architecture *architecture_find(struct text name);

/* "bert, gemma3, ...": for a sentence. */
const char *architecture_list(void);

#endif
