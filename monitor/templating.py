"""Finds templates: ours beside Flower's, and a word about batches in Flower's own navigation."""

from __future__ import annotations

from pathlib import Path

from tornado.template import Loader, Template

OURS = Path(__file__).with_name("templates")

PREFIX = "paceline-"
"""What the names of our templates begin with; all others are Flower's."""

_FIRST = '<ul class="app-nav navbar-nav">'

_ENTRY = """
        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'batches' %} active{% end %}"
            href="{{ reverse_url('batches') }}"
            {% if active_tab == 'batches' %}aria-current="page"{% end %}>Batches</a>
        </li>"""


class PagesLoader(Loader):
    """Loads Flower's templates from `root`, and ours from beside this module. Thread-safe, as Tornado's is."""

    def _create_template(self, name: str) -> Template:
        folder = OURS if name.startswith(PREFIX) else Path(self.root)
        text = (folder / name).read_text("utf-8")
        if name == "navbar.html":
            text = with_entry(text)
        return Template(text, name=name, loader=self)


def with_entry(navbar: str) -> str:
    """Put the entry for batches first into Flower's navigation; one that looks otherwise stays as it is."""
    return navbar.replace(_FIRST, _FIRST + _ENTRY, 1)
