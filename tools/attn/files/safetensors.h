/* safetensors files: a length, a JSON header, and the bytes of the tensors.
 *
 * Opening checks the whole header against the size of the file: every tensor lies inside, has as
 * many bytes as its shape says, and shares none with another. Tensor data stays in the mapped file.
 * The models' settings are in a config.json beside it, which is not this file's concern. Handles
 * are read-only and may be used from several threads. */
#ifndef ATTN_TOOLS_SAFETENSORS_H
#define ATTN_TOOLS_SAFETENSORS_H

#include "../base/failure.h"
#include "file_tensor.h"

#include <stddef.h>

struct safetensors;

/* Open the file at `path`. On failure *out is NULL and the sentence begins with the path. */
bool safetensors_open(struct safetensors **out, const char *path, struct failure *f);

/* The same for bytes in memory, which stay the caller's and must outlive the handle. */
bool safetensors_open_memory(struct safetensors **out, const void *bytes, size_t size,
                             struct failure *f);

/* Close; every tensor of this handle becomes invalid. NULL is left alone. */
void safetensors_close(struct safetensors *s);

/* The size of the file, or of the bytes in memory. */
size_t safetensors_bytes(const struct safetensors *s);

/* Tensors by name in byte order. Those of types that cannot be read (I64, F64, ...) are listed too.
 */
size_t safetensors_tensor_count(const struct safetensors *s);
const struct file_tensor *safetensors_tensor_at(const struct safetensors *s, size_t i);

/* Whether there is such a tensor, of whatever type. */
bool safetensors_has_tensor(const struct safetensors *s, const char *name);

/* The tensor of that name (F32, F16 or BF16); fails if there is none or its type is another, naming
 * the type. dims are in the order of file_tensor.h: dims[0] is the last number of the file's shape.
 */
bool safetensors_get_tensor(const struct safetensors *s, const char *name,
                            const struct file_tensor **out, struct failure *f);

#endif
