/* Small vocabularies for the tests, and a way to say what a text should become. */
#ifndef ATTN_TESTS_TOKENIZER_SMALL_H
#define ATTN_TESTS_TOKENIZER_SMALL_H

#include "cmocka_all.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct entry {
    const char *token;
    float score;
    unsigned char type;
};

/* A tokenizer of `count` entries, which must be good. */
static inline struct tokenizer *make_small(struct vocabulary v, const struct entry *entries,
                                           size_t count)
{
    struct text *tokens = calloc(count, sizeof *tokens);
    float *scores = calloc(count, sizeof *scores);
    unsigned char *types = calloc(count, 1);
    for (size_t i = 0; i < count; i++) {
        tokens[i] = (struct text){entries[i].token, strlen(entries[i].token)};
        scores[i] = entries[i].score;
        types[i] = entries[i].type == 0 ? TOKEN_NORMAL : entries[i].type;
    }
    v.count = count;
    v.tokens = tokens;
    v.scores = scores;
    v.types = types;
    struct tokenizer *t;
    struct failure f = {""};
    if (!tokenizer_create(&t, &v, &f))
        fail_msg("%s", f.message);
    free(tokens);
    free(scores);
    free(types);
    return t;
}

/* `text` becomes `wanted`, the tokens as they are in the vocabulary with '|' between them; and the
 * ranges are in order and inside the text. */
static inline void expect_bytes(const struct tokenizer *t, const char *text, size_t bytes,
                                struct encode_options options, const char *const *names,
                                const char *wanted)
{
    struct token_list list;
    struct failure f = {""};
    if (!tokenizer_encode(t, (struct text){text, bytes}, options, &list, &f))
        fail_msg("%s", f.message);
    char got[4096] = "";
    size_t reached = 0;
    for (size_t i = 0; i < list.count; i++) {
        if (i > 0)
            strcat(got, "|");
        strcat(got, names[list.tokens[i].id]);
        assert_true(list.tokens[i].begin >= reached);
        assert_true(list.tokens[i].end >= list.tokens[i].begin);
        reached = list.tokens[i].end;
    }
    assert_true(reached <= bytes);
    assert_string_equal(got, wanted);
    token_list_free(&list);
}

#endif
