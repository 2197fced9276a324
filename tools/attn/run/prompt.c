/* Text to the tokens of a prompt; see prompt.h. */
#include "prompt.h"

#include "../model/model.h"

#include <stdlib.h>

bool prompt_tokens(const struct tokenizer *tokenizer, const struct model_description *model,
                   const char *name, struct text text, const struct prompt_options *options,
                   struct prompt *prompt, struct failure *f)
{
    struct token_list list;
    bool begin = options->begin;
    struct encode_options encode = {.add_special = begin, .parse_special = options->special};
    *prompt = (struct prompt){.count = 0};
    if (!tokenizer_encode(tokenizer, text, encode, &list, f))
        return failure_prefix(f, "%s", name);
    int64_t n = (int64_t)list.count;
    if (begin && tokenizer_last_id(tokenizer) >= 0 && n > 0)
        n--; /* a text that goes on does not end */
    bool ok =
        n > 0 || fail(f, "%s: the text gives no token to %s with", name, begin ? "begin" : "go on");
    if (ok && n >= model->context_length)
        ok = fail(f, "%s: the text has %lld tokens; %s reads at most %lld with room for one more",
                  name, (long long)n, model->architecture, (long long)model->context_length - 1);
    if (ok) {
        prompt->token = malloc((size_t)n * sizeof *prompt->token);
        prompt->segment = malloc((size_t)n);
        ok = (prompt->token != NULL && prompt->segment != NULL) ||
             fail(f, "%s: out of memory for %lld tokens", name, (long long)n);
    }
    for (int64_t i = 0; ok && i < n; i++) {
        const struct token *t = &list.tokens[i];
        bool start = i == 0 && begin && t->id == tokenizer_first_id(tokenizer);
        prompt->token[i] = t->id;
        prompt->segment[i] = start || options->segments == NULL
                                 ? SEGMENT_START
                                 : segment_of(options->segments, t->begin);
    }
    prompt->count = ok ? n : 0;
    if (!ok)
        prompt_free(prompt);
    token_list_free(&list);
    return ok;
}

void prompt_free(struct prompt *prompt)
{
    free(prompt->token);
    free(prompt->segment);
    *prompt = (struct prompt){.count = 0};
}
