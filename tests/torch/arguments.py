"""What may be said to scripts/check-torch. A program of its own needs no PyTorch, so that a mistake is told
before it is installed."""

import argparse


def parse():
    parser = argparse.ArgumentParser(prog="scripts/check-torch", usage="%(prog)s [options]",
                                     description="Random attention problems against PyTorch's float64.")
    parser.add_argument("library", help=argparse.SUPPRESS)
    parser.add_argument("include", help=argparse.SUPPRESS)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="run the case of this seed alone, and tell it")
    parser.add_argument("--path", help="this kernel path alone")
    return parser.parse_args()


if __name__ == "__main__":
    parse()
