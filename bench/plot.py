"""Bars in SVG, without a library; the colours are readable on a light page and on a dark one."""

from html import escape

TEXT, BAR, BRIGHT = "#788088", "#8b95a5", "#d9690f"
FONT = "font-family='system-ui, sans-serif'"
NAMES, WIDTH, ROW, VALUE = 200, 190, 24, 70
GAP = 26


def bars(title, panels, bright):
    """Four panels with a row for each name; each has its own scale, which begins at nought."""
    names = list(panels[0][1])
    # Two panels beside each other are as wide as a page shows them.
    column, height = WIDTH + VALUE + GAP, 50 + ROW * len(names)
    width = NAMES + 2 * column
    parts = [text(0, 20, title, size=15, weight=600)]
    for n, (heading, values) in enumerate(panels):
        left, top = NAMES + (n % 2) * column, 30 + (n // 2) * height
        parts.append(text(left, top + 20, heading, size=13, weight=600))
        for row, name in enumerate(names):
            y = top + 32 + row * ROW
            weight = 700 if name == bright else 400
            colour = BRIGHT if name == bright else TEXT
            if n % 2 == 0:
                parts.append(text(NAMES - 10, y + 14, name, size=13, weight=weight, anchor="end", colour=colour))
            # At least a hair, so that it is to be seen at all.
            length = max(values[name] / max(values.values()) * WIDTH, 1)
            fill = BRIGHT if name == bright else BAR
            parts.append(f"<rect x='{left}' y='{y + 2}' width='{length:.1f}' height='{ROW - 8}' fill='{fill}'/>")
            parts.append(text(left + length + 6, y + 14, figure(values[name]), size=13, weight=weight, colour=colour))
    size = f"width='{width}' height='{30 + 2 * height}' viewBox='0 0 {width} {30 + 2 * height}'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' role='img' {size}>\n<title>{escape(title)}</title>\n"
    return head + "\n".join(parts) + "\n</svg>\n"


def text(x, y, words, size, weight=400, anchor="start", colour=TEXT):
    style = f"{FONT} font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' fill='{colour}'"
    return f"<text x='{x:.1f}' y='{y}' {style}>{escape(words)}</text>"


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.0f}" if value >= 20 else f"{value:.1f}"
