/* A language model read from a file, and run over a text through libattn.
 *
 *     struct model *model;
 *     if (!model_open(&model, "gemma3-270m.gguf", f))
 *         return false;
 *     struct model_request request = model_request_init();
 *     request.executor = attn_default_executor();
 *     request.nll = nll;
 *     bool ok = model_run(model, tokens, count, &request, f);
 *     model_close(model);
 *
 * All tokens go through a layer at once, so that attention sees the whole text; projections and the
 * feed-forward part take some hundred rows at a time, and weights stay in the file's own form and
 * are unpacked piece by piece. Memory is about the file's size plus 4 * count * (width + 2 * heads
 * * head size + 2 * kv heads * head size) bytes. Activations are f32 throughout. The result has the
 * same bits for any number of threads.
 *
 * An observer looks at the attention of each layer while its q, k, v and o are there, without the
 * model knowing what is measured. */
#ifndef ATTN_TOOLS_MODEL_H
#define ATTN_TOOLS_MODEL_H

#include "../base/failure.h"
#include "../files/tensor_type.h"

#include <attn/attn.h>
#include <signal.h>
#include <stdint.h>

struct model;
struct tokenizer; /* tokenizer/tokenizer.h */

/* ---- What a model is ---------------------------------------------------------------------------- */

enum model_pooling {
    MODEL_POOLING_NONE, /* a model that predicts tokens, or one that says nothing of pooling */
    MODEL_POOLING_MEAN, /* the mean over all tokens */
    MODEL_POOLING_CLS,  /* the first token */
};

struct model_layer {
    int64_t window;   /* a token sees itself and the window - 1 before it; 0 = all */
    double softcap;   /* of the scores; 0 = none */
    double rope_base; /* of the rotary embedding; 0 = none */
};

enum { MODEL_TENSOR_TYPES = 16 };

struct model_tensor_type {
    const char *name; /* "Q4_K" */
    int64_t tensors;  /* how many tensors of the file have this type */
    int64_t bytes;    /* and their size */
};

/* Everything here belongs to the model and lives as long as it. Names are printable
 * ASCII, with '?' for any other byte of the file. */
struct model_description {
    const char *path;         /* of the file with the weights */
    const char *architecture; /* "gemma3", "bert" */
    const char *name;         /* what the file calls the model; "" if it does not */
    const char *licence;      /* as the file states it; "" if it does not */
    int64_t layers;
    int64_t width; /* of the residual stream */
    int64_t heads, kv_heads;
    int64_t key_size, value_size; /* of one head */
    int64_t feed_forward;         /* inner width of the feed-forward part */
    int64_t vocabulary;           /* token ids are 0 .. vocabulary - 1 */
    int64_t context_length;       /* more tokens than this are refused */
    double scale;                 /* of the scores */
    bool causal;
    bool predicts_tokens; /* nll, argmax and gap can be asked for */
    bool quantised;       /* some weights have fewer than 16 bits */
    enum model_pooling pooling;
    const struct model_layer *layer; /* [layers] */
    int64_t parameters;              /* values in all tensors of the file */
    int64_t file_bytes;
    int64_t kv_bytes_per_token; /* of keys and values of all layers, in f32 */
    int tensor_types;           /* entries of tensor_type, largest share of bytes first */
    struct model_tensor_type tensor_type[MODEL_TENSOR_TYPES];
};

/* Open a .gguf file, or a directory with config.json and model.safetensors or its shards. Checks every setting
 * and that every tensor is there and of the right shape; reads no weights but those of GPT-2 in safetensors,
 * which are turned in memory. On failure *out is NULL
 * and the sentence names the path and the key or tensor. */
bool model_open(struct model **out, const char *path, struct failure *f);

/* NULL is left alone. */
void model_close(struct model *model);

const struct model_description *model_describe(const struct model *model);

/* The model's tokenizer, read at the first call; it belongs to the model. Fails when the files hold
 * none that can be read. Not to be called from two threads at once. */
bool model_tokenizer(struct model *model, const struct tokenizer **out, struct failure *f);

/* ---- Watching attention -------------------------------------------------------------------------- */

/* What after_attention may look at. All pointers are valid until it returns. */
struct model_attention {
    int64_t layer;
    const attn_problem *problem; /* statistics points at what before_attention put there */
    const attn_args *args; /* q, k, v, o and lse ([heads, count]) of this layer, and the statistics
                              that attention_arguments attached */
    const attn_executor *executor; /* of the run: for more attn calls on these tensors */
    const double *contribution; /* [heads]: mean over all rows of the length of what the head adds,
                                   (o - constant value bias) Wo restricted to the head, before any
                                   norm; NULL if it was not asked for */
};

/* Each function may be NULL, may fail (which ends the run), and is called once per layer, in order,
 * on the thread that called model_run. `problem` has batch = sequences, queries = keys = count / sequences,
 * and q, k, v, o laid out [sequences, queries, heads, size]. */
struct model_observer {
    void *context; /* first argument of each function */

    /* Before planning: may set problem->statistics (to something that lives until after_attention)
     * and *contribution, which is false. A layer left alone runs without statistics. */
    bool (*before_attention)(void *context, int64_t layer, attn_problem *problem,
                             bool *contribution, struct failure *f);

    /* Before running: set args->statistics if problem.statistics was set. All else is filled in. */
    bool (*attention_arguments)(void *context, int64_t layer, attn_args *args, struct failure *f);

    /* After running: more attn_forward calls on the same tensors may follow here. */
    bool (*after_attention)(void *context, const struct model_attention *attention,
                            struct failure *f);
};

/* ---- Running -------------------------------------------------------------------------------------- */

struct model_request {
    /* The tokens are this many texts of equal length, one behind the other, that do not see each other:
     * the batch of attention. Unpacking weights is shared. Default 1; with more, only an observer can
     * look at the run. */
    int64_t sequences;

    const attn_executor *executor;         /* NULL = one thread */
    const struct model_observer *observer; /* NULL = nobody watches */

    /* Called now and then on the calling thread: `layer` of `layers` is under way (layer == layers:
     * the final scores), `done` in 0 .. 1 of the whole run's arithmetic. NULL = silent. */
    void (*progress)(void *context, int64_t layer, int64_t layers, double done);
    void *progress_context;

    /* Looked at between pieces of work: once not 0, the run fails with "interrupted". NULL = never.
     */
    const volatile sig_atomic_t *stop;

    /* What is wanted; NULL = not. Only what is asked for is computed. */
    float *hidden;    /* [count, width]: after the last layer and the final norm, if there is one */
    float *embedding; /* [width]: hidden, pooled, of length 1; models with pooling only */

    /* The prediction made after reading tokens 0..i; models with predicts_tokens only, [count]. */
    float *nll;      /* -ln p(tokens[i + 1]), nats; NaN for the last, which nothing follows */
    int32_t *argmax; /* the likeliest next token; the lowest id on ties */
    float *gap;      /* its logit minus the second's, >= 0 */
};

/* One sequence, everything else NULL. */
struct model_request model_request_init(void);

/* Run `count` >= 1 tokens. Fails, naming the token, when one is not in the vocabulary; when count
 * is more than the context length; when something is asked for that this model does not have; when
 * memory does not suffice; when attention or the observer fails. Outputs are undefined after a
 * failure. One model may be run from several threads at once. */
bool model_run(const struct model *model, const int32_t *tokens, int64_t count,
               const struct model_request *request, struct failure *f);

#endif
