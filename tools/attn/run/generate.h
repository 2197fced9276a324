/* One text, written by a model behind a prompt. */
#ifndef ATTN_RUN_GENERATE_H
#define ATTN_RUN_GENERATE_H

#include "../model/model.h"
#include "../model/session.h"
#include "sampler.h"
#include "segments.h"
#include "stream.h"

enum ending {
    ENDING_LENGTH,      /* as many tokens as were asked for */
    ENDING_TOKEN,       /* the model ended the text */
    ENDING_STOP,        /* a stop text came */
    ENDING_CONTEXT,     /* the model's context is full */
    ENDING_INTERRUPTED, /* Ctrl-C; what is written stays */
};

enum { TOP_KEYS = 4 };

/* Where the model looked when it chose a token: the attention of the token before it. */
struct chosen {
    float *entropy; /* [layers]: mean over the heads, nats */
    /* The head with the largest weight on a key other than the first token, and its largest keys of all. */
    int64_t layer, head;
    int32_t key[TOP_KEYS]; /* positions, best first, loaded tokens counted; -1 = none */
    float weight[TOP_KEYS];
    float *share; /* [layers, segments]: mean over the heads of the weight on each part; or NULL */
};

struct generation {
    const struct model_description *model;
    const struct tokenizer *tokenizer;
    int32_t *token; /* the prompt's, then those written */
    int64_t loaded; /* tokens in front of the prompt, whose keys and values came from a file */
    int64_t prompt, written;
    struct chosen *chosen;           /* [written], or NULL: not asked for */
    float *entropies;                /* what chosen points into */
    const struct segments *segments; /* NULL = not told apart */
    /* the part of each token of the prompt, [prompt]; once it writes of every position: loaded, read and written */
    uint8_t *segment;
    float *shares;
    struct stream stream; /* holds the text */
    enum ending ending;
    double prompt_seconds;  /* from the first token read to the scores of what follows the prompt */
    double written_seconds; /* from there to the last token */
    int64_t cached_tokens, cache_bytes;
};

struct generation_options {
    int64_t most; /* tokens to write, at least 1 */
    struct sampler_options sampling;
    const char *const *stops; /* NULL-terminated, or NULL */
    bool special;             /* control tokens are shown */
    bool statistics;
    attn_dtype cache_type;
    const char *load_cache, *save_cache; /* files; NULL = none */
    const attn_executor *executor;
    const volatile sig_atomic_t *stop;                            /* Ctrl-C */
    void *context;                                                /* of the next two */
    void (*progress)(void *context, int64_t done, int64_t count); /* of the prompt; NULL = silent */
    /* After each token, with what can be shown of the text (maybe nothing), and once more at the end with
     * what was held back and token -1; NULL = nothing. */
    bool (*show)(void *context, const struct generation *g, int64_t token, struct text text,
                 struct failure *f);
};

/* Fill g (zeros, with model, tokenizer, token, segment, prompt and perhaps segments set; `token` and `segment` on
 * the heap) and write. The prompt must
 * leave room for a token in the model's context. Fails with "interrupted" where Ctrl-C comes before the prompt
 * is read. */
bool generate(struct generation *g, const struct model *model,
              const struct generation_options *options, struct failure *f);
void generation_free(struct generation *g);

/* What to show for the token at `position`; nothing for one that was loaded. */
struct text piece_at(const struct generation *g, int64_t position);

/* "the model ended the text": for a sentence; "end": for JSON. */
const char *ending_sentence(enum ending ending);
const char *ending_name(enum ending ending);

/* The share of part `segment` in what was seen when written token `index` was chosen: the mean over layers. */
double segment_share(const struct generation *g, int64_t index, int segment);

/* How many tokens of part `segment` there are by now. */
int64_t segment_tokens(const struct generation *g, int segment);

/* Tokens a second; 0 where nothing was timed. */
double prompt_rate(const struct generation *g);
double written_rate(const struct generation *g);

#endif
