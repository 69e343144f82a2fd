"""Puts a report into its folder: the page last, so that a page is never older than its numbers."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from index.reporting.material import Material
from index.reporting.page import render
from index.reporting.tables import make_tables, parquet_files

PAGE = "report.html"


class ReportError(Exception):
    """A folder that no report can be written into."""


def prepare_report_folder(out: Path) -> None:
    """Make the folder, or say that it cannot be written to before hours of reading. Raises `ReportError`."""
    probe = out / f".probe-{secrets.token_hex(4)}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        raise ReportError(f"--out {out}: cannot be written to ({_why(error)}); choose another folder") from error


def write_report(material: Material, out: Path) -> Path:
    """The page's path. Each file replaces one of its name as a whole. Raises `ReportError`."""
    tables = make_tables(material)
    write_files(parquet_files(tables) | {PAGE: render(material, tables).encode()}, out)
    return out / PAGE


def write_files(files: Mapping[str, bytes], out: Path) -> None:
    """Write each, in their order, so that it replaces one of its name as a whole. Raises `ReportError`."""
    try:
        for name, content in files.items():
            pending = out / f".{name}.{secrets.token_hex(4)}"
            try:
                pending.write_bytes(content)
                pending.replace(out / name)
            finally:
                pending.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"--out {out}: cannot be written to ({_why(error)})") from error


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
