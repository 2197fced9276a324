/* Exact weights of one head for other tools: an .npz file, which is a zip of .npy arrays (NumPy's
 * formats, numpy/lib/format.py; PKWARE's APPNOTE 6.3), stored without compression, in zip64 form so that
 * 4 GB and more are the same as less. Written in order, without seeking and without holding rows:
 *
 *     weights  f32 [rows, keys]    weights[r, j] of query row_begin + r and key j; 0 where masked
 *     rows     i64 [2]             row_begin, row_end
 *     head     i64 [2]             layer, head
 *     tokens   i32 [keys]          the ids of the text
 */
#ifndef ATTN_INSPECT_NPZ_H
#define ATTN_INSPECT_NPZ_H

#include "../base/output_file.h"

#include <stdint.h>

enum { NPZ_ENTRIES = 4 };

struct npz_entry {
    const char *name; /* "weights.npy" */
    uint64_t offset, bytes;
    uint32_t crc;
};

struct npz {
    struct output_file out;
    uint64_t written;
    int entries;
    struct npz_entry entry[NPZ_ENTRIES];
};

/* Begin the file at `path` with the array of weights; fails as output_file_open does. */
bool npz_open(struct npz *z, const char *path, int64_t rows, int64_t keys, struct failure *f);

/* The next `rows` rows of weights. A full disk is told here early, or at the end. */
bool npz_add_rows(struct npz *z, const float *weights, int64_t rows, int64_t keys,
                  struct failure *f);

/* After the last row: the other arrays, the directory, and the file gets its name. */
bool npz_commit(struct npz *z, const int64_t rows[2], const int64_t head[2], const int32_t *tokens,
                int64_t count, struct failure *f);

/* Give up; nothing is left behind. A closed `z` is left alone. */
void npz_discard(struct npz *z);

#endif
