/* One tensor of a model file, wherever it came from (GGUF or safetensors).
 *
 * dims[0] is the contiguous dimension: a weight of y = W x has dims[0] inputs and dims[1] outputs,
 * and row r begins at (const char *)data + r * row_bytes. (GGUF writes its dimensions in this
 * order; those of safetensors are turned around when read.) */
#ifndef ATTN_TOOLS_FILE_TENSOR_H
#define ATTN_TOOLS_FILE_TENSOR_H

#include "tensor_type.h"

enum { FILE_TENSOR_DIMS = 4 };

struct file_tensor {
    const char *name;      /* NUL-terminated; belongs to the file's handle */
    enum tensor_type type; /* TENSOR_UNSUPPORTED only when listing, never from a look-up by name */
    char type_name[16];    /* as the file's format calls it: "Q4_K", "I64" */
    int ndim;              /* 0 (one value) to 4 */
    int64_t dims[FILE_TENSOR_DIMS]; /* 1 beyond ndim */
    int64_t values;                 /* product of dims */
    int64_t rows;                   /* values / dims[0]; 0 for an empty tensor */
    size_t row_bytes;               /* bytes of dims[0] values; 0 when the type is not supported */
    size_t bytes;     /* rows * row_bytes; 0 when the type of a GGUF tensor is not supported */
    const void *data; /* any alignment in safetensors; in GGUF what the file states, at least 1 */
};

#endif
