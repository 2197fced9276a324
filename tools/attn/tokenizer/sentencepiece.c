/* SentencePiece BPE: start from characters and, again and again, merge the adjacent pair that forms
 * the token with the highest score, the leftmost of equals (merging.h).
 *
 * To keep the heap small, the text is cut first wherever no merge can reach across: in front of a
 * space, unless some token of the vocabulary has a space behind the character that is there. In
 * Gemma's vocabulary that leaves one word at a time (and ">", because of the token ">▁</"). The cuts
 * change nothing: a merge across one would form a token with a space behind that character. */
#include "array.h"
#include "internal.h"
#include "merging.h"
#include "utf8.h"

#include <string.h>

/* The memory of one call. */
struct work {
    const struct tokenizer *t;
    char *spelled; /* the text with U+2581 for spaces */
    size_t spelled_count, spelled_capacity;
    struct merging merging;
};

/* Two neighbours that together spell a token join to it. */
static int32_t join(const struct merging *m, const struct merging_symbol *left,
                    const struct merging_symbol *right, float *score)
{
    uint32_t length = left->length + right->length;
    if (length > m->t->longest_mergeable)
        return -1;
    int32_t id = string_map_get(&m->t->mergeable, m->spelled + left->begin, length);
    if (id >= 0)
        *score = m->t->scores[id];
    return id;
}

/* A symbol that is no token: its bytes, or the unknown token, which swallows its likes. */
static bool add_unspelled(const struct work *w, const struct merging_symbol *s, size_t begin,
                          size_t end, size_t first_token, struct token_sink *sink)
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
    struct merging *m = &w->merging;
    if (m->symbol_count == 0)
        return true;
    m->spelled = w->spelled;
    if (!merging_run(m))
        return false;
    for (uint32_t i = 0; i != MERGING_NOBODY; i = m->symbols[i].next) {
        const struct merging_symbol *s = &m->symbols[i];
        size_t from = begin + s->source;
        size_t to = s->next == MERGING_NOBODY ? end : begin + m->symbols[s->next].source;
        bool added = s->id >= 0 ? token_sink_add(sink, s->id, from, to)
                                : add_unspelled(w, s, from, to, first_token, sink);
        if (!added)
            return false;
    }
    m->symbol_count = 0;
    w->spelled_count = 0;
    return true;
}

static bool add_symbol(struct work *w, const char *bytes, size_t length, size_t source)
{
    if (!array_reserve(&w->spelled, &w->spelled_capacity, w->spelled_count + length, 1))
        return false;
    memcpy(w->spelled + w->spelled_count, bytes, length);
    w->spelled_count += length;
    return merging_add(&w->merging, (uint32_t)(w->spelled_count - length), (uint32_t)length,
                       (uint32_t)source, string_map_get(&w->t->mergeable, bytes, length));
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
    struct work w = {.t = t, .merging = {.t = t, .join = join}};
    bool good = encode_stretch(&w, text, begin, end, leading, sink);
    free(w.spelled);
    merging_free(&w.merging);
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
