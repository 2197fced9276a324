/* Any small vocabulary and any text, through SentencePiece BPE. Where nothing is split out of the
 * text, the ids must be those of the definition taken literally: look at all adjacent pairs, merge
 * the best, start over. */
#include "tokenizer_input.h"

enum { SPELLED = 4096, MOST = 200, UNKNOWN = 0 };

struct piece {
    size_t begin, bytes;
    int id;
};

static int find(const struct input *in, const char *bytes, size_t count)
{
    for (size_t i = in->count; i > 0; i--)
        if (in->types[i - 1] == TOKEN_NORMAL && count > 0 && in->tokens[i - 1].bytes == count &&
            !memcmp(in->tokens[i - 1].data, bytes, count))
            return (int)i - 1;
    return -1;
}

static size_t spell(const struct input *in, char *spelled, struct piece *pieces, size_t *count)
{
    size_t n = 0;
    *count = 0;
    for (size_t i = 0; i < in->text.bytes;) {
        size_t begin = n;
        if (in->text.data[i] == ' ') {
            memcpy(spelled + n, "\xE2\x96\x81", 3);
            n += 3;
            i++;
        } else {
            do
                spelled[n++] = in->text.data[i++];
            while (i < in->text.bytes && (in->text.data[i] & 0xC0) == 0x80);
        }
        pieces[(*count)++] = (struct piece){begin, n - begin, find(in, spelled + begin, n - begin)};
    }
    return n;
}

static void merge_by_definition(const struct input *in, const char *spelled, struct piece *pieces,
                                size_t *count)
{
    for (;;) {
        size_t best = *count;
        int best_id = -1;
        for (size_t i = 0; i + 1 < *count; i++) {
            int id = find(in, spelled + pieces[i].begin, pieces[i].bytes + pieces[i + 1].bytes);
            if (id >= 0 && (best_id < 0 || in->scores[id] > in->scores[best_id])) {
                best = i;
                best_id = id;
            }
        }
        if (best_id < 0)
            return;
        pieces[best].bytes += pieces[best + 1].bytes;
        pieces[best].id = best_id;
        memmove(pieces + best + 1, pieces + best + 2, (*count - best - 2) * sizeof *pieces);
        --*count;
    }
}

static void compare_with_definition(const struct input *in, const struct tokenizer *t)
{
    char spelled[SPELLED];
    struct piece pieces[MOST];
    struct token_list list;
    size_t count, at = 0;
    if (in->text.bytes > MOST ||
        !tokenizer_encode(t, in->text, (struct encode_options){0}, &list, NULL))
        return;
    spell(in, spelled, pieces, &count);
    merge_by_definition(in, spelled, pieces, &count);
    for (size_t i = 0; i < count; i++) {
        bool repeated = i > 0 && pieces[i].id < 0 && pieces[i - 1].id < 0;
        if (repeated)
            continue; /* unknown characters in a row are one token */
        int id = pieces[i].id < 0 ? UNKNOWN : pieces[i].id;
        if (at >= list.count || list.tokens[at++].id != id)
            abort();
    }
    if (at != list.count)
        abort();
    token_list_free(&list);
}

static void check_round_trip(const struct input *in, const struct tokenizer *t)
{
    size_t bytes, from = 0;
    char *back = encode_and_decode(t, in->text, &bytes);
    if (!back)
        return;
    for (size_t i = 0; i < bytes; i++) {
        bool block = in->text.bytes - from >= 3 && !memcmp(in->text.data + from, "\xE2\x96\x81", 3);
        if (from >= in->text.bytes || back[i] != (block ? ' ' : in->text.data[from]))
            abort();
        from += block ? 3 : 1;
    }
    if (from != in->text.bytes)
        abort();
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct input in;
    read_input(&in, data, size);
    struct vocabulary v = vocabulary_default(TOKENIZER_SENTENCEPIECE);
    if (in.switches & 1)
        add_byte_tokens(&in);
    v.count = in.count;
    v.tokens = in.tokens;
    v.scores = in.scores;
    v.types = in.types;
    v.unknown = in.switches & 1 ? -1 : UNKNOWN;
    v.add_space_prefix = in.switches & 2;
    v.first = in.switches & 4 ? 1 : -1;
    v.last = in.switches & 8 ? 2 : -1;
    struct tokenizer *t;
    struct failure f = {""};
    if (!tokenizer_create(&t, &v, &f)) {
        if (t || !f.message[0])
            abort();
        return 0;
    }
    encode_every_way(t, in.text, true);
    bool plain = v.unknown == UNKNOWN && in.types[UNKNOWN] == TOKEN_UNKNOWN && !v.add_space_prefix;
    for (size_t i = 1; i < in.count; i++)
        plain = plain && (in.types[i] == TOKEN_NORMAL || in.types[i] == TOKEN_UNUSED);
    if (plain)
        compare_with_definition(&in, t);
    if (v.unknown < 0 && v.first < 0) /* then every byte has a token */
        check_round_trip(&in, t);
    tokenizer_free(t);
    return 0;
}
