/* A model as it stands in memory after opening: for the files of this folder. */
#ifndef ATTN_TOOLS_MODEL_LOADED_H
#define ATTN_TOOLS_MODEL_LOADED_H

#include "linear.h"
#include "rows.h"
#include "source.h"

/* One part: a matrix, or a norm or another vector (in norm.weight). Parts that are not there have tensor NULL and weight NULL. */
struct weight {
    struct matrix matrix;
    struct norm norm;
    struct file_tensor slice; /* the rows of a stacked tensor that are this part's, or `turned` */
    void *turned; /* a matrix that the file holds inputs first, with its outputs first; else NULL */
};

struct layer {
    struct weight part[LAYER_PARTS];
    bool local; /* has the window, and the rotary base of such layers */
};

struct model {
    struct source source;
    const struct architecture *architecture;
    struct settings settings;
    struct weight part[MODEL_PARTS]; /* PART_OUTPUT is the embedding where the file has none */
    struct layer *layer;             /* [settings.layers] */
    struct tokenizer *tokenizer;     /* NULL until asked for */
    struct model_description description;
    struct model_layer *described; /* [settings.layers] */
    char *text;                    /* name and licence */
};

/* Find and check every tensor of the architecture; small ones (norms, biases) are unpacked. */
bool load_parts(struct model *model, struct failure *f);
void free_parts(struct model *model);

/* Fill in model->description. */
bool describe_model(struct model *model, struct failure *f);

#endif
