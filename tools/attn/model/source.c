/* Opening the files of a model and finding tensors in them. */
#include "source.h"

#include "../files/gguf.h"
#include "../files/shards.h"

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

/* One that need not be there: *out stays NULL then. */
static bool read_optional_json(const char *folder, const char *name, json_t **out,
                               struct failure *f)
{
    char *path = join(folder, name);
    struct stat status;
    bool ok = path != NULL || fail(f, "%s: out of memory", folder);
    if (ok && stat(path, &status) == 0)
        ok = read_json(path, out, f);
    free(path);
    return ok;
}

static bool open_directory(struct source *source, const char *path, struct failure *f)
{
    if (!shards_open(&source->shards, path, f))
        return false;
    char *config = join(path, "config.json");
    source->weights_path = strdup(shards_path(source->shards));
    source->tokenizer_path = join(path, "tokenizer.json");
    source->file_bytes = (int64_t)shards_bytes(source->shards);
    bool ok = (config != NULL && source->weights_path != NULL && source->tokenizer_path != NULL) ||
              fail(f, "%s: out of memory", path);
    ok = ok && read_json(config, &source->config, f) &&
         read_optional_json(path, "generation_config.json", &source->generation, f) &&
         read_optional_json(path, "1_Pooling/config.json", &source->pooling, f);
    free(config);
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
    shards_close(source->shards);
    json_decref(source->config);
    json_decref(source->generation);
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
                                          : shards_tensor_count(source->shards));
}

const struct file_tensor *source_tensor_at(const struct source *source, int64_t i)
{
    return source->gguf != NULL ? gguf_tensor_at(source->gguf, (size_t)i)
                                : shards_tensor_at(source->shards, (size_t)i);
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

static bool may_be_absent(const struct part_name *part, const char *ending)
{
    bool bias = strcmp(ending, "bias") == 0;
    return (part->flags & (PART_OPTIONAL | (bias ? PART_MAY_HAVE_BIAS : 0))) != 0;
}

bool source_tensor(const struct source *source, const struct architecture *architecture,
                   const struct part_name *part, int64_t layer, const char *ending,
                   const struct file_tensor **out, struct failure *f)
{
    *out = NULL;
    const char *pattern = source->gguf != NULL ? part->gguf : part->safetensors;
    if (pattern == NULL)
        return true;
    char name[NAME_BYTES], prefixed[NAME_BYTES];
    full_name(name, "", pattern, layer, ending);
    if (source->gguf != NULL)
        return (may_be_absent(part, ending) && !gguf_has_tensor(source->gguf, name)) ||
               gguf_get_tensor(source->gguf, name, out, f);
    full_name(prefixed, architecture->safetensors_prefix, pattern, layer, ending);
    bool bare = shards_has_tensor(source->shards, name);
    if (!shards_has_tensor(source->shards, prefixed))
        return (may_be_absent(part, ending) && !bare) ||
               shards_get_tensor(source->shards, name, out, f);
    if (bare)
        return fail(f, "tensors '%s' and '%s' are both there; there may be one of them", name,
                    prefixed);
    return shards_get_tensor(source->shards, prefixed, out, f);
}
