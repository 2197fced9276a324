/* A vocabulary out of the tokenizer.ggml.* keys of a GGUF file. */
#include "../files/gguf.h"
#include "tokenizer.h"
#include "vocabulary.h"
#include "word_cut.h"

#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

struct loaded {
    struct vocabulary v;
    struct text *tokens, *merges;
    float *scores;
    unsigned char *types;
};

/* A key that may be absent, then -1; otherwise an id. */
static bool read_id(const struct gguf *g, const char *key, int32_t otherwise, size_t count,
                    int32_t *out, struct failure *f)
{
    int64_t id;
    if (!gguf_get_integer_or(g, key, -1, (int64_t)count - 1, otherwise, &id, f))
        return false;
    *out = (int32_t)id;
    return true;
}

/* An array of numbers, one for each token. */
static bool read_numbers(const struct gguf *g, const char *key, enum gguf_type wanted, size_t count,
                         struct gguf_array *out, struct failure *f)
{
    if (!gguf_get_array(g, key, wanted, out, f))
        return false;
    if (out->count != count)
        return fail(f, "%s has %zu elements, but there are %zu tokens", key, out->count, count);
    return true;
}

static bool read_tokens(const struct gguf *g, struct loaded *l, struct failure *f)
{
    struct gguf_array rest;
    if (!gguf_get_array(g, KEY("tokens"), GGUF_STRING, &rest, f))
        return false;
    size_t count = rest.count;
    l->tokens = calloc(count + 1, sizeof *l->tokens);
    if (l->tokens == NULL)
        return fail(f, "not enough memory for a vocabulary of %zu tokens", count);
    for (size_t i = 0; i < count && gguf_next_string(&rest, &l->tokens[i]); i++)
        ;
    l->v.tokens = l->tokens;
    l->v.count = count;
    return true;
}

static bool read_scores(const struct gguf *g, struct loaded *l, struct failure *f)
{
    struct gguf_array a;
    if (!read_numbers(g, KEY("scores"), GGUF_F64, l->v.count, &a, f))
        return false;
    l->scores = malloc((l->v.count + 1) * sizeof *l->scores);
    if (l->scores == NULL)
        return fail(f, "not enough memory for a vocabulary of %zu tokens", l->v.count);
    for (size_t i = 0; i < l->v.count; i++)
        l->scores[i] = (float)gguf_array_number(&a, i);
    l->v.scores = l->scores;
    return true;
}

static bool read_types(const struct gguf *g, struct loaded *l, struct failure *f)
{
    struct gguf_array a;
    if (!gguf_has(g, KEY("token_type"), NULL))
        return true;
    if (!read_numbers(g, KEY("token_type"), GGUF_I64, l->v.count, &a, f))
        return false;
    l->types = malloc(l->v.count + 1);
    if (l->types == NULL)
        return fail(f, "not enough memory for a vocabulary of %zu tokens", l->v.count);
    for (size_t i = 0; i < l->v.count; i++) {
        int64_t type = gguf_array_integer(&a, i);
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE)
            return fail(f, "%s of token %zu is %lld, but it may be 1 to 6", KEY("token_type"), i,
                        (long long)type);
        l->types[i] = (unsigned char)type;
    }
    l->v.types = l->types;
    return true;
}

/* SentencePiece files that leave an id out mean SentencePiece's own: <unk> 0, <s> 1, </s> 2. */
static bool read_sentencepiece(const struct gguf *g, struct loaded *l, struct failure *f)
{
    struct vocabulary *v = &l->v;
    bool few = v->count < 3, add_bos, add_eos;
    if (!read_scores(g, l, f) || !read_types(g, l, f) ||
        !read_id(g, KEY("bos_token_id"), few ? -1 : 1, v->count, &v->bos, f) ||
        !read_id(g, KEY("eos_token_id"), few ? -1 : 2, v->count, &v->end, f) ||
        !read_id(g, KEY("unknown_token_id"), few ? -1 : 0, v->count, &v->unknown, f) ||
        !gguf_get_bool_or(g, KEY("add_space_prefix"), true, &v->add_space_prefix, f) ||
        !gguf_get_bool_or(g, KEY("add_bos_token"), true, &add_bos, f) ||
        !gguf_get_bool_or(g, KEY("add_eos_token"), false, &add_eos, f))
        return false;
    v->first = add_bos ? v->bos : -1;
    v->last = add_eos ? v->end : -1;
    return true;
}

static int32_t find_token(const struct vocabulary *v, const char *name)
{
    for (size_t i = 0; i < v->count; i++)
        if (text_is(v->tokens[i], name))
            return (int32_t)i;
    return -1;
}

/* "seperator" is how the format spells it. */
static bool read_wordpiece(const struct gguf *g, struct loaded *l, struct failure *f)
{
    struct vocabulary *v = &l->v;
    v->word_mark = WORD_MARK_BLOCK;
    if (!read_types(g, l, f) ||
        !read_id(g, KEY("unknown_token_id"), find_token(v, "[UNK]"), v->count, &v->unknown, f) ||
        !read_id(g, KEY("seperator_token_id"), find_token(v, "[SEP]"), v->count, &v->sep, f) ||
        !read_id(g, KEY("bos_token_id"), find_token(v, "[CLS]"), v->count, &v->bos, f) ||
        !read_id(g, KEY("cls_token_id"), v->bos, v->count, &v->bos, f))
        return false;
    v->first = v->bos;
    v->last = v->sep;
    return true;
}

static bool read_merges(const struct gguf *g, struct loaded *l, struct failure *f)
{
    struct gguf_array rest;
    if (!gguf_get_array(g, KEY("merges"), GGUF_STRING, &rest, f))
        return false;
    l->merges = calloc(rest.count + 1, sizeof *l->merges);
    if (l->merges == NULL)
        return fail(f, "not enough memory for %zu merges", rest.count);
    l->v.merge_count = rest.count;
    for (size_t i = 0; i < l->v.merge_count && gguf_next_string(&rest, &l->merges[i]); i++)
        ;
    l->v.merges = l->merges;
    return true;
}

/* tokenizer.ggml.pre. Old files of GPT-2 itself do not state it; anywhere else a file without it, or with
 * "default", does not say how its texts are cut, and guessing gives wrong ids. */
static bool read_word_cut(const struct gguf *g, enum word_cut *cut, struct failure *f)
{
    struct text name = {"default", 7}, architecture = {"", 0};
    char quoted[TEXT_QUOTED];
    if (gguf_has(g, KEY("pre"), NULL) && !gguf_get_string(g, KEY("pre"), &name, f))
        return false;
    if (text_is(name, "default")) {
        if (gguf_has(g, "general.architecture", NULL) &&
            !gguf_get_string(g, "general.architecture", &architecture, f))
            return false;
        *cut = WORD_CUT_GPT2;
        return text_is(architecture, "gpt2") ||
               fail(f,
                    "%s does not say how texts are cut into words; it may be 'gpt-2', 'llama-bpe', "
                    "'qwen2' or 'smollm'",
                    KEY("pre"));
    }
    return word_cut_find(name, cut) ||
           fail(f, "%s is %s; it may be 'gpt-2', 'llama-bpe', 'qwen2' or 'smollm'", KEY("pre"),
                text_quote(name, quoted));
}

/* Files that leave add_bos_token out mean that Llama 3 begins texts with BOS and the others do not. What
 * the models' own tokenizers do and no key states: Llama 3 takes whole words, Qwen composes. */
static bool read_byte_bpe(const struct gguf *g, struct loaded *l, struct failure *f)
{
    struct vocabulary *v = &l->v;
    bool add_bos, add_eos;
    if (!read_types(g, l, f) || !read_merges(g, l, f) || !read_word_cut(g, &v->cut, f) ||
        !read_id(g, KEY("bos_token_id"), -1, v->count, &v->bos, f) ||
        !read_id(g, KEY("eos_token_id"), -1, v->count, &v->end, f) ||
        !read_id(g, KEY("unknown_token_id"), -1, v->count, &v->unknown, f) ||
        !gguf_get_bool_or(g, KEY("add_bos_token"), v->cut == WORD_CUT_LLAMA_BPE, &add_bos, f) ||
        !gguf_get_bool_or(g, KEY("add_eos_token"), false, &add_eos, f))
        return false;
    v->whole_words = v->cut == WORD_CUT_LLAMA_BPE;
    v->compose = v->cut == WORD_CUT_QWEN2;
    v->first = add_bos ? v->bos : -1;
    v->last = add_eos ? v->end : -1;
    return true;
}

static bool load(const struct gguf *g, struct loaded *l, struct failure *f)
{
    static const struct {
        const char *name;
        enum tokenizer_kind kind;
        bool (*read)(const struct gguf *g, struct loaded *l, struct failure *f);
    } kinds[] = {{"llama", TOKENIZER_SENTENCEPIECE, read_sentencepiece},
                 {"bert", TOKENIZER_WORDPIECE, read_wordpiece},
                 {"gpt2", TOKENIZER_BYTE_BPE, read_byte_bpe}};
    struct text model;
    char quoted[TEXT_QUOTED];
    if (!gguf_get_string(g, KEY("model"), &model, f))
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (text_is(model, kinds[i].name)) {
            l->v = vocabulary_default(kinds[i].kind);
            return read_tokens(g, l, f) && kinds[i].read(g, l, f);
        }
    return fail(f,
                "%s is %s, but only 'llama' (SentencePiece BPE), 'bert' (WordPiece) and 'gpt2' "
                "(byte-level BPE) can be read",
                KEY("model"), text_quote(model, quoted));
}

bool tokenizer_from_gguf(struct tokenizer **out, const struct gguf *gguf, struct failure *f)
{
    struct loaded l = {0};
    *out = NULL;
    bool good = load(gguf, &l, f) && tokenizer_create(out, &l.v, f);
    free(l.tokens);
    free(l.merges);
    free(l.scores);
    free(l.types);
    return good;
}
