"""Elements of SVG: every text and attribute escaped, every number short, every colour a variable of the page."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from harness.report.colours import DASHES, NEUTRAL, Style
from harness.report.escape import printable

LONGEST = 90
"""Characters of a name in a chart; a longer one loses its middle there, and is whole in the table below."""

SIZE = 12
"""Font size in units of the view box; a character is about half as wide."""

EMPTY = {"path", "circle", "rect"}
"""Elements without children."""


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text not in ("-0.0", "0.0") else "0"


def element(name: str, *children: object, **attributes: object) -> Markup:
    """An element; children and attributes are escaped unless they are `Markup`. Names have dashes for underscores."""
    pairs = ((key.strip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    written = "".join(f' {key}="{_attribute(value)}"' for key, value in pairs)
    inner = joined(children)
    return Markup(f"<{name}{written}/>" if name in EMPTY else f"<{name}{written}>{inner}</{name}>")


def _attribute(value: object) -> str:
    return number(value) if isinstance(value, int | float) else str(escape(value))


def joined(parts: Iterable[object]) -> Markup:
    """Parts one after another; those that are no `Markup` are escaped."""
    return Markup("".join(escape(part) for part in parts))


def text(words: str, x: float, y: float, **attributes: object) -> Markup:
    """A text; `anchor` is "middle" or "end". Control characters are spelt out."""
    anchor = attributes.pop("anchor", None)
    return element("text", shortened(words), x=x, y=y, text_anchor=anchor, **attributes)


def fitted(words: str, width: float) -> float | None:
    """The font size with which words fit a width, if that is smaller than `SIZE`."""
    size = width / (0.62 * max(len(shortened(words)), 1))
    return size if size < SIZE else None


def shortened(words: str) -> str:
    """A name of at most `LONGEST` characters, without characters that steer the page."""
    words = printable(words)
    half = LONGEST // 2
    return words if len(words) <= LONGEST else f"{words[: half - 1]}…{words[-half:]}"


def colour(style: Style) -> str:
    """A style's colour as CSS."""
    return "var(--muted)" if style.colour == NEUTRAL else f"var(--series-{style.colour + 1})"


def dash(style: Style) -> str | None:
    """A style's dash pattern, or None for a solid line."""
    return DASHES[style.dash] or None


def group(*children: object, tip: str = "", **attributes: object) -> Markup:
    """Marks that belong together. tip: shown on hover and on focus, which the group then takes."""
    if not tip:
        return element("g", *children, **attributes) if attributes else joined(children)
    tip = printable(tip)
    return element("g", element("title", tip), *children, tabindex=0, **attributes)


def drawing(
    id: str, title: str, description: str, size: tuple[float, float], *parts: object, above: float = 0
) -> Markup:
    """A drawing that scales with the page.

    id: unique on the page. title, description: read by screen readers. size: (width, height) in units of a pixel; the
    drawing is never larger, so that texts of all drawings have one size. above: units at the top that are left out.
    """
    width, height = size
    return element(
        "svg",
        element("title", printable(title), id=f"{id}-t"),
        element("desc", printable(description), id=f"{id}-d"),
        element("g", *parts, font_size=SIZE, fill="var(--ink)"),
        viewBox=f"0 {number(above)} {number(width)} {number(height - above)}",
        role="img",
        aria_labelledby=f"{id}-t {id}-d",
        style=f"display:block;width:100%;min-width:0;max-width:{number(width)}px;height:auto;overflow:visible",
    )


def side_by_side(parts: Iterable[object], width: int = 310) -> Markup:
    """Drawings beside one another, as many as the page is wide enough for."""
    cells = [
        element("div", part, style=f"flex:1 1 {width}px;min-width:0;max-width:{1.25 * width:.0f}px") for part in parts
    ]
    pairs = f";max-width:{2.5 * width + 24:.0f}px" if len(cells) == 4 else ""  # two by two, not three and one
    return element("div", *cells, style=f"display:flex;flex-wrap:wrap;gap:12px 24px{pairs}", class_="panels")
