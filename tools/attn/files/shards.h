/* The tensors of a folder: those of model.safetensors, or of the files that model.safetensors.index.json
 * lists (shards).
 *
 * The index maps names of tensors to names of files beside it. Opening checks that each tensor is in the
 * file that the index names, that the files hold no others, and that a file's name is no path. What each
 * file must be is in safetensors.h. Handles are read-only and may be used from several threads. */
#ifndef ATTN_TOOLS_SHARDS_H
#define ATTN_TOOLS_SHARDS_H

#include "../base/failure.h"
#include "file_tensor.h"

#include <stddef.h>

struct shards;

/* Open the files in `folder`. On failure *out is NULL and the sentence begins with the path of a file. */
bool shards_open(struct shards **out, const char *folder, struct failure *f);

/* Close; every tensor becomes invalid. NULL is left alone. */
void shards_close(struct shards *s);

/* model.safetensors, or the index; and the bytes of all files with tensors. */
const char *shards_path(const struct shards *s);
size_t shards_bytes(const struct shards *s);

/* Tensors by name in byte order, of every type. */
size_t shards_tensor_count(const struct shards *s);
const struct file_tensor *shards_tensor_at(const struct shards *s, size_t i);

/* Whether there is such a tensor; and the tensor (F32, F16 or BF16), as in safetensors.h. */
bool shards_has_tensor(const struct shards *s, const char *name);
bool shards_get_tensor(const struct shards *s, const char *name, const struct file_tensor **out,
                       struct failure *f);

#endif
