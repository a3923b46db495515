"""The command line: one file per command, each one call into the library; the folder is the registry.

Exit codes: 0 fine, 1 findings, 2 usage or configuration, 3 internal.
"""

import contextlib
import importlib
import importlib.util
import os
import pkgutil
import sys
from typing import Any

import click

from truetape.errors import Transient, TruetapeError, describe_os_error, suggest


class Commands(click.Group):
    """Loads a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every module of this folder that is not private."""
        names = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
        return sorted(name.rstrip("_") for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the module's `command`."""
        if cmd_name not in self.list_commands(ctx):
            return None
        is_keyword = importlib.util.find_spec(f"{__name__}.{cmd_name}") is None  # such files end in an underscore
        command = importlib.import_module(f"{__name__}.{cmd_name}{'_' if is_keyword else ''}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when there is none of that name."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"no command {args[0]!r}{suggest(args[0], self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader of our output that went away (`| head`) is no error."""
        from truetape.config import load_clock

        load_clock()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Python would complain at exit about what it can no longer write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="truetape")
def cli() -> None:
    """Record markets, lose nothing silently, query everything.

    Anywhere on the line, --debug shows where an internal error came from.
    """


def main() -> None:
    """Run a command; every error is one line and an exit code."""
    try:
        sys.exit(cli.main([a for a in sys.argv[1:] if a != "--debug"], "truetape", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} -h)" if context else ""
        _tell(f"{error.format_message().rstrip('.')}{hint}")
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except Transient as error:
        _tell(str(error))
        sys.exit(3)
    except TruetapeError as error:
        _tell(str(error))
        sys.exit(2)
    except OSError as error:
        if "--debug" in sys.argv:
            raise
        _tell(describe_os_error(error))
        sys.exit(2)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        _tell(f"internal error: {type(error).__name__}: {error}")
        sys.exit(3)


def _tell(line: str) -> None:
    """Say what is wrong, without the secrets that an answer or an address may hold."""
    from truetape.config import mask_secrets

    first, _, _ = line.strip().partition("\n")  # libraries add their stack
    with contextlib.suppress(TruetapeError):  # a .env that does not read has no secrets either
        first = mask_secrets(first)
    click.echo(f"truetape: {first}", err=True)
