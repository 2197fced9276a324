#!/usr/bin/env python3
"""Write the seeds of kv_file, kv_table and attention_cached: files of the cache that kv_file.c describes, made
here from the description of the format in src/kv/file.h alone, and page tables as kv_table.c and runs over them
as attention_cached.c read them.

    fuzz/make_kv_seeds.py        (over fuzz/seeds/)
"""

import os
import struct

MASK = (1 << 64) - 1


def mix(lane, word):
    lane = (lane ^ word) * 0x9E3779B97F4A7C15 & MASK
    return lane ^ lane >> 29


def checksum(data):
    lanes = [0x243F6A8885A308D3 + i for i in range(8)]
    for at in range(0, len(data), 64):
        for i, word in enumerate(struct.unpack_from("<8Q", data, at)):
            lanes[i] = mix(lanes[i], word)
    total = 0
    for lane in lanes:
        total = mix(total, lane)
    return total


def blocks(data):
    return data + bytes(-len(data) % 64)


def layer(at, shape, lines, lists, slots, positions):
    """shape: kv_heads, head_size, head_size_v, page_size, group, window, sinks, k_dtype, v_dtype, positions."""
    heads, size, size_v = shape[:3]
    pages = 1 + max((page for pages in lists for page in pages), default=-1)
    entries = sum(map(len, lists))
    bits = {1: 32, 2: 16, 3: 16, 4: 8, 5: 4}
    scales = {4: lambda n: 1, 5: lambda n: n // shape[4]}

    def array(row_bytes):
        return blocks(bytes(i % 7 for i in range(pages * heads * slots * row_bytes)))

    def scale(dtype, n):
        return 4 * scales[dtype](n) if dtype in scales else 0

    head = b"".join(struct.pack("<8q", *line, 0, 0) for line in lines)
    head += blocks(struct.pack(f"<{entries}i", *(page for pages in lists for page in pages)))
    place = at + 256 + len(head)
    positions_at = place
    body = blocks(struct.pack(f"<{len(positions)}i", *positions)) if shape[9] else b""
    parts = [array(scale(shape[7], size)), array(scale(shape[8], size_v)),
             array(size * bits[shape[7]] // 8), array(size_v * bits[shape[8]] // 8)]
    places = []
    place += len(body)
    for part in parts:
        places.append(place)
        place += len(part)
    record = struct.pack("<10q", *shape) + struct.pack("<2Q", 0, 0) + struct.pack("<3q", pages, slots, entries)
    record += struct.pack("<5q", positions_at, places[2], places[3], places[0], places[1])
    return record.ljust(256, b"\0") + head + body + b"".join(parts)


def cache(sequences, *layers):
    data = b""
    for arguments in layers:
        data += layer(128 + len(data), *arguments)
    header = b"ATTNKV\r\n" + struct.pack("<2I4Q", 1, 128, 128 + len(data) + 8, 0, len(layers), sequences)
    data = header.ljust(128, b"\0") + data
    return data + struct.pack("<Q", checksum(data))


def run(shape, dtypes, flags, masks, keys, more, pages, sequences, rest):
    """shape: batch, kv heads, heads of a group, queries, which head size, page size. sequences: (pages, tokens in
    the last); pages are handed out from the last one down."""
    batch, kv_heads, group, queries, size, page_size = shape
    data = [batch, kv_heads - 1, group - 1, queries, size, page_size - 1, dtypes[0] - 1, dtypes[1] - 1, flags, masks]
    data += [keys // 3, *more, pages]
    ends = [0]
    for count, _ in sequences:
        ends.append(ends[-1] + count)
    data += ends + [pages - 1 - i for i in range(ends[-1])] + [last for _, last in sequences] + [0]
    if flags & 2:
        data += [(pages - 1 - i // page_size) * page_size + i % page_size for i in range(pages * page_size)]
    return bytes(data + rest) + bytes((37 * i * i + 11 * i) % 199 for i in range(64))


FIRST = (1, 4, 4, 2, 0, 3, 1, 4, 3, 1)
SECOND = (2, 4, 4, 3, 4, 4, 0, 5, 5, 0)


def main(seeds):
    files = {
        "kv_file/empty": cache(0, (FIRST, [], [], 0, []), (SECOND, [], [], 0, [])),
        # lines: count, slots, begin, first, length, gone
        "kv_file/one": cache(1, (FIRST, [(2, 3, 0, 0, 3, 0)], [[0, 1]], 2, [0, 1, 2, 0]),
                             (SECOND, [(1, 3, 0, 0, 3, 0)], [[0]], 3, [])),
        "kv_file/shared": cache(3, (FIRST, [(2, 3, 0, 0, 3, 0), (0, 0, 0, 0, 0, 0), (2, 4, 0, 0, 6, 3)],
                                    [[0, 1], [], [0, 2]], 2, [0, 1, 2, 0, 4, 5]),
                                (SECOND, [(2, 6, 1, 3, 9, 4), (1, 2, 0, 0, 2, 0), (1, 3, 0, 0, 3, 0)],
                                 [[0, 1], [2], [2]], 3, [])),
        "kv_table/two": bytes([2, 4, 1, 0, 0, 0, 0, 2, 3, 3, 1, 3, 1, 2]),
        "kv_table/all": bytes([3, 6, 3, 7, 3, 4, 0, 2, 2, 5, 5, 1, 1, 0, 4, 4, 0, 1, 1, 0, 0] +
                              [8, 9, 10, 11, 4, 5, 6, 7] + [0] * 8 + [12, 0, 0, 0, 0, 1, 2, 3]),
        "kv_table/none": bytes([1, 0, 0, 0, 2, 2, 0, 0, 0]),
        "attention_cached/step": run((2, 2, 4, 1, 2, 16), (3, 3), 0, 1, 300, [], 12, [(5, 7), (6, 16)], []),
        "attention_cached/int8": run((1, 1, 8, 3, 4, 32), (4, 4), 5, 1, 300, [0x00, 0x00, 0x7f, 4], 8, [(7, 3)], []),
        "attention_cached/int4": run((3, 2, 2, 2, 4, 8), (5, 5), 16, 17, 120, [], 20, [(3, 8), (0, 0), (9, 1)],
                                     [2, 0, 1]),
        "attention_cached/ragged": run((2, 1, 9, 33, 3, 40), (1, 2), 32, 9, 600, [], 20, [(2, 5), (12, 40)],
                                       [0, 20, 53] + 9 * [1]),
        "attention_cached/window": run((1, 2, 3, 4, 1, 5), (2, 5), 2 | 8, 1 | 2 | 128, 60, [10, 0, 2, 1], 12,
                                       [(12, 5)], [3] + 6 * [4]),
        "attention_cached/tiles": run((1, 1, 9, 32, 4, 40), (3, 4), 0, 1 | 4 | 64, 600, [], 15, [(14, 9)],
                                      [100] + 9 * [40, 0, 1]),
        "kv_table/wide": bytes([1, 2, 0, 0, 4, 3, 0, 1, 255, 127, 255, 255, 255, 1]),
    }
    for name, data in files.items():
        path = os.path.join(seeds, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main(os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds"))
