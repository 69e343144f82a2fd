"""`python -m web`: the page for one person on this computer; and the server's other commands."""

import secrets
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from web import logs
from web.commands import COMMANDS
from web.config import Access, Config, default_audit


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  python -m web --index build/demo/index --samples build/demo/archive/unseen
  gunicorn --config deploy/gunicorn.conf.py 'web:create_app()'     in production; settings come from the environment""",
)
@click.option("--index", type=click.Path(path_type=Path), help="The index folder to serve.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--samples", type=click.Path(file_okay=False, path_type=Path), help="A folder of scans to click on.")
@click.option(
    "--audit",
    type=click.Path(dir_okay=False, path_type=Path),
    default=default_audit,
    help="Where questions are recorded.",
)
@click.pass_context
def main(context: click.Context, index: Path | None, port: int, samples: Path | None, audit: Path) -> None:
    """Serve an index to one person on this very computer, without sign-in."""
    if context.invoked_subcommand is not None:
        return
    if index is None:
        raise click.UsageError("--index is missing; it names the index folder to serve")
    config = Config(index=index, access=Access.DEMO, secret_key=secrets.token_hex(32), audit=audit, samples=samples)
    serve(config, port)


def serve(config: Config, port: int) -> None:
    from gunicorn.app.base import BaseApplication

    from embed.encoder import EncoderError
    from index.denied import DenyListError
    from index.snapshot import SnapshotError, current_folder
    from web.app import create_app

    try:
        current_folder(config.index)
    except SnapshotError as error:
        _fail(str(error), 2)

    class OnePerson(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            settings = {
                "bind": f"{config.host}:{port}",
                "workers": 1,
                "worker_class": "web.worker.PatientThreads",
                "threads": 32,
                "timeout": 120,
                "accesslog": None,
                "loglevel": "warning",
                "control_socket_disable": True,
            }
            for name, value in settings.items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)

        def load(self) -> Any:
            logs.set_up()
            try:
                app = create_app(config)
                app.extensions["likewise.service"].start()
                return app
            except (SnapshotError, EncoderError, DenyListError) as error:
                _fail(str(error), 1)

    click.echo(f"Likewise is at http://{config.host}:{port}/ (Ctrl-C ends it)", err=True)
    OnePerson().run()


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m web")
