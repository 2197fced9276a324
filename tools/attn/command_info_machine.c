/* `attn info` alone: the machine, what plans will use, and the libraries in this process. */
#define _GNU_SOURCE
#include "command_info.h"

#include <attn/attn.h>
#include <dnnl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

/* ---- which OpenMP runtimes are loaded: two of them in one process fight for the cores ---- */

enum { RUNTIMES = 8 };
struct runtimes {
    int count;
    char path[RUNTIMES][256];
};

static int note_runtime(struct dl_phdr_info *object, size_t size, void *context)
{
    static const char *const names[] = {"libgomp", "libomp", "libiomp"};
    struct runtimes *found = context;
    const char *slash = strrchr(object->dlpi_name, '/');
    const char *base = slash ? slash + 1 : object->dlpi_name;
    (void)size;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(base, names[i], strlen(names[i])) == 0 && found->count < RUNTIMES)
            snprintf(found->path[found->count++], sizeof found->path[0], "%s", object->dlpi_name);
    return 0;
}

static struct runtimes find_runtimes(void)
{
    struct runtimes found = {0};
    dl_iterate_phdr(note_runtime, &found);
    return found;
}

/* ---- libraries ---- */

static const char *onednn_threads(unsigned runtime)
{
    switch (runtime) {
    case DNNL_RUNTIME_OMP:
        return "OpenMP";
    case DNNL_RUNTIME_SEQ:
        return "one thread";
    case DNNL_RUNTIME_TBB:
        return "TBB";
    default:
        return "other threads";
    }
}

void info_products_library(char *text, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d (%s)", version->major, version->minor, version->patch,
             onednn_threads(version->cpu_runtime));
}

static bool describe(attn_cpu *cpu, struct failure *f)
{
    attn_error error;
    *cpu = (attn_cpu){.struct_size = sizeof *cpu};
    return attn_cpu_describe(cpu, &error) == ATTN_OK || fail(f, "%s", error.message);
}

/* ---- for people ---- */

static void print_bytes(FILE *stream, const char *label, size_t bytes)
{
    if (bytes >= 1 << 20)
        fprintf(stream, "%s %zu MB", label, bytes >> 20);
    else
        fprintf(stream, "%s %zu KB", label, bytes >> 10);
}

bool info_machine_print(FILE *stream, struct failure *f)
{
    attn_cpu cpu;
    char products[64];
    if (!describe(&cpu, f))
        return false;
    const char *wish = getenv("ATTN_CPU");
    struct runtimes runtimes = find_runtimes();
    info_products_library(products, sizeof products);

    fprintf(stream, "attn      %s\n", attn_version());
    fprintf(stream, "cpu       %s\n", cpu.name);
    fprintf(stream, "features  %s\n", cpu.features);
    fprintf(stream, "kernels   %s; plans use %s (%s%s)\n", cpu.paths, cpu.path,
            wish ? "ATTN_CPU=" : "ATTN_CPU is not set", wish ? wish : "");
    print_bytes(stream, "caches    L1 data", cpu.cache_bytes[0]);
    print_bytes(stream, ", L2", cpu.cache_bytes[1]);
    fprintf(stream, " per core");
    print_bytes(stream, ", L3", cpu.cache_bytes[2]);
    fprintf(stream, " shared\n");
    fprintf(stream, "cores     %d that this process may use\n", cpu.cores);
    fprintf(stream, "threads   %s\n", cpu.threads_by);
    fprintf(stream, "OpenMP    ");
    for (int i = 0; i < runtimes.count; i++)
        fprintf(stream, "%s%s", i ? ", " : "", runtimes.path[i]);
    fprintf(stream, "%s\n",
            runtimes.count == 0  ? "no runtime is loaded"
            : runtimes.count > 1 ? " (more than one: they fight for the cores)"
                                 : "");
    fprintf(stream, "products  %s\n", products);
    fprintf(stream, "json      jansson %s\n", jansson_version_str());
    return true;
}

/* ---- for programs ---- */

static json_t *json_words(const char *words)
{
    json_t *array = json_array();
    while (*words) {
        size_t length = strcspn(words, " ");
        if (length)
            json_array_append_new(array, json_stringn(words, length));
        words += length + (words[length] == ' ');
    }
    return array;
}

bool info_machine_json(json_t **out, struct failure *f)
{
    attn_cpu cpu;
    char products[64];
    if (!describe(&cpu, f))
        return false;
    struct runtimes runtimes = find_runtimes();
    json_t *loaded = json_array();
    for (int i = 0; i < runtimes.count; i++)
        json_array_append_new(loaded, json_string(runtimes.path[i]));
    info_products_library(products, sizeof products);
    *out =
        json_pack("{s:i, s:s, s:s, s:o, s:o, s:s, s:s?, s:i, s:{s:I, s:I, s:I}, s:s, s:o, "
                  "s:{s:s, s:s}}",
                  "schema_version", 1, "attn_version", attn_version(), "cpu", cpu.name, "features",
                  json_words(cpu.features), "paths", json_words(cpu.paths), "path", cpu.path,
                  "attn_cpu", getenv("ATTN_CPU"), "cores", cpu.cores, "cache_bytes", "l1_data",
                  (json_int_t)cpu.cache_bytes[0], "l2", (json_int_t)cpu.cache_bytes[1], "l3",
                  (json_int_t)cpu.cache_bytes[2], "threads_by", cpu.threads_by, "openmp_runtimes",
                  loaded, "libraries", "products", products, "jansson", jansson_version_str());
    return *out || fail(f, "out of memory");
}
