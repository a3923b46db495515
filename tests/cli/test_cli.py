"""The command line as a whole: help, unknown words, exit codes."""

import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from command_line import Run, spawn

from truetape.cli import cli

COMMANDS = cli.list_commands(click.Context(cli))


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from truetape.cli import cli; cli.main(['--help'], standalone_mode=False); "
        "print(sorted({'pyarrow', 'duckdb', 'deltalake', 'aiohttp', 'numpy', 'yaml', 'rich', 'polars', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(truetape: Run, command: str) -> None:
    done = truetape(command, "-h")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: truetape {command}")
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{command} {parameter.opts[0]} does not say what it does"


def test_version(truetape: Run) -> None:
    done = truetape("--version")
    assert (done.code, done.out.split()[0]) == (0, "truetape,")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recrod"], "did you mean record?"),
        (["_live"], "no command '_live'"),
        (["a.b"], "no command 'a.b'"),
        (["record", "--durration", "3"], "--duration"),
        (["sql"], "QUERY"),
        (["--colour"], "--colour"),
    ],
)
def test_a_wrong_word_is_one_line(refused: Callable[..., str], arguments: list[str], says: str) -> None:
    assert says in refused(*arguments)


def test_a_reader_that_goes_away_is_no_error() -> None:
    with spawn("config", "schema") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 0


def test_an_internal_error_is_one_line_and_code_3() -> None:
    code = "import sys; sys.argv = ['truetape', 'boom']\nimport click\nfrom truetape import cli\n"
    code += "cli.cli.add_command(click.Command('boom', callback=lambda: 1 / 0))\n"
    code += (
        "cli.Commands.get_command = click.Group.get_command\ncli.Commands.list_commands = click.Group.list_commands\n"
    )
    done = subprocess.run([sys.executable, "-c", code + "cli.main()"], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "ZeroDivisionError" in done.stderr
