"""`hpcq completion`: the script that teaches a shell our words."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  add to ~/.bashrc  eval "$(hpcq completion bash)"
    zsh:   add to ~/.zshrc   eval "$(hpcq completion zsh)"
    fish:  hpcq completion fish > ~/.config/fish/completions/hpcq.fish
    """
    from hpcq.cli.main import program

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    # source() asks the installed bash for its version; the script itself needs none of it
    maker = kind(program, {}, "hpcq", "_HPCQ_COMPLETE")
    click.echo(maker.source_template % maker.source_vars())
