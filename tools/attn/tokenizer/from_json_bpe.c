/* Byte-level BPE out of a Hugging Face tokenizer.json: the merges, and which of the known cuts the
 * pre-tokenizer is. */
#include "from_json.h"
#include "word_cut.h"

#include <stdlib.h>
#include <string.h>

static bool is_absent(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

/* ---- merges ---- */

/* "a b", or ["a", "b"], which is written down at *place as the former. */
static bool read_merge(const json_t *merge, struct text *out, char **place)
{
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (json_is_string(merge)) {
        *out = (struct text){json_string_value(merge), json_string_length(merge)};
        return true;
    }
    if (json_array_size(merge) != 2 || !json_is_string(left) || !json_is_string(right))
        return false;
    size_t a = json_string_length(left), b = json_string_length(right);
    *out = (struct text){*place, a + 1 + b};
    memcpy(*place, json_string_value(left), a);
    (*place)[a] = ' ';
    memcpy(*place + a + 1, json_string_value(right), b);
    *place += a + 1 + b;
    return true;
}

static bool read_merges(const json_t *model, struct json_vocabulary *l, struct failure *f)
{
    const json_t *merges = json_object_get(model, "merges"), *merge;
    size_t i, bytes = 0;
    if (!json_is_array(merges))
        return fail(f, "model.merges is not an array");
    l->v.merge_count = json_array_size(merges);
    json_array_foreach(merges, i, merge) bytes += json_string_length(json_array_get(merge, 0)) +
                                                  json_string_length(json_array_get(merge, 1)) + 1;
    l->merges = calloc(l->v.merge_count + 1, sizeof *l->merges);
    l->merge_bytes = malloc(bytes + 1);
    if (l->merges == NULL || l->merge_bytes == NULL)
        return fail(f, "not enough memory for %zu merges", l->v.merge_count);
    char *place = l->merge_bytes;
    json_array_foreach(merges, i, merge)
    {
        if (!read_merge(merge, &l->merges[i], &place))
            return fail(f, "element %zu of model.merges is neither a string nor two strings", i);
    }
    l->v.merges = l->merges;
    return true;
}

/* ---- the model ---- */

/* A member that must be absent, null, false or "". */
static bool want_nothing(const json_t *model, const char *name, struct failure *f)
{
    const json_t *value = json_object_get(model, name);
    if (is_absent(value) || json_is_false(value) ||
        (json_is_string(value) && json_string_length(value) == 0))
        return true;
    return fail(f, "model.%s is set, which is not supported", name);
}

static bool read_model(const json_t *root, struct json_vocabulary *l, struct failure *f)
{
    static const char *const unsupported[] = {"dropout", "continuing_subword_prefix",
                                              "end_of_word_suffix", "byte_fallback"};
    const json_t *model = json_object_get(root, "model");
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (!want_nothing(model, unsupported[i], f))
            return false;
    return json_read_bool(model, "ignore_merges", false, &l->v.whole_words, f) &&
           json_read_tokens(root, l, f) && read_merges(model, l, f) &&
           ((l->v.unknown =
                 json_find_token(l, json_string_value(json_object_get(model, "unk_token")))),
            true);
}

/* Nothing, or NFC. */
static bool read_normalizer(const json_t *root, struct json_vocabulary *l, struct failure *f)
{
    const json_t *normalizer = json_object_get(root, "normalizer");
    l->v.compose = json_type_is(normalizer, "NFC");
    return l->v.compose || is_absent(normalizer) ||
           fail(f, "normalizer is neither null nor NFC, which alone can be read for BPE");
}

/* ---- cuts ---- */

/* The parts of a member that is absent, one thing, or a Sequence whose list has the name `list`. */
static size_t parts_of(const json_t *root, const char *member, const char *list,
                       const json_t *parts[2])
{
    const json_t *object = json_object_get(root, member);
    parts[0] = parts[1] = NULL;
    if (is_absent(object))
        return 0;
    if (!json_type_is(object, "Sequence")) {
        parts[0] = object;
        return 1;
    }
    const json_t *array = json_object_get(object, list);
    parts[0] = json_array_get(array, 0);
    parts[1] = json_array_get(array, 1);
    return json_array_size(array);
}

static bool is_flag(const json_t *object, const char *name, bool otherwise, bool wanted)
{
    bool value;
    return json_read_bool(object, name, otherwise, &value, NULL) && value == wanted;
}

static bool is_byte_level(const json_t *part, bool cuts)
{
    return json_type_is(part, "ByteLevel") && is_flag(part, "add_prefix_space", true, false) &&
           is_flag(part, "use_regex", true, cuts);
}

static bool is_known_split(const json_t *part, enum word_cut *cut)
{
    const json_t *expression = json_object_get(json_object_get(part, "pattern"), "Regex");
    const char *behavior = json_string_value(json_object_get(part, "behavior"));
    return json_type_is(part, "Split") && behavior != NULL && strcmp(behavior, "Isolated") == 0 &&
           is_flag(part, "invert", false, false) && json_is_string(expression) &&
           word_cut_find_expression(
               (struct text){json_string_value(expression), json_string_length(expression)}, cut);
}

/* Byte-level's own expression is GPT-2's; a Split in front brings another; SmolLM cuts digits first. */
static bool read_pre_tokenizer(const json_t *root, struct json_vocabulary *l, struct failure *f)
{
    const json_t *parts[2];
    size_t count = parts_of(root, "pre_tokenizer", "pretokenizers", parts);
    bool digits =
        json_type_is(parts[0], "Digits") && is_flag(parts[0], "individual_digits", false, true);
    l->v.cut = digits ? WORD_CUT_SMOLLM : WORD_CUT_GPT2;
    bool known =
        (count == 1 && is_byte_level(parts[0], true)) ||
        (count == 2 && digits && is_byte_level(parts[1], true)) ||
        (count == 2 && is_known_split(parts[0], &l->v.cut) && is_byte_level(parts[1], false));
    return known || fail(f, "pre_tokenizer is none that can be read: it may cut texts as gpt-2, "
                            "llama-bpe, qwen2 and smollm do, without a prefix space");
}

/* ---- around a text ---- */

/* [token] A [token] */
static bool read_template(const json_t *part, struct json_vocabulary *l)
{
    const json_t *single = json_object_get(part, "single");
    size_t count = json_array_size(single), text = 0;
    while (text < count && json_object_get(json_array_get(single, text), "Sequence") == NULL)
        text++;
    if (text > 1 || count - text < 1 || count - text > 2)
        return false;
    if (text == 1)
        l->v.first = l->v.bos = json_find_token(l, json_template_name(single, 0));
    if (text + 2 == count)
        l->v.last = l->v.end = json_find_token(l, json_template_name(single, text + 1));
    return (text == 0 || l->v.first >= 0) && (text + 2 != count || l->v.last >= 0);
}

static bool read_post_processor(const json_t *root, struct json_vocabulary *l, struct failure *f)
{
    const json_t *parts[2];
    size_t count = parts_of(root, "post_processor", "processors", parts);
    bool known = count <= 2;
    for (size_t i = 0; known && i < count; i++)
        known = json_type_is(parts[i], "ByteLevel") ||
                (json_type_is(parts[i], "TemplateProcessing") && read_template(parts[i], l));
    return known || fail(f, "post_processor does something else than putting known tokens before a "
                            "text and behind it");
}

bool json_read_byte_bpe(const json_t *root, struct json_vocabulary *l, struct failure *f)
{
    return read_normalizer(root, l, f) && read_model(root, l, f) &&
           read_pre_tokenizer(root, l, f) && read_post_processor(root, l, f);
}
