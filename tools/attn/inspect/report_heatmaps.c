/* Layers x heads, a cell per head: normalised entropy, the largest sink, mean distance. Side by side
 * where 80 columns allow it, below each other where a layer has many heads. */
#include "report.h"

#include <inttypes.h>
#include <math.h>

enum { MAPS = 3, LABEL = 5, GAP = 2, WIDEST_CELL = 5 };

struct map {
    const char *title;
    double (*level)(const struct inspection *in, const struct inspected_head *head);
};

static double normalized_entropy(const struct inspection *in, const struct inspected_head *head)
{
    const attn_summary *s = &head->summary.metric[ATTN_METRIC_ENTROPY_NORMALIZED];
    (void)in;
    return s->count > 0 ? s->mean : s->mean_all; /* a short text has no rows that vote */
}

static double sink_mass(const struct inspection *in, const struct inspected_head *head)
{
    (void)in;
    return head->summary.sinks[0].mass;
}

static double distance(const struct inspected_head *head)
{
    const attn_summary *s = &head->summary.metric[ATTN_METRIC_DISTANCE_MEAN];
    return s->count > 0 ? s->mean : s->mean_all;
}

static double largest_distance(const struct inspection *in)
{
    double largest = 1.0;
    for (int64_t i = 0; i < in->heads; i++)
        largest = fmax(largest, distance(&in->head[i])); /* fmax passes over NaN */
    return largest;
}

/* Logarithmic: 1 and 10 tokens differ as much as 100 and 1,000. */
static double log_distance(const struct inspection *in, const struct inspected_head *head)
{
    return log1p(distance(head)) / log1p(largest_distance(in));
}

static const struct map maps[MAPS] = {
    {"entropy / ln n", normalized_entropy},
    {"largest sink", sink_mass},
    {"mean distance", log_distance},
};

/* Which maps and heads share a line. */
struct layout {
    int maps, cell;
    int64_t heads; /* of a layer, on one line */
};

static struct layout choose_layout(const struct inspection *in, int columns)
{
    struct layout l = {MAPS, 0, in->layer_heads};
    int64_t room = (columns - LABEL - (MAPS - 1) * GAP) / MAPS;
    int64_t cell = room / (in->layer_heads > 0 ? in->layer_heads : 1);
    if (cell < 1) { /* one map after the other */
        l.maps = 1;
        room = columns - LABEL;
        cell = room / in->layer_heads;
        if (cell < 1)
            l.heads = room;
    }
    l.cell = (int)(cell < 1 ? 1 : cell > WIDEST_CELL ? WIDEST_CELL : cell);
    return l;
}

static int64_t title_width(const struct layout *l)
{
    int64_t wide = l->heads * l->cell;
    return wide < 14 ? 14 : wide;
}

/* Every head's number where it fits, else every fourth's. */
static void print_head_numbers(FILE *stream, const struct layout *l, int64_t first, int64_t count,
                               bool last)
{
    int64_t step = l->cell >= 3 ? 1 : 4, used = 0;
    for (int64_t h = 0; h < count; h += step) {
        int64_t width = (h + step < count ? step : count - h) * l->cell;
        char number[24];
        int digits = snprintf(number, sizeof number, "%" PRId64, first + h);
        if (digits > width && !(last && h == 0))
            continue;
        fprintf(stream, "%*s%s", (int)(h * l->cell - used), "", number);
        used = h * l->cell + digits;
    }
    if (!last)
        fprintf(stream, "%*s", (int)(title_width(l) - used), "");
}

/* `last`: nothing more follows on the line, so it ends without spaces. */
static void print_cells(FILE *stream, const struct inspection *in, const struct paint *paint,
                        const struct layout *l, const struct map *map, int64_t layer, int64_t first,
                        int64_t count, bool last)
{
    for (int64_t h = first; h < first + count; h++) {
        double level = map->level(in, &in->head[layer * in->layer_heads + h]);
        bool gap = l->cell > 1 && !paint->colour; /* shades stand side by side, bars apart */
        paint_cell(stream, paint, level, gap ? l->cell - 1 : l->cell);
        if (gap && !(last && h == first + count - 1))
            fputc(' ', stream);
    }
    if (!last)
        fprintf(stream, "%*s", (int)(title_width(l) - count * l->cell), "");
}

/* `count` heads from `first` on, of maps [map, map + l->maps). */
static void print_block(FILE *stream, const struct inspection *in, const struct paint *paint,
                        const struct layout *l, int map, int64_t first, int64_t count)
{
    fprintf(stream, "\n%*s", LABEL, "");
    for (int m = map; m < map + l->maps; m++)
        fprintf(stream, "%*s%-*s", m > map ? GAP : 0, "",
                m < map + l->maps - 1 ? (int)title_width(l) : 0, maps[m].title);
    fprintf(stream, "\n%-*s", LABEL, "head");
    for (int m = map; m < map + l->maps; m++) {
        fprintf(stream, "%*s", m > map ? GAP : 0, "");
        print_head_numbers(stream, l, first, count, m == map + l->maps - 1);
    }
    fputc('\n', stream);
    for (int64_t i = 0; i < in->layers; i++) {
        char label[24];
        bool window = in->model->layer[in->layer[i]].window > 0;
        snprintf(label, sizeof label, "L%" PRId64 "%s", in->layer[i], window ? "" : "*");
        fprintf(stream, "%-*s", LABEL, label);
        for (int m = map; m < map + l->maps; m++) {
            fprintf(stream, "%*s", m > map ? GAP : 0, "");
            print_cells(stream, in, paint, l, &maps[m], i, first, count, m == map + l->maps - 1);
        }
        fputc('\n', stream);
    }
}

static void print_legend(FILE *stream, const struct inspection *in, const struct paint *paint)
{
    fprintf(stream, "%*s0 ", LABEL, "");
    paint_ramp(stream, paint);
    fprintf(stream, " 1; distance 0 ");
    paint_ramp(stream, paint);
    fprintf(stream, " %.0f tokens, logarithmic. * = no window\n", largest_distance(in));
}

void report_heatmaps(FILE *stream, const struct inspection *in, const struct paint *paint)
{
    struct layout l = choose_layout(in, paint->columns);
    for (int map = 0; map < MAPS; map += l.maps)
        for (int64_t first = 0; first < in->layer_heads; first += l.heads) {
            int64_t count = in->layer_heads - first;
            print_block(stream, in, paint, &l, map, first, count < l.heads ? count : l.heads);
        }
    print_legend(stream, in, paint);
}
