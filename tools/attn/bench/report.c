/* Table and JSON of `attn bench`; see report.h. */
#include "report.h"

static void shape_of(const struct bench_case *c, char text[48])
{
    char batch[16] = "", kv[16] = "";
    if (c->batch != 1)
        snprintf(batch, sizeof batch, "%d x ", c->batch);
    if (c->heads != c->kv_heads)
        snprintf(kv, sizeof kv, "/%d", c->kv_heads);
    snprintf(text, 48, "%s%d%s x %d x %d x %d", batch, c->heads, kv, c->queries, c->keys,
             c->head_size);
}

static const char *ceiling_name(enum bench_ceiling kind)
{
    static const char *const names[] = {"fma", "bf16_dot", "read"};
    return names[kind];
}

void bench_print_list(FILE *stream, const char *pattern)
{
    int count;
    const struct bench_case *cases = bench_cases(&count);
    for (int i = 0; i < count; i++) {
        const struct bench_case *c = &cases[i];
        char shape[48];
        if (!bench_case_matches(c->name, pattern))
            continue;
        shape_of(c, shape);
        fprintf(stream, "%-40s %-24s mask %-18s statistics %s%s\n", c->name, shape,
                bench_mask_name(c->mask), bench_statistics_name(c->statistics),
                c->takes_minutes ? ", takes minutes: run by its whole name alone" : "");
    }
}

void bench_print_header(FILE *stream, const struct bench_run *run)
{
    fprintf(
        stream,
        "attn %s on %s, kernels %s, threads %d\n"
        "share: of the multiply-adds (bf16: of the dot products of bf16 pairs, where the path has\n"
        "them) this machine did in the same moments; off: error against plain loops in double,\n"
        "relative; shape: [sequences x] heads[/kv heads] x queries x keys x head size; busy: the\n"
        "machine did other work meanwhile, the share says little; decode: of what takes longer at\n"
        "most, the multiply-adds or reading the cache (then GB/s)\n\n",
        attn_version(), run->cpu.name, run->cpu.path, run->threads);
    fprintf(stream, "%-39s %-25s %9s %6s %8s %6s %9s %7s\n", "case", "shape", "ms", "spread",
            "GFLOP/s", "share", "extra MB", "off");
    fflush(stream);
}

void bench_print_result(FILE *stream, const struct bench_result *result)
{
    char shape[48];
    const struct bench_case *c = result->c;
    shape_of(c, shape);
    double spread = 50 * (result->ms.max - result->ms.min) / result->ms.median;
    fprintf(stream, "%-39s %-25s %9.3f %5.0f%% %8.1f %5.1f%% %9.1f %7.0e", c->name, shape,
            result->ms.median, spread, result->rate, 100 * result->share.median,
            (double)result->extra_bytes / 1e6, result->verdict.residual);
    if (c->partner == BESIDE_FULL)
        fprintf(stream, "  %.3f x full", result->ratio.median);
    if (c->partner == BESIDE_PLAIN)
        fprintf(stream, "  %.3f x plain", result->ratio.median);
    if (result->ceiling_kind == CEILING_READ)
        fputs("  GB/s", stream);
    if (!result->quiet)
        fputs("  busy", stream);
    fputs(result->verdict.passed ? "\n" : "  WRONG\n", stream);
    fflush(stream);
}

void bench_print_ceilings(FILE *stream, const struct bench_run *run)
{
    fprintf(
        stream,
        "\nceilings: %.1f GFLOP/s of f32 multiply-adds (the least look %.1f, the median %.1f), ",
        run->fma_gflops.max, run->fma_gflops.min, run->fma_gflops.median);
    if (run->bf16_dot_gflops.max > 0)
        fprintf(stream, "%.1f of bf16 dot products (%.1f, %.1f), ", run->bf16_dot_gflops.max,
                run->bf16_dot_gflops.min, run->bf16_dot_gflops.median);
    fprintf(stream, "%.1f GB/s reading %zu MB\n", run->read_gb_s, run->read_bytes >> 20);
}

/* ---- JSON ---- */

static json_t *json_spread(struct spread s)
{
    return json_pack("[f,f,f]", s.min, s.median, s.max);
}

static void add_partner(json_t *object, const struct bench_result *result)
{
    bool full = result->c->partner == BESIDE_FULL;
    json_object_set_new(object, full ? "full_ms_median" : "plain_ms_median",
                        json_real(result->partner_ms.median));
    json_object_set_new(object, full ? "ratio_to_full" : "ratio_to_plain",
                        json_real(result->ratio.median));
    json_object_set_new(object, full ? "ratio_to_full_spread" : "ratio_to_plain_spread",
                        json_spread(result->ratio));
}

/* NaN has no place in JSON: what could not be measured, or is wrong beyond numbers, is null. */
static json_t *json_number(double value)
{
    json_t *number = json_real(value);
    return number ? number : json_null();
}

/* Values of the output as they came out, and as they are in double. */
static json_t *json_samples(const struct bench_verdict *verdict)
{
    json_t *list = json_array();
    for (int i = 0; i < verdict->sample_count; i++) {
        const struct bench_sample *s = &verdict->samples[i];
        json_array_append_new(
            list, json_pack("{s:i, s:i, s:I, s:I, s:o, s:o}", "batch", s->batch, "head", s->head,
                            "query", (json_int_t)s->query, "channel", (json_int_t)s->channel,
                            "value", json_number(s->value), "exact", json_number(s->exact)));
    }
    return list;
}

static json_t *case_json(const struct bench_result *result)
{
    const struct bench_case *c = result->c;
    const char *dtype = bench_dtype_name(c->cache ? c->cache : c->dtype);
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:f, s:s}", "name", c->name,
        "op", c->cache ? "decode" : "forward", "dtype", dtype, "batch", c->batch, "heads", c->heads,
        "kv_heads", c->kv_heads, "queries", c->queries, "keys", c->keys, "head_size", c->head_size,
        "head_size_v", c->head_size, "mask", bench_mask_name(c->mask), "statistics",
        bench_statistics_name(c->statistics), "flops", result->flops, "kernel", result->kernel);
    json_t *measured = json_pack(
        "{s:i, s:f, s:f, s:f, s:f, s:s, s:s, s:f, s:f, s:o, s:b, s:I, s:o, s:f, s:b, s:o}", "runs",
        result->runs, "ms_min", result->ms.min, "ms_median", result->ms.median, "ms_max",
        result->ms.max, "rate", result->rate, "unit",
        result->ceiling_kind == CEILING_READ ? "GB/s" : "GFLOP/s", "ceiling",
        ceiling_name(result->ceiling_kind), "ceiling_rate", result->ceiling.max, "share",
        result->share.median, "share_spread", json_spread(result->share), "quiet", result->quiet,
        "extra_bytes", (json_int_t)result->extra_bytes, "residual",
        json_number(result->verdict.residual), "residual_allowed", result->verdict.tolerance,
        "passed", result->verdict.passed, "samples", json_samples(&result->verdict));
    if (object && measured) {
        json_object_update(object, measured);
        if (c->cache) {
            json_object_set_new(object, "page_size", json_integer(c->page_size));
            json_object_set_new(object, "bytes", json_real(result->bytes));
        }
        if (c->partner != ALONE)
            add_partner(object, result);
        if (c->statistics != STATISTICS_NONE)
            json_object_set_new(object, "residual_of_statistics",
                                json_number(result->verdict.statistics_residual));
    }
    json_decref(measured);
    return object;
}

json_t *bench_json(const struct bench_run *run, const struct bench_result *results, int count)
{
    json_t *cases = json_array();
    bool dots = run->bf16_dot_gflops.max > 0;
    for (int i = 0; i < count; i++)
        json_array_append_new(cases, case_json(&results[i]));
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:i, s:s, s:f, s:{s:f, s:o, s:o, s:o, s:n, s:f, s:I}, "
        "s:o}",
        "schema_version", 1, "attn_version", attn_version(), "cpu", run->cpu.name, "cpu_features",
        run->cpu.features, "path", run->cpu.path, "threads", run->threads, "threads_by",
        run->cpu.threads_by, "seconds", run->seconds, "ceilings", "fma_gflops", run->fma_gflops.max,
        "fma_gflops_spread", json_spread(run->fma_gflops), "bf16_dot_gflops",
        dots ? json_real(run->bf16_dot_gflops.max) : json_null(), "bf16_dot_gflops_spread",
        dots ? json_spread(run->bf16_dot_gflops) : json_null(), "int8_dot_gops", "read_gb_s",
        run->read_gb_s, "read_bytes", (json_int_t)run->read_bytes, "cases", cases);
}
