/* Opening the one file of a model or its shards; see shards.h. */
#include "shards.h"

#include "../base/text.h"
#include "mapped_file.h"
#include "safetensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST_INDEX = 32 << 20, MOST_FILES = 4096, LONGEST_NAME = 255 };

struct place {
    const struct file_tensor *tensor;
    const struct safetensors *file;
};

struct shards {
    char *path;
    size_t bytes;
    struct safetensors **file;
    size_t files;
    struct place *place; /* sorted by name */
    size_t count;
};

static int order_by_name(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return strcmp(x->tensor->name, y->tensor->name);
}

/* ---- the index ---- */

/* A shard's name is text of the file, so it may not lead out of the folder. */
static bool is_plain_name(const char *name)
{
    size_t bytes = strlen(name);
    return bytes > 12 && bytes <= LONGEST_NAME && name[0] != '.' && strchr(name, '/') == NULL &&
           strcmp(name + bytes - 12, ".safetensors") == 0;
}

static bool read_index(const char *path, json_t **out, struct failure *f)
{
    struct mapped_file file;
    json_error_t error;
    if (!mapped_file_open(&file, path, f))
        return false;
    bool ok = file.size <= LARGEST_INDEX || fail(f, "%s: has %zu bytes; an index may have up to %d",
                                                 path, file.size, LARGEST_INDEX);
    *out =
        ok ? json_loadb((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (ok && *out == NULL)
        ok = fail(f, "%s: is no valid JSON, at byte %d of it", path, error.position);
    mapped_file_close(&file);
    return ok;
}

/* The files that the map names, each once: the keys of an object. */
static bool name_files(const char *path, const json_t *map, json_t *names, struct failure *f)
{
    const char *tensor;
    json_t *value;
    char quoted[TEXT_QUOTED], other[TEXT_QUOTED];
    json_object_foreach((json_t *)map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (name == NULL || strlen(name) != json_string_length(value) || !is_plain_name(name))
            return fail(
                f, "%s: the file of tensor %s is %s; it may be a name that ends in .safetensors",
                path, text_quote((struct text){tensor, strlen(tensor)}, quoted),
                name == NULL ? "no string" : text_quote((struct text){name, strlen(name)}, other));
        if (json_object_set_new(names, name, json_null()) != 0)
            return fail(f, "%s: out of memory", path);
    }
    size_t files = json_object_size(names);
    return (files >= 1 && files <= MOST_FILES) ||
           fail(f, "%s: weight_map names %zu files; it may name 1 to %d", path, files, MOST_FILES);
}

/* ---- the files ---- */

static bool open_file(struct shards *s, const char *path, struct failure *f)
{
    if (!safetensors_open(&s->file[s->files], path, f))
        return false;
    s->bytes += safetensors_bytes(s->file[s->files]);
    s->files++;
    return true;
}

static bool list_tensors(struct shards *s, struct failure *f)
{
    for (size_t i = 0; i < s->files; i++)
        s->count += safetensors_tensor_count(s->file[i]);
    s->place = calloc(s->count + 1, sizeof *s->place);
    if (s->place == NULL)
        return fail(f, "%s: out of memory", s->path);
    size_t filled = 0;
    for (size_t i = 0; i < s->files; i++)
        for (size_t t = 0; t < safetensors_tensor_count(s->file[i]); t++)
            s->place[filled++] = (struct place){safetensors_tensor_at(s->file[i], t), s->file[i]};
    qsort(s->place, s->count, sizeof *s->place, order_by_name);
    return true;
}

/* Every name of the map is in the file it names; with as many tensors as names there are no others. */
static bool check_map(const struct shards *s, const json_t *map, const json_t *names,
                      struct failure *f)
{
    const char *tensor;
    json_t *value;
    char quoted[TEXT_QUOTED];
    json_object_foreach((json_t *)map, tensor, value)
    {
        const char *file = json_string_value(value);
        size_t i = (size_t)json_integer_value(json_object_get(names, file));
        if (!safetensors_has_tensor(s->file[i], tensor))
            return fail(f, "%s: tensor %s is not in %s, as the index says", s->path,
                        text_quote((struct text){tensor, strlen(tensor)}, quoted), file);
    }
    return s->count == json_object_size(map) ||
           fail(f, "%s: the index names %zu tensors, but its files hold %zu", s->path,
                json_object_size(map), s->count);
}

/* Opens them in the order of `names`, whose values become their numbers. */
static bool open_named(struct shards *s, const char *folder, json_t *names, struct failure *f)
{
    s->file = calloc(json_object_size(names), sizeof *s->file);
    size_t room = strlen(folder) + 1 + LONGEST_NAME + 1;
    char *path = malloc(room);
    bool ok = (s->file != NULL && path != NULL) || fail(f, "%s: out of memory", s->path);
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(names, next, name, value)
    {
        if (!ok)
            break;
        snprintf(path, room, "%s/%s", folder, name);
        ok = json_object_set_new(names, name, json_integer((json_int_t)s->files)) == 0 ||
             fail(f, "%s: out of memory", s->path);
        ok = ok && open_file(s, path, f);
    }
    free(path);
    return ok;
}

static bool open_shards(struct shards *s, const char *folder, struct failure *f)
{
    json_t *index = NULL, *names = json_object();
    bool ok = names != NULL || fail(f, "%s: out of memory", s->path);
    ok = ok && read_index(s->path, &index, f);
    const json_t *map = json_object_get(index, "weight_map");
    if (ok && !json_is_object(map))
        ok = fail(f, "%s: weight_map must be there and an object", s->path);
    ok = ok && name_files(s->path, map, names, f) && open_named(s, folder, names, f) &&
         list_tensors(s, f) && check_map(s, map, names, f);
    json_decref(index);
    json_decref(names);
    return ok;
}

static bool open_single(struct shards *s, struct failure *f)
{
    s->file = calloc(1, sizeof *s->file);
    return (s->file != NULL || fail(f, "%s: out of memory", s->path)) && open_file(s, s->path, f) &&
           list_tensors(s, f);
}

/* The index is read where there is no model.safetensors. */
bool shards_open(struct shards **out, const char *folder, struct failure *f)
{
    static const char single[] = "model.safetensors", index[] = "model.safetensors.index.json";
    struct shards *s = calloc(1, sizeof *s);
    size_t room = strlen(folder) + 1 + sizeof index;
    *out = NULL;
    if (s == NULL || (s->path = malloc(room)) == NULL) {
        free(s);
        return fail(f, "%s: out of memory", folder);
    }
    snprintf(s->path, room, "%s/%s", folder, index);
    bool sharded = access(s->path, F_OK) == 0;
    snprintf(s->path, room, "%s/%s", folder, single);
    sharded = sharded && access(s->path, F_OK) != 0;
    if (sharded)
        snprintf(s->path, room, "%s/%s", folder, index);
    if (!(sharded ? open_shards(s, folder, f) : open_single(s, f))) {
        shards_close(s);
        return false;
    }
    *out = s;
    return true;
}

void shards_close(struct shards *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->files; i++)
        safetensors_close(s->file[i]);
    free(s->file);
    free(s->place);
    free(s->path);
    free(s);
}

/* ---- look-ups ---- */

const char *shards_path(const struct shards *s)
{
    return s->path;
}

size_t shards_bytes(const struct shards *s)
{
    return s->bytes;
}

size_t shards_tensor_count(const struct shards *s)
{
    return s->count;
}

const struct file_tensor *shards_tensor_at(const struct shards *s, size_t i)
{
    return s->place[i].tensor;
}

static const struct place *find(const struct shards *s, const char *name)
{
    const struct file_tensor named = {.name = name};
    const struct place wanted = {.tensor = &named};
    return bsearch(&wanted, s->place, s->count, sizeof *s->place, order_by_name);
}

bool shards_has_tensor(const struct shards *s, const char *name)
{
    return find(s, name) != NULL;
}

bool shards_get_tensor(const struct shards *s, const char *name, const struct file_tensor **out,
                       struct failure *f)
{
    const struct place *place = find(s, name);
    return safetensors_get_tensor(place != NULL ? place->file : s->file[0], name, out, f);
}
