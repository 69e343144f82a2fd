"""Commands run as another user, for tests of who may do what; only root can become one."""

import os
from collections.abc import Sequence

import click
import pytest
from click.testing import CliRunner

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def run_as_nobody(command: click.Command, arguments: Sequence[str]) -> tuple[int, str]:
    """(exit code, output) of the command in a process of another user, who has no groups."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        result = CliRunner().invoke(command, list(arguments))
        os.write(writing, result.output.encode())
        os._exit(result.exit_code)
    os.close(writing)
    with os.fdopen(reading) as stream:
        output = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output
