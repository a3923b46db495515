"""The command line: one file per command, each one call into the library; the folder is the registry.

Exit codes: 0 fine, 1 findings, 2 usage or configuration, 3 internal.
"""

import importlib
import importlib.util
import pkgutil
import sys

import click

from truetape.errors import Transient, TruetapeError


class Commands(click.Group):
    """Loads a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every module of this folder that is not private."""
        names = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
        return sorted(name.rstrip("_") for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the module's `command`."""
        for module in (cmd_name, f"{cmd_name}_"):  # a trailing underscore where the name is a Python keyword
            if importlib.util.find_spec(f"{__name__}.{module}"):
                command = importlib.import_module(f"{__name__}.{module}").command
                assert isinstance(command, click.Command)
                return command
        return None


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="truetape")
def cli() -> None:
    """Record markets, lose nothing silently, query everything.

    Anywhere on the line, --debug shows where an internal error came from.
    """


def main() -> None:
    """Run a command; every error is one line and an exit code."""
    try:
        sys.exit(cli.main([a for a in sys.argv[1:] if a != "--debug"], standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except Transient as error:
        click.echo(f"truetape: {error}", err=True)
        sys.exit(3)
    except TruetapeError as error:
        click.echo(f"truetape: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away; Python would complain again at exit
        sys.exit(0)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"truetape: internal error: {type(error).__name__}: {error}", err=True)
        sys.exit(3)
