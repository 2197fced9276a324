/* Text out of tokens, character by character; see stream.h. */
#include "stream.h"

#include "../tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

void stream_open(struct stream *s, const struct tokenizer *tokenizer, const char *const *stops,
                 bool show_control, int32_t previous)
{
    *s = (struct stream){
        .tokenizer = tokenizer, .stops = stops, .show_control = show_control, .previous = previous};
}

void stream_free(struct stream *s)
{
    free(s->text);
    free(s->held);
    *s = (struct stream){0};
}

static bool append(char **text, size_t *bytes, const char *data, size_t count, struct failure *f)
{
    char *larger = realloc(*text, *bytes + count + 1);
    if (larger == NULL)
        return fail(f, "out of memory for the text");
    if (count > 0)
        memcpy(larger + *bytes, data, count);
    *bytes += count;
    larger[*bytes] = '\0';
    *text = larger;
    return true;
}

/* What `token` adds to the text: how the two decode, less how the first one does. */
static bool hold_token(struct stream *s, int32_t token, struct failure *f)
{
    enum token_class class = tokenizer_class(s->tokenizer, token);
    bool control = class == TOKEN_CLASS_CONTROL || class == TOKEN_CLASS_FIRST ||
                   class == TOKEN_CLASS_SEPARATOR;
    if (control && !s->show_control)
        return true;
    if (control) {
        struct text piece = tokenizer_piece(s->tokenizer, token);
        return append(&s->held, &s->held_bytes, piece.data, piece.bytes, f);
    }
    const int32_t pair[2] = {s->previous, token};
    int known = s->previous >= 0 ? 1 : 0;
    char *before = NULL, *both = NULL;
    size_t before_bytes = 0, both_bytes = 0;
    bool ok = tokenizer_decode(s->tokenizer, pair, (size_t)known, &before, &before_bytes, f) &&
              tokenizer_decode(s->tokenizer, pair + 1 - known, (size_t)(known + 1), &both,
                               &both_bytes, f);
    if (ok && both_bytes > before_bytes)
        ok = append(&s->held, &s->held_bytes, both + before_bytes, both_bytes - before_bytes, f);
    free(before);
    free(both);
    s->previous = token;
    return ok;
}

/* Where the first stop text in what is held begins; held_bytes if there is none. */
static size_t find_stop(struct stream *s)
{
    size_t first = s->held_bytes;
    for (size_t i = 0; s->stops != NULL && s->stops[i] != NULL; i++) {
        size_t length = strlen(s->stops[i]);
        for (size_t at = 0; length > 0 && at + length <= s->held_bytes && at < first; at++)
            if (memcmp(s->held + at, s->stops[i], length) == 0) {
                first = at;
                s->stopped = s->stops[i];
            }
    }
    return first;
}

/* How many bytes at the end of what is held may be the beginning of a stop text. */
static size_t possible_stop(const struct stream *s)
{
    size_t most = 0;
    for (size_t i = 0; s->stops != NULL && s->stops[i] != NULL; i++) {
        size_t length = strlen(s->stops[i]);
        size_t begin = length < s->held_bytes + 1 ? length : s->held_bytes + 1;
        for (size_t n = begin > 0 ? begin - 1 : 0; n > most; n--)
            if (memcmp(s->held + s->held_bytes - n, s->stops[i], n) == 0)
                most = n;
    }
    return most;
}

/* Whether `bytes` bytes may be the beginning of a character. */
static bool is_cut(const char *data, size_t bytes)
{
    unsigned char lead = (unsigned char)data[0];
    size_t whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    return bytes < whole && utf8_read(data, bytes).bytes == bytes && lead < 0xf5;
}

/* Move the first `count` held bytes to the text, but for a character that is cut unless this is the `end`. */
static bool give_out(struct stream *s, size_t count, bool end, struct failure *f)
{
    size_t at = 0;
    while (at < count) {
        struct utf8_character c = utf8_read(s->held + at, count - at);
        if (!c.valid && !end && is_cut(s->held + at, count - at))
            break;
        bool ok = c.valid ? append(&s->text, &s->bytes, s->held + at, c.bytes, f)
                          : append(&s->text, &s->bytes, "\xef\xbf\xbd", 3, f);
        if (!ok)
            return false;
        at += c.bytes;
    }
    memmove(s->held, s->held + at, s->held_bytes - at);
    s->held_bytes -= at;
    return true;
}

static struct text given_since(const struct stream *s, size_t from)
{
    return (struct text){s->bytes > from ? s->text + from : "", s->bytes - from};
}

bool stream_token(struct stream *s, int32_t token, struct text *out, struct failure *f)
{
    size_t before = s->bytes;
    *out = (struct text){"", 0};
    if (!hold_token(s, token, f))
        return false;
    if (s->held_bytes == 0)
        return true;
    size_t stop = find_stop(s);
    bool ok = s->stopped != NULL ? give_out(s, stop, true, f)
                                 : give_out(s, s->held_bytes - possible_stop(s), false, f);
    if (s->stopped != NULL)
        s->held_bytes = 0;
    *out = given_since(s, before);
    return ok;
}

bool stream_finish(struct stream *s, struct text *out, struct failure *f)
{
    size_t before = s->bytes;
    bool ok = s->held_bytes == 0 || give_out(s, s->held_bytes, true, f);
    *out = given_since(s, before);
    return ok;
}
