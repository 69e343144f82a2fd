"""A whole HTML page in the reports' style that needs no network and no scripts."""

from pathlib import Path

from index.reporting.markup import Markup, joined, style, tag

CSS = Path(__file__).with_name("page.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a browser that heeds it can send nothing anywhere
PICTURES = "; img-src data:"  # and shows pictures that are in the page itself


def document(title: str, *body: object, css: str = "", pictures: bool = False) -> str:
    """The page with its title as heading; `css` is added to the reports' own."""
    policy = POLICY + (PICTURES if pictures else "")
    head = joined(
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("title", title),
        style(CSS.read_text(encoding="utf-8") + css),
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', tag('h1', title), *body), lang='en')}\n"
