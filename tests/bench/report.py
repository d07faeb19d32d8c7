# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: percentiles, medians, the machine, markdown."""

import os
import platform


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None


def percentile(ordered, share):
    """Of values in ascending order; None of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def machine():
    """The machine in one line: what figures depend on, and nothing that names it."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(platform.release().split("-")[0].split(".")[:3])
    return f"{len(os.sched_getaffinity(0))} cpus ({model}), {memory:.0f} GiB, Linux {kernel}"


def show(value):
    """A figure with three or four digits that mean something."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(heads, rows):
    """Markdown; the first column is text, the others are figures."""
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] + ["---:"] * (len(heads) - 1)) + " |"]
    lines += ["| " + " | ".join(show(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def pairs(words):
    """NAME=VALUE words of a command line, in their order."""
    out = []
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise SystemExit(f"{word}: not NAME=VALUE")
        out.append((name, value))
    return out
