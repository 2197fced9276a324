/* A fuzzer's bytes as a small vocabulary and a text.
 *
 *     switches, count, then `count` times: type, score, length, bytes; the rest is the text
 *
 * Each is one byte; a token's length is taken modulo 32. */
#ifndef ATTN_FUZZ_TOKENIZER_INPUT_H
#define ATTN_FUZZ_TOKENIZER_INPUT_H

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct input {
    unsigned switches;
    struct text tokens[512];
    float scores[512];
    unsigned char types[512];
    size_t count;
    struct text text;
};

static inline unsigned take(const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return 0;
    --*size;
    return *(*data)++;
}

static inline void read_input(struct input *in, const uint8_t *data, size_t size)
{
    in->switches = take(&data, &size);
    in->count = take(&data, &size);
    for (size_t i = 0; i < in->count; i++) {
        in->types[i] = (unsigned char)take(&data, &size);
        in->scores[i] = (float)(int)take(&data, &size) - 128;
        size_t bytes = take(&data, &size) % 32;
        if (bytes > size)
            bytes = size;
        in->tokens[i] = (struct text){(const char *)data, bytes};
        data += bytes;
        size -= bytes;
    }
    in->text = (struct text){(const char *)data, size};
}

/* Add the 256 byte tokens behind the others. */
static inline void add_byte_tokens(struct input *in)
{
    static char spelled[256][8];
    for (unsigned i = 0; i < 256; i++) {
        snprintf(spelled[i], sizeof spelled[i], "<0x%02X>", i);
        in->types[in->count] = TOKEN_BYTE;
        in->scores[in->count] = 0;
        in->tokens[in->count++] = (struct text){spelled[i], 6};
    }
}

/* What must be true of any tokens: ids exist, ranges stay inside and never go back. */
static inline void check_tokens(const struct tokenizer *t, const struct token_list *list,
                                size_t bytes, bool cover)
{
    size_t reached = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct token token = list->tokens[i];
        if (token.id < 0 || token.id >= tokenizer_size(t) || token.begin < reached ||
            token.end < token.begin || token.end > bytes || (cover && token.begin != reached))
            abort();
        reached = token.end;
        tokenizer_class(t, token.id);
        tokenizer_is_word(t, token.id);
        tokenizer_piece(t, token.id);
    }
    if (cover && reached != bytes)
        abort();
}

/* Encode in every way; only invalid UTF-8 may be refused, and only when it is not to be replaced, and a
 * byte that a byte-level vocabulary lacks. */
static inline void encode_every_way(const struct tokenizer *t, struct text text, bool cover)
{
    for (int way = 0; way < 8; way++) {
        struct encode_options options = {way & 1, way & 2, way & 4};
        struct token_list list;
        struct failure f = {""};
        if (!tokenizer_encode(t, text, options, &list, &f)) {
            if (!strstr(f.message, "the vocabulary has no token for the byte") &&
                (options.lossy || !strstr(f.message, "not UTF-8")))
                abort();
            continue;
        }
        check_tokens(t, &list, text.bytes, cover);
        token_list_free(&list);
    }
}

/* The text of the tokens of `text`; NULL if it is not valid. */
static inline char *encode_and_decode(const struct tokenizer *t, struct text text, size_t *bytes)
{
    struct token_list list;
    char *back = NULL;
    if (!tokenizer_encode(t, text, (struct encode_options){0}, &list, NULL))
        return NULL;
    int32_t *ids = malloc((list.count + 1) * sizeof *ids);
    for (size_t i = 0; i < list.count; i++)
        ids[i] = list.tokens[i].id;
    if (!tokenizer_decode(t, ids, list.count, &back, bytes, NULL))
        abort();
    free(ids);
    token_list_free(&list);
    return back;
}

#endif
