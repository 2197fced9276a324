/* Byte-level BPE: a text is cut into words (word_cut.h), each word starts as its bytes, and neighbours
 * merge by the model's list of merges, the earliest first (merging.h). Every text can be spelled, and
 * comes back byte for byte. */
#include "byte_alphabet.h"
#include "internal.h"
#include "merging.h"
#include "spelling.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

/* The memory of one call. */
struct work {
    const struct tokenizer *t;
    const char *spelled;
    size_t begin;         /* of the stretch in the text */
    const size_t *source; /* of struct spelling; NULL: the text itself is spelled */
    struct merging merging;
    struct token_sink *sink;
};

static int32_t join(const struct merging *m, const struct merging_symbol *left,
                    const struct merging_symbol *right, float *score)
{
    if (left->id < 0 || right->id < 0)
        return -1;
    struct joined joined = pair_map_get(&m->t->merges, left->id, right->id);
    *score = -(float)joined.rank; /* ranks are below 2^24 */
    return joined.id;
}

/* Where spelled byte i lies in the text. */
static size_t place(const struct work *w, size_t i)
{
    return w->source != NULL ? w->source[i] : w->begin + i;
}

static bool add_token(const struct work *w, int32_t id, size_t begin, size_t end)
{
    if (id < 0)
        id = w->t->rules.unknown;
    if (id < 0)
        return token_sink_refuse(
            w->sink, "the vocabulary has no token for the byte 0x%02X, at offset %zu of the text",
            (unsigned)(unsigned char)w->spelled[begin], place(w, begin));
    return token_sink_add(w->sink, id, place(w, begin), place(w, end));
}

static bool encode_word(struct work *w, size_t begin, size_t end)
{
    const struct tokenizer *t = w->t;
    struct merging *m = &w->merging;
    int32_t whole =
        t->rules.whole_words ? string_map_get(&t->mergeable, w->spelled + begin, end - begin) : -1;
    if (whole >= 0)
        return add_token(w, whole, begin, end);
    m->symbol_count = 0;
    for (size_t i = begin; i < end; i++)
        if (!merging_add(m, (uint32_t)(i - begin), 1, 0, t->byte_ids[(unsigned char)w->spelled[i]]))
            return false;
    if (!merging_run(m))
        return false;
    for (uint32_t i = 0; i != MERGING_NOBODY; i = m->symbols[i].next) {
        const struct merging_symbol *s = &m->symbols[i];
        if (!add_token(w, s->id, begin + s->begin, begin + s->begin + s->length))
            return false;
    }
    return true;
}

static bool encode_spelled(struct work *w, size_t bytes)
{
    struct word_cutting cutting;
    size_t begin, end;
    bool good = word_cutting_begin(&cutting, w->t->cutter, w->spelled, bytes, NULL);
    while (good && word_cutting_next(&cutting, &begin, &end))
        good = encode_word(w, begin, end);
    if (cutting.failed)
        good = token_sink_refuse(w->sink, "the text could not be cut into words");
    word_cutting_end(&cutting);
    return good;
}

bool byte_bpe_encode(const struct tokenizer *t, const char *text, size_t begin, size_t end,
                     struct token_sink *sink)
{
    struct work w = {.t = t, .begin = begin, .merging = {.t = t, .join = join}, .sink = sink};
    bool good;
    if (spelling_is_plain(text, begin, end, t->rules.compose)) {
        w.spelled = text + begin;
        good = encode_spelled(&w, end - begin);
    } else {
        struct spelling spelling;
        good = spelling_make(&spelling, text, begin, end, t->rules.compose);
        w.spelled = spelling.data;
        w.source = spelling.source;
        good = good && encode_spelled(&w, spelling.count);
        spelling_free(&spelling);
    }
    merging_free(&w.merging);
    return good;
}

/* ---- tables ---- */

/* "a b" -> the ids of a, b and ab. A token holds no space, so the first one parts them. */
static bool read_merge(struct tokenizer *t, size_t rank, struct text merge, char *joined,
                       struct failure *f)
{
    char quoted[TEXT_QUOTED];
    const char *gap = merge.bytes > 0 ? memchr(merge.data, ' ', merge.bytes) : NULL;
    size_t left = gap != NULL ? (size_t)(gap - merge.data) : 0;
    if (left == 0 || left + 1 == merge.bytes)
        return fail(f, "merge %zu is %s, but a merge is two tokens with a space between them", rank,
                    text_quote(merge, quoted));
    size_t right = merge.bytes - left - 1;
    memcpy(joined, merge.data, left);
    memcpy(joined + left, gap + 1, right);
    int32_t a = string_map_get(&t->map, joined, left);
    int32_t b = string_map_get(&t->map, joined + left, right);
    int32_t ab = string_map_get(&t->map, joined, left + right);
    if (a < 0 || b < 0 || ab < 0)
        return fail(f, "merge %zu is %s, but the vocabulary has no token for its %s", rank,
                    text_quote(merge, quoted),
                    a < 0   ? "first part"
                    : b < 0 ? "second part"
                            : "result");
    pair_map_put(&t->merges, a, b, (struct joined){ab, (int32_t)rank});
    return true;
}

static bool read_merges(struct tokenizer *t, const struct vocabulary *v, struct failure *f)
{
    size_t longest = 0;
    for (size_t i = 0; i < v->merge_count; i++)
        if (v->merges[i].bytes > longest)
            longest = v->merges[i].bytes;
    char *joined = malloc(longest + 1);
    bool good = joined != NULL && pair_map_create(&t->merges, v->merge_count);
    if (!good)
        fail(f, "not enough memory for %zu merges", v->merge_count);
    for (size_t i = 0; good && i < v->merge_count; i++)
        good = read_merge(t, i, v->merges[i], joined, f);
    free(joined);
    return good;
}

bool byte_bpe_prepare(struct tokenizer *t, const struct vocabulary *v, struct failure *f)
{
    if (!string_map_create(&t->mergeable, t->rules.count))
        return fail(f, "not enough memory for a vocabulary of %zu tokens", t->rules.count);
    for (int i = 0; i < 256; i++) {
        char spelled[4];
        size_t bytes = utf8_write(byte_alphabet_character((unsigned char)i), spelled);
        t->byte_ids[i] = string_map_get(&t->map, spelled, bytes);
    }
    for (size_t i = 0; i < t->rules.count; i++)
        if (t->types[i] == TOKEN_NORMAL && t->raw[i].bytes > 0)
            string_map_put(&t->mergeable, t->raw[i], (int32_t)i);
    return read_merges(t, v, f) && word_cutter_create(&t->cutter, v->cut, f);
}
