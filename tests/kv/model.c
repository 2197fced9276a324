/* The model: contents out of numbers, and the comparison with a cache. */
#include "kv/model.h"

#include <stdio.h>
#include <string.h>

#include "attn_ref_rotary.h"

/* ---- descriptions ---- */

static attn_dtype any_dtype(struct random *random)
{
    return (attn_dtype)random_between(random, ATTN_F32, ATTN_INT4);
}

static void init_layer(struct model *m, int64_t index, struct random *random)
{
    static const int64_t sizes[] = {2, 4, 8, 12, 20, 32, 64};
    attn_kv_layer *l = &m->layers[index];
    const int64_t size = sizes[random_between(random, 0, 6)];
    *l = attn_kv_layer_init(any_dtype(random), random_between(random, 1, 4), size,
                            random_between(random, 1, 9));
    l->v_dtype = any_dtype(random);
    l->head_size_v = random_chance(random, 0.7) ? size : sizes[random_between(random, 0, 6)];
    l->group = 0;
    if (l->k_dtype == ATTN_INT4 || l->v_dtype == ATTN_INT4) {
        l->group = 32;
        while ((l->k_dtype == ATTN_INT4 && l->head_size % l->group) ||
               (l->v_dtype == ATTN_INT4 && l->head_size_v % l->group))
            l->group -= 2;
    }
    if (random_chance(random, 0.1))
        l->page_size = m->config.tokens; /* contiguous */
    if (random_chance(random, 0.5)) {
        l->window = random_between(random, 1, 24);
        l->sinks = random_chance(random, 0.5) ? random_between(random, 1, 6) : 0;
    }
    l->positions = random_chance(random, 0.4);
    if (l->k_dtype == ATTN_INT8 && random_chance(random, 0.5)) {
        for (int i = 0; i < 4 * 64; i++)
            m->channel_scales[index][i] = (float)exp2(random_normal(random));
        l->k_channel_scales = m->channel_scales[index];
    }
    const attn_rotary *rotary = &m->rotary[random_between(random, 0, 1)];
    if (random_chance(random, 0.4) && rotary->size <= size)
        l->rotary = rotary;
}

void model_init(struct model *m, struct random *random)
{
    memset(m, 0, sizeof *m);
    m->config = attn_kv_config_init(m->layers, random_between(random, 1, MODEL_LAYERS),
                                    random_between(random, 1, MODEL_SEQUENCES),
                                    random_between(random, 8, 70));
    m->config.step = random_between(random, 1, 20);
    if (random_chance(random, 0.5))
        m->config.total_tokens = random_between(random, 10, 150);
    m->config.model = random_bits(random);
    for (int i = 0; i < 2; i++) {
        m->rotary[i] = attn_rotary_init(2 * random_between(random, 1, 6));
        m->rotary[i].base = i == 0 ? 10000 : 50;
        if (random_chance(random, 0.5))
            m->rotary[i].pairing = ATTN_ROTARY_NEIGHBOURS;
    }
    for (int64_t i = 0; i < m->config.layer_count; i++)
        init_layer(m, i, random);
}

/* ---- contents ---- */

static uint64_t hash(uint64_t a, uint64_t b)
{
    struct random random = {a * UINT64_C(0x2545f4914f6cdd1d) + b};
    return random_bits(&random);
}

/* Rows of very different sizes, and now and then one of zeros. */
double model_given(const struct model_token *token, int64_t layer, bool value, int64_t head,
                   int64_t c)
{
    const uint64_t row =
        hash((uint64_t)token->id, (uint64_t)(layer * 64 + head * 2) + (value ? 1 : 0));
    if (row % 17 == 0)
        return 0;
    const double unit = (double)(hash(row, (uint64_t)c) >> 11) * 0x1p-52 - 1;
    return attn_ref_rounded(token->dtype, ldexp(unit, (int)(row % 9) - 4));
}

/* Quantised: off by half a scale, the largest magnitude over `most`; and by f32 steps of the division by a
 * channel's scale, the product with the inverse and the scale itself, together below 1e-4 of a scale (4
 * roundings of numbers up to 127 scales: 127 * 4 * 2^-24 = 3e-5). Floats: exact unless turned, where an f32
 * error before rounding may fall on the other side: a unit of the type. */
static double bound_of(attn_dtype dtype, double x, double largest, double turn)
{
    switch (dtype) {
    case ATTN_INT8:
        return (0.5 + 1e-4) * (largest + turn) / 127 + turn;
    case ATTN_INT4:
        return (0.5 + 1e-4) * (largest + turn) / 7 + turn;
    default:
        break;
    }
    if (turn == 0)
        return 0;
    const double unit = dtype == ATTN_F32 ? 0 : dtype == ATTN_F16 ? 0x1p-10 : 0x1p-7;
    return turn + unit * fabs(x) + (dtype == ATTN_F16 ? 0x1p-24 : 0);
}

void model_row(const struct model *m, int64_t layer, const struct model_token *token, bool value,
               int64_t head, double *row, double *bound)
{
    const attn_kv_layer *l = &m->layers[layer];
    const int64_t size = value ? l->head_size_v : l->head_size;
    const attn_dtype dtype = value ? l->v_dtype : l->k_dtype;
    double given[64], largest = 0, all = 0, turn = 0;
    for (int64_t c = 0; c < size; c++) {
        row[c] = given[c] = model_given(token, layer, value, head, c);
        all = fmax(all, fabs(given[c]));
    }
    if (!value && l->rotary) { /* two products and a sum, and angles rounded to f32 */
        attn_ref_rotary_row(l->rotary, size, token->position, given, row);
        turn = 8 * 0x1p-24 * all;
    }
    const float *channel =
        !value && l->k_channel_scales ? l->k_channel_scales + head * l->head_size : NULL;
    const int64_t group = dtype == ATTN_INT4 ? l->group : size;
    for (int64_t begin = 0; begin < size; begin += group) {
        largest = 0;
        double least = INFINITY; /* an error of x is one of x / channel in the scale */
        for (int64_t c = begin; c < begin + group; c++) {
            const double factor = channel ? (double)channel[c] : 1;
            largest = fmax(largest, fabs(row[c]) / factor);
            least = fmin(least, factor);
        }
        for (int64_t c = begin; c < begin + group; c++) {
            const double factor = channel ? (double)channel[c] : 1;
            bound[c] = bound_of(dtype, row[c], largest * factor, turn * fmax(1, factor / least));
            if (dtype == ATTN_BF16 || dtype == ATTN_F16 || dtype == ATTN_F32)
                row[c] = turn == 0 ? attn_ref_rounded(dtype, row[c]) : row[c];
        }
    }
}

void model_append(struct model *m, int64_t layer, int64_t sequence, int64_t n, int64_t first_id,
                  attn_dtype dtype)
{
    struct model_line *line = &m->lines[layer][sequence];
    const attn_kv_layer *l = &m->layers[layer];
    if (n == 0)
        return;
    if (l->window > 0 && line->length - (l->window - 1) > line->gone)
        line->gone = line->length - (l->window - 1);
    for (int64_t i = 0; i < n; i++)
        line->tokens[line->count++] = (struct model_token){first_id + i, line->length++, dtype};
    line->just_moved = true;
}

/* ---- comparing ---- */

static const char *row_fault(const struct model *m, int64_t layer, const struct pages *pages,
                             int64_t b, int64_t row, const struct model_token *token)
{
    const attn_kv_layer *l = &m->layers[layer];
    double want[64], bound[64];
    for (int64_t h = 0; h < l->kv_heads; h++) {
        model_row(m, layer, token, false, h, want, bound);
        for (int64_t c = 0; c < l->head_size; c++)
            if (!(fabs(pages_key(pages, b, row, h, c) - want[c]) <= bound[c]))
                return "a key is not what was appended";
        model_row(m, layer, token, true, h, want, bound);
        for (int64_t c = 0; c < l->head_size_v; c++)
            if (!(fabs(pages_value(pages, b, row, h, c) - want[c]) <= bound[c]))
                return "a value is not what was appended";
    }
    return NULL;
}

/* The rows of one sequence: tokens of the model in order, all that must be there, and hardly more. */
static const char *line_fault(const struct model *m, int64_t layer, int64_t sequence,
                              const struct pages *pages, int64_t b)
{
    const attn_kv_layer *l = &m->layers[layer];
    const struct model_line *line = &m->lines[layer][sequence];
    const int64_t keys = pages_keys(pages, b);
    const bool told = pages->view.positions != NULL;
    int64_t at = 0, extra = 0;
    if (!told) /* the rows are the last ones */
        at = line->count - keys;
    if (at < 0)
        return "there are more rows than tokens";
    for (int64_t t = 0; t < at; t++)
        if (line->tokens[t].position >= line->gone)
            return "a token that a window sees is not there";
    for (int64_t row = 0; row < keys; row++, at++) {
        if (told)
            for (; at < line->count && line->tokens[at].position < pages_position(pages, b, row);
                 at++)
                if (line->tokens[at].position < l->sinks || line->tokens[at].position >= line->gone)
                    return "a token that must stay is not there";
        if (at == line->count ||
            (told && line->tokens[at].position != pages_position(pages, b, row)))
            return "a row stands where no token does";
        const int64_t position = line->tokens[at].position;
        extra += position >= l->sinks && position < line->gone;
        const char *fault = row_fault(m, layer, pages, b, row, &line->tokens[at]);
        if (fault)
            return fault;
    }
    for (; at < line->count; at++)
        if (line->tokens[at].position < l->sinks || line->tokens[at].position >= line->gone)
            return "a token at the end is not there";
    if (!told && extra > 0)
        return "a window holds a token that it let go of";
    if (line->just_moved && !line->evicted && extra > 2 * (l->page_size - 1))
        return "a window holds whole pages that it let go of";
    return NULL;
}

/* Pages of views, against what the cache says it uses. */
static const char *usage_fault(const struct model *m, attn_kv *kv, int64_t layer,
                               const struct pages *pages)
{
    enum { MOST = 1 << 12 };
    static int seen[MOST];
    attn_kv_usage usage = {.struct_size = sizeof usage};
    if (attn_kv_get_usage(kv, layer, &usage, NULL) || usage.pages > MOST)
        return "usage cannot be told";
    memset(seen, 0, sizeof seen);
    int64_t used = 0, shared = 0;
    bool hidden = false; /* pages of a line all of whose rows are gone: not in a view */
    for (int64_t b = 0; b < m->config.sequences; b++) {
        hidden |= m->layers[layer].window == 1;
        for (int32_t i = pages->view.indptr[b]; i < pages->view.indptr[b + 1]; i++) {
            const int before = seen[pages->view.indices[i]]++;
            used += before == 0;
            shared += before == 1;
        }
    }
    if (used > usage.pages_used || (!m->slack && !hidden && used != usage.pages_used))
        return "pages in use are not those in the lists";
    if (!hidden && shared != usage.pages_shared)
        return "shared pages are not those in two lists";
    return NULL;
}

const char *model_fault(const struct model *m, attn_kv *kv)
{
    for (int64_t layer = 0; layer < m->config.layer_count; layer++) {
        const attn_kv_layer *l = &m->layers[layer];
        struct pages pages = {.head_size = l->head_size, .head_size_v = l->head_size_v};
        static char told[300];
        attn_error error;
        if (attn_kv_get_layout(kv, layer, &pages.layout, &error) ||
            attn_kv_get_view(kv, layer, NULL, m->config.sequences, &pages.view, &error) ||
            attn_kv_view_check(&pages.layout, &pages.view, m->config.sequences, MODEL_TOKENS,
                               l->kv_heads, l->head_size, l->head_size_v, &error)) {
            snprintf(told, sizeof told, "%s", error.message);
            return told;
        }
        const char *fault = usage_fault(m, kv, layer, &pages);
        for (int64_t s = 0; !fault && s < m->config.sequences; s++) {
            if (attn_kv_length(kv, layer, s) != m->lines[layer][s].length)
                return "a sequence has another length";
            if (attn_kv_keys(kv, layer, s) != pages_keys(&pages, s))
                return "attn_kv_keys is not the rows of the view";
            fault = line_fault(m, layer, s, &pages, s);
        }
        for (int32_t s = 0; !fault && s < m->config.sequences; s++) { /* each alone, not copied */
            if (attn_kv_get_view(kv, layer, &s, 1, &pages.view, NULL))
                return "a view of one sequence is refused";
            fault = line_fault(m, layer, s, &pages, 0);
        }
        if (fault)
            return fault;
    }
    return NULL;
}
