/* A vocabulary out of a Hugging Face tokenizer.json: the file, its tokens, and what is WordPiece's own; that
 * of byte-level BPE is in from_json_bpe.c. What the file may ask for and this tokenizer does not do is
 * refused by name, never passed over. Truncation and padding are passed over on purpose: they are habits of
 * a program, not rules of the model. */
#include "from_json.h"

#include "../files/mapped_file.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* ---- reading members ---- */

bool json_type_is(const json_t *object, const char *type)
{
    const char *found = json_string_value(json_object_get(object, "type"));
    return found != NULL && strcmp(found, type) == 0;
}

static bool want_type(const json_t *root, const char *member, const char *type, struct failure *f)
{
    const json_t *object = json_object_get(root, member);
    const char *found = json_string_value(json_object_get(object, "type"));
    if (found != NULL && strcmp(found, type) == 0)
        return true;
    char quoted[TEXT_QUOTED] = "missing";
    if (found != NULL)
        text_quote((struct text){found, strlen(found)}, quoted);
    return fail(f, "%s.type is %s, but only '%s' can be read", member, quoted, type);
}

/* A boolean that may be absent or null. */
bool json_read_bool(const json_t *object, const char *name, bool otherwise, bool *out,
                    struct failure *f)
{
    const json_t *value = json_object_get(object, name);
    *out = otherwise;
    if (value == NULL || json_is_null(value))
        return true;
    if (!json_is_boolean(value))
        return fail(f, "%s is neither true nor false", name);
    *out = json_is_true(value);
    return true;
}

static bool id_fits(const json_t *value, size_t count)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           (unsigned long long)json_integer_value(value) < count;
}

/* ---- the parts of the file ---- */

/* Put one string at its id. Ids must be 0 .. count - 1, each there once, except that an added token
 * repeats its entry in the vocabulary. */
static bool place_token(struct json_vocabulary *l, const json_t *id, struct text string,
                        unsigned char type, struct failure *f)
{
    char quoted[TEXT_QUOTED];
    if (!id_fits(id, l->v.count))
        return fail(f, "the id of token %s is not an integer from 0 to %zu",
                    text_quote(string, quoted), l->v.count - 1);
    size_t i = (size_t)json_integer_value(id);
    if (l->tokens[i].data != NULL &&
        (type == TOKEN_NORMAL || text_compare(l->tokens[i], string) != 0))
        return fail(f, "two tokens have the id %zu, one of them %s", i, text_quote(string, quoted));
    l->tokens[i] = string;
    l->types[i] = type;
    return true;
}

/* White space around an added token is dropped or kept by lstrip and rstrip: to WordPiece it is all the same,
 * white space never becomes a token. Normalised text is the text itself where nothing is normalised. */
static bool check_added(const struct json_vocabulary *l, const json_t *added, struct text string,
                        struct failure *f)
{
    static const char *const names[] = {"single_word", "normalized", "lstrip", "rstrip"};
    bool bpe = l->v.kind == TOKENIZER_BYTE_BPE;
    const bool allowed[] = {false, bpe && !l->v.compose, !bpe, !bpe};
    char quoted[TEXT_QUOTED];
    for (size_t i = 0; i < 4; i++) {
        bool set;
        if (!json_read_bool(added, names[i], false, &set, f))
            return false;
        if (set && !allowed[i])
            return fail(f, "the added token %s has %s set, which is not supported",
                        text_quote(string, quoted), names[i]);
    }
    return true;
}

static bool place_added(struct json_vocabulary *l, const json_t *added, struct failure *f)
{
    const json_t *content = json_object_get(added, "content");
    if (!json_is_string(content))
        return fail(f, "an element of added_tokens has no content that is a string");
    struct text string = {json_string_value(content), json_string_length(content)};
    bool special;
    return json_read_bool(added, "special", false, &special, f) &&
           check_added(l, added, string, f) &&
           place_token(l, json_object_get(added, "id"), string,
                       special ? TOKEN_CONTROL : TOKEN_USER_DEFINED, f);
}

/* How many ids there are: one more than the highest, but never more than there are entries. */
static bool count_tokens(const json_t *vocab, const json_t *added, size_t *count, struct failure *f)
{
    size_t most = json_object_size(vocab) + json_array_size(added);
    json_int_t highest = -1;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)vocab, key, value)
    {
        if (json_integer_value(value) > highest)
            highest = json_integer_value(value);
    }
    size_t i;
    json_array_foreach(added, i, value)
    {
        json_int_t id = json_integer_value(json_object_get(value, "id"));
        if (id > highest)
            highest = id;
    }
    if (highest < 0 || (unsigned long long)highest >= most)
        return fail(f, "the highest token id is %lld, but the file lists %zu tokens",
                    (long long)highest, most);
    *count = (size_t)highest + 1;
    return true;
}

/* Ids from `named` on are the model's alone. */
static void pad_tokens(struct json_vocabulary *l, size_t named)
{
    for (size_t i = named; i < l->v.count; i++) {
        l->tokens[i] = (struct text){"", 0};
        l->types[i] = TOKEN_UNUSED;
    }
}

bool json_read_tokens(const json_t *root, struct json_vocabulary *l, struct failure *f)
{
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    const json_t *added = json_object_get(root, "added_tokens");
    if (!json_is_object(vocab))
        return fail(f, "model.vocab is not an object");
    if (added != NULL && !json_is_array(added))
        return fail(f, "added_tokens is not an array");
    size_t named = 0;
    if (!count_tokens(vocab, added, &named, f))
        return false;
    bool padded = l->v.kind == TOKENIZER_BYTE_BPE && l->least > named;
    l->v.count = padded ? l->least : named;
    l->tokens = calloc(l->v.count, sizeof *l->tokens);
    l->types = calloc(l->v.count, sizeof *l->types);
    if (l->tokens == NULL || l->types == NULL)
        return fail(f, "not enough memory for a vocabulary of %zu tokens", l->v.count);
    pad_tokens(l, named);
    for (void *i = json_object_iter(vocab); i != NULL; i = json_object_iter_next(vocab, i)) {
        struct text string = {json_object_iter_key(i), json_object_iter_key_len(i)};
        if (!place_token(l, json_object_iter_value(i), string, TOKEN_NORMAL, f))
            return false;
    }
    for (size_t i = 0; i < json_array_size(added); i++)
        if (!place_added(l, json_array_get(added, i), f))
            return false;
    for (size_t i = 0; i < l->v.count; i++)
        if (l->tokens[i].data == NULL)
            return fail(f, "no token has the id %zu, but ids must go from 0 to %zu without gaps", i,
                        l->v.count - 1);
    l->v.tokens = l->tokens;
    l->v.types = l->types;
    return true;
}

int32_t json_find_token(const struct json_vocabulary *l, const char *name)
{
    for (size_t i = 0; name != NULL && i < l->v.count; i++)
        if (text_is(l->tokens[i], name))
            return (int32_t)i;
    return -1;
}

static bool want_model(const json_t *root, struct failure *f)
{
    const char *found = json_string_value(json_object_get(json_object_get(root, "model"), "type"));
    if (found != NULL && strcmp(found, "WordPiece") == 0)
        return true;
    char quoted[TEXT_QUOTED] = "missing";
    if (found != NULL)
        text_quote((struct text){found, strlen(found)}, quoted);
    return fail(f, "model.type is %s, but only 'WordPiece' and 'BPE' can be read", quoted);
}

static bool read_wordpiece(const json_t *root, struct json_vocabulary *l, struct failure *f)
{
    const json_t *model = json_object_get(root, "model");
    if (!want_model(root, f))
        return false;
    const char *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    if (prefix != NULL && strcmp(prefix, "##") != 0)
        return fail(f, "model.continuing_subword_prefix is not '##', which alone can be read");
    const json_t *longest = json_object_get(model, "max_input_chars_per_word");
    if (longest != NULL) {
        if (!id_fits(longest, (size_t)1 << 20))
            return fail(f, "model.max_input_chars_per_word is not an integer from 0 to 1048575");
        l->v.max_word = (size_t)json_integer_value(longest);
    }
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    return json_read_tokens(root, l, f) &&
           ((l->v.unknown = json_find_token(l, unknown == NULL ? "[UNK]" : unknown)), true);
}

static bool read_normalizer(const json_t *root, struct json_vocabulary *l, struct failure *f)
{
    const json_t *n = json_object_get(root, "normalizer");
    return want_type(root, "normalizer", "BertNormalizer", f) &&
           want_type(root, "pre_tokenizer", "BertPreTokenizer", f) &&
           json_read_bool(n, "clean_text", true, &l->v.clean_text, f) &&
           json_read_bool(n, "handle_chinese_chars", true, &l->v.isolate_cjk, f) &&
           json_read_bool(n, "lowercase", true, &l->v.lowercase, f) &&
           json_read_bool(n, "strip_accents", l->v.lowercase, &l->v.strip_accents, f);
}

/* The name in {"SpecialToken": {"id": name}}, element i of a template. */
const char *json_template_name(const json_t *single, size_t i)
{
    const json_t *token = json_object_get(json_array_get(single, i), "SpecialToken");
    return json_string_value(json_object_get(token, "id"));
}

/* What goes around a text: nothing, or one token before and one behind. */
static bool read_wordpiece_post_processor(const json_t *root, struct json_vocabulary *l,
                                          struct failure *f)
{
    const json_t *post = json_object_get(root, "post_processor");
    if (post == NULL || json_is_null(post))
        return true;
    const char *first = NULL, *last = NULL;
    if (json_type_is(post, "BertProcessing")) {
        first = json_string_value(json_array_get(json_object_get(post, "cls"), 0));
        last = json_string_value(json_array_get(json_object_get(post, "sep"), 0));
    } else if (json_type_is(post, "TemplateProcessing")) {
        const json_t *single = json_object_get(post, "single");
        if (json_array_size(single) == 3 && json_template_name(single, 1) == NULL) {
            first = json_template_name(single, 0);
            last = json_template_name(single, 2);
        }
    }
    l->v.first = l->v.bos = json_find_token(l, first);
    l->v.last = l->v.sep = json_find_token(l, last);
    if (l->v.first < 0 || l->v.last < 0)
        return fail(f,
                    "post_processor is neither null, BertProcessing nor a TemplateProcessing that "
                    "puts one known token before a text and one behind it");
    return true;
}

/* ---- the file ---- */

/* A file without model.type, as GPT-2's own, is known by its merges. */
static bool is_bpe(const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    return json_type_is(model, "BPE") || (json_object_get(model, "type") == NULL &&
                                          json_is_array(json_object_get(model, "merges")));
}

static bool read_json(struct tokenizer **out, struct text json, size_t least, struct failure *f)
{
    *out = NULL;
    json_error_t error;
    json_t *root = json_loadb(json.data == NULL ? "" : json.data, json.bytes, 0, &error);
    if (root == NULL) {
        char quoted[TEXT_QUOTED];
        return fail(f, "the file is not JSON: line %d: %s", error.line,
                    text_quote((struct text){error.text, strlen(error.text)}, quoted));
    }
    bool bpe = is_bpe(root);
    struct json_vocabulary l = {
        .v = vocabulary_default(bpe ? TOKENIZER_BYTE_BPE : TOKENIZER_WORDPIECE), .least = least};
    bool good = bpe ? json_read_byte_bpe(root, &l, f)
                    : read_wordpiece(root, &l, f) && read_normalizer(root, &l, f) &&
                          read_wordpiece_post_processor(root, &l, f);
    good = good && tokenizer_create(out, &l.v, f);
    free(l.tokens);
    free(l.types);
    free(l.merges);
    free(l.merge_bytes);
    json_decref(root);
    return good;
}

bool tokenizer_from_json(struct tokenizer **out, struct text json, struct failure *f)
{
    return read_json(out, json, 0, f);
}

bool tokenizer_from_json_file(struct tokenizer **out, const char *path, int64_t vocabulary,
                              struct failure *f)
{
    struct mapped_file file;
    *out = NULL;
    if (!mapped_file_open(&file, path, f))
        return false;
    struct text json = {(const char *)file.data, file.size};
    bool good = read_json(out, json, (size_t)vocabulary, f);
    mapped_file_close(&file);
    return good ? true : failure_prefix(f, "%s", path);
}
