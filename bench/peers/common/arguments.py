"""What may be said to bench/peers/forward/run and bench/peers/decode/run. A program of its own needs no peer, so that a mistake is told
before any is installed."""

import argparse
import os
import sys

PEERS = {"forward": ("torch", "flex", "onnxruntime", "openvino", "ggml", "ik"),
         "decode": ("torch", "onnxruntime", "openvino", "ggml", "ik")}


def parse(words):
    operation, said = sys.argv[1], sys.argv[2:]
    peers = PEERS[operation]
    parser = argparse.ArgumentParser(prog=f"bench/peers/{operation}/run",
                                     description=words.split("\n", maxsplit=1)[0])
    parser.add_argument("patterns", nargs="*", help="as `attn bench` takes them; without any: every case")
    parser.add_argument("--attn", default="build/attn", help=argparse.SUPPRESS)
    parser.add_argument("--peers", default=",".join(peers), help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, help="default: every core")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="for each side of a round, about")
    parser.add_argument("--json", metavar="FILE", help="write every figure; - for standard output")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables for a document")
    parser.add_argument("--keep", action="store_true",
                        help="cases in the JSON file that are not measured now stay in it, and in the tables")
    options = parser.parse_args(said)
    options.operation = operation
    options.attn = os.path.abspath(options.attn)
    unknown = set(options.peers.split(",")) - set(peers)
    if unknown:
        parser.error(f"no peer is named {', '.join(sorted(unknown))}; there are {', '.join(peers)}")
    return options


if __name__ == "__main__":
    parse("Cases of `attn bench` beside other libraries.")
