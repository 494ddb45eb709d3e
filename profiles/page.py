"""The HTML page: one self-contained file, no script, nothing fetched, the same bytes for the same report."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from keronyx.profiles import plot, wording
from keronyx.profiles.table import Table

TEMPLATE = "report.html.j2"


def html(table: Table) -> str:
    """The report as an HTML page. Every text is cleaned and escaped on its way in, whatever the template does."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def safe(value: Any) -> Any:
        return wording.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        autoescape=True,
        finalize=safe,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": wording.number, "seconds": wording.seconds, "share": wording.share}
    source = (files("keronyx.profiles") / "templates" / TEMPLATE).read_text(encoding="utf-8")
    latency = [found for ranking in table.rankings if (found := plot.latency_plot(table, ranking)) is not None]
    filled = [any(line.cells[place].text for line in table.lines) for place in range(len(table.columns))]
    return environment.from_string(source).render(
        table=table,
        report=table.report,
        latency_plots=latency,
        cold_plot=plot.cold_plot(table),
        plot=plot,
        tensor=wording.tensor,
        first_figure=next(place for place, column in enumerate(table.columns) if column.key == "median_ms"),
        checked=[line for line in table.lines if line.row.parity is not None and not line.message],
        filled=filled,
        dropped=sum(not full for full, column in zip(filled, table.columns, strict=True) if column.keep),
    )
