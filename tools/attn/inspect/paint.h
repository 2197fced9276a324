/* Shades of a figure on a terminal: 256 colours, or a ramp of eight bars where colour is not wanted. */
#ifndef ATTN_INSPECT_PAINT_H
#define ATTN_INSPECT_PAINT_H

#include <stdbool.h>
#include <stdio.h>

struct paint {
    bool colour;
    int columns; /* how wide a line may be; 80 */
};

/* Whether `stream` shall get colour: it is a terminal that is not "dumb", and NO_COLOR is not set
 * (no-color.org: to anything but the empty string). */
struct paint paint_for(FILE *stream);

/* A cell `columns` wide whose shade tells `level`, 0 .. 1 (clamped); NaN = not measured. */
void paint_cell(FILE *stream, const struct paint *paint, double level, int columns);

/* The ramp from 0 to 1, eight columns wide. */
void paint_ramp(FILE *stream, const struct paint *paint);

/* Begin and end the background of a shade behind text. Nothing without colour. */
void paint_begin(FILE *stream, const struct paint *paint, double level);
void paint_end(FILE *stream, const struct paint *paint);

/* One column of the ramp as a glyph, whatever paint->colour is: " ▁▂▃▄▅▆▇█" without the space. */
const char *paint_glyph(double level);

/* A heading: bold where there is colour. */
void paint_heading(FILE *stream, const struct paint *paint, const char *text);

#endif
