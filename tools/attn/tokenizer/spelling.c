/* Composition goes by pieces: from a character that never joins one before it up to the next such
 * character. Each piece is decomposed, its marks are put in canonical order, and utf8proc composes it. */
#include "spelling.h"

#include "array.h"
#include "utf8.h"

#include <string.h>
#include <utf8proc.h>

enum { FIRST_MARK = 0x300 }; /* below it every character is composed and joins nothing before it */

/* Characters of combining class zero that nevertheless may join the one before: second halves of
 * composites, and those that decompose to marks. Of Unicode 14; there are 89 of them. */
static const struct {
    uint32_t first, last;
} joiners[] = {{0x09BE, 0x09BE},   {0x09D7, 0x09D7},   {0x0B3E, 0x0B3E},   {0x0B56, 0x0B57},
               {0x0BBE, 0x0BBE},   {0x0BD7, 0x0BD7},   {0x0CC2, 0x0CC2},   {0x0CD5, 0x0CD6},
               {0x0D3E, 0x0D3E},   {0x0D57, 0x0D57},   {0x0DCF, 0x0DCF},   {0x0DDF, 0x0DDF},
               {0x0F73, 0x0F73},   {0x0F75, 0x0F75},   {0x0F81, 0x0F81},   {0x102E, 0x102E},
               {0x1161, 0x1175},   {0x11A8, 0x11C2},   {0x1B35, 0x1B35},   {0x11127, 0x11127},
               {0x1133E, 0x1133E}, {0x11357, 0x11357}, {0x114B0, 0x114B0}, {0x114BA, 0x114BA},
               {0x114BD, 0x114BD}, {0x115AF, 0x115AF}, {0x11930, 0x11930}};

static utf8proc_int32_t class_of(uint32_t code)
{
    return utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
}

static bool joins_back(uint32_t code)
{
    if (code < FIRST_MARK)
        return false;
    for (size_t i = 0; i < sizeof joiners / sizeof *joiners; i++)
        if (code >= joiners[i].first && code <= joiners[i].last)
            return true;
    return class_of(code) != 0;
}

bool spelling_is_plain(const char *text, size_t begin, size_t end, bool compose)
{
    for (size_t i = begin; i < end;) {
        struct utf8_character c = utf8_read(text + i, end - i);
        if (!c.valid || (compose && c.code >= FIRST_MARK))
            return false;
        i += c.bytes;
    }
    return true;
}

/* Add bytes; where they came from is told when all of a piece are there. */
static bool add_bytes(struct spelling *s, const char *bytes, size_t count)
{
    if (!array_reserve(&s->data, &s->capacity, s->count + count, 1) ||
        !array_reserve(&s->source, &s->source_capacity, s->count + count + 1, sizeof *s->source))
        return false;
    memcpy(s->data + s->count, bytes, count);
    s->count += count;
    return true;
}

/* The bytes from `at` on stand for text[begin .. end): one by one if they are the same. */
static void tell_source(struct spelling *s, size_t at, const char *text, size_t begin, size_t end)
{
    size_t count = s->count - at;
    bool same = count == end - begin && memcmp(s->data + at, text + begin, count) == 0;
    for (size_t i = 0; i < count; i++)
        s->source[at + i] = same ? begin + i : i == 0 ? begin : end;
    s->source[s->count] = end;
}

struct mark {
    utf8proc_int32_t code, class;
    size_t order;
};

static int by_class(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* A piece being composed. */
struct piece {
    utf8proc_int32_t *codes;
    size_t count, capacity;
    struct mark *marks;
    size_t mark_capacity;
};

static bool decompose(struct piece *p, const char *text, size_t begin, size_t end)
{
    p->count = 0;
    for (size_t i = begin; i < end;) {
        struct utf8_character c = utf8_read(text + i, end - i);
        utf8proc_int32_t few[8]; /* no character becomes more than 4 */
        int boundary;
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c.code, few, 8,
                                                     UTF8PROC_DECOMPOSE, &boundary);
        if (n < 0 || n > 8)
            few[0] = (utf8proc_int32_t)c.code, n = 1;
        if (!array_reserve(&p->codes, &p->capacity, p->count + (size_t)n, sizeof *p->codes))
            return false;
        memcpy(p->codes + p->count, few, (size_t)n * sizeof *few);
        p->count += (size_t)n;
        i += c.bytes;
    }
    return true;
}

/* Canonical order: each run of marks by class, equals as they were. */
static bool order_marks(struct piece *p)
{
    for (size_t i = 0; i < p->count;) {
        size_t n = 0;
        bool sorted = true;
        for (; i + n < p->count; n++) {
            utf8proc_int32_t class = class_of((uint32_t)p->codes[i + n]);
            if (class == 0)
                break;
            if (!array_reserve(&p->marks, &p->mark_capacity, n + 1, sizeof *p->marks))
                return false;
            p->marks[n] = (struct mark){p->codes[i + n], class, n};
            sorted = sorted && (n == 0 || p->marks[n - 1].class <= class);
        }
        if (!sorted)
            qsort(p->marks, n, sizeof *p->marks, by_class);
        for (size_t j = 0; !sorted && j < n; j++)
            p->codes[i + j] = p->marks[j].code;
        i += n > 0 ? n : 1;
    }
    return true;
}

static bool add_composed(struct spelling *s, struct piece *p, const char *text, size_t begin,
                         size_t end)
{
    if (!decompose(p, text, begin, end) || !order_marks(p))
        return false;
    utf8proc_ssize_t n = utf8proc_normalize_utf32(p->codes, (utf8proc_ssize_t)p->count,
                                                  UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char bytes[4];
        if (!add_bytes(s, bytes, utf8_write((uint32_t)p->codes[i], bytes)))
            return false;
    }
    return true;
}

/* Where the piece that begins at `begin` ends. */
static size_t piece_end(const char *text, size_t begin, size_t end)
{
    for (size_t i = begin; i < end;) {
        struct utf8_character c = utf8_read(text + i, end - i);
        if (i > begin && !joins_back(c.code))
            return i;
        i += c.bytes;
    }
    return end;
}

bool spelling_make(struct spelling *s, const char *text, size_t begin, size_t end, bool compose)
{
    struct piece piece = {0};
    bool good = true;
    *s = (struct spelling){0};
    for (size_t i = begin, next; good && i < end; i = next) {
        struct utf8_character c = utf8_read(text + i, end - i);
        size_t at = s->count;
        next = compose ? piece_end(text, i, end) : i + c.bytes;
        good = compose   ? add_composed(s, &piece, text, i, next)
               : c.valid ? add_bytes(s, text + i, c.bytes)
                         : add_bytes(s, "\xEF\xBF\xBD", 3);
        if (good)
            tell_source(s, at, text, i, next);
    }
    free(piece.codes);
    free(piece.marks);
    return good;
}

void spelling_free(struct spelling *s)
{
    free(s->data);
    free(s->source);
}
