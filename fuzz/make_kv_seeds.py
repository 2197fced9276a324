#!/usr/bin/env python3
"""Write the seeds of kv_file and kv_table: files of the cache that kv_file.c describes, made here from the
description of the format in src/kv/file.h alone, and page tables as kv_table.c reads them.

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
        "kv_table/wide": bytes([1, 2, 0, 0, 4, 3, 0, 1, 255, 127, 255, 255, 255, 1]),
    }
    for name, data in files.items():
        path = os.path.join(seeds, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main(os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds"))
