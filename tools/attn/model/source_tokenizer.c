/* The tokenizer of a model, and which tokens end its texts. */
#include "source.h"

#include "../tokenizer/tokenizer.h"

#include <string.h>

enum { MOST_ENDS = 64 };

/* eos_token_id of one of the files: a number or several. *count stays 0 where the file states none. */
static bool read_ends(const json_t *object, const char *file, int32_t size, int32_t ends[MOST_ENDS],
                      size_t *count, struct failure *f)
{
    const json_t *value = json_object_get(object, "eos_token_id");
    bool list = json_is_array(value);
    size_t found = list ? json_array_size(value) : value != NULL && !json_is_null(value);
    if (found > MOST_ENDS)
        return fail(f, "%s: eos_token_id has %zu numbers; it may have up to %d", file, found,
                    MOST_ENDS);
    for (size_t i = 0; i < found; i++) {
        const json_t *id = list ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= size)
            return fail(f, "%s: eos_token_id must be integers from 0 to %d", file, (int)size - 1);
        ends[i] = (int32_t)json_integer_value(id);
    }
    *count = found;
    return true;
}

/* As transformers' generate: generation_config.json says, else config.json. */
static bool set_ends(const struct source *source, struct tokenizer *tokenizer, struct failure *f)
{
    int32_t ends[MOST_ENDS], size = tokenizer_size(tokenizer);
    size_t count = 0;
    if (!read_ends(source->generation, "generation_config.json", size, ends, &count, f) ||
        (count == 0 && !read_ends(source->config, "config.json", size, ends, &count, f)))
        return false;
    return tokenizer_set_ends(tokenizer, ends, count) || fail(f, "out of memory");
}

bool source_tokenizer(const struct source *source, int64_t vocabulary, struct tokenizer **out,
                      struct failure *f)
{
    struct failure reason = {""};
    if (source->gguf != NULL)
        return tokenizer_from_gguf(out, source->gguf, &reason) ||
               fail(f, "%s: %s", source->path, reason.message);
    if (!tokenizer_from_json_file(out, source->tokenizer_path, vocabulary, f))
        return false;
    if (set_ends(source, *out, &reason))
        return true;
    tokenizer_free(*out);
    *out = NULL;
    return fail(f, "%s: %s", source->path, reason.message);
}
