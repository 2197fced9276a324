/* Any small vocabulary and any text, through byte-level BPE, in each of its cuts. Every text comes back
 * byte for byte (but composed where the vocabulary does that). Where nothing is split out of it, the ids
 * must be those of the definition taken literally: in each word look at all neighbours, join the pair whose
 * merge comes first, start over.
 *
 * An entry of the input (tokenizer_input.h) with an even type is two ids of 16 bits, modulo the tokens
 * there are, which it joins; with an odd one it is a special token. */
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_cut.h"
#include "tokenizer_input.h"

enum { BYTES = 256, MOST = BYTES + 512, TOKEN_BYTES = 600, LONGEST_TEXT = 400 };

struct built {
    struct text tokens[MOST], merges[256];
    unsigned char types[MOST];
    int left[256], right[256], result[256];
    size_t count, merge_count;
    char room[1 << 18];
    size_t used;
};

static struct text keep(struct built *b, const char *data, size_t bytes)
{
    struct text kept = {b->room + b->used, bytes};
    if (bytes > sizeof b->room - b->used)
        abort();
    if (bytes > 0)
        memcpy(b->room + b->used, data, bytes);
    b->used += bytes;
    return kept;
}

static void add_token(struct built *b, struct text token, unsigned char type)
{
    b->types[b->count] = type;
    b->tokens[b->count++] = token;
}

static int find(const struct built *b, struct text token)
{
    for (size_t i = b->count; i > 0; i--)
        if (!text_compare(b->tokens[i - 1], token))
            return (int)i - 1;
    return -1;
}

static void add_merge(struct built *b, int left, int right)
{
    char joined[2 * TOKEN_BYTES + 1];
    struct text l = b->tokens[left], r = b->tokens[right];
    if (l.bytes + r.bytes > TOKEN_BYTES)
        return;
    memcpy(joined, l.data, l.bytes);
    joined[l.bytes] = ' ';
    memcpy(joined + l.bytes + 1, r.data, r.bytes);
    struct text merge = keep(b, joined, l.bytes + 1 + r.bytes);
    memmove(joined + l.bytes, joined + l.bytes + 1, r.bytes);
    struct text token = {joined, l.bytes + r.bytes};
    int result = find(b, token);
    if (result < 0) {
        add_token(b, keep(b, joined, token.bytes), TOKEN_NORMAL);
        result = (int)b->count - 1;
    }
    for (size_t i = 0; i < b->merge_count; i++)
        if (b->left[i] == left && b->right[i] == right)
            return; /* the later would count: leave that aside */
    b->left[b->merge_count] = left;
    b->right[b->merge_count] = right;
    b->result[b->merge_count] = result;
    b->merges[b->merge_count++] = merge;
}

/* True if special tokens were added. */
static bool build(struct built *b, const struct input *in)
{
    bool special = false;
    b->count = b->merge_count = b->used = 0;
    for (unsigned i = 0; i < BYTES; i++) {
        char spelled[4];
        add_token(b,
                  keep(b, spelled, utf8_write(byte_alphabet_character((unsigned char)i), spelled)),
                  TOKEN_NORMAL);
    }
    for (size_t i = 0; i < in->count; i++) {
        struct text entry = in->tokens[i];
        const unsigned char *id = (const unsigned char *)entry.data;
        if (in->types[i] % 2 == 0 && entry.bytes >= 4) {
            size_t left = (id[0] | (size_t)id[1] << 8) % b->count;
            size_t right = (id[2] | (size_t)id[3] << 8) % b->count;
            if (b->types[left] == TOKEN_NORMAL && b->types[right] == TOKEN_NORMAL)
                add_merge(b, (int)left, (int)right);
        } else if (in->types[i] % 2 != 0 && entry.bytes > 0 && find(b, entry) < 0) {
            add_token(b, entry, in->types[i] & 2 ? TOKEN_CONTROL : TOKEN_USER_DEFINED);
            special = true;
        }
    }
    return special;
}

/* Join the ids of one word by the definition; returns how many are left. */
static size_t merge_word(const struct built *b, int *ids, size_t count)
{
    for (;;) {
        size_t best = count, best_merge = b->merge_count;
        for (size_t i = 0; i + 1 < count; i++)
            for (size_t m = 0; m < best_merge; m++)
                if (b->left[m] == ids[i] && b->right[m] == ids[i + 1]) {
                    best = i;
                    best_merge = m;
                }
        if (best == count)
            return count;
        ids[best] = b->result[best_merge];
        memmove(ids + best + 1, ids + best + 2, (count - best - 2) * sizeof *ids);
        count--;
    }
}

static void compare_with_definition(const struct built *b, const struct tokenizer *t,
                                    enum word_cut cut, struct text text)
{
    struct token_list list;
    struct word_cutter *cutter;
    struct word_cutting cutting;
    size_t begin, end, reached = 0, at = 0;
    int ids[LONGEST_TEXT];
    if (text.bytes > LONGEST_TEXT ||
        !tokenizer_encode(t, text, (struct encode_options){0}, &list, NULL))
        return;
    if (!word_cutter_create(&cutter, cut, NULL) ||
        !word_cutting_begin(&cutting, cutter, text.data, text.bytes, NULL))
        abort();
    while (word_cutting_next(&cutting, &begin, &end)) {
        if (begin != reached || end <= begin)
            abort();
        reached = end;
        for (size_t i = begin; i < end; i++)
            ids[i - begin] = (unsigned char)text.data[i];
        size_t count = merge_word(b, ids, end - begin);
        for (size_t i = 0; i < count; i++)
            if (at >= list.count || list.tokens[at++].id != ids[i])
                abort();
    }
    if (at != list.count || reached != text.bytes)
        abort();
    word_cutting_end(&cutting);
    word_cutter_free(cutter);
    token_list_free(&list);
}

static void check_round_trip(const struct tokenizer *t, struct text text)
{
    size_t bytes;
    char *back = encode_and_decode(t, text, &bytes);
    if (back && (bytes != text.bytes || (bytes > 0 && memcmp(back, text.data, bytes) != 0)))
        abort();
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct input in;
    static struct built b;
    read_input(&in, data, size);
    bool special = build(&b, &in);
    struct vocabulary v = vocabulary_default(TOKENIZER_BYTE_BPE);
    v.count = b.count;
    v.tokens = b.tokens;
    v.types = b.types;
    v.merges = b.merges;
    v.merge_count = b.merge_count;
    v.cut = (enum word_cut)(in.switches & 3);
    v.whole_words = in.switches & 4;
    v.compose = in.switches & 8;
    if (in.switches & 16 && b.merge_count > 0)
        b.merges[b.merge_count - 1] = in.text; /* any bytes as a merge */
    struct tokenizer *t;
    struct failure f = {""};
    if (!tokenizer_create(&t, &v, &f)) {
        if (t || !f.message[0] || !(in.switches & 16))
            abort();
        return 0;
    }
    encode_every_way(t, in.text, true);
    struct token_list list; /* all bytes have tokens */
    if (!tokenizer_encode(t, in.text, (struct encode_options){.lossy = true}, &list, &f))
        abort();
    token_list_free(&list);
    if (!v.compose)
        check_round_trip(t, in.text);
    if (!special && !v.compose && !v.whole_words && !(in.switches & 16))
        compare_with_definition(&b, t, v.cut, in.text);
    tokenizer_free(t);
    return 0;
}
