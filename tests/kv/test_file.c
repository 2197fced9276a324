/* The file of a cache: what comes back, and what is refused. Every bit of a file is flipped, every length is
 * tried, and a write that fails halfway leaves the old file and nothing beside it. */
#include <attn/rotary.h>
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attention/guarded.h"
#include "kv/checksum.h"
#include "kv/pages.h"

#include <cmocka.h>

enum { LAYERS = 3, SEQUENCES = 3, TOKENS = 12, HEADS = 2, SIZE = 4 };

static char folder[] = "/tmp/attn_kv_XXXXXX", path[64];
static attn_kv_layer layers[LAYERS];
static float channel_scales[HEADS * SIZE];
static float numbers[SEQUENCES * HEADS * TOKENS * SIZE];

/* A window with sinks in f16 and int4, int8 with channel scales, a contiguous f32 layer. */
static attn_kv_config sound(void)
{
    for (int i = 0; i < HEADS * SIZE; i++)
        channel_scales[i] = 1 + (float)i / 4;
    layers[0] = attn_kv_layer_init(ATTN_F16, HEADS, SIZE, 2);
    layers[0].v_dtype = ATTN_INT4;
    layers[0].group = 4;
    layers[0].window = 5;
    layers[0].sinks = 1;
    layers[1] = attn_kv_layer_init(ATTN_INT8, HEADS, SIZE, 3);
    layers[1].k_channel_scales = channel_scales;
    layers[2] = attn_kv_layer_init(ATTN_F32, HEADS, SIZE, TOKENS);
    layers[2].window = 7;
    attn_kv_config config = attn_kv_config_init(layers, LAYERS, SEQUENCES, TOKENS);
    config.model = 42;
    return config;
}

static void append(attn_kv *kv, int32_t sequence, int64_t tokens, float first)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        numbers[i] = first + (float)(i % 37) / 8;
    attn_kv_rows rows = attn_kv_rows_init(1, HEADS, tokens, SIZE, ATTN_F32);
    rows.sequences = &sequence;
    rows.k = numbers;
    rows.v = numbers + 5;
    for (int layer = 0; layer < LAYERS; layer++)
        assert_int_equal(attn_kv_append(kv, layer, &rows, NULL, NULL), ATTN_OK);
}

static attn_kv *create(const attn_kv_config *config)
{
    attn_kv *kv;
    attn_error error;
    if (attn_kv_create(&kv, config, NULL, 0, &error))
        fail_msg("%s", error.message);
    return kv;
}

/* Two sequences that share a prefix, in all layers. */
static attn_kv *filled(void)
{
    attn_kv_config config = sound();
    attn_kv *kv = create(&config);
    append(kv, 0, 7, 1);
    assert_int_equal(attn_kv_fork(kv, 0, 2, NULL), ATTN_OK);
    append(kv, 0, 1, -2);
    append(kv, 2, 3, 3);
    return kv;
}

static unsigned char *read_file(const char *name, size_t *size)
{
    FILE *file = fopen(name, "rb");
    assert_non_null(file);
    unsigned char *data = need(1 << 20, 1);
    *size = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

static void write_file(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

static bool is_empty(attn_kv *kv)
{
    attn_kv_usage usage = {.struct_size = sizeof usage};
    attn_kv_get_usage(kv, -1, &usage, NULL);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int s = 0; s < SEQUENCES; s++)
            if (attn_kv_length(kv, layer, s) > 0 || attn_kv_keys(kv, layer, s) > 0)
                return false;
    return usage.pages_used == 0;
}

static void refused(attn_kv *kv, const void *data, size_t size, attn_status wanted,
                    const char *text, const char *what)
{
    attn_error error;
    const attn_status status = attn_kv_load_memory(kv, data, size, &error);
    if (status != wanted || !strstr(error.message, text))
        fail_msg("%s: %s \"%s\"", what, attn_status_name(status), error.message);
    if (!is_empty(kv))
        fail_msg("%s: refused, but the cache is no longer empty", what);
}

static int files_in_folder(void)
{
    DIR *dir = opendir(folder);
    int count = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(dir);
    return count;
}

/* The sum at the end made right again, for faults that a checksum would hide. */
static void mend_sum(unsigned char *data, size_t size)
{
    struct attn_sum sum = attn_sum_begin();
    attn_sum_add(&sum, data, size - 8);
    const uint64_t end = attn_sum_end(&sum);
    memcpy(data + size - 8, &end, sizeof end);
}

/* Every row of every sequence, to the last bit. */
static void same_contents(attn_kv *a, attn_kv *b)
{
    for (int64_t layer = 0; layer < LAYERS; layer++)
        for (int32_t s = 0; s < SEQUENCES; s++) {
            struct pages of_a = {.head_size = SIZE, .head_size_v = SIZE}, of_b = of_a;
            attn_kv_get_layout(a, layer, &of_a.layout, NULL);
            attn_kv_get_layout(b, layer, &of_b.layout, NULL);
            attn_kv_get_view(a, layer, &s, 1, &of_a.view, NULL);
            attn_kv_get_view(b, layer, &s, 1, &of_b.view, NULL);
            assert_int_equal(attn_kv_length(a, layer, s), attn_kv_length(b, layer, s));
            assert_int_equal(pages_keys(&of_a, 0), pages_keys(&of_b, 0));
            for (int64_t row = 0; row < pages_keys(&of_a, 0); row++) {
                assert_int_equal(pages_position(&of_a, 0, row), pages_position(&of_b, 0, row));
                for (int64_t i = 0; i < HEADS * SIZE; i++) {
                    const int64_t h = i / SIZE, c = i % SIZE;
                    assert_true(pages_key(&of_a, 0, row, h, c) == pages_key(&of_b, 0, row, h, c));
                    assert_true(pages_value(&of_a, 0, row, h, c) ==
                                pages_value(&of_b, 0, row, h, c));
                }
            }
        }
}

/* ---- tests ---- */

static void test_round_trip(void **state)
{
    (void)state;
    attn_kv *kv = filled();
    attn_kv_config config = sound();
    /* a page of which one sequence has more than the next */
    assert_int_equal(attn_kv_fork(kv, 0, 1, NULL), ATTN_OK);
    assert_int_equal(attn_kv_truncate(kv, 1, 7, NULL), ATTN_OK);
    assert_int_equal(attn_kv_save(kv, path, NULL), ATTN_OK);
    attn_kv *other = create(&config);
    attn_error error;
    if (attn_kv_load(other, path, &error))
        fail_msg("%s", error.message);
    same_contents(kv, other);
    attn_kv_usage a = {.struct_size = sizeof a}, b = a;
    for (int layer = -1; layer < LAYERS; layer++) { /* shared pages are shared again */
        attn_kv_get_usage(kv, layer, &a, NULL);
        attn_kv_get_usage(other, layer, &b, NULL);
        assert_memory_equal(&a, &b, sizeof a);
    }
    assert_true(a.pages_shared >= 0 && b.pages_used > 0);
    /* written again it is the same file, to the byte: though its pages lie elsewhere */
    char again[80];
    snprintf(again, sizeof again, "%s.again", path);
    assert_int_equal(attn_kv_save(other, again, NULL), ATTN_OK);
    size_t size, size_again;
    unsigned char *first = read_file(path, &size), *second = read_file(again, &size_again);
    assert_int_equal(size, size_again);
    assert_memory_equal(first, second, size);
    /* from memory too; and into a larger cache, but not a smaller one, nor one in use */
    for (int sequence = 0; sequence < SEQUENCES; sequence++)
        attn_kv_clear(other, sequence, NULL);
    assert_true(is_empty(other));
    assert_int_equal(attn_kv_load_memory(other, first, size, NULL), ATTN_OK);
    assert_int_equal(attn_kv_load_memory(other, first, size, &error), ATTN_ERR_VALUE);
    assert_int_equal(attn_kv_length(other, 1, 2), 10);
    attn_kv_destroy(other);
    config.sequences = 9;
    config.tokens = 40;
    other = create(&config);
    assert_int_equal(attn_kv_load_memory(other, first, size, NULL), ATTN_OK);
    append(other, 2, 12, 0);
    attn_kv_destroy(other);
    for (int small = 0; small < 3; small++) {
        config = sound();
        config.sequences = small == 0 ? 2 : SEQUENCES;
        config.tokens = small == 1 ? 9 : TOKENS;
        layers[1].pages = small == 2 ? 4 : 0;
        other = create(&config);
        assert_int_equal(attn_kv_load_memory(other, first, size, &error), ATTN_ERR_FULL);
        assert_true(is_empty(other));
        attn_kv_destroy(other);
    }
    free(first);
    free(second);
    unlink(again);
    attn_kv_destroy(kv);
}

static void test_flips_and_cuts(void **state)
{
    (void)state;
    attn_kv *kv = filled();
    attn_kv_config config = sound();
    assert_int_equal(attn_kv_save(kv, path, NULL), ATTN_OK);
    size_t size;
    unsigned char *data = read_file(path, &size);
    attn_kv *other = create(&config);
    char what[64];
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit++) {
            data[i] ^= (unsigned char)(1 << bit);
            snprintf(what, sizeof what, "bit %d of byte %zu flipped", bit, i);
            attn_error error;
            if (attn_kv_load_memory(other, data, size, &error) == ATTN_OK)
                fail_msg("%s: taken", what);
            assert_true(error.message[0] != '\0' && is_empty(other));
            data[i] ^= (unsigned char)(1 << bit);
        }
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *copy = need(cut + 1, 1); /* so that a sanitizer sees a read behind it */
        memcpy(copy, data, cut);
        snprintf(what, sizeof what, "cut to %zu bytes", cut);
        refused(other, copy, cut, ATTN_ERR_FILE, "data: ", what);
        free(copy);
    }
    unsigned char *longer = need(size + 64, 1);
    memcpy(longer, data, size);
    memset(longer + size, 0, 64);
    refused(other, longer, size + 64, ATTN_ERR_FILE, "bytes", "64 bytes longer");
    free(longer);
    assert_int_equal(attn_kv_load_memory(other, data, size, NULL), ATTN_OK);
    print_message("%zu bytes, each bit flipped, cut at each\n", size);
    free(data);
    attn_kv_destroy(other);
    attn_kv_destroy(kv);
}

/* A fault with a sum that is right: each number of the file by itself, set to what it may not be. */
static void test_wrong_numbers(void **state)
{
    (void)state;
    attn_kv *kv = filled();
    attn_kv_config config = sound();
    assert_int_equal(attn_kv_save(kv, path, NULL), ATTN_OK);
    size_t size;
    unsigned char *data = read_file(path, &size);
    attn_kv *other = create(&config);
    const size_t layer = 128, line = layer + 256, list = line + 3 * 64;
    const struct {
        const char *text;
        size_t at;
        int64_t value;
    } faults[] = {
        {"is no cache file", 0, 1},
        {"is a cache file of version 2", 8, 2 | INT64_C(128) << 32},
        {"a length of its own", 8, 1 | INT64_C(64) << 32},
        {"but was written with", 16, 64},
        {"is of model 0000000000000007", 24, 7},
        {"has 2 layers; this cache has 3", 32, 2},
        {"has 4 sequences", 40, 4},
        {"has kv_heads 3; this cache has 2", layer, 3},
        {"has page_size 4; this cache has 2", layer + 24, 4},
        {"has window 6", layer + 40, 6},
        {"has k_dtype 1", layer + 56, 1},
        {"other scales of key channels", layer + 80, 1},
        {"another rotary embedding", layer + 88, 1},
        {"are impossible", layer + 96, -1},
        {"are impossible", layer + 104, 3},
        {"are impossible", layer + 112, 0},
        {"not where they must be", layer + 120, 64},
        {"an impossible length", line, 0},
        {"an impossible length", line + 8, -1},
        {"an impossible length", line + 16, 1},
        {"an impossible length", line + 24, 1},
        {"an impossible length", line + 32, -1},
        {"an impossible length", line + 40, 1000},
        {"a page that is none", list, 77},
        {"a page that is none", list, -1},
        {"a page that is none", list, 0},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        unsigned char *copy = need(size, 1);
        memcpy(copy, data, size);
        memcpy(copy + faults[i].at, &faults[i].value, sizeof faults[i].value);
        mend_sum(copy, size);
        attn_error error;
        const attn_status status = attn_kv_load_memory(other, copy, size, &error);
        if (status == ATTN_OK || !strstr(error.message, faults[i].text) || !is_empty(other))
            fail_msg("fault %zu (%s): %s \"%s\"", i, faults[i].text, attn_status_name(status),
                     error.message);
        free(copy);
    }
    /* positions that do not rise */
    int64_t positions_at;
    memcpy(&positions_at, data + layer + 120, sizeof positions_at);
    memset(data + positions_at, 0, 8);
    mend_sum(data, size);
    refused(other, data, size, ATTN_ERR_FILE, "positions of a sequence do not rise", "positions");
    free(data);
    attn_kv_destroy(other);
    attn_kv_destroy(kv);
}

/* Other layers, one difference at a time. */
static void test_other_layers(void **state)
{
    (void)state;
    attn_kv *kv = filled();
    assert_int_equal(attn_kv_save(kv, path, NULL), ATTN_OK);
    attn_rotary rotary = attn_rotary_init(4);
    for (int which = 0; which < 8; which++) {
        attn_kv_config config = sound();
        switch (which) {
        case 0:
            config.model = 43;
            break;
        case 1:
            config.layer_count = 2;
            break;
        case 2:
            layers[1].k_channel_scales = NULL;
            break;
        case 3:
            channel_scales[3] = 9;
            break;
        case 4:
            layers[1].v_dtype = ATTN_F32;
            break;
        case 5:
            layers[2].rotary = &rotary;
            break;
        case 6:
            layers[0].group = 2;
            break;
        default:
            layers[1].positions = true;
        }
        attn_kv *other = create(&config);
        attn_error error;
        if (attn_kv_load(other, path, &error) != ATTN_ERR_FILE)
            fail_msg("difference %d is not refused: %s", which, error.message);
        attn_kv_destroy(other);
    }
    attn_kv_destroy(kv);
}

/* A limit on the size of files stands in for a full disk: the write that crosses it fails. */
static void test_full_disk(void **state)
{
    (void)state;
    attn_kv *kv = filled();
    const char old[] = "what was here before";
    write_file(path, old, sizeof old);
    const int files = files_in_folder();
    struct rlimit limit, before;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    attn_error error;
    for (rlim_t bytes = 0; bytes < 2500; bytes += 500) {
        limit = (struct rlimit){bytes, before.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
        const attn_status status = attn_kv_save(kv, path, &error);
        setrlimit(RLIMIT_FSIZE, &before);
        assert_int_equal(status, ATTN_ERR_FILE);
        assert_non_null(strstr(error.message, strerror(EFBIG)));
        size_t size;
        unsigned char *data = read_file(path, &size);
        assert_int_equal(size, sizeof old);
        assert_memory_equal(data, old, size);
        free(data);
        assert_int_equal(files_in_folder(), files);
    }
    assert_int_equal(attn_kv_save(kv, path, NULL), ATTN_OK);
    attn_kv_destroy(kv);
}

static void test_places(void **state)
{
    (void)state;
    attn_kv *kv = filled();
    attn_kv_config config = sound();
    attn_kv *empty = create(&config);
    attn_error error;
    char name[128];
    assert_int_equal(attn_kv_save(kv, "/dev/full", &error), ATTN_ERR_FILE);
    assert_non_null(strstr(error.message, "is not a regular file"));
    assert_int_equal(attn_kv_save(kv, folder, &error), ATTN_ERR_FILE);
    snprintf(name, sizeof name, "%s/none/x", folder);
    assert_int_equal(attn_kv_save(kv, name, &error), ATTN_ERR_FILE);
    assert_int_equal(attn_kv_load(empty, name, &error), ATTN_ERR_FILE);
    assert_int_equal(attn_kv_load(empty, folder, &error), ATTN_ERR_FILE);
    assert_int_equal(attn_kv_load(empty, "/dev/null", &error), ATTN_ERR_FILE);
    write_file(path, "", 0);
    assert_int_equal(attn_kv_load(empty, path, &error), ATTN_ERR_FILE);
    assert_non_null(strstr(error.message, "is empty"));
    assert_int_equal(attn_kv_load(empty, NULL, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_kv_save(kv, NULL, &error), ATTN_ERR_NULL);
    /* a link is followed, and stays one */
    snprintf(name, sizeof name, "%s/link", folder);
    assert_int_equal(symlink(path, name), 0);
    assert_int_equal(attn_kv_save(kv, name, &error), ATTN_OK);
    struct stat status;
    assert_int_equal(lstat(name, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(attn_kv_load(empty, path, &error), ATTN_OK);
    unlink(name);
    /* an empty cache is a file too */
    attn_kv *nothing = create(&config);
    assert_int_equal(attn_kv_save(nothing, path, NULL), ATTN_OK);
    assert_int_equal(attn_kv_load(nothing, path, NULL), ATTN_OK);
    attn_kv_destroy(nothing);
    attn_kv_destroy(empty);
    attn_kv_destroy(kv);
}

/* A file that was not written by the library: fuzz/make_kv_seeds.py makes it from the description of the
 * format. Three sequences of two layers; the third shares a page with the first, and with the second. */
static void test_foreign_file(void **state)
{
    (void)state;
    attn_kv_layer two[2] = {attn_kv_layer_init(ATTN_INT8, 1, 4, 2),
                            attn_kv_layer_init(ATTN_INT4, 2, 4, 3)};
    two[0].v_dtype = ATTN_F16;
    two[0].window = 3;
    two[0].sinks = 1;
    two[1].window = 4;
    const attn_kv_config config = attn_kv_config_init(two, 2, 3, 8);
    attn_kv *kv = create(&config);
    attn_error error;
    if (attn_kv_load(kv, ATTN_SOURCE_DIR "/fuzz/seeds/kv_file/shared", &error))
        fail_msg("%s", error.message);
    static const int64_t lengths[2][3] = {{3, 0, 6}, {9, 2, 3}},
                         keys[2][3] = {{3, 0, 4}, {5, 2, 3}};
    for (int64_t layer = 0; layer < 2; layer++)
        for (int64_t s = 0; s < 3; s++) {
            assert_int_equal(attn_kv_length(kv, layer, s), lengths[layer][s]);
            assert_int_equal(attn_kv_keys(kv, layer, s), keys[layer][s]);
        }
    static const int32_t positions[4] = {0, 1, 4, 5};
    struct pages pages = {.head_size = 4, .head_size_v = 4};
    attn_kv_get_layout(kv, 0, &pages.layout, NULL);
    attn_kv_get_view(kv, 0, NULL, 3, &pages.view, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pages_position(&pages, 2, i), positions[i]);
    attn_kv_usage usage = {.struct_size = sizeof usage};
    attn_kv_get_usage(kv, -1, &usage, NULL);
    assert_int_equal(usage.pages_used, 6);
    assert_int_equal(usage.pages_shared, 2);
    attn_kv_destroy(kv);
}

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/kv.cache", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_flips_and_cuts),
        cmocka_unit_test(test_wrong_numbers), cmocka_unit_test(test_other_layers),
        cmocka_unit_test(test_full_disk),     cmocka_unit_test(test_foreign_file),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
