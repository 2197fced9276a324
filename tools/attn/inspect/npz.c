/* Writing .npz; see npz.h. The crc of an entry is known only once it is written, so it follows the data
 * (a "data descriptor"); readers find it in the directory at the end. */
#include "npz.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { VERSION_ZIP64 = 45, FLAG_DESCRIPTOR = 8, DATE_1980 = 0x21 };

static void put(struct npz *z, const void *data, size_t size)
{
    fwrite(data, 1, size, z->out.stream); /* a failed write is told when committing */
    z->written += size;
}

/* `bytes` bytes of value, least first. */
static void put_number(struct npz *z, uint64_t value, int bytes)
{
    unsigned char data[8];
    for (int i = 0; i < bytes; i++)
        data[i] = (unsigned char)(value >> (8 * i));
    put(z, data, (size_t)bytes);
}

static void put_data(struct npz *z, const void *data, size_t size)
{
    struct npz_entry *e = &z->entry[z->entries - 1];
    e->crc = (uint32_t)crc32_z(e->crc, data, size);
    e->bytes += size;
    put(z, data, size);
}

/* What local headers and the directory share. */
static void put_header_fields(struct npz *z, const struct npz_entry *e, uint32_t crc)
{
    put_number(z, VERSION_ZIP64, 2);
    put_number(z, FLAG_DESCRIPTOR, 2);
    put_number(z, 0, 2); /* stored */
    put_number(z, 0, 2); /* midnight of 1980-01-01: the same input gives the same file */
    put_number(z, DATE_1980, 2);
    put_number(z, crc, 4);
    put_number(z, UINT32_MAX, 4); /* sizes are in the extra field */
    put_number(z, UINT32_MAX, 4);
    put_number(z, strlen(e->name), 2);
}

/* Begin an entry of `bytes` bytes, known before. */
static void begin_entry(struct npz *z, const char *name, uint64_t bytes)
{
    struct npz_entry *e = &z->entry[z->entries++];
    *e = (struct npz_entry){.name = name, .offset = z->written};
    put_number(z, 0x04034b50, 4);
    put_header_fields(z, e, 0);
    put_number(z, 20, 2);
    put(z, name, strlen(name));
    put_number(z, 1, 2); /* zip64 */
    put_number(z, 16, 2);
    put_number(z, bytes, 8);
    put_number(z, bytes, 8);
}

static void end_entry(struct npz *z)
{
    const struct npz_entry *e = &z->entry[z->entries - 1];
    put_number(z, 0x08074b50, 4);
    put_number(z, e->crc, 4);
    put_number(z, e->bytes, 8);
    put_number(z, e->bytes, 8);
}

/* Begin an array: a zip entry, and the header of .npy version 1.0, padded to a multiple of 64. */
static void begin_array(struct npz *z, const char *name, const char *type, const char *shape,
                        uint64_t data_bytes)
{
    char header[256];
    enum { BEFORE = 10 }; /* magic, version, length of the rest */
    int used = snprintf(header + BEFORE, sizeof header - BEFORE,
                        "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type, shape);
    size_t size = BEFORE + (size_t)used;
    while (size % 64 != 63)
        header[size++] = ' ';
    header[size++] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((size - BEFORE) & 255);
    header[9] = (char)((size - BEFORE) >> 8);
    begin_entry(z, name, size + data_bytes);
    put_data(z, header, size);
}

static void put_array(struct npz *z, const char *name, const char *type, int64_t count,
                      size_t element, const void *data)
{
    char shape[32];
    snprintf(shape, sizeof shape, "%" PRId64 ",", count);
    begin_array(z, name, type, shape, (uint64_t)count * element);
    put_data(z, data, (size_t)count * element);
    end_entry(z);
}

static void put_directory(struct npz *z)
{
    uint64_t begin = z->written;
    for (int i = 0; i < z->entries; i++) {
        const struct npz_entry *e = &z->entry[i];
        put_number(z, 0x02014b50, 4);
        put_number(z, VERSION_ZIP64, 2);
        put_header_fields(z, e, e->crc);
        put_number(z, 28, 2);         /* extra field */
        put_number(z, 0, 2);          /* comment */
        put_number(z, 0, 2);          /* disk */
        put_number(z, 0, 2);          /* internal attributes */
        put_number(z, 0, 4);          /* external attributes */
        put_number(z, UINT32_MAX, 4); /* the offset is in the extra field */
        put(z, e->name, strlen(e->name));
        put_number(z, 1, 2);
        put_number(z, 24, 2);
        put_number(z, e->bytes, 8);
        put_number(z, e->bytes, 8);
        put_number(z, e->offset, 8);
    }
    uint64_t end = z->written;
    put_number(z, 0x06064b50, 4); /* zip64 end of directory */
    put_number(z, 44, 8);
    put_number(z, VERSION_ZIP64, 2);
    put_number(z, VERSION_ZIP64, 2);
    put_number(z, 0, 4);
    put_number(z, 0, 4);
    put_number(z, (uint64_t)z->entries, 8);
    put_number(z, (uint64_t)z->entries, 8);
    put_number(z, end - begin, 8);
    put_number(z, begin, 8);
    put_number(z, 0x07064b50, 4); /* where that is */
    put_number(z, 0, 4);
    put_number(z, end, 8);
    put_number(z, 1, 4);
    put_number(z, 0x06054b50, 4); /* end of directory */
    put_number(z, 0, 4);
    put_number(z, (uint64_t)z->entries, 2);
    put_number(z, (uint64_t)z->entries, 2);
    put_number(z, UINT32_MAX, 4);
    put_number(z, UINT32_MAX, 4);
    put_number(z, 0, 2);
}

bool npz_open(struct npz *z, const char *path, int64_t rows, int64_t keys, struct failure *f)
{
    *z = (struct npz){0};
    uint64_t bytes;
    if (__builtin_mul_overflow((uint64_t)rows * sizeof(float), (uint64_t)keys, &bytes) ||
        bytes > INT64_MAX)
        return fail(f, "%s: %" PRId64 " x %" PRId64 " weights do not fit any file", path, rows,
                    keys);
    if (!output_file_open(&z->out, path, f))
        return false;
    char shape[64];
    snprintf(shape, sizeof shape, "%" PRId64 ", %" PRId64, rows, keys);
    begin_array(z, "weights.npy", "<f4", shape, bytes);
    return true;
}

bool npz_add_rows(struct npz *z, const float *weights, int64_t rows, int64_t keys,
                  struct failure *f)
{
    put_data(z, weights, (size_t)rows * (size_t)keys * sizeof *weights);
    if (!ferror(z->out.stream))
        return true;
    return output_file_commit(&z->out, f); /* fails, and says what the first failed write said */
}

bool npz_commit(struct npz *z, const int64_t rows[2], const int64_t head[2], const int32_t *tokens,
                int64_t count, struct failure *f)
{
    end_entry(z);
    put_array(z, "rows.npy", "<i8", 2, sizeof *rows, rows);
    put_array(z, "head.npy", "<i8", 2, sizeof *head, head);
    put_array(z, "tokens.npy", "<i4", count, sizeof *tokens, tokens);
    put_directory(z);
    return output_file_commit(&z->out, f);
}

void npz_discard(struct npz *z)
{
    output_file_discard(&z->out);
}
