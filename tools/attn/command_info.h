/* The two halves of `attn info`: this machine, and a model. Each is gathered once, then printed for
 * people or as JSON. Names in the JSON are a contract: names are added, never changed. */
#ifndef ATTN_TOOLS_COMMAND_INFO_H
#define ATTN_TOOLS_COMMAND_INFO_H

#include "base/failure.h"

#include <jansson.h>
#include <stdio.h>

/* What attn info alone shows; fails when ATTN_CPU names a path that cannot be had. */
bool info_machine_print(FILE *stream, struct failure *f);
bool info_machine_json(json_t **out, struct failure *f);

/* What attn info MODEL shows: the file's description, and what will run it here. */
bool info_model_print(FILE *stream, const char *path, struct failure *f);
bool info_model_json(json_t **out, const char *path, struct failure *f);

/* "oneDNN 2.6.3 (OpenMP)": what multiplies matrices. */
void info_products_library(char *text, size_t size);

/* Ranges of numbers i < count with member[i] set: "0-4, 6-10, 12". */
void info_ranges(const bool *member, int64_t count, char *text, size_t size);

#endif
