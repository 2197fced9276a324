/* SentencePiece BPE: start from characters and, again and again, merge the adjacent pair that forms
 * the token with the highest score, the leftmost of equals.
 *
 * The candidates wait in a heap and the symbols form a linked list, so n characters take
 * O(n log n). A candidate is not removed when one of its symbols changes; it is recognised as stale
 * when it comes up, because the lengths no longer add up.
 *
 * To keep the heap small, the text is cut first wherever no merge can reach across: in front of a
 * space, unless some token of the vocabulary has a space behind the character that is there. In
 * Gemma's vocabulary that leaves one word at a time (and ">", because of the token ">▁</"). The cuts
 * change nothing: a merge across one would form a token with a space behind that character. */
#include "array.h"
#include "internal.h"
#include "utf8.h"

#include <string.h>

#define NOBODY UINT32_MAX

struct symbol {
    uint32_t begin, length; /* in the spelled text; length 0: merged into its left neighbour */
    uint32_t previous, next;
    uint32_t source; /* where it begins in the text, from the start of the stretch */
    int32_t id;      /* -1: no token */
};

struct candidate {
    float score;
    uint32_t left, right;
    uint32_t length; /* of the two together */
    int32_t id;
};

/* The memory of one call. */
struct work {
    const struct tokenizer *t;
    char *spelled; /* the text with U+2581 for spaces */
    size_t spelled_count, spelled_capacity;
    struct symbol *symbols;
    size_t symbol_count, symbol_capacity;
    struct candidate *heap;
    size_t heap_count, heap_capacity;
};

static bool comes_first(const struct candidate *a, const struct candidate *b)
{
    return a->score != b->score ? a->score > b->score : a->left < b->left;
}

static bool heap_push(struct work *w, struct candidate c)
{
    if (!array_reserve(&w->heap, &w->heap_capacity, w->heap_count + 1, sizeof *w->heap))
        return false;
    size_t i = w->heap_count++;
    for (; i > 0 && comes_first(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
    return true;
}

static struct candidate heap_pop(struct work *w)
{
    struct candidate top = w->heap[0];
    struct candidate last = w->heap[--w->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->heap_count; i = child) {
        if (child + 1 < w->heap_count && comes_first(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!comes_first(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

/* If the two neighbours together spell a token, they become a candidate. */
static bool consider(struct work *w, uint32_t left, uint32_t right)
{
    if (left == NOBODY || right == NOBODY)
        return true;
    const struct symbol *l = &w->symbols[left];
    uint32_t length = l->length + w->symbols[right].length;
    if (length > w->t->longest_mergeable)
        return true;
    int32_t id = string_map_get(&w->t->mergeable, w->spelled + l->begin, length);
    if (id < 0)
        return true;
    return heap_push(w, (struct candidate){w->t->scores[id], left, right, length, id});
}

static bool merge_all(struct work *w)
{
    w->heap_count = 0;
    for (uint32_t i = 0; i + 1 < w->symbol_count; i++)
        if (!consider(w, i, i + 1))
            return false;
    while (w->heap_count > 0) {
        struct candidate c = heap_pop(w);
        struct symbol *left = &w->symbols[c.left];
        struct symbol *right = &w->symbols[c.right];
        if (left->length == 0 || right->length == 0 || left->length + right->length != c.length)
            continue; /* stale */
        left->length = c.length;
        left->id = c.id;
        left->next = right->next;
        right->length = 0;
        if (left->next != NOBODY)
            w->symbols[left->next].previous = c.left;
        if (!consider(w, left->previous, c.left) || !consider(w, c.left, left->next))
            return false;
    }
    return true;
}

/* A symbol that is no token: its bytes, or the unknown token, which swallows its likes. */
static bool add_unspelled(const struct work *w, const struct symbol *s, size_t begin, size_t end,
                          size_t first_token, struct token_sink *sink)
{
    const struct tokenizer *t = w->t;
    const unsigned char *bytes = (const unsigned char *)w->spelled + s->begin;
    bool have_bytes = true;
    for (uint32_t i = 0; i < s->length; i++)
        have_bytes = have_bytes && t->byte_ids[bytes[i]] >= 0;
    if (!have_bytes) {
        struct token *last = sink->count > first_token ? &sink->tokens[sink->count - 1] : NULL;
        if (last != NULL && last->id == t->rules.unknown) {
            last->end = end;
            return true;
        }
        return token_sink_add(sink, t->rules.unknown, begin, end);
    }
    bool share = end - begin == s->length;
    for (uint32_t i = 0; i < s->length; i++) {
        size_t from = share ? begin + i : i == 0 ? begin : end;
        size_t to = share ? begin + i + 1 : end;
        if (!token_sink_add(sink, t->byte_ids[bytes[i]], from, to))
            return false;
    }
    return true;
}

/* Merge and hand over what has been collected; it ends at `end` of the text, the stretch began at
 * `begin`. */
static bool finish_segment(struct work *w, size_t begin, size_t end, size_t first_token,
                           struct token_sink *sink)
{
    if (w->symbol_count == 0)
        return true;
    w->symbols[w->symbol_count - 1].next = NOBODY;
    if (!merge_all(w))
        return false;
    for (uint32_t i = 0; i != NOBODY; i = w->symbols[i].next) {
        const struct symbol *s = &w->symbols[i];
        size_t from = begin + s->source;
        size_t to = s->next == NOBODY ? end : begin + w->symbols[s->next].source;
        bool added = s->id >= 0 ? token_sink_add(sink, s->id, from, to)
                                : add_unspelled(w, s, from, to, first_token, sink);
        if (!added)
            return false;
    }
    w->symbol_count = 0;
    w->spelled_count = 0;
    return true;
}

static bool add_symbol(struct work *w, const char *bytes, size_t length, size_t source)
{
    if (!array_reserve(&w->spelled, &w->spelled_capacity, w->spelled_count + length, 1) ||
        !array_reserve(&w->symbols, &w->symbol_capacity, w->symbol_count + 1, sizeof *w->symbols))
        return false;
    memcpy(w->spelled + w->spelled_count, bytes, length);
    uint32_t i = (uint32_t)w->symbol_count++;
    w->symbols[i] = (struct symbol){.begin = (uint32_t)w->spelled_count,
                                    .length = (uint32_t)length,
                                    .previous = i == 0 ? NOBODY : i - 1,
                                    .next = i + 1,
                                    .source = (uint32_t)source,
                                    .id = string_map_get(&w->t->mergeable, bytes, length)};
    w->spelled_count += length;
    return true;
}

static bool is_block(const char *bytes, size_t length)
{
    return length == WORD_BLOCK_BYTES && memcmp(bytes, WORD_BLOCK, WORD_BLOCK_BYTES) == 0;
}

static bool encode_stretch(struct work *w, const char *text, size_t begin, size_t end, bool leading,
                           struct token_sink *sink)
{
    size_t first_token = sink->count;
    if (leading && w->t->rules.add_space_prefix && !add_symbol(w, WORD_BLOCK, WORD_BLOCK_BYTES, 0))
        return false;
    for (size_t i = begin; i < end;) {
        struct utf8_character c = utf8_read(text + i, end - i);
        const char *bytes = c.code == ' ' ? WORD_BLOCK : c.valid ? text + i : "\xEF\xBF\xBD";
        size_t length = c.code == ' ' || !c.valid ? 3 : c.bytes;
        if (w->spelled_count > 0 && is_block(bytes, length) &&
            !w->t->joins_block[(unsigned char)w->spelled[w->spelled_count - 1]] &&
            !finish_segment(w, begin, i, first_token, sink))
            return false;
        if (!add_symbol(w, bytes, length, i - begin))
            return false;
        i += c.bytes;
    }
    return finish_segment(w, begin, end, first_token, sink);
}

bool sentencepiece_encode(const struct tokenizer *t, const char *text, size_t begin, size_t end,
                          bool leading, struct token_sink *sink)
{
    struct work w = {.t = t};
    bool good = encode_stretch(&w, text, begin, end, leading, sink);
    free(w.spelled);
    free(w.symbols);
    free(w.heap);
    return good;
}

/* ---- tables ---- */

int byte_token_value(struct text token)
{
    if (token.bytes != 6 || memcmp(token.data, "<0x", 3) != 0 || token.data[5] != '>')
        return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = token.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static void note_joins(struct tokenizer *t, struct text spelled)
{
    for (size_t i = 1; i + WORD_BLOCK_BYTES <= spelled.bytes; i++)
        if (memcmp(spelled.data + i, WORD_BLOCK, WORD_BLOCK_BYTES) == 0)
            t->joins_block[(unsigned char)spelled.data[i - 1]] = true;
}

static bool has_space(struct text token)
{
    return token.bytes > 0 && memchr(token.data, ' ', token.bytes) != NULL;
}

bool sentencepiece_prepare(struct tokenizer *t, struct failure *f)
{
    if (!string_map_create(&t->mergeable, t->rules.count))
        return fail(f, "not enough memory for a vocabulary of %zu tokens", t->rules.count);
    for (int i = 0; i < 256; i++)
        t->byte_ids[i] = -1;
    for (size_t i = 0; i < t->rules.count; i++) {
        struct text token = t->tokens[i];
        if (t->types[i] == TOKEN_BYTE) {
            int value = byte_token_value(token);
            char quoted[TEXT_QUOTED];
            if (value < 0)
                return fail(f,
                            "token %zu of the vocabulary is %s, but a byte token looks like <0x0A>",
                            i, text_quote(token, quoted));
            t->byte_ids[value] = (int32_t)i;
        }
        /* A text holds no space by the time it is merged, so a token with a space is never formed;
         * user-defined ones are found before. */
        bool forms = t->types[i] == TOKEN_NORMAL || t->types[i] == TOKEN_USER_DEFINED;
        if (!forms || token.bytes == 0 || has_space(token))
            continue;
        string_map_put(&t->mergeable, token, (int32_t)i);
        note_joins(t, token);
        if (token.bytes > t->longest_mergeable)
            t->longest_mergeable = token.bytes;
    }
    for (int i = 0; i < 256 && t->rules.unknown < 0; i++)
        if (t->byte_ids[i] < 0)
            return fail(f,
                        "the vocabulary has neither an unknown token nor one for the byte 0x%02X",
                        (unsigned)i);
    return true;
}
