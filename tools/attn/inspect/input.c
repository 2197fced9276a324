/* The text that is inspected; see input.h. */
#include "input.h"

#include "../base/text_file.h"
#include "builtin_text.h"

#include <stdlib.h>
#include <string.h>

static const char builtin_name[] = "built-in text";

bool input_read(struct input *input, const char *path, struct failure *f)
{
    *input = (struct input){.name = path};
    if (!path) {
        input->name = builtin_name;
        input->data = malloc(sizeof builtin_text);
        if (!input->data)
            return fail(f, "out of memory");
        input->bytes = sizeof builtin_text;
        memcpy(input->data, builtin_text, input->bytes);
        return true;
    }
    input->name = text_file_name(path);
    bool ok = text_file_read(path, TOKENIZER_MAX_TEXT, &input->data, &input->bytes, f);
    if (ok && input->bytes == 0)
        ok = fail(f, "%s: the text is empty", input->name);
    if (!ok)
        input_free(input);
    return ok;
}

void input_free(struct input *input)
{
    free(input->data);
    *input = (struct input){0};
}

/* The number of tokens that are taken of `count`, or 0 with a sentence. */
static int64_t choose_count(const struct inspection *in, const struct input *input, int64_t count,
                            const struct input_options *options, struct failure *f)
{
    int64_t most = in->model->context_length;
    if (options->tokens > 0 && options->tokens < count)
        count = options->tokens;
    if (input->name == builtin_name && count > most)
        count = most;
    if (count <= most)
        return count;
    fail(f,
         "%s: the text has %lld tokens, and %s reads at most %lld; --tokens %lld takes the first",
         input->name, (long long)count, in->model->architecture, (long long)most, (long long)most);
    return 0;
}

static void note_digest(struct inspection *in, const struct input *input)
{
    sha256_of(input->data, input->bytes, in->text_sha256);
}

bool input_tokens(struct inspection *in, const struct input *input,
                  const struct tokenizer *tokenizer, const struct input_options *options,
                  struct failure *f)
{
    struct token_list list;
    struct encode_options encode = {
        .add_special = true, .parse_special = options->special, .lossy = options->lossy};
    if (!tokenizer_encode(tokenizer, (struct text){input->data, input->bytes}, encode, &list, f))
        return failure_prefix(f, "%s", input->name);
    int64_t all = (int64_t)list.count;
    int64_t ends = (tokenizer_first_id(tokenizer) >= 0) + (tokenizer_last_id(tokenizer) >= 0);
    bool ok = all > ends || fail(f, "%s: the text holds no token", input->name);
    int64_t count = ok ? choose_count(in, input, all, options, f) : 0;
    in->token = count > 0 ? calloc((size_t)count, sizeof *in->token) : NULL;
    if (count > 0 && !in->token)
        fail(f, "out of memory for %lld tokens", (long long)count);
    ok = in->token != NULL;
    for (int64_t i = 0; ok && i < count; i++) {
        int32_t id = list.tokens[i].id;
        if (i == count - 1 && count < all && tokenizer_last_id(tokenizer) >= 0)
            id = tokenizer_last_id(tokenizer); /* a text that is cut still ends as texts do */
        in->token[i].id = id;
        in->token[i].piece = tokenizer_piece(tokenizer, id);
        in->token[i].class = tokenizer_class(tokenizer, id);
        in->token[i].space_before = i > 0 && list.tokens[i].begin > list.tokens[i - 1].end;
    }
    in->tokens = count;
    in->text_tokens = all;
    in->text_name = input->name;
    note_digest(in, input);
    token_list_free(&list);
    return ok;
}
