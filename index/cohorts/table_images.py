"""Where the files of a table's row lie: paths with {column}, and with * where one row has several files."""

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.cohort import CohortError
from index.cohorts import toml_entries as toml

IN_BRACES = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Images:
    """The files of one scan, as templates."""

    templates: tuple[str, ...]  # "films/{column}.png", "ct/{scan}/*.dcm", from the TOML's folder

    def locations(self, row: Mapping[str, str], folder: Path, links: "Links") -> tuple[str, ...]:
        """Paths, links followed, or URLs, sorted within each template; what matches nothing stays as it is: its use will tell.

        Left out is a template whose columns are all blank, unless that is so of all of them.
        """
        filled = [one for one in self.templates if any(row[column].strip() for column in IN_BRACES.findall(one))]
        return tuple(
            location
            for template in filled or self.templates[:1]
            for location in _expanded(template, row, folder, links)
        )


class Links:
    """Follows links, each folder's once: a table's thousands of films lie in few folders."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def followed(self, path: str) -> str:
        """`path` with links followed; as it is where that cannot be done (a NUL, links in a circle): its use will tell."""
        folder, name = os.path.split(path)
        try:
            if name in ("", ".", "..") or os.path.islink(path):  # noqa: PTH114 a Path for each film costs a tenth of a rebuild
                return os.path.realpath(path)
            if folder not in self._folders:
                self._folders[folder] = os.path.realpath(folder)
            return os.path.join(self._folders[folder], name)  # noqa: PTH118
        except (OSError, ValueError):
            return path


def read_images(value: Any) -> Images:
    """The entry `images`: a template or a list of them. Raises `CohortError`."""
    templates = value if isinstance(value, list) and value else [value]
    return Images(tuple(_template(toml.text(one, "images")) for one in templates))


def _template(images: str) -> str:
    rest = IN_BRACES.sub("", images)
    if rest == images or "{" in rest or "}" in rest:
        raise CohortError(f"images is {images!r}; expected a path with a column in braces, such as films/{{film}}.png")
    if "://" in rest and re.search("[*?]", rest):
        raise CohortError(f"images is {images!r}; * and ? match files of local folders only")
    return images


def _expanded(template: str, row: Mapping[str, str], folder: Path, links: Links) -> list[str]:
    named = IN_BRACES.sub(lambda found: row[found[1]], template)
    fixed = IN_BRACES.sub("", template)
    if "://" in fixed:
        return [named]
    if "*" in fixed or "?" in fixed:
        pattern = IN_BRACES.sub(lambda found: glob.escape(row[found[1]]), template.replace("[", "[[]"))
        try:
            found = sorted(glob.glob(str(Path(glob.escape(str(folder)), pattern))))  # noqa: PTH207 Path.glob knows no absolute pattern
        except (OSError, ValueError):
            found = []
        if found:
            return [links.followed(path) for path in found]
    return [links.followed(os.path.join(folder, named))]  # noqa: PTH118
