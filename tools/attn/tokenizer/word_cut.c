/* The expressions are those of the models' own tokenizers, with two spellings changed so that PCRE2 reads
 * them as Hugging Face's library does: white space is written out (PCRE2 counts U+180E to \s, Unicode does
 * not), and "no white space follows" is a negated class. SmolLM first cuts out each digit and then cuts
 * the rest as GPT-2; in one expression, a digit ends the text before it. */
#include "word_cut.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

struct word_cutter {
    pcre2_code *code;
};

/* Inside a class: Unicode's White_Space. */
#define SPACE "\\t-\\r \\x{85}\\p{Z}"
#define ENDINGS "'s|'t|'re|'ve|'m|'ll|'d"
#define LLAMA(digits)                                                                              \
    "(?i:" ENDINGS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" SPACE                         \
    "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACE "]*[\\r\\n]+|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"

static const struct {
    const char *name, *expression;
    const char *original; /* in tokenizer.json; NULL: not written there */
} cuts[WORD_CUTS] = {
    [WORD_CUT_GPT2] = {"gpt-2",
                       ENDINGS "| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|[" SPACE
                               "]+(?![^" SPACE "])|[" SPACE "]+",
                       "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!"
                       "\\S)|\\s+"},
    [WORD_CUT_LLAMA_BPE] = {"llama-bpe", LLAMA("\\p{N}{1,3}"),
                            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
                            "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    [WORD_CUT_QWEN2] = {"qwen2", LLAMA("\\p{N}"),
                        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    [WORD_CUT_SMOLLM] = {"smollm",
                         ENDINGS "| ?\\p{L}+|\\p{N}| ?[^" SPACE "\\p{L}\\p{N}]+|[" SPACE
                                 "]+(?![^" SPACE "\\p{N}])|[" SPACE "]+",
                         NULL},
};

const char *word_cut_name(enum word_cut cut)
{
    return cut < WORD_CUTS ? cuts[cut].name : "unknown";
}

bool word_cut_find(struct text name, enum word_cut *out)
{
    for (int i = 0; i < WORD_CUTS; i++)
        if (text_is(name, cuts[i].name))
            return *out = (enum word_cut)i, true;
    return false;
}

bool word_cut_find_expression(struct text expression, enum word_cut *out)
{
    for (int i = 0; i < WORD_CUTS; i++)
        if (cuts[i].original != NULL && text_is(expression, cuts[i].original))
            return *out = (enum word_cut)i, true;
    return false;
}

bool word_cutter_create(struct word_cutter **out, enum word_cut cut, struct failure *f)
{
    struct word_cutter *cutter = malloc(sizeof *cutter);
    *out = NULL;
    if (cutter == NULL)
        return fail(f, "not enough memory for a regular expression");
    int error;
    PCRE2_SIZE at;
    cutter->code = pcre2_compile((PCRE2_SPTR)cuts[cut].expression, PCRE2_ZERO_TERMINATED, PCRE2_UTF,
                                 &error, &at, NULL);
    if (cutter->code == NULL) {
        char message[256];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof message);
        free(cutter);
        return fail(f, "the expression that cuts words as %s: %s", cuts[cut].name, message);
    }
    pcre2_jit_compile(cutter->code,
                      PCRE2_JIT_COMPLETE); /* where there is none, it is interpreted */
    *out = cutter;
    return true;
}

void word_cutter_free(struct word_cutter *cutter)
{
    if (cutter != NULL)
        pcre2_code_free(cutter->code);
    free(cutter);
}

bool word_cutting_begin(struct word_cutting *c, const struct word_cutter *cutter, const char *text,
                        size_t bytes, struct failure *f)
{
    *c = (struct word_cutting){cutter, text, bytes, 0, NULL, f, false};
    c->match = pcre2_match_data_create(1, NULL);
    return c->match != NULL || fail(f, "not enough memory to cut a text into words");
}

void word_cutting_end(struct word_cutting *c)
{
    pcre2_match_data_free(c->match);
}

bool word_cutting_next(struct word_cutting *c, size_t *begin, size_t *end)
{
    if (c->at == c->bytes || c->failed)
        return false;
    int status = pcre2_match(c->cutter->code, (PCRE2_SPTR)c->text, c->bytes, c->at,
                             PCRE2_NO_UTF_CHECK, c->match, NULL);
    *begin = c->at;
    *end = c->bytes;
    if (status > 0) {
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(c->match);
        /* Every character belongs to some alternative; what did not would be a word of its own. */
        *end = found[0] > c->at ? found[0] : found[1];
    } else if (status != PCRE2_ERROR_NOMATCH) {
        char message[256];
        pcre2_get_error_message(status, (PCRE2_UCHAR *)message, sizeof message);
        c->failed = true;
        return fail(c->f, "the text could not be cut into words: %s", message);
    }
    c->at = *end;
    return true;
}
