/* Tokens as they are written, turned into text that can be shown at once.
 *
 * Text is given out in whole UTF-8 characters; bytes that belong to none become U+FFFD. What may be the
 * beginning of a stop text is held back until it is known; a stop text that comes ends the text in front of
 * it. */
#ifndef ATTN_RUN_STREAM_H
#define ATTN_RUN_STREAM_H

#include "../tokenizer/tokenizer.h"

struct stream {
    const struct tokenizer *tokenizer;
    const char *const *stops; /* NULL-terminated, or NULL: none; empty ones are ignored */
    bool show_control;        /* control tokens are shown by name */
    int32_t previous; /* the token before, which may say how the next is spelled; -1 = none */
    char *text;       /* all that was given out, NUL-terminated */
    size_t bytes;
    char *held; /* decoded and not given out */
    size_t held_bytes;
    const char *stopped; /* the stop text that came, or NULL */
};

/* `previous` is the last token of the prompt, or -1. */
void stream_open(struct stream *s, const struct tokenizer *tokenizer, const char *const *stops,
                 bool show_control, int32_t previous);
void stream_free(struct stream *s);

/* Take one more token; *out is what can now be shown, valid until the next call. After `stopped` is set no more
 * may be taken. */
bool stream_token(struct stream *s, int32_t token, struct text *out, struct failure *f);

/* The end: what was held back. */
bool stream_finish(struct stream *s, struct text *out, struct failure *f);

#endif
