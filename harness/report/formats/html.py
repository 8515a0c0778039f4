"""Tables as fragments of HTML, for a page that has its own style."""

from __future__ import annotations

from markupsafe import Markup

from harness.report.escape import printable
from harness.report.table import Table


def text(table: Table) -> str:
    """A ``<table class="harness">`` in which every text is escaped.

    Names of rows are ``<th scope="row">``; rows that tie with the best have the class "top".
    """
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(printable(name)) for name in table.header)
    lines = [Markup("<tr>{}</tr>").format(head)]
    body = []
    for place, row in enumerate(table.rows):
        names = [Markup('<th scope="row">{}</th>').format(printable(cell)) for cell in row[: table.names]]
        cells = [Markup("<td>{}</td>").format(printable(cell)) for cell in row[table.names :]]
        start = Markup('<tr class="top">') if place in table.top else Markup("<tr>")
        body.append(start + Markup("").join([*names, *cells]) + Markup("</tr>"))
    caption = Markup("<strong>{}</strong> {}").format(printable(table.title), printable(table.caption))
    return "\n".join(
        [
            '<table class="harness">',
            f"<caption>{caption}</caption>",
            f"<thead>{lines[0]}</thead>",
            "<tbody>",
            *body,
            "</tbody>",
            "</table>\n",
        ]
    )
