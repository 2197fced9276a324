/* Opening the files of a model and finding tensors in them. */
#include "source.h"

#include "../files/gguf.h"
#include "../files/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "<a>/<b>" on the heap; NULL without memory. */
static char *join(const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 2;
    char *path = malloc(size);
    if (path != NULL)
        snprintf(path, size, "%s/%s", a, b);
    return path;
}

static bool read_json(const char *path, json_t **out, struct failure *f)
{
    json_error_t error;
    *out = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (*out == NULL)
        return fail(f, "%s cannot be read: %s", path, error.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return fail(f, "%s is not a JSON object", path);
    }
    return true;
}

static bool open_directory(struct source *source, const char *path, struct failure *f)
{
    char *config = join(path, "config.json");
    char *pooling = join(path, "1_Pooling/config.json");
    source->weights_path = join(path, "model.safetensors");
    source->tokenizer_path = join(path, "tokenizer.json");
    bool ok = config != NULL && pooling != NULL && source->weights_path != NULL &&
              source->tokenizer_path != NULL;
    if (!ok)
        fail(f, "%s: out of memory", path);
    struct stat status;
    ok = ok && safetensors_open(&source->safetensors, source->weights_path, f) &&
         read_json(config, &source->config, f);
    if (ok && stat(pooling, &status) == 0)
        ok = read_json(pooling, &source->pooling, f);
    if (ok && stat(source->weights_path, &status) == 0)
        source->file_bytes = (int64_t)status.st_size;
    free(config);
    free(pooling);
    return ok;
}

static bool open_file(struct source *source, const char *path, struct failure *f)
{
    size_t length = strlen(path);
    if (length > 12 && strcmp(path + length - 12, ".safetensors") == 0)
        return fail(f,
                    "%s: give the directory that holds model.safetensors and config.json, not the "
                    "file",
                    path);
    source->weights_path = strdup(path);
    if (source->weights_path == NULL)
        return fail(f, "%s: out of memory", path);
    if (!gguf_open(&source->gguf, path, f))
        return false;
    source->file_bytes = (int64_t)gguf_file_bytes(source->gguf);
    return true;
}

bool source_open(struct source *source, const char *path, struct failure *f)
{
    memset(source, 0, sizeof *source);
    struct stat status;
    if (stat(path, &status) != 0)
        return fail(f, "%s: %s", path, strerror(errno));
    source->path = strdup(path);
    bool ok = source->path != NULL || fail(f, "%s: out of memory", path);
    ok = ok &&
         (S_ISDIR(status.st_mode) ? open_directory(source, path, f) : open_file(source, path, f));
    if (!ok)
        source_close(source);
    return ok;
}

void source_close(struct source *source)
{
    gguf_close(source->gguf);
    safetensors_close(source->safetensors);
    json_decref(source->config);
    json_decref(source->pooling);
    free(source->path);
    free(source->weights_path);
    free(source->tokenizer_path);
    memset(source, 0, sizeof *source);
}

bool source_architecture(const struct source *source, const struct architecture **out,
                         struct failure *f)
{
    const char *key = source->gguf != NULL ? "general.architecture" : "model_type";
    struct text name = {NULL, 0};
    if (source->gguf != NULL) {
        if (!gguf_get_string(source->gguf, key, &name, f))
            return false;
    } else {
        json_t *value = json_object_get(source->config, key);
        if (!json_is_string(value))
            return fail(f, "config.json: model_type must be there and a string");
        name.data = json_string_value(value);
        name.bytes = json_string_length(value);
    }
    char quoted[TEXT_QUOTED];
    *out = architecture_find(name);
    if (*out == NULL)
        return fail(f, "%s is %s; it may be: %s", key, text_quote(name, quoted),
                    architecture_list());
    if (source->gguf == NULL && (*out)->safetensors_prefix == NULL)
        return fail(f, "%s is read from GGUF files only, not from safetensors", (*out)->name);
    return true;
}

int64_t source_tensor_count(const struct source *source)
{
    return (int64_t)(source->gguf != NULL ? gguf_tensor_count(source->gguf)
                                          : safetensors_tensor_count(source->safetensors));
}

const struct file_tensor *source_tensor_at(const struct source *source, int64_t i)
{
    return source->gguf != NULL ? gguf_tensor_at(source->gguf, (size_t)i)
                                : safetensors_tensor_at(source->safetensors, (size_t)i);
}

enum { NAME_BYTES = 160 };

/* "blk.%d.attn_q" with the layer in place of %d, between prefix and ending. */
static void full_name(char name[NAME_BYTES], const char *prefix, const char *pattern, int64_t layer,
                      const char *ending)
{
    const char *gap = strstr(pattern, "%d");
    if (gap == NULL)
        snprintf(name, NAME_BYTES, "%s%s.%s", prefix, pattern, ending);
    else
        snprintf(name, NAME_BYTES, "%s%.*s%lld%s.%s", prefix, (int)(gap - pattern), pattern,
                 (long long)layer, gap + 2, ending);
}

static bool has_tensor(const struct source *source, const char *name)
{
    return source->gguf != NULL ? gguf_has_tensor(source->gguf, name)
                                : safetensors_has_tensor(source->safetensors, name);
}

bool source_tensor(const struct source *source, const struct architecture *architecture,
                   const struct part_name *part, int64_t layer, const char *ending,
                   const struct file_tensor **out, struct failure *f)
{
    *out = NULL;
    const char *pattern = source->gguf != NULL ? part->gguf : part->safetensors;
    if (pattern == NULL)
        return true;
    char name[NAME_BYTES];
    if (source->gguf == NULL) {
        full_name(name, architecture->safetensors_prefix, pattern, layer, ending);
        if (has_tensor(source, name))
            return safetensors_get_tensor(source->safetensors, name, out, f);
    }
    full_name(name, "", pattern, layer, ending);
    unsigned optional =
        strcmp(ending, "bias") == 0 ? PART_OPTIONAL | PART_MAY_HAVE_BIAS : PART_OPTIONAL;
    if ((part->flags & optional) != 0 && !has_tensor(source, name))
        return true;
    return source->gguf != NULL ? gguf_get_tensor(source->gguf, name, out, f)
                                : safetensors_get_tensor(source->safetensors, name, out, f);
}
