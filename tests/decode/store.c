/* Filling stores, and laying them into pages; see store.h. */
#include "decode/store.h"

#include <stdlib.h>

#include "attention/hostile.h"
#include "attn_ref.h"

static int64_t bits_of(attn_dtype dtype)
{
    return dtype == ATTN_F32 ? 32 : dtype == ATTN_INT8 ? 8 : dtype == ATTN_INT4 ? 4 : 16;
}

static int64_t row_bytes(attn_dtype dtype, int64_t size)
{
    return (size * bits_of(dtype) + 7) / 8;
}

static int64_t scales_of(const struct store_type *type, attn_dtype dtype, int64_t size)
{
    if (dtype == ATTN_INT4)
        return (size + type->group - 1) / type->group;
    return dtype == ATTN_INT8 ? 1 : 0;
}

/* Element d of a quantised row becomes the whole number nearest to x / scale. */
static void set_whole(unsigned char *row, attn_dtype dtype, int64_t group, int64_t d, double x)
{
    int most = dtype == ATTN_INT8 ? 127 : 7;
    int whole = x != x ? 0 : (int)fmax(-most, fmin(most, nearbyint(x)));
    if (dtype == ATTN_INT8) {
        ((int8_t *)row)[d] = (int8_t)whole;
        return;
    }
    int64_t in_group = d % group, half = group / 2;
    unsigned char *byte = row + d / group * half + in_group % half;
    *byte = (unsigned char)(in_group < half ? (*byte & 240) | (whole + 8)
                                            : (*byte & 15) | (whole + 8) << 4);
}

/* One row: x[size] into `row`, with its scales. */
static void set_row(const struct store_type *type, attn_dtype dtype, const double *x, int64_t size,
                    unsigned char *row, float *scales)
{
    const int64_t group = dtype == ATTN_INT4 ? type->group : size;
    if (dtype != ATTN_INT8 && dtype != ATTN_INT4) {
        for (int64_t d = 0; d < size; d++)
            attn_ref_store(row, dtype, d, x[d]);
        return;
    }
    for (int64_t begin = 0; begin < size; begin += group) {
        double most = 0;
        int64_t end = begin + group < size ? begin + group : size;
        for (int64_t d = begin; d < end; d++)
            most = fmax(most, fabs(x[d]));
        float scale = (float)(most / (dtype == ATTN_INT8 ? 127 : 7));
        scales[begin / group] = scale;
        for (int64_t d = begin; d < end; d++)
            set_whole(row, dtype, group, d, scale > 0 ? x[d] / (double)scale : 0);
    }
}

static void fill(struct store *s, const struct attention_case *c, struct random *random)
{
    double *x =
        need((size_t)(s->head_size > s->head_size_v ? s->head_size : s->head_size_v), sizeof *x);
    for (int64_t i = 0; s->channel_scale && i < s->kv_heads * s->head_size; i++)
        s->channel_scale[i] = (float)(0.25 + random_unit(random));
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < s->kv_heads; h++)
            for (int64_t j = 0; j < s->keys[b]; j++) {
                int64_t row = (b * s->kv_heads + h) * s->most + j;
                for (int64_t d = 0; d < s->head_size; d++) {
                    x[d] = attn_ref_value(case_vector(c, CASE_K, b, h, j), c->k.dtype, d);
                    if (s->channel_scale)
                        x[d] /= (double)s->channel_scale[h * s->head_size + d];
                }
                set_row(&s->type, s->type.k, x, s->head_size, s->k + row * s->k_row,
                        s->k_scale + row * s->k_scales);
                for (int64_t d = 0; d < s->head_size_v; d++)
                    x[d] = attn_ref_value(case_vector(c, CASE_V, b, h, j), c->v.dtype, d);
                set_row(&s->type, s->type.v, x, s->head_size_v, s->v + row * s->v_row,
                        s->v_scale + row * s->v_scales);
            }
    free(x);
}

struct store *store_create(const struct attention_case *c, struct store_type type,
                           struct random *random)
{
    struct store *s = need(1, sizeof *s);
    *s = (struct store){.type = type,
                        .batch = c->args.batch,
                        .kv_heads = c->problem.kv_heads,
                        .head_size = c->problem.head_size,
                        .head_size_v = c->problem.head_size_v,
                        .most = c->args.keys};
    if (c->problem.heads == 0)
        s->kv_heads = 0; /* then nothing was made */
    s->k_row = row_bytes(type.k, s->head_size);
    s->v_row = row_bytes(type.v, s->head_size_v);
    s->k_scales = scales_of(&type, type.k, s->head_size);
    s->v_scales = scales_of(&type, type.v, s->head_size_v);
    const size_t rows = (size_t)(s->batch * s->kv_heads * s->most);
    s->keys = need((size_t)s->batch, sizeof *s->keys);
    s->k = need(rows, (size_t)s->k_row);
    s->v = need(rows, (size_t)s->v_row);
    memset(s->k, 0, rows * (size_t)s->k_row);
    memset(s->v, 0, rows * (size_t)s->v_row);
    s->k_scale = need(rows, 4 * (size_t)s->k_scales);
    s->v_scale = need(rows, 4 * (size_t)s->v_scales);
    if (type.channel_scales)
        s->channel_scale = need((size_t)(s->kv_heads * s->head_size), sizeof(float));
    s->position = need((size_t)(s->batch * s->most), sizeof(int32_t));
    for (int64_t b = 0; b < s->batch; b++) {
        s->keys[b] = case_keys(c, b);
        int32_t position = -1;
        for (int64_t j = 0; j < s->keys[b]; j++) {
            position +=
                (int32_t)(1 + (random_chance(random, 0.2) ? random_between(random, 1, 5) : 0));
            s->position[b * s->most + j] = position;
        }
    }
    fill(s, c, random);
    return s;
}

static void *copied(const void *from, size_t bytes)
{
    void *to = need(bytes, 1);
    memcpy(to, from, bytes);
    return to;
}

struct store *store_of_sequence(const struct store *s, int64_t b)
{
    struct store *one = need(1, sizeof *one);
    const int64_t rows = s->kv_heads * s->most;
    *one = *s;
    one->batch = 1;
    one->keys = copied(s->keys + b, sizeof *s->keys);
    one->k = copied(s->k + b * rows * s->k_row, (size_t)(rows * s->k_row));
    one->v = copied(s->v + b * rows * s->v_row, (size_t)(rows * s->v_row));
    one->k_scale = copied(s->k_scale + b * rows * s->k_scales, (size_t)(rows * s->k_scales) * 4);
    one->v_scale = copied(s->v_scale + b * rows * s->v_scales, (size_t)(rows * s->v_scales) * 4);
    if (s->channel_scale)
        one->channel_scale =
            copied(s->channel_scale, (size_t)(s->kv_heads * s->head_size) * sizeof(float));
    one->position = copied(s->position + b * s->most, (size_t)s->most * sizeof(int32_t));
    one->like = one->alike = NULL;
    return one;
}

static void copy_keys(struct store *s, int64_t from, int64_t to, int64_t count)
{
    for (int64_t h = 0; h < s->kv_heads; h++) {
        const int64_t x = (from * s->kv_heads + h) * s->most, y = (to * s->kv_heads + h) * s->most;
        memcpy(s->k + y * s->k_row, s->k + x * s->k_row, (size_t)(count * s->k_row));
        memcpy(s->v + y * s->v_row, s->v + x * s->v_row, (size_t)(count * s->v_row));
        memcpy(s->k_scale + y * s->k_scales, s->k_scale + x * s->k_scales,
               (size_t)(count * s->k_scales) * sizeof(float));
        memcpy(s->v_scale + y * s->v_scales, s->v_scale + x * s->v_scales,
               (size_t)(count * s->v_scales) * sizeof(float));
    }
    int32_t *position = s->position + to * s->most;
    memcpy(position, s->position + from * s->most, (size_t)count * sizeof *position);
    for (int64_t j = count; j < s->keys[to] && count > 0; j++)
        position[j] += position[count - 1] + 1; /* still rising */
}

void store_begin_alike(struct store *s, struct random *random)
{
    s->like = need((size_t)s->batch, sizeof *s->like);
    s->alike = need((size_t)s->batch, sizeof *s->alike);
    for (int64_t b = 0; b < s->batch; b++) {
        s->like[b] = b > 0 ? random_between(random, 0, b - 1) : 0;
        const int64_t most = s->keys[b] < s->keys[s->like[b]] ? s->keys[b] : s->keys[s->like[b]];
        s->alike[b] = b == 0 || random_chance(random, 0.2) ? 0
                      : random_chance(random, 0.5)         ? most
                                                           : random_between(random, 0, most);
        copy_keys(s, s->like[b], b, s->alike[b]);
    }
}

void store_destroy(struct store *s)
{
    free(s->keys);
    free(s->k);
    free(s->v);
    free(s->k_scale);
    free(s->v_scale);
    free(s->channel_scale);
    free(s->position);
    free(s->like);
    free(s->alike);
    free(s);
}

static void poison_row(attn_dtype dtype, unsigned char *row, int64_t size, float *scales,
                       int64_t count, struct random *random)
{
    for (int64_t d = 0; d < size && dtype <= ATTN_F16; d++)
        hostile_store(row, dtype, d, random);
    for (int64_t i = 0; i < count; i++)
        hostile_store(scales, ATTN_F32, i, random);
}

void store_poison_value(struct store *s, int64_t batch, int64_t head, int64_t key,
                        struct random *random)
{
    int64_t row = (batch * s->kv_heads + head) * s->most + key;
    poison_row(s->type.v, s->v + row * s->v_row, s->head_size_v, s->v_scale + row * s->v_scales,
               s->v_scales, random);
}

void store_poison(struct store *s, int64_t batch, int64_t head, int64_t key, struct random *random)
{
    int64_t row = (batch * s->kv_heads + head) * s->most + key;
    poison_row(s->type.k, s->k + row * s->k_row, s->head_size, s->k_scale + row * s->k_scales,
               s->k_scales, random);
    store_poison_value(s, batch, head, key, random);
}

/* ---- laying ---- */

static void *room(struct laid *laid, size_t bytes)
{
    unsigned char *memory = need(bytes, 1);
    memset(memory, 0xff, bytes); /* NaN in every type that has one, in scales too */
    laid->memory[laid->memory_count++] = memory;
    return memory;
}

/* Strides of [page][head][token] rows of `row` elements, heads or tokens outermost in a page; returns how
 * many elements a page has. */
static int64_t choose_strides(int64_t stride[3], int64_t row, int64_t heads, int64_t tokens,
                              bool heads_first, int64_t gap)
{
    stride[heads_first ? 1 : 2] = row + gap;
    stride[heads_first ? 2 : 1] = (row + gap) * (heads_first ? heads : tokens);
    if (stride[1] == 0 || heads == 0)
        stride[1] = row + gap;
    stride[0] = (row + gap) * (heads > 0 ? heads : 1) * tokens + 2 * gap;
    return stride[0];
}

static void *pool(struct laid *laid, int64_t stride[3], attn_dtype dtype, int64_t size,
                  const struct store *s, int64_t page_size, bool orderly, struct random *random)
{
    const int64_t even = dtype == ATTN_INT4 ? 2 : 1;
    int64_t gap = orderly ? 0 : even * random_between(random, 0, 3);
    int64_t row = (size + even - 1) / even * even;
    choose_strides(stride, row, s->kv_heads, page_size, !orderly && random_chance(random, 0.5),
                   gap);
    return room(laid, (size_t)(laid->view.pages * stride[0] * bits_of(dtype) / 8));
}

static float *scale_pool(struct laid *laid, int64_t stride[3], int64_t scales,
                         const struct store *s, int64_t page_size, bool orderly,
                         struct random *random)
{
    if (scales == 0)
        return NULL;
    choose_strides(stride, scales, s->kv_heads, page_size, !orderly && random_chance(random, 0.5),
                   orderly ? 0 : random_between(random, 0, 2));
    return room(laid, (size_t)(laid->view.pages * stride[0]) * sizeof(float));
}

/* The table: how many pages each sequence has, which, and how full. */
static void make_table(struct laid *laid, const struct store *s, bool orderly,
                       struct random *random)
{
    const int64_t page_size = laid->layout.page_size;
    int32_t *indptr = room(laid, (size_t)(s->batch + 1) * 4);
    int32_t *last = room(laid, (size_t)s->batch * 4 + 4),
            *gone = room(laid, (size_t)s->batch * 4 + 4);
    bool rings = !orderly && random_chance(random, 0.5);
    const int64_t one = random_between(random, 0, page_size - 1);
    indptr[0] = 0;
    for (int64_t b = 0; b < s->batch; b++) {
        gone[b] = !rings || s->keys[b] == 0 ? 0
                  : s->alike                ? (int32_t)one
                                            : (int32_t)random_between(random, 0, page_size - 1);
        int64_t slots = s->keys[b] + gone[b];
        int64_t pages = s->keys[b] > 0 ? (slots + page_size - 1) / page_size : 0;
        indptr[b + 1] = indptr[b] + (int32_t)pages;
        last[b] = pages > 0 ? (int32_t)(slots - (pages - 1) * page_size) : 0;
    }
    const int64_t used = indptr[s->batch];
    laid->view.pages = used + (orderly ? 0 : random_between(random, 0, 3));
    int32_t *indices = room(laid, (size_t)used * 4 + 4);
    int32_t *all = need((size_t)laid->view.pages, sizeof *all);
    for (int64_t i = 0; i < laid->view.pages; i++)
        all[i] = (int32_t)i;
    for (int64_t i = laid->view.pages - 1; i > 0 && !orderly; i--) {
        int64_t other = random_between(random, 0, i);
        int32_t keep = all[i];
        all[i] = all[other], all[other] = keep;
    }
    for (int64_t i = 0; i < used; i++)
        indices[i] = all[i];
    free(all);
    laid->view.indptr = indptr;
    laid->view.indices = indices;
    laid->view.last_page_len = last;
    laid->view.first_page_begin = rings ? gone : NULL;
}

static void copy_rows(const struct store *s, const struct laid *laid, unsigned char *pool,
                      const int64_t stride[3], int64_t bits, const unsigned char *from,
                      int64_t row_bytes)
{
    const attn_kv_view *view = &laid->view;
    const int64_t page_size = laid->layout.page_size;
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t j = 0; j < s->keys[b]; j++) {
            int64_t slot = j + (view->first_page_begin ? view->first_page_begin[b] : 0);
            int64_t page = view->indices[view->indptr[b] + slot / page_size];
            for (int64_t h = 0; h < s->kv_heads; h++) {
                int64_t at = page * stride[0] + h * stride[1] + slot % page_size * stride[2];
                int64_t row = (b * s->kv_heads + h) * s->most + j;
                memcpy(pool + at * bits / 8, from + row * row_bytes, (size_t)row_bytes);
            }
        }
}

static void copy_positions(const struct store *s, struct laid *laid)
{
    const int64_t page_size = laid->layout.page_size;
    int32_t *positions = room(laid, (size_t)(laid->view.pages * page_size) * 4 + 4);
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t j = 0; j < s->keys[b]; j++) {
            int64_t slot = j + (laid->view.first_page_begin ? laid->view.first_page_begin[b] : 0);
            int64_t page = laid->view.indices[laid->view.indptr[b] + slot / page_size];
            positions[page * page_size + slot % page_size] = s->position[b * s->most + j];
        }
    laid->view.positions = positions;
}

struct laid store_lay(const struct store *s, int64_t page_size, bool orderly, struct random *random)
{
    struct laid laid = {.layout = {.struct_size = sizeof(attn_kv_layout), .page_size = page_size},
                        .view = {.struct_size = sizeof(attn_kv_view)}};
    attn_kv_layout *l = &laid.layout;
    l->k_dtype = s->type.k, l->v_dtype = s->type.v;
    l->group = s->type.group;
    l->k_channel_scales = s->type.channel_scales;
    l->positions = s->type.positions;
    make_table(&laid, s, orderly, random);
    void *k = pool(&laid, l->k_stride, l->k_dtype, s->head_size, s, page_size, orderly, random);
    float *k_scale =
        scale_pool(&laid, l->k_scale_stride, s->k_scales, s, page_size, orderly, random);
    copy_rows(s, &laid, k, l->k_stride, bits_of(l->k_dtype), s->k, s->k_row);
    if (k_scale)
        copy_rows(s, &laid, (unsigned char *)k_scale, l->k_scale_stride, 32,
                  (const unsigned char *)s->k_scale, 4 * s->k_scales);
    void *v = k;
    float *v_scale = NULL;
    memcpy(l->v_stride, l->k_stride, sizeof l->v_stride);
    if (!s->type.latent) {
        v = pool(&laid, l->v_stride, l->v_dtype, s->head_size_v, s, page_size, orderly, random);
        v_scale = scale_pool(&laid, l->v_scale_stride, s->v_scales, s, page_size, orderly, random);
        copy_rows(s, &laid, v, l->v_stride, bits_of(l->v_dtype), s->v, s->v_row);
    }
    if (v_scale)
        copy_rows(s, &laid, (unsigned char *)v_scale, l->v_scale_stride, 32,
                  (const unsigned char *)s->v_scale, 4 * s->v_scales);
    laid.view.k = k, laid.view.v = v;
    laid.view.k_scale = k_scale, laid.view.v_scale = v_scale;
    laid.view.k_channel_scale = s->channel_scale;
    if (s->type.positions)
        copy_positions(s, &laid);
    return laid;
}

void laid_destroy(struct laid *laid)
{
    for (int i = 0; i < laid->memory_count; i++)
        free(laid->memory[i]);
}

void laid_share(struct laid *laid, const struct store *s)
{
    const attn_kv_view *view = &laid->view;
    const int64_t pages = view->indptr[s->batch], size = laid->layout.page_size;
    int32_t *indices = room(laid, (size_t)pages * 4 + 4);
    memcpy(indices, view->indices, (size_t)pages * sizeof *indices);
    for (int64_t b = 0; b < s->batch; b++) {
        const int64_t gone = view->first_page_begin ? view->first_page_begin[b] : 0;
        int64_t same = (s->alike[b] + gone) / size;
        if (s->alike[b] == 0)
            continue;
        if (s->alike[b] == s->keys[b])
            same = view->indptr[b + 1] - view->indptr[b];
        memcpy(indices + view->indptr[b], indices + view->indptr[s->like[b]],
               (size_t)same * sizeof *indices);
    }
    laid->view.indices = indices;
}

/* Positions and documents of keys are [B, Nk] over a cache, whatever the queries. */
static void relay_positions(struct attention_case *c)
{
    if (!c->key_positions || c->problem.lengths < ATTN_LENGTHS_RAGGED_I32)
        return;
    int64_t *padded = need((size_t)(c->args.batch * c->args.keys), sizeof *padded);
    for (int64_t b = 0; b < c->args.batch; b++)
        for (int64_t j = 0; j < case_keys(c, b); j++)
            padded[b * c->args.keys + j] =
                c->key_positions[attn_ref_key_place(&c->problem, &c->args, b, j)];
    free(c->key_positions);
    c->args.key_positions = c->key_positions = padded;
}

/* An output array of keys is [B, Hq, Nk] over a cache. */
static void *relay_output(struct attention_case *c, const char *name, void *before)
{
    for (int i = 0; before && i < c->outputs_count; i++) {
        struct guarded *array = &c->outputs[i];
        if (strcmp(array->name, name) != 0)
            continue;
        const bool ignored = array->ignored;
        guarded_destroy(array);
        *array = guarded_create(name, (size_t)(c->args.batch * c->problem.heads * c->args.keys));
        array->ignored = ignored;
        return array->data;
    }
    return before;
}

/* Column arrays and the segments of keys, whatever the queries. */
static void relay_columns(struct attention_case *c)
{
    if (c->problem.lengths < ATTN_LENGTHS_RAGGED_I32)
        return;
    attn_statistics *s = &c->statistics;
    s->column_mass = relay_output(c, "column_mass", s->column_mass);
    s->column_viewers = relay_output(c, "column_viewers", s->column_viewers);
    if (!c->segment_ids)
        return;
    uint8_t *padded = need((size_t)(c->args.batch * c->args.keys), 1);
    for (int64_t b = 0; b < c->args.batch; b++)
        for (int64_t j = 0; j < case_keys(c, b); j++)
            padded[b * c->args.keys + j] =
                c->segment_ids[attn_ref_key_place(&c->problem, &c->args, b, j)];
    free(c->segment_ids);
    s->segment_ids = c->segment_ids = padded;
}

/* Documents of keys are [B, Nk] over a cache, whatever the queries; promised, by the problem's own Nk. */
static void relay_documents(struct attention_case *c)
{
    if (!c->key_documents || c->problem.lengths < ATTN_LENGTHS_RAGGED_I32)
        return;
    const int64_t keys = c->scores.constant ? c->problem.keys : c->args.keys;
    int32_t *padded = need((size_t)(c->args.batch * keys), sizeof *padded);
    for (int64_t b = 0; b < c->args.batch; b++)
        for (int64_t j = 0; j < case_keys(c, b); j++)
            padded[b * keys + j] =
                c->key_documents[attn_ref_key_place(&c->problem, &c->args, b, j)];
    free(c->key_documents);
    c->scores_args.key_documents = c->key_documents = padded;
}

void laid_use(const struct laid *laid, struct attention_case *c)
{
    if (!c->problem.cache) {
        relay_positions(c);
        relay_documents(c);
        relay_columns(c);
    }
    c->problem.cache = &laid->layout;
    c->args.cache = &laid->view;
    c->problem.total_keys = 0;
    c->args.k = c->args.v = NULL;
    /* ignored, whatever they say */
    c->problem.k = c->problem.v =
        (attn_layout){(attn_dtype)77, {INT64_MAX, INT64_MIN, INT64_MAX / 3, 5}};
    c->args.key_lengths = NULL;
    c->args.cu_seqlens_k = NULL;
}
