"""Running the command in tests: what it printed, and whether that is one clean sentence."""

import os
import re
import subprocess

ESCAPE = b"\x1b"


def run(command, *arguments, cwd=None, env=None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=250):
    environment = {k: v for k, v in os.environ.items() if k not in ("ATTN_CPU", "NO_COLOR")}
    environment.update(env or {})
    return subprocess.run([command, *arguments], cwd=cwd, env=environment, stdin=stdin, stdout=stdout,
                          stderr=subprocess.PIPE, timeout=timeout)


def fault_of_failure(result, status=1):
    """Why `result` is not a failure as it should be, or None: the exit status, nothing on standard output,
    one line on standard error that begins with the command's name and holds no control characters."""
    error = result.stderr.decode("utf-8", "replace")
    if result.returncode != status:
        return f"exit status {result.returncode}, not {status}: {error[-2000:]}"
    if result.stdout:
        return f"standard output is not empty: {result.stdout[:200]!r}"
    if not error.endswith("\n") or error.count("\n") != 1:
        return f"not one line on standard error: {error[-2000:]!r}"
    if not re.match(r"attn( \w+)?: \S", error):
        return f"does not begin with the command: {error!r}"
    if any(ord(c) < 32 for c in error[:-1]):
        return f"control characters in the sentence: {error!r}"
    return None
