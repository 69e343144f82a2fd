"""HTML in which everything is escaped that is not itself made here."""

from html import escape


class Markup(str):
    """Text that is HTML already. Only `tag` and `joined` make it."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. Attributes lose a trailing underscore (`class_`) and take hyphens for the others; None leaves one out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: object) -> Markup:
    return Markup("".join(child if isinstance(child, Markup) else escape(str(child)) for child in children))


def style(css: str) -> Markup:
    """A style sheet of ours; escaped it would not be one."""
    return Markup(f"<style>{css}</style>")
