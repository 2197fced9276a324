/* A cache against plain arrays: random descriptions, random sequences of operations, every row of every view
 * read and compared after each; what is refused leaves all as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "attention/guarded.h"
#include "attention/orders.h"
#include "attention/path.h"
#include "kv/model.h"

#include <cmocka.h>

static struct model m;
static char path[64];

struct trial {
    uint64_t seed;
    struct random random;
    attn_kv *kv;
    void *memory; /* the caller's, or NULL */
    int64_t appended, full, evicted, forked, truncated, refused, saved;
};

static void check(const struct trial *t, const char *what)
{
    const char *fault = model_fault(&m, t->kv);
    if (fault)
        fail_msg("seed %llu, after %s: %s", (unsigned long long)t->seed, what, fault);
}

/* ---- append ---- */

struct batch {
    attn_kv_rows rows;
    int32_t sequences[MODEL_SEQUENCES];
    int64_t lengths[MODEL_SEQUENCES], first_id[MODEL_SEQUENCES];
    void *k, *v;
};

static attn_layout some_layout(struct random *random, attn_dtype dtype, int64_t heads, int64_t n,
                               int64_t size)
{
    if (random_chance(random, 0.5))
        return attn_layout_bhsd(dtype, heads, n, size);
    return attn_layout_bshd(dtype, heads, n, size);
}

static void fill(const struct batch *b, int64_t layer, bool value)
{
    const attn_kv_layer *l = &m.layers[layer];
    const attn_layout *layout = value ? &b->rows.v_layout : &b->rows.k_layout;
    const int64_t size = value ? l->head_size_v : l->head_size, *stride = layout->stride;
    int64_t offset = 0;
    for (int64_t s = 0; s < b->rows.count; s++) {
        const int64_t n = b->rows.lengths ? b->lengths[s] : b->rows.tokens;
        for (int64_t i = 0; i < n; i++)
            for (int64_t h = 0; h < l->kv_heads; h++)
                for (int64_t c = 0; c < size; c++) {
                    const struct model_token token = {b->first_id[s] + i, 0, layout->dtype};
                    const int64_t at =
                        b->rows.packed ? (offset + i) * stride[2] : s * stride[0] + i * stride[2];
                    attn_ref_store(value ? b->v : b->k, layout->dtype, at + h * stride[1] + c,
                                   model_given(&token, layer, value, h, c));
                }
        offset += n;
    }
}

/* Sequences and lengths, the same for every layer of a step. */
static struct batch some_batch(struct trial *t)
{
    struct random *random = &t->random;
    struct batch b = {.rows = {.struct_size = sizeof b.rows}};
    const int64_t all = m.config.sequences;
    b.rows.count = random_between(random, 0, all);
    const int32_t turn = (int32_t)random_between(random, 0, all - 1);
    for (int32_t i = 0; i < b.rows.count; i++)
        b.sequences[i] = (int32_t)((i * (all == 4 ? 3 : 1) + turn) % all);
    b.rows.tokens = random_between(random, 0, random_chance(random, 0.5) ? 2 : 20);
    const int kind = (int)random_between(random, 0, 2);
    b.rows.packed = kind == 2;
    int64_t left = b.rows.tokens;
    for (int64_t i = 0; i < b.rows.count; i++) {
        b.lengths[i] = kind == 0 ? b.rows.tokens : random_between(random, 0, left);
        left -= kind == 2 ? b.lengths[i] : 0;
        b.first_id[i] = m.next_id;
        m.next_id += b.lengths[i];
    }
    return b;
}

/* Whether a refusal for lack of room is one: by the line's own limits, or by fewer free pages than the tokens
 * could need (all of them new, with a copy of the page begun). */
static bool full_is_right(struct trial *t, const struct batch *b, int64_t layer)
{
    const attn_kv_layer *l = &m.layers[layer];
    attn_kv_usage usage = {.struct_size = sizeof usage};
    attn_kv_get_usage(t->kv, layer, &usage, NULL);
    int64_t most = 0;
    for (int64_t i = 0; i < b->rows.count; i++) {
        const int64_t n = b->lengths[i];
        const int64_t held = attn_kv_keys(t->kv, layer, b->sequences[i]);
        if (n > 0 && l->window == 0 && held + n > m.config.tokens)
            return true;
        if (l->window > 0 && (n > m.config.step || held + n > m.config.tokens))
            return true;
        most += n > 0 ? 1 + (n + l->page_size - 1) / l->page_size : 0;
    }
    return m.config.total_tokens > 0 && usage.pages - usage.pages_used < most;
}

static attn_status append_layer(struct trial *t, struct batch *b, int64_t layer)
{
    struct random *random = &t->random;
    const attn_kv_layer *l = &m.layers[layer];
    const attn_dtype dtype = (attn_dtype)random_between(random, ATTN_F32, ATTN_F16);
    const int64_t n = b->rows.tokens, size = l->kv_heads * (n + 1) * 64 * (b->rows.count + 1);
    b->rows.sequences = b->sequences;
    b->rows.lengths = b->rows.packed || random_chance(random, 0.5) ? b->lengths : NULL;
    for (int64_t i = 0; i < b->rows.count; i++)
        if (b->lengths[i] != n)
            b->rows.lengths = b->lengths;
    b->rows.k_layout = some_layout(random, dtype, l->kv_heads, n, l->head_size);
    b->rows.v_layout = some_layout(random, dtype, l->kv_heads, n, l->head_size_v);
    b->rows.k = b->k = need((size_t)size, sizeof(float));
    b->rows.v = b->v = need((size_t)size, sizeof(float));
    fill(b, layer, false);
    fill(b, layer, true);
    attn_error error;
    struct ordered_executor order;
    ordered_executor_init(&order, ORDER_RANDOM, (int)random_between(random, 1, 3), t->seed);
    const attn_status status = attn_kv_append(
        t->kv, layer, &b->rows, random_chance(random, 0.3) ? &order.executor : NULL, &error);
    if (status == ATTN_OK)
        for (int64_t i = 0; i < b->rows.count; i++)
            model_append(&m, layer, b->sequences[i], b->lengths[i], b->first_id[i], dtype);
    else if (status != ATTN_ERR_FULL || !full_is_right(t, b, layer))
        fail_msg("seed %llu: layer %lld refuses %lld tokens: %s", (unsigned long long)t->seed,
                 (long long)layer, (long long)n, error.message);
    free(b->k);
    free(b->v);
    t->appended += status == ATTN_OK;
    t->full += status == ATTN_ERR_FULL;
    return status;
}

/* A step of a model: every layer, with room made sure of before or not; or of one layer alone. */
static void append(struct trial *t)
{
    struct batch b = some_batch(t);
    for (int64_t s = 0; s < b.rows.count; s++)
        for (int64_t layer = 0; layer < m.config.layer_count; layer++)
            if (m.lines[layer][b.sequences[s]].count > MODEL_TOKENS - 40)
                return;
    bool reserved = false;
    if (random_chance(&t->random, 0.3)) {
        reserved = attn_kv_reserve(t->kv, b.sequences, b.rows.count, b.lengths, NULL) == ATTN_OK;
        m.slack |= reserved;
        if (reserved)
            for (int64_t layer = 0; layer < m.config.layer_count; layer++)
                for (int64_t s = 0; s < b.rows.count; s++) {
                    struct model_line *line = &m.lines[layer][b.sequences[s]];
                    const int64_t window = m.layers[layer].window;
                    if (window > 0 && b.lengths[s] > 0 && line->length - window + 1 > line->gone)
                        line->gone = line->length - window + 1;
                }
        check(t, "reserve");
    }
    for (int64_t layer = 0; layer < m.config.layer_count; layer++) {
        const attn_status status = append_layer(t, &b, layer);
        if (reserved)
            assert_int_equal(status, ATTN_OK);
        check(t, "append");
        if (!reserved && random_chance(&t->random, 0.1))
            return;
    }
}

/* ---- the rest ---- */

static void truncate_some(struct trial *t)
{
    const int64_t s = random_between(&t->random, 0, m.config.sequences - 1);
    int64_t longest = 0;
    for (int64_t layer = 0; layer < m.config.layer_count; layer++)
        if (m.lines[layer][s].length > longest)
            longest = m.lines[layer][s].length;
    const int64_t length = random_chance(&t->random, 0.5)
                               ? longest - random_between(&t->random, 0, 3)
                               : random_between(&t->random, 0, longest + 1);
    bool may = length >= 0;
    for (int64_t layer = 0; layer < m.config.layer_count; layer++) {
        const struct model_line *line = &m.lines[layer][s];
        const attn_kv_layer *l = &m.layers[layer];
        if (length < line->length && l->window > 0 && line->gone > l->sinks && length > l->sinks &&
            length - (l->window - 1) < line->gone)
            may = false;
        if (length == 0) /* nothing is seen, and nothing is missing */
            may = true;
    }
    const attn_status status = attn_kv_truncate(t->kv, s, length, NULL);
    assert_int_equal(status, may ? ATTN_OK : length < 0 ? ATTN_ERR_SHAPE : ATTN_ERR_VALUE);
    for (int64_t layer = 0; may && layer < m.config.layer_count; layer++) {
        struct model_line *line = &m.lines[layer][s];
        while (line->count > 0 && line->tokens[line->count - 1].position >= length)
            line->count--;
        line->length = length < line->length ? length : line->length;
        line->gone = line->gone < line->length ? line->gone : line->length;
        line->just_moved = false;
    }
    t->truncated += may;
    t->refused += !may;
    check(t, "truncate");
}

static void fork_some(struct trial *t)
{
    const int64_t from = random_between(&t->random, 0, m.config.sequences - 1);
    const int64_t to = random_between(&t->random, 0, m.config.sequences - 1);
    bool empty = true;
    for (int64_t layer = 0; layer < m.config.layer_count; layer++)
        empty = empty && m.lines[layer][to].length == 0;
    if (!empty && from != to && random_chance(&t->random, 0.5)) {
        assert_int_equal(attn_kv_fork(t->kv, from, to, NULL), ATTN_ERR_VALUE);
        assert_int_equal(attn_kv_clear(t->kv, to, NULL), ATTN_OK);
        for (int64_t layer = 0; layer < m.config.layer_count; layer++)
            memset(&m.lines[layer][to], 0, sizeof m.lines[layer][to]);
        check(t, "clear");
        empty = true;
    }
    attn_kv_usage before = {.struct_size = sizeof before}, after = before;
    attn_kv_get_usage(t->kv, -1, &before, NULL);
    assert_int_equal(attn_kv_fork(t->kv, from, to, NULL), empty ? ATTN_OK : ATTN_ERR_VALUE);
    attn_kv_get_usage(t->kv, -1, &after, NULL);
    assert_true(after.pages_used <= before.pages_used); /* a shared prefix costs nothing */
    for (int64_t layer = 0; empty && layer < m.config.layer_count; layer++)
        m.lines[layer][to] = m.lines[layer][from];
    t->forked += empty && m.lines[0][from].count > 0;
    check(t, "fork");
}

static void evict_some(struct trial *t)
{
    const int64_t layer = random_between(&t->random, 0, m.config.layer_count - 1);
    const int32_t s = (int32_t)random_between(&t->random, 0, m.config.sequences - 1);
    const attn_kv_layer *l = &m.layers[layer];
    struct model_line *line = &m.lines[layer][s];
    struct pages pages = {.head_size = l->head_size, .head_size_v = l->head_size_v};
    attn_kv_get_layout(t->kv, layer, &pages.layout, NULL);
    attn_kv_get_view(t->kv, layer, &s, 1, &pages.view, NULL);
    const int64_t keys = pages_keys(&pages, 0);
    int64_t rows[MODEL_TOKENS], positions[MODEL_TOKENS], count = 0;
    const double chance = random_unit(&t->random);
    for (int64_t row = 0; row < keys; row++)
        if (random_chance(&t->random, chance)) {
            positions[count] = pages_position(&pages, 0, row);
            rows[count++] = row;
        }
    attn_error error;
    const attn_status status = attn_kv_evict(t->kv, layer, s, rows, count, &error);
    if (!pages.layout.positions) {
        assert_int_equal(status, ATTN_ERR_VALUE);
    } else if (status ==
               ATTN_ERR_FULL) { /* only where pages are shared, and no page is free for each */
        attn_kv_usage usage = {.struct_size = sizeof usage};
        attn_kv_get_usage(t->kv, layer, &usage, NULL);
        assert_true(usage.pages_shared > usage.pages - usage.pages_used);
    } else {
        assert_int_equal(status, ATTN_OK);
        int64_t kept = 0;
        for (int64_t i = 0, next = 0; i < line->count; i++) {
            if (next < count && line->tokens[i].position == positions[next])
                next++;
            else
                line->tokens[kept++] = line->tokens[i];
        }
        line->count = kept;
        line->evicted |= count > 0;
        t->evicted += count > 0;
    }
    check(t, "evict");
}

/* To a file, and into another cache, which goes on from there. */
static void save_and_load(struct trial *t)
{
    attn_error error;
    if (attn_kv_save(t->kv, path, &error))
        fail_msg("seed %llu: %s", (unsigned long long)t->seed, error.message);
    attn_kv *other;
    assert_int_equal(attn_kv_create(&other, &m.config, NULL, 0, NULL), ATTN_OK);
    if (attn_kv_load(other, path, &error))
        fail_msg("seed %llu: %s", (unsigned long long)t->seed, error.message);
    attn_kv_destroy(t->kv);
    free(t->memory);
    t->memory = NULL;
    t->kv = other;
    m.slack = false;
    t->saved++;
    check(t, "load");
}

static void create(struct trial *t)
{
    size_t bytes = 0;
    attn_error error;
    if (attn_kv_size(&m.config, &bytes, &error))
        fail_msg("seed %llu: %s", (unsigned long long)t->seed, error.message);
    if (random_chance(&t->random, 0.5)) {
        t->memory = need(bytes, 1);
        assert_int_equal(attn_kv_create(&t->kv, &m.config, t->memory, bytes - 1, NULL),
                         ATTN_ERR_WORKSPACE);
        assert_null(t->kv);
    }
    if (attn_kv_create(&t->kv, &m.config, t->memory, t->memory ? bytes : 0, &error))
        fail_msg("seed %llu: %s", (unsigned long long)t->seed, error.message);
}

static void run_trial(struct trial *t, int operations)
{
    model_init(&m, &t->random);
    create(t);
    check(t, "create");
    for (int i = 0; i < operations; i++) {
        const int64_t which = random_between(&t->random, 0, 99);
        if (which < 60)
            append(t);
        else if (which < 72)
            truncate_some(t);
        else if (which < 82)
            fork_some(t);
        else if (which < 97)
            evict_some(t);
        else
            save_and_load(t);
    }
    for (int64_t s = 0; s < m.config.sequences; s++)
        assert_int_equal(attn_kv_clear(t->kv, s, NULL), ATTN_OK);
    attn_kv_usage usage = {.struct_size = sizeof usage};
    assert_int_equal(attn_kv_get_usage(t->kv, -1, &usage, NULL), ATTN_OK);
    assert_int_equal(usage.pages_used, 0);
    attn_kv_destroy(t->kv);
    free(t->memory);
}

static void test_random(void **state)
{
    (void)state;
    enum { OPERATIONS = 60 };
    const int64_t trials = path_cases(80);
    struct trial sum = {0};
    snprintf(path, sizeof path, "kv_model_%ld.cache", (long)getpid());
    for (uint64_t seed = 1; seed <= (uint64_t)trials; seed++) {
        struct trial t = {.seed = seed, .random = {seed * 7919}};
        run_trial(&t, OPERATIONS);
        sum.appended += t.appended;
        sum.full += t.full;
        sum.evicted += t.evicted;
        sum.forked += t.forked;
        sum.truncated += t.truncated;
        sum.refused += t.refused;
        sum.saved += t.saved;
    }
    unlink(path);
    print_message("%lld appends, %lld full; %lld evictions, %lld forks, %lld truncations, %lld "
                  "refused; %lld files\n",
                  (long long)sum.appended, (long long)sum.full, (long long)sum.evicted,
                  (long long)sum.forked, (long long)sum.truncated, (long long)sum.refused,
                  (long long)sum.saved);
    /* each of them is met often, or the test says nothing */
    assert_true(sum.appended > trials && sum.full > trials && sum.evicted > trials &&
                sum.forked > trials / 4 && sum.truncated > trials && sum.refused > trials / 4 &&
                sum.saved > trials / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
