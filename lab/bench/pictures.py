"""Renders saved figures of the benchmark into the pictures and tables of docs/explanation/performance.md.

Without arguments, renders all; with --check, compares the tables alone, which needs no library.
"""

import json
import math
import re
import statistics
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"
SAVED = PAGE.with_suffix("")

# Each picture: its file, the saved run, a pattern of figures with an x and a series, and the axes.
PICTURES = [
    (
        "throughput-of-reading",
        "reading.json",
        r"reading 100 B, (?P<x>\d+) clients(?:, (?P<series>librdkafka))?",
        ("clients that read the same partition", "messages a second, in thousands"),
    ),
    (
        "throughput-over-sockets",
        "flood.json",
        r"live flood, (?P<x>\d+) sockets, (?P<series>[^:]+)",
        ("sockets", "deliveries a second, in thousands"),
    ),
    (
        "latency-over-rate",
        "steady.json",
        r"live (?P<x>\d+)/s, 1000 sockets, (?P<series>[^:]+): p50",
        ("records a second to each of 1,000 sockets", "median latency in ms"),
    ),
    (
        "latency-over-rate-p99",
        "steady.json",
        r"live (?P<x>\d+)/s, 1000 sockets, (?P<series>[^:]+): p99",
        ("records a second to each of 1,000 sockets", "99th percentile of the latency in ms"),
    ),
]
OURS = "Sluicegate"
COLOURS = {OURS: "#1b6ca8", "librdkafka": "#c8553d", "nats": "#588157", "nats behind Envoy": "#b08900"}


def series(saved, pattern):
    """The values of each x, by the name of the series, ours first."""
    found = {}
    for figure in saved["figures"]:
        if match := re.fullmatch(pattern, figure["name"]):
            of = found.setdefault(match["series"] or OURS, {})
            of[int(match["x"])] = figure["values"]
    return dict(sorted(found.items(), key=lambda of: (of[0] != OURS, of[0])))


def short(value):
    """Three digits of a value."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def table(saved, found, axes):
    """The medians as Markdown, with the least and the greatest value of each, and ours beside the others."""
    lines = [f"| {axes[0]} | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for x in sorted(found[OURS]):
        cells = []
        for name, of in found.items():
            values = of.get(x)
            if values is None:
                cells.append("–")
                continue
            median = statistics.median(values)
            spread = "" if len(values) == 1 else f" ({short(min(values))} to {short(max(values))})"
            ratio = "" if name == OURS else f": {statistics.median(found[OURS][x]) / median:.2f} ×"
            cells.append(short(median) + spread + ratio)
        lines.append(f"| {x:,} | " + " | ".join(cells) + " |")
    command, *about = (re.sub(r"\s+", " ", line) for line in saved["about"])
    command = command.removeprefix("command ")
    return "\n".join(lines) + f"\n\n{axes[1][0].upper()}{axes[1][1:]}: `{command}`. {'; '.join(about)}.\n"


def draw(found, axes, path):
    """One picture as SVG, the same bytes for the same values."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot
    from matplotlib.ticker import ScalarFormatter

    figure, plot = pyplot.subplots(figsize=(7, 3.6))
    for name, of in found.items():
        xs = sorted(of)
        medians = [statistics.median(of[x]) for x in xs]
        least, greatest = ([edge(of[x]) for x in xs] for edge in (min, max))
        plot.plot(xs, medians, marker="o", color=COLOURS[name], label=name, linewidth=2.4 if name == OURS else 1.5)
        plot.fill_between(xs, least, greatest, color=COLOURS[name], alpha=0.15, linewidth=0)
    plot.set_xscale("log")
    plot.set_xticks(sorted(found[OURS]))
    plot.xaxis.set_major_formatter(ScalarFormatter())
    plot.xaxis.set_minor_formatter("")
    plot.set_ylim(bottom=0)
    plot.set_xlabel(axes[0])
    plot.set_ylabel(axes[1])
    plot.grid(alpha=0.3)
    plot.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("pictures: expected --check or nothing")
    page = PAGE.read_text()
    for name, file, pattern, axes in PICTURES:
        saved = json.loads((SAVED / file).read_text())
        found = series(saved, pattern)
        if OURS not in found:
            sys.exit(f"pictures: {file} has no figures for {name}")
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = marks.subn(lambda match: f"{match[1]}{table(saved, found, axes)}{match[2]}", page)
        if count != 1:
            sys.exit(f"pictures: {PAGE.name} has no place for {name}")
        if not check:
            draw(found, axes, SAVED / f"{name}.svg")
    if not check:
        PAGE.write_text(page)
    elif page != PAGE.read_text():
        sys.exit(f"pictures: the tables of {PAGE.name} are not those of the saved runs: run `./dev pictures`")


main()
