"""Draws the results of recovery.py: a dot for every run, over the seconds from the end of the fault."""

import statistics
from html import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 880, 170, 24, 54, 46
STRIP, GAP = 13, 12
SECONDS = 6
# They differ in lightness as well, and stand out from white.
COLOURS = {5: "#e08a00", 30: "#1f78b4", 120: "#6a3d9a"}


def x(seconds):
    return LEFT + (WIDTH - LEFT - RIGHT) * min(seconds, SECONDS) / SECONDS


def draw(done, goal):
    """The picture, on a background of its own; `done` has the runs by fault and length."""
    names, lengths = list(dict.fromkeys(name for name, _ in done)), list(dict.fromkeys(length for _, length in done))
    height = TOP + BOTTOM + len(names) * (STRIP * len(lengths) + GAP)
    bottom = height - BOTTOM
    size = f'width="{WIDTH}" height="{height}"'
    box = f'xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg {box} font-family="sans-serif" font-size="13">',
        f'<rect {size} rx="6" fill="#fff"/>',
    ]

    def text(at, y, words, anchor="start", colour="#222"):
        parts.append(f'<text x="{at:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>')

    def line(x1, y1, x2, y2, colour, width, more=""):
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        parts.append(f'<line {ends} stroke="{colour}" stroke-width="{width}"{more}/>')

    for second in range(SECONDS + 1):
        line(x(second), TOP, x(second), bottom, "#ddd", 1)
        text(x(second), bottom + 18, f"{second} s", "middle")
    text((LEFT + WIDTH - RIGHT) / 2, bottom + 37, "from the end of the fault to the proven claim", "middle")
    for what in ("median", "worst"):
        line(x(goal[what]), TOP, x(goal[what]), bottom, "#c00", 1.5, ' stroke-dasharray="5 4"')
        text(x(goal[what]), TOP - 8, f"goal: {what} {goal[what]} s", "middle", "#c00")
    text(LEFT, 20, "the fault lasted")
    for n, length in enumerate(lengths):
        at = LEFT + 110 + 85 * n
        parts.append(f'<circle cx="{at}" cy="15.5" r="4" fill="{COLOURS[length]}"/>')
        text(at + 9, 20, f"{length} s")
    text(LEFT + 110 + 85 * len(lengths), 20, "| the median of the runs")

    y = TOP + GAP / 2
    for name in names:
        text(LEFT - 14, y + STRIP * len(lengths) / 2 + 4, name, "end")
        for length in lengths:
            middle, late = y + STRIP / 2, [run["late"] for run in done[name, length]]
            # A little up and down, so that dots do not hide each other; a line of no length has a round end.
            dots = "".join(
                f"M{x(seconds):.1f} {middle + (n * 7 % 5 - 2) * STRIP / 9:.1f}h.01"
                for n, seconds in enumerate(sorted(late))
            )
            pen = f'stroke="{COLOURS[length]}" stroke-width="4.6" stroke-linecap="round" stroke-opacity="0.6"'
            parts.append(f'<path d="{dots}" {pen}/>')
            median = x(statistics.median(late))
            line(median, middle - STRIP / 2, median, middle + STRIP / 2, "#000", 2)
            y += STRIP
        y += GAP
    return "\n".join([*parts, "</svg>", ""])
