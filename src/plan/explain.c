/* The plan in words. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/half.h"
#include "plan/cache.h"
#include "plan/lengths.h"
#include "plan/tiles.h"
#include "plan/workspace.h"

struct text {
    char *buffer;
    size_t size, length;
};

static void __attribute__((format(printf, 2, 3))) say(struct text *text, const char *format, ...)
{
    size_t room = text->length < text->size ? text->size - text->length : 0;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(room ? text->buffer + text->length : NULL, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        text->length += (size_t)length;
}

static void say_mask(struct text *text, const attn_problem *p)
{
    static const char *const alignments[] = {"bottom-right", "top-left", "query offsets"};
    say(text, "mask: %s", p->causal ? "causal" : "no causal border");
    if (p->head_windows)
        say(text, ", a window for each head");
    else if (p->window.left >= 0 || p->window.right >= 0)
        say(text, ", window (left %" PRId64 ", right %" PRId64 ", prefix %" PRId64 ")",
            p->window.left, p->window.right, p->window.prefix);
    if (p->prefix_lm)
        say(text, ", prefix_lm");
    if (p->excluded_keys > 0)
        say(text, ", up to %" PRId64 " excluded keys", p->excluded_keys);
    say(text,
        "; positions aligned %s; blocks nobody sees are skipped, full ones carry no mask code\n",
        alignments[p->alignment]);
}

static void say_softmax(struct text *text, const struct attn_plan *plan)
{
    const struct attn_kernels *kernels = plan->kernels;
    const char *kind = plan->softmax == kernels->softmax           ? "plain"
                       : plan->softmax == kernels->softmax_entropy ? "with entropy"
                                                                   : "with all row statistics";
    say(text, "softmax: online, base 2, lazy rescale at %g, %s\n", (double)ATTN_LAZY_RESCALE, kind);
    if (plan->problem.softcap > 0.0f)
        say(text, "softcap: %g, a sweep of its own over each block of scores\n",
            (double)plan->problem.softcap);
    if (plan->problem.sinks)
        say(text, "sinks: one logit for each head, added once when a row is finished\n");
    if (plan->keeps_weights)
        say(text,
            "kept weights: of rows that are decoded, for what is told of all keys, %" PRId64
            " kv heads at a time\n",
            plan->decode_heads);
    if (plan->second_sweep && (!plan->cached || plan->problem.queries > plan->in_place_rows))
        say(text, "second sweep: scores once more for %s%s%s(finished rows are kept)\n",
            attn_plan_wants(plan, ATTN_STAT_COLUMN_MASS) ? "column mass " : "",
            attn_plan_wants(plan, ATTN_STAT_WEIGHTS) ? "chosen weights " : "",
            attn_plan_wants(plan, ATTN_STAT_PAIRS) ? "chosen pairs " : "");
}

static void say_path(struct text *text, const struct attn_plan *plan)
{
    const struct attn_kernels *kernels = plan->kernels;
    const struct attn_cpu_features *features = &attn_cpu_info()->features;
    enum attn_path path = kernels->path;
    attn_path_choose(&path, NULL); /* what tables of several paths are served by */
    bool widest = true;
    for (int wider = (int)path + 1; wider < ATTN_PATH_COUNT; wider++)
        widest &= !attn_path_runs_on((enum attn_path)wider, features);
    say(text, "path: %s, register tile %d x %d\n", kernels->name, kernels->rows, kernels->columns);
    say(text, "why: %s", widest ? "the best path of this machine" : "asked for by ATTN_CPU");
    if (plan->cached)
        say(text, "; caches are multiplied in f32, elements are widened as they are read");
    else if (plan->problem.q.dtype == ATTN_BF16 && path == ATTN_PATH_AVX512_BF16 &&
             kernels->pair == 1)
        say(text, "; bf16 pairs are too coarse for the masses of segments");
    else if (plan->problem.q.dtype != ATTN_F32 && kernels->pair == 1)
        say(text, "; it has no products of this dtype, so elements are widened once, when packed");
    say(text, "\n");
}

/* What becomes of masks promised constant. */
static void say_promise(struct text *text, const struct attn_plan *plan, bool read)
{
    if (plan->tiles)
        say(text, "; masks promised constant were read when planning, %" PRId64 " maps of blocks%s",
            plan->tiles->batch_maps * plan->tiles->head_maps,
            plan->cached ? ": a run reads them where its own queries or keys cut a block" : "");
    else if (plan->constant_given && read)
        say(text, "; the promise of constant masks is of no use here: %s",
            attn_is_ragged(plan->problem.lengths) ? "batches are ragged" : "there are no pairs");
}

static void say_tiles(struct text *text, const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    const attn_scores *scores = &plan->scores;
    const bool read = scores->mask || scores->bias || scores->documents || scores->block_rows > 0;
    if (plan->cached) {
        say(text, "tiles: judged at each run, which alone knows how many keys there are");
        say_promise(text, plan, read);
        say(text, "\n");
        return;
    }
    struct attn_tile_counts counts = attn_tiles_count(plan);
    say(text, "tiles: ");
    if (counts.known)
        say(text,
            "%" PRId64 " skipped, %" PRId64 " full, %" PRId64
            " partial over all heads, where every sequence is as long as the plan allows",
            counts.skip, counts.full, counts.partial);
    else
        say(text, "judged at each run, which alone knows %s",
            read && !plan->tiles               ? "what the masks hold"
            : p->head_windows                  ? "the windows of heads"
            : p->prefix_lm || p->excluded_keys ? "prefixes and excluded keys"
                                               : "where the queries stand");
    say_promise(text, plan, read);
    if (scores->function)
        say(text, "; the caller's function sees every tile that is not skipped");
    if (attn_tile_worked(plan, ATTN_TILE_FULL, p->keys) != ATTN_TILE_FULL && counts.known)
        say(text, "; the last keys are no whole vector, so their tiles are partial");
    say(text, "\n");
}

static void say_scores(struct text *text, const struct attn_plan *plan)
{
    static const char *const masks[] = {"", " mask of bytes,", " mask of bits,"};
    const attn_scores *s = &plan->scores;
    if (!plan->shaped)
        return;
    say(text, "scores:%s%s%s%s", masks[s->mask], s->bias ? " bias," : "", s->alibi ? " ALiBi," : "",
        s->documents ? " documents," : "");
    if (s->block_rows > 0)
        say(text, " lists of blocks of %" PRId64 " x %" PRId64 ",", s->block_rows, s->block_keys);
    say(text, "%s a sweep of their own over each block of scores\n",
        s->function ? " the caller's function," : "");
}

static void say_cache(struct text *text, const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    const attn_kv_layout *c = &plan->cache;
    if (!plan->cached)
        return;
    const int64_t chunk = (int64_t)plan->chunk_blocks * plan->block_keys;
    const int64_t chunks = attn_key_chunks(plan, attn_key_blocks(plan, p->keys));
    say(text, "cache: keys %s, values %s, pages of %" PRId64 " tokens%s; multiplied in f32\n",
        attn_dtype_name(c->k_dtype), attn_dtype_name(c->v_dtype), c->page_size,
        c->positions ? ", positions of their own" : "");
    say(text,
        "decoding: sequences of up to %d queries, read where they lie; the %" PRId64
        " heads of a kv head together, at most %d rows; chunks of %" PRId64
        " keys, at most %" PRId64 ", merged in order\n",
        plan->in_place_rows, p->kv_heads ? p->heads / p->kv_heads : 0, ATTN_CACHED_ROWS, chunk,
        chunks);
    if (attn_cache_heads_together(plan) > 1)
        say(text,
            "small pages: up to %" PRId64
            " kv heads of a sequence together, page after page, as far as "
            "each worker has tasks\n",
            attn_cache_heads_together(plan));
    if (p->queries > plan->in_place_rows)
        say(text, "more queries: keys and values are gathered from their pages, then packed\n");
    if (attn_shares_chunks(plan))
        say(text,
            "shared pages: a chunk that lies in the same pages for several sequences is read once "
            "for up to %d of them, at most %d rows; whole chunks, found at each run\n",
            ATTN_CASCADE_MOST, ATTN_CACHED_ROWS);
}

static void say_blocks(struct text *text, const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    struct attn_row_blocks blocks = attn_row_blocks(p->queries, plan->kernels->rows);
    const int64_t pairs = p->batch * p->kv_heads;
    say(text,
        "blocks: %" PRId64
        " of %d query rows for each head (evenly, at most %d), %d keys each (%s)\n",
        blocks.count, blocks.rows, ATTN_BLOCK_ROWS, plan->block_keys,
        plan->block_keys == ATTN_BLOCK_KEYS
            ? "the most there are; packed keys and values of a block fit half of L2"
            : "packed keys and values of a block fill at most half of L2");
    say_cache(text, plan);
    switch (attn_plan_packing(plan, p->queries)) {
    case ATTN_PACK_NOTHING:
        if (plan->cached)
            break;
        say(text, "packing: none, up to %d queries read keys and values where they lie\n",
            plan->in_place_rows);
        break;
    case ATTN_PACK_IN_TASK:
        say(text, "packing: each task packs each block of keys for itself; ");
        if (plan->pack_in_tasks)
            say(text, "the limit leaves no room for a packed kv head of %" PRId64 " bytes\n",
                4 * (plan->packed_keys + plan->packed_values));
        else
            say(text, "it alone reads them, one head and one block of rows\n");
        break;
    case ATTN_PACK_SHARED:
        say(text,
            "packing: keys and values once for each kv head, shared by %" PRId64 " heads; %" PRId64
            " of %" PRId64 " kv heads at a time (%s), %" PRId64 " bytes each\n",
            p->kv_heads ? p->heads / p->kv_heads : 0, plan->flight, pairs,
            plan->flight == pairs  ? "all of them"
            : plan->flight_limited ? "as many as the limit has room for"
                                   : "64 MiB, or what gives 16 tasks",
            4 * (plan->packed_keys + plan->packed_values));
        break;
    }
}

/* Why few queries do not read keys and values where they lie, where they do not. */
static void say_few(struct text *text, const struct attn_plan *plan)
{
    const struct attn_kernels *kernels = plan->kernels;
    if (plan->in_place_rows > 0)
        return;
    say(text, "few queries: packed like more; ");
    if (plan->turn)
        say(text, "the rotary embedding turns keys while they are packed, not where they lie\n");
    else
        say(text, "in place head_size must be a multiple of %d, head_size_v of %d\n",
            kernels->quad_channels, kernels->lanes);
}

size_t attn_plan_explain(const attn_plan *plan, char *buffer, size_t size)
{
    static const char *const dtypes[] = {
        [ATTN_F32] = "f32",
        [ATTN_BF16] = "bf16, widened to f32 when packed",
        [ATTN_F16] = "f16, widened to f32 when packed",
    };
    static const char *const lengths[] = {
        [ATTN_LENGTHS_EQUAL] = "",
        [ATTN_LENGTHS_PADDED] = "lengths: padded, one for each sequence\n",
        [ATTN_LENGTHS_RAGGED_I32] = "lengths: ragged, by cu_seqlens of int32\n",
        [ATTN_LENGTHS_RAGGED_I64] = "lengths: ragged, by cu_seqlens of int64\n",
    };
    struct text text = {buffer, buffer ? size : 0, 0};
    if (text.size > 0)
        buffer[0] = '\0';
    if (!plan)
        return 0;
    const attn_problem *p = &plan->problem;
    const struct attn_kernels *kernels = plan->kernels;
    struct attn_row_blocks blocks = attn_row_blocks(p->queries, kernels->rows);
    say(&text,
        "forward: %s, at most %" PRId64 " sequences, %" PRId64 " heads on %" PRId64
        " kv heads, %" PRId64 " queries, %" PRId64 " keys, head sizes %" PRId64 " and %" PRId64
        "\n",
        kernels->pair == 2 ? "bf16, multiplied in pairs" : dtypes[p->q.dtype], p->batch, p->heads,
        p->kv_heads, p->queries, p->keys, p->head_size, p->head_size_v);
    say(&text, "%s", lengths[p->lengths]);
    say_path(&text, plan);
    say_mask(&text, p);
    say_tiles(&text, plan);
    say_blocks(&text, plan);
    say_few(&text, plan);
    if (plan->turn)
        say(&text, "rotary: %" PRId64 " of %" PRId64 " channels, %s, turned in f32 %s%s\n",
            plan->turn->size, p->head_size,
            plan->turn->pairing == ATTN_ROTARY_HALVES ? "halves" : "neighbours",
            plan->cached
                ? "on their way out of the cache, block by block through a copy, at each run"
                : "while packing",
            kernels->pair == 2 ? ", then rounded to bf16 for pairs" : "");
    say_scores(&text, plan);
    say_softmax(&text, plan);
    if (p->unnormalised)
        say(&text, "output: unnormalised, beside each row's reference and sum\n");
    say(&text, "tasks: %" PRId64 " of a block of rows each, longest first\n",
        blocks.count * p->batch * p->heads);
    say(&text, "workspace: %zu bytes for one thread, %zu more for each further one",
        attn_plan_workspace(plan, 1), attn_plan_workspace(plan, 2) - attn_plan_workspace(plan, 1));
    if (p->workspace_limit > 0)
        say(&text, "; the limit is %zu", p->workspace_limit);
    say(&text, "\n");
    return text.length;
}
