/* Entropy over position as a small plot in braille dots, two to a column and four to a line: the middle
 * head and the tenths of heads at either end, for each part of the text. */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 64, LINES = 7, DOTS_X = 2 * COLUMNS, DOTS_Y = 4 * LINES, CURVES = 3 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The share quantile over heads of the mean entropy in dot column x; NaN without values. `room` holds
 * in->heads values. */
static double over_heads(const struct inspection *in, int x, double share, double *room)
{
    int64_t count = 0;
    for (int64_t i = 0; i < in->heads; i++) {
        const attn_summary *s = &in->head[i].summary.metric[ATTN_METRIC_ENTROPY];
        int64_t bin = (int64_t)x * s->position_bins / DOTS_X;
        double value = s->position_bins > 0 ? (double)s->position_mean[bin] : NAN;
        if (!isnan(value))
            room[count++] = value;
    }
    if (count == 0)
        return NAN;
    qsort(room, (size_t)count, sizeof *room, compare);
    return room[(int64_t)(share * (double)(count - 1) + 0.5)];
}

/* Bits of a braille cell: dot (x, y) with x in 0..1, y in 0..3 from the top. */
static unsigned dot(int x, int y)
{
    static const unsigned bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    return bits[y][x];
}

static void print_line(FILE *stream, const unsigned char cells[COLUMNS])
{
    int last = COLUMNS;
    while (last > 0 && cells[last - 1] == 0)
        last--;
    for (int i = 0; i < last; i++) {
        unsigned code = 0x2800u + cells[i];
        if (cells[i] == 0)
            fputc(' ', stream);
        else
            fprintf(stream, "%c%c%c", (int)(0xe0 | code >> 12), (int)(0x80 | ((code >> 6) & 63)),
                    (int)(0x80 | (code & 63)));
    }
    fputc('\n', stream);
}

void report_positions(FILE *stream, const struct inspection *in, const struct paint *paint)
{
    static const double share[CURVES] = {0.1, 0.5, 0.9};
    unsigned char cells[LINES][COLUMNS];
    double curve[CURVES][DOTS_X], top = 0.0;
    double *room = malloc((size_t)in->heads * sizeof *room + 1);
    if (!room)
        return;
    for (int c = 0; c < CURVES; c++)
        for (int x = 0; x < DOTS_X; x++) {
            curve[c][x] = over_heads(in, x, share[c], room);
            top = fmax(top, curve[c][x]);
        }
    free(room);
    if (!(top > 0.0))
        return;
    memset(cells, 0, sizeof cells);
    for (int c = 0; c < CURVES; c++)
        for (int x = 0; x < DOTS_X; x++) {
            if (isnan(curve[c][x]))
                continue;
            int y = DOTS_Y - 1 - (int)(curve[c][x] / top * (DOTS_Y - 1) + 0.5);
            cells[y / 4][x / 2] |= (unsigned char)dot(x % 2, y % 4);
        }
    fputc('\n', stream);
    paint_heading(stream, paint,
                  "Entropy over position (nats): the middle head, and a tenth from either end");
    for (int i = 0; i < LINES; i++) {
        if (i == 0 || i == LINES - 1)
            fprintf(stream, "  %5.2f |", i == 0 ? top : 0.0);
        else
            fprintf(stream, "        |");
        print_line(stream, cells[i]);
    }
    fprintf(stream, "  token 0%*" PRId64 "\n", COLUMNS, in->tokens - 1);
}
