/* The text that is inspected: read, cut into tokens, and checked against the model. */
#ifndef ATTN_INSPECT_INPUT_H
#define ATTN_INSPECT_INPUT_H

#include "inspection.h"

struct input {
    const char *name; /* what to call it: the file's name, "standard input", "built-in text" */
    char *data;       /* malloc'd */
    size_t bytes;
};

/* Read a file, "-" for standard input, NULL for the text that the command carries (the same as
 * examples/texts/tides.txt). Fails when it cannot be read, is empty, or too long. */
bool input_read(struct input *input, const char *path, struct failure *f);
void input_free(struct input *input);

struct input_options {
    int64_t tokens; /* the first so many; 0 = all */
    bool special;   /* control strings in the text become control tokens */
    bool lossy;     /* broken UTF-8 becomes U+FFFD */
};

/* Fill text_name, text_sha256, tokens, text_tokens and token[] of `in`, whose model is set. The tokenizer
 * must outlive `in`. Fails when the text is not UTF-8 (with the offset), holds no token, or has more
 * tokens than the model reads; the built-in text is cut to fit. */
bool input_tokens(struct inspection *in, const struct input *input,
                  const struct tokenizer *tokenizer, const struct input_options *options,
                  struct failure *f);

#endif
