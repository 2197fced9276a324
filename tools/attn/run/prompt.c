/* Text to the tokens of a prompt; see prompt.h. */
#include "prompt.h"

#include "../model/model.h"

#include <stdlib.h>

bool prompt_tokens(const struct tokenizer *tokenizer, const struct model_description *model,
                   const char *name, struct text text, bool begin, bool special, int32_t **ids,
                   int64_t *count, struct failure *f)
{
    struct token_list list;
    struct encode_options encode = {.add_special = begin, .parse_special = special};
    *ids = NULL;
    *count = 0;
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
        *ids = malloc((size_t)n * sizeof **ids);
        ok = *ids != NULL || fail(f, "%s: out of memory for %lld tokens", name, (long long)n);
    }
    for (int64_t i = 0; ok && i < n; i++)
        (*ids)[i] = list.tokens[i].id;
    *count = ok ? n : 0;
    token_list_free(&list);
    return ok;
}
