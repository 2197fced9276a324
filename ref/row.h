/* What the files of the specification share beyond its public face. */
#ifndef ATTN_REF_ROW_H
#define ATTN_REF_ROW_H

#include "attn_ref.h"

/* The statistics of a row whose weights are known. */
void attn_ref_row_statistics(attn_ref_row *row, const attn_problem *problem, const attn_args *args);

#endif
