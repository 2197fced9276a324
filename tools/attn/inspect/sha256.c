/* SHA-256, straight from FIPS 180-4, section 6.2. */
#include "sha256.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

/* One of the 64 rounds. Instead of moving eight variables on by one each time, the caller moves the
 * names: what was d has become e, what was h has become a. */
static inline void round_of(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f,
                            uint32_t g, uint32_t *h, uint32_t word)
{
    uint32_t first =
        *h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + word;
    uint32_t second =
        (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    *d += first;
    *h = first + second;
}

static void compress(struct sha256 *s, const unsigned char *block)
{
    uint32_t w[64];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | (uint32_t)block[4 * t + 3];
    for (int t = 16; t < 64; t++) {
        uint32_t x = w[t - 15], y = w[t - 2];
        w[t] = w[t - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[t - 7] +
               (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
    uint32_t a = s->state[0], b = s->state[1], c = s->state[2], d = s->state[3];
    uint32_t e = s->state[4], f = s->state[5], g = s->state[6], h = s->state[7];
    for (int t = 0; t < 64; t += 8) {
        round_of(a, b, c, &d, e, f, g, &h, constants[t] + w[t]);
        round_of(h, a, b, &c, d, e, f, &g, constants[t + 1] + w[t + 1]);
        round_of(g, h, a, &b, c, d, e, &f, constants[t + 2] + w[t + 2]);
        round_of(f, g, h, &a, b, c, d, &e, constants[t + 3] + w[t + 3]);
        round_of(e, f, g, &h, a, b, c, &d, constants[t + 4] + w[t + 4]);
        round_of(d, e, f, &g, h, a, b, &c, constants[t + 5] + w[t + 5]);
        round_of(c, d, e, &f, g, h, a, &b, constants[t + 6] + w[t + 6]);
        round_of(b, c, d, &e, f, g, h, &a, constants[t + 7] + w[t + 7]);
    }
    const uint32_t now[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++)
        s->state[i] += now[i];
}

void sha256_begin(struct sha256 *s)
{
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, initial, sizeof initial);
    s->bytes = 0;
}

void sha256_add(struct sha256 *s, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    while (size > 0) {
        size_t used = s->bytes % 64, step = 64 - used < size ? 64 - used : size;
        s->bytes += step;
        if (step == 64) {
            compress(s, bytes);
        } else {
            memcpy(s->block + used, bytes, step);
            if (used + step == 64)
                compress(s, s->block);
        }
        bytes += step;
        size -= step;
    }
}

void sha256_end(struct sha256 *s, char text[SHA256_TEXT])
{
    static const unsigned char padding[64] = {0x80};
    uint64_t bits = s->bytes * 8;
    size_t used = s->bytes % 64;
    sha256_add(s, padding, used < 56 ? 56 - used : 120 - used);
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(bits >> (56 - 8 * i));
    sha256_add(s, length, sizeof length);
    for (int i = 0; i < 8; i++)
        snprintf(text + 8 * i, 9, "%08x", s->state[i]);
}

bool sha256_file(const char *path, char text[SHA256_TEXT], const volatile sig_atomic_t *stop,
                 struct failure *f)
{
    enum { PIECE = 1 << 18 };
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail(f, "%s: cannot be opened: %s", path, strerror(errno));
    unsigned char *piece = malloc(PIECE);
    bool ok = piece != NULL || fail(f, "%s: out of memory", path);
    struct sha256 s;
    sha256_begin(&s);
    size_t got = 0;
    while (ok && (got = fread(piece, 1, PIECE, file)) > 0) {
        sha256_add(&s, piece, got);
        if (stop && *stop)
            ok = fail(f, "interrupted");
    }
    if (ok && ferror(file))
        ok = fail(f, "%s: cannot be read: %s", path, strerror(errno));
    free(piece);
    fclose(file);
    if (ok)
        sha256_end(&s, text);
    return ok;
}
