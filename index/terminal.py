"""What the commands that read an archive tell on a terminal alike: progress, and which version they are."""

from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(console: Console) -> Progress:
    """Nothing where nobody looks."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def code_version() -> str:
    try:
        return version("likewise")
    except PackageNotFoundError:
        return "unknown"
