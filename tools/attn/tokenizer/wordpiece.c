/* WordPiece, as BERT uses it. A text becomes words: control characters go, white space and ideographs
 * and punctuation separate, characters are decomposed (NFD), accents are stripped, letters are made
 * lower case. Each word is then cut by greedy longest match; if nothing matches somewhere, or the
 * word is too long, the whole word is the unknown token.
 *
 * Everything happens in one pass over the text. The only state between characters is the word so
 * far, and the combining marks that wait to be put in canonical order: those between two characters
 * of combining class zero. Stripped marks need not wait, for dropping them before or after a stable
 * sort comes to the same. */
#include "array.h"
#include "internal.h"
#include "unicode.h"
#include "utf8.h"

#include <string.h>
#include <utf8proc.h>

enum { MOST_DECOMPOSED = 8 }; /* NFD makes at most 4 code points of one */

/* A character of the word, and the bytes of the text it came from. */
struct unit {
    uint32_t code;
    uint32_t class; /* canonical combining class */
    size_t order;   /* its place before sorting */
    size_t begin, end;
};

struct work {
    const struct tokenizer *t;
    struct token_sink *sink;
    struct unit *units; /* of the word so far */
    size_t count, capacity;
    size_t ordered; /* units before this one are in their final places */
    char *spelled;  /* UTF-8 of the finished word */
    size_t spelled_capacity;
};

static int by_class(const void *a, const void *b)
{
    const struct unit *x = a, *y = b;
    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Put the waiting marks in order. The ranges stay where they are, so that they never go back. */
static bool order_marks(struct work *w)
{
    size_t n = w->count - w->ordered;
    if (n == 0)
        return true;
    struct unit *run = w->units + w->ordered;
    w->ordered = w->count;
    bool sorted = true;
    for (size_t i = 1; i < n; i++)
        sorted = sorted && run[i - 1].class <= run[i].class;
    if (sorted)
        return true;
    struct unit *copy = malloc(n * sizeof *copy);
    if (copy == NULL)
        return false;
    memcpy(copy, run, n * sizeof *copy);
    qsort(copy, n, sizeof *copy, by_class);
    for (size_t i = 0; i < n; i++) {
        run[i].code = copy[i].code;
        run[i].class = copy[i].class;
    }
    free(copy);
    return true;
}

/* The token for the longest beginning of spelled[from .. bytes), and where it ends; -1 for none. */
static int32_t longest_match(const struct work *w, size_t from, size_t bytes, size_t *end)
{
    uint32_t node = from == 0 ? 0 : 1;
    int32_t best = -1;
    for (size_t i = from; i < bytes; i++) {
        node = trie_step(&w->t->pieces_of_words, node, (unsigned char)w->spelled[i]);
        if (node == 0)
            break;
        if (w->t->pieces_of_words.values[node] >= 0) {
            best = w->t->pieces_of_words.values[node];
            *end = i + 1;
        }
    }
    return best;
}

/* Cut the spelled word; on a miss take back what was added. */
static bool cut_word(struct work *w, size_t bytes)
{
    size_t kept = w->sink->count;
    size_t unit = 0, reached = w->units[0].begin;
    for (size_t from = 0, end = 0; from < bytes; from = end) {
        int32_t id = longest_match(w, from, bytes, &end);
        if (id < 0) {
            w->sink->count = kept;
            return token_sink_add(w->sink, w->t->rules.unknown, w->units[0].begin,
                                  w->units[w->count - 1].end);
        }
        size_t begin = w->units[unit].begin > reached ? w->units[unit].begin : reached;
        char bytes_of_one[4];
        for (size_t at = from; at < end; unit++)
            at += utf8_write(w->units[unit].code, bytes_of_one);
        size_t behind = w->units[unit - 1].end;
        reached = behind > begin ? behind : begin;
        if (!token_sink_add(w->sink, id, begin, reached))
            return false;
    }
    return true;
}

static bool end_word(struct work *w)
{
    if (w->count == 0)
        return true;
    if (!order_marks(w))
        return false;
    bool good;
    if (w->count > w->t->rules.max_word) {
        good = token_sink_add(w->sink, w->t->rules.unknown, w->units[0].begin,
                              w->units[w->count - 1].end);
    } else {
        if (!array_reserve(&w->spelled, &w->spelled_capacity, w->count * 4, 1))
            return false;
        size_t bytes = 0;
        for (size_t i = 0; i < w->count; i++)
            bytes += utf8_write(w->units[i].code, w->spelled + bytes);
        good = cut_word(w, bytes);
    }
    w->count = 0;
    w->ordered = 0;
    return good;
}

static bool add_unit(struct work *w, struct unit u)
{
    if (!array_reserve(&w->units, &w->capacity, w->count + 1, sizeof *w->units))
        return false;
    w->units[w->count++] = u;
    return true;
}

/* One code point behind decomposition. */
static bool add_decomposed(struct work *w, uint32_t code, size_t begin, size_t end)
{
    const struct vocabulary *rules = &w->t->rules;
    uint32_t class = 0;
    if (rules->strip_accents) {
        class = (uint32_t)utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
        if (class == 0 && !order_marks(w))
            return false;
        if (unicode_is_nonspacing_mark(code)) {
            if (w->count > 0)
                w->units[w->count - 1].end = end;
            return true;
        }
    }
    if (unicode_is_space(code))
        return end_word(w);
    if (rules->lowercase)
        code = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    bool alone = unicode_is_punctuation(code);
    if (alone && !end_word(w))
        return false;
    if (!add_unit(w, (struct unit){code, class, w->count, begin, end}))
        return false;
    if (class == 0)
        w->ordered = w->count;
    return !alone || end_word(w);
}

static bool add_character(struct work *w, uint32_t code, size_t begin, size_t end)
{
    const struct vocabulary *rules = &w->t->rules;
    if (rules->clean_text && unicode_is_dropped(code))
        return true;
    if (!rules->strip_accents) {
        /* The one letter whose lower case is always two code points; NFD has split it otherwise. */
        if (rules->lowercase && code == 0x130)
            return add_decomposed(w, 'i', begin, end) && add_decomposed(w, 0x307, begin, end);
        return add_decomposed(w, code, begin, end);
    }
    utf8proc_int32_t parts[MOST_DECOMPOSED];
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code, parts, MOST_DECOMPOSED,
                                                 UTF8PROC_DECOMPOSE, NULL);
    if (n < 1 || n > MOST_DECOMPOSED)
        return add_decomposed(w, code, begin, end);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (!add_decomposed(w, (uint32_t)parts[i], begin, end))
            return false;
    return true;
}

static bool encode_stretch(struct work *w, const char *text, size_t begin, size_t end)
{
    for (size_t i = begin; i < end;) {
        struct utf8_character c = utf8_read(text + i, end - i);
        bool alone = w->t->rules.isolate_cjk && unicode_is_ideograph(c.code);
        if (alone && !end_word(w))
            return false;
        if (!add_character(w, c.code, i, i + c.bytes))
            return false;
        if (alone && !end_word(w))
            return false;
        i += c.bytes;
    }
    return end_word(w);
}

bool wordpiece_encode(const struct tokenizer *t, const char *text, size_t begin, size_t end,
                      struct token_sink *sink)
{
    struct work w = {.t = t, .sink = sink};
    bool good = encode_stretch(&w, text, begin, end);
    free(w.units);
    free(w.spelled);
    return good;
}

/* ---- tables ---- */

static bool begins_with(struct text t, const char *mark, size_t bytes)
{
    return t.bytes >= bytes && memcmp(t.data, mark, bytes) == 0;
}

/* Strip the mark off `token`; returns the root it belongs to. */
static uint32_t strip_mark(const struct tokenizer *t, struct text *token)
{
    bool hashes = t->rules.word_mark == WORD_MARK_HASHES;
    size_t mark = hashes ? 2 : WORD_BLOCK_BYTES;
    bool marked = begins_with(*token, hashes ? "##" : WORD_BLOCK, mark);
    if (marked)
        *token = (struct text){token->data + mark, token->bytes - mark};
    return marked == hashes ? 1 : 0;
}

/* "[...]" is kept as it is when a vocabulary is rewritten, and cannot occur inside a word. */
static bool is_bracketed(struct text t)
{
    return t.bytes >= 2 && t.data[0] == '[' && t.data[t.bytes - 1] == ']';
}

bool wordpiece_prepare(struct tokenizer *t, struct failure *f)
{
    if (t->rules.unknown < 0)
        return fail(f,
                    "a WordPiece vocabulary needs an unknown token, usually [UNK], and has none");
    size_t bytes = 0;
    for (size_t i = 0; i < t->rules.count; i++)
        bytes += t->tokens[i].bytes;
    if (!trie_create(&t->pieces_of_words, bytes))
        return fail(f, "not enough memory for a vocabulary of %zu tokens", t->rules.count);
    for (size_t i = 0; i < t->rules.count; i++) {
        struct text token = t->tokens[i];
        bool bracketed = is_bracketed(token) && t->rules.word_mark == WORD_MARK_BLOCK;
        if (t->types[i] != TOKEN_NORMAL || bracketed || !utf8_valid(token, NULL))
            continue;
        uint32_t root = strip_mark(t, &token);
        if (token.bytes > 0)
            trie_insert(&t->pieces_of_words, root, token, (int32_t)i);
    }
    return true;
}
