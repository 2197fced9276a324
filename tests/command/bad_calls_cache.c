/* What the calls on caches refuse: page tables, appends, and files. */
#include <attn/kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bad_calls.h"

enum { HEADS = 2, SIZE = 4, TOKENS = 8, PAGE = 2, BATCH = 2 };
static const float numbers[HEADS * TOKENS * SIZE];

/* ---- page tables ---- */

struct table {
    attn_kv_layout layout;
    attn_kv_view view;
    int32_t indptr[BATCH + 1], indices[3], last[BATCH];
    int64_t keys;
};

/* Two sequences of 4 and 1 tokens in pages 0, 1 and 2 of 3. */
static struct table *good_table(struct table *t)
{
    *t = (struct table){.layout = attn_kv_layout_init(ATTN_F32, HEADS, PAGE, SIZE),
                        .view = attn_kv_view_init(),
                        .indptr = {0, 2, 3},
                        .indices = {0, 1, 2},
                        .last = {2, 1},
                        .keys = TOKENS};
    t->view.k = t->view.v = numbers;
    t->view.pages = 3;
    t->view.indptr = t->indptr;
    t->view.indices = t->indices;
    t->view.last_page_len = t->last;
    return t;
}

static void check(const char *what, attn_status expected, const struct table *t)
{
    attn_error error = {0};
    const attn_status status =
        attn_kv_view_check(&t->layout, &t->view, BATCH, t->keys, HEADS, SIZE, SIZE, &error);
    tell(what, expected, status, &error);
}

static void tables(void)
{
    struct table t;
    good_table(&t)->indices[1] = 3;
    check("a page table that points outside the pool", ATTN_ERR_VALUE, &t);
    good_table(&t)->indices[0] = -1;
    check("a page of number -1", ATTN_ERR_VALUE, &t);
    good_table(&t)->indices[1] = 0;
    check("a page table with a page twice in a sequence", ATTN_ERR_VALUE, &t);
    good_table(&t)->indptr[0] = -2;
    check("indptr begins at -2", ATTN_ERR_VALUE, &t);
    good_table(&t)->indptr[2] = 1;
    check("indptr falls", ATTN_ERR_VALUE, &t);
    good_table(&t)->last[0] = 3;
    check("3 tokens in a page of 2", ATTN_ERR_VALUE, &t);
    good_table(&t)->last[1] = 0;
    check("no token in a page that is listed", ATTN_ERR_VALUE, &t);
    good_table(&t)->keys = 3;
    check("a sequence longer than the plan's keys", ATTN_ERR_SHAPE, &t);
    good_table(&t)->layout.v_stride[0] = INT64_MAX / 8;
    check("pages that lie 2^60 elements apart", ATTN_ERR_OVERFLOW, &t);
    good_table(&t)->view.k = NULL;
    check("a page table without a pool", ATTN_ERR_NULL, &t);
}

/* ---- appends ---- */

static attn_kv *good_cache(int64_t head_size, uint64_t model)
{
    attn_kv_layer layer = attn_kv_layer_init(ATTN_F16, HEADS, head_size, PAGE);
    layer.window = 4;
    attn_kv_config config = attn_kv_config_init(&layer, 1, BATCH, TOKENS);
    config.model = model;
    attn_kv *kv;
    if (attn_kv_create(&kv, &config, NULL, 0, NULL))
        exit(1);
    return kv;
}

static void append(const char *what, attn_status expected, attn_kv *kv, const attn_kv_rows *rows)
{
    attn_error error = {0};
    const attn_status status = attn_kv_append(kv, 0, rows, NULL, &error);
    if (expected != ATTN_OK)
        tell(what, expected, status, &error);
}

static attn_kv_rows good_rows(int64_t tokens)
{
    attn_kv_rows rows = attn_kv_rows_init(1, HEADS, tokens, SIZE, ATTN_F32);
    rows.k = rows.v = numbers;
    return rows;
}

static void appends(void)
{
    attn_kv *kv = good_cache(SIZE, 1);
    attn_error error = {0};
    attn_kv_rows rows = good_rows(TOKENS);
    append("", ATTN_OK, kv, &rows);
    static const int32_t twice[2] = {1, 1};
    static const int64_t row = 0;
    rows.tokens = 9;
    append("more tokens than a step of a window", ATTN_ERR_FULL, kv, &rows);
    rows = good_rows(1);
    rows.k_layout.dtype = ATTN_INT8;
    append("an append of int8", ATTN_ERR_DTYPE, kv, &rows);
    rows = good_rows(1);
    rows.count = 3;
    append("an append to 3 sequences where 2 may be", ATTN_ERR_SHAPE, kv, &rows);
    rows.count = 2;
    rows.sequences = twice;
    append("an append to one sequence twice", ATTN_ERR_VALUE, kv, &rows);
    attn_kv_fork(kv, 0, 1, NULL);
    rows = good_rows(1);
    append("", ATTN_OK, kv, &rows);
    tell("tokens taken back that a window has let go of", ATTN_ERR_VALUE,
         attn_kv_truncate(kv, 0, 3, &error), &error);
    tell("a fork onto a sequence that is not empty", ATTN_ERR_VALUE, attn_kv_fork(kv, 0, 1, &error),
         &error);
    tell("eviction from a cache without positions", ATTN_ERR_VALUE,
         attn_kv_evict(kv, 0, 0, &row, 1, &error), &error);
    attn_kv_destroy(kv);
}

/* ---- files ---- */

static void load(const char *what, attn_status expected, attn_kv *kv, const void *data, size_t size)
{
    attn_error error = {0};
    tell(what, expected, attn_kv_load_memory(kv, data, size, &error), &error);
}

static void files(void)
{
    char path[] = "/tmp/attn_bad_calls_XXXXXX";
    static char data[1 << 14];
    const int descriptor = mkstemp(path);
    attn_kv *kv = good_cache(SIZE, 1), *empty = good_cache(SIZE, 1);
    attn_kv *other = good_cache(SIZE, 2), *wider = good_cache(2 * SIZE, 1);
    attn_kv_rows rows = good_rows(3);
    append("", ATTN_OK, kv, &rows);
    if (descriptor < 0 || attn_kv_save(kv, path, NULL))
        exit(1);
    FILE *file = fopen(path, "rb");
    const size_t size = file ? fread(data, 1, sizeof data, file) : 0;
    if (file)
        fclose(file);
    close(descriptor);
    unlink(path);
    load("an empty cache file", ATTN_ERR_FILE, empty, data, 0);
    load("a cache file cut short", ATTN_ERR_FILE, empty, data, size - 64);
    load("a cache file of another model", ATTN_ERR_FILE, other, data, size);
    load("a cache file of another head size", ATTN_ERR_FILE, wider, data, size);
    load("a cache file for a cache that is not empty", ATTN_ERR_VALUE, kv, data, size);
    data[size - 100] ^= 4;
    load("a cache file with a bit flipped", ATTN_ERR_FILE, empty, data, size);
    data[8] = 2;
    load("a cache file of a later version", ATTN_ERR_FILE, empty, data, size);
    data[0] = 'B';
    load("a file that is no cache", ATTN_ERR_FILE, empty, data, size);
    attn_error error = {0};
    tell("a cache saved to a full device", ATTN_ERR_FILE, attn_kv_save(kv, "/dev/full", &error),
         &error);
    attn_kv_destroy(kv);
    attn_kv_destroy(empty);
    attn_kv_destroy(other);
    attn_kv_destroy(wider);
}

void calls_of_caches(void)
{
    tables();
    appends();
    files();
}
