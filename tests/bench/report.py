"""The bench's results as Markdown tables, and as a plot.

In: {row: {program: [sample, ...]}}; samples as rows.measure() gives them. A table's number is the
median of its samples. Out: text on standard output, ready for the README; an SVG."""

import math
import statistics
from typing import NamedTuple

COLOURS = {"floor": "#999", "caddis": "#1b7f4b", "nginx": "#2b6cb0", "haproxy": "#b7791f",
           "caddy": "#805ad5"}


class Bar(NamedTuple):
    """Something that must hold, whatever the machine: a run that finds it missed fails."""
    what: str
    measured: str
    bar: str
    kept: bool


def mib(n):
    return f"{n / (1 << 20):.2f} MiB"


def median(samples, part=0):
    return statistics.median(s[part] for s in samples)


def cost(samples):
    return f"{median(samples) * 1e6:,.1f} µs ({median(samples, 1):,.0f}/s)"


def milliseconds(samples):
    return " / ".join(f"{median(samples, i) * 1e3:.2f}" for i in range(3)) + " ms"


def memory(samples):
    value = median(samples)
    return mib(value) if value > 1 << 19 else f"{value / 1024:.1f} KiB"


def site(samples):
    """Seconds, or bytes (there is no site of less than a thousand)."""
    value = median(samples)
    return "over a minute" if math.isinf(value) else (
        memory(samples) if value > 1000 else f"{value:.2f} s")


def row_line(cells):
    return "| " + " | ".join(cells) + " |"


def table(title, note, results, programs, cell, compare=()):
    """compare: the programs whose median caddis's is divided by, each in a column of its own."""
    compare = [n for n in compare if n in programs and "caddis" in programs]
    lines = [f"### {title}", "", note, "",
             row_line(["", *programs, *(f"caddis / {n}" for n in compare)]),
             "|---|" + "---:|" * (len(programs) + len(compare))]
    for name, by_program in results.items():
        cells = [cell(by_program[n]) if by_program.get(n) else "-" for n in programs]
        for other in compare:
            both = by_program.get("caddis") and by_program.get(other)
            divisor = median(by_program[other]) if both else 0
            known = 0 < divisor < math.inf
            cells.append(f"{median(by_program['caddis']) / divisor:.2f}" if known else "-")
        lines.append(row_line([name, *cells]))
    return "\n".join(lines) + "\n"


def bars(found):
    lines = ["### What must hold", "", row_line(["", "measured", "bar", ""]), "|---|---|---|---|"]
    lines += [row_line([b.what, b.measured, b.bar, "kept" if b.kept else "**MISSED**"])
              for b in found]
    return "\n".join(lines) + "\n"


def plot(results, programs, path):
    """Bars of what one request costs, each row as parts of its largest value."""
    bar, left, width = 14, 290, 420
    lines, y = [], 10
    for row, by_program in results.items():
        values = {n: median(by_program[n]) * 1e6 for n in programs if by_program.get(n)}
        if not values:
            continue
        lines.append(f'<text x="{left - 60}" y="{y + bar - 3}" text-anchor="end">{row}</text>')
        for name, value in values.items():
            size = value / max(values.values()) * width
            lines.append(f'<text x="{left - 6}" y="{y + bar - 3}" text-anchor="end">{name}</text>'
                         f'<rect x="{left}" y="{y}" width="{size:.1f}" height="{bar - 2}" '
                         f'fill="{COLOURS.get(name, "#444")}"/>'
                         f'<text x="{left + size + 4:.1f}" y="{y + bar - 3}">'
                         f'{value:,.1f} µs</text>')
            y += bar
        y += 10
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" '
                    f'height="{y}" font-family="sans-serif" font-size="11">\n'
                    + "\n".join(lines) + "\n</svg>\n", encoding="utf-8")
