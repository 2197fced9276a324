/* Shades on a terminal; see paint.h. */
#include "paint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GLYPHS = 8, SHADES = 12 };

/* Of the 256-colour cube, from dark blue over green to yellow: lightness rises all the way, so that the
 * order is seen without telling colours apart. */
static const int shades[SHADES] = {17, 18, 24, 30, 36, 35, 71, 107, 143, 179, 221, 229};

struct paint paint_for(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    struct paint paint = {.colour = true, .columns = 80};
    if ((no_color && no_color[0]) || !isatty(fileno(stream)) || !term || strcmp(term, "dumb") == 0)
        paint.colour = false;
    return paint;
}

/* Which of `steps` equal parts of 0 .. 1 the level is in; not of NaN. */
static int step(double level, int steps)
{
    return level <= 0.0 ? 0 : level >= 1.0 ? steps - 1 : (int)(level * steps);
}

const char *paint_glyph(double level)
{
    static const char *const glyphs[GLYPHS] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    return isnan(level) ? "·" : glyphs[step(level, GLYPHS)];
}

void paint_begin(FILE *stream, const struct paint *paint, double level)
{
    if (!paint->colour)
        return;
    if (isnan(level)) {
        fputs("\x1b[2m", stream);
        return;
    }
    int shade = step(level, SHADES);
    fprintf(stream, "\x1b[48;5;%dm\x1b[38;5;%dm", shades[shade], shade < SHADES / 2 ? 255 : 16);
}

void paint_end(FILE *stream, const struct paint *paint)
{
    if (paint->colour)
        fputs("\x1b[0m", stream);
}

void paint_cell(FILE *stream, const struct paint *paint, double level, int columns)
{
    if (paint->colour) {
        paint_begin(stream, paint, level);
        for (int i = 0; i < columns; i++)
            fputs(isnan(level) && i == 0 ? "·" : " ", stream);
        paint_end(stream, paint);
        return;
    }
    for (int i = 0; i < columns; i++)
        fputs(paint_glyph(level), stream);
}

void paint_ramp(FILE *stream, const struct paint *paint)
{
    for (int i = 0; i < GLYPHS; i++)
        paint_cell(stream, paint, (i + 0.5) / GLYPHS, 1);
}

void paint_heading(FILE *stream, const struct paint *paint, const char *text)
{
    fprintf(stream, "%s%s%s\n", paint->colour ? "\x1b[1m" : "", text,
            paint->colour ? "\x1b[0m" : "");
}
