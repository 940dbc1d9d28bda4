"""What makes a shell complete the commands and options of ``rr-runtime``, values of options, and files."""

from __future__ import annotations

import argparse

from rr_runtime.tools.known import KNOWN

SHELLS = ("bash", "zsh", "fish")
VALUES = {"--provider": [known.name for known in KNOWN]}  # of options that take none of the parser's choices, or a file


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Returns the script that a shell sources.

    Where a command or a value is typed that is no option, files are offered, but for values that are known.

    Args:
        parser: of the command line.
        shell: one of ``SHELLS``.
    """
    (commands,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    options = {name: _options(command) for name, command in commands.items()}
    return _fish(options) if shell == "fish" else _bash(options, _options(parser), zsh=shell == "zsh")


def _options(command: argparse.ArgumentParser) -> dict[str, list[str] | None]:
    """By option the values that it takes: [] where it takes any, None where it takes none."""
    return {
        flag: None if action.nargs == 0 else [str(value) for value in action.choices or VALUES.get(flag) or ()]
        for action in command._actions
        for flag in action.option_strings
        if flag.startswith("--")
    }


def _fish(options: dict[str, dict[str, list[str] | None]]) -> str:
    lines = [f"complete -c rr-runtime -f -n __fish_use_subcommand -a '{' '.join(options)}'"]
    for name, flags in options.items():
        for flag, values in flags.items():
            takes = "" if values is None else f" -x -a '{' '.join(values)}'" if values else " -r"
            seen = f"-n '__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c rr-runtime {seen} -l {flag.removeprefix('--')}{takes}")
    return "\n".join(lines) + "\n"


def _bash(options: dict[str, dict[str, list[str] | None]], own: dict[str, list[str] | None], *, zsh: bool) -> str:
    every = {flag: values for flags in (own, *options.values()) for flag, values in flags.items()}
    taking = "".join(
        f"        {flag}) COMPREPLY=($(compgen -W '{' '.join(values)}' -- \"$word\")); return ;;\n"
        for flag, values in every.items()
        if values is not None
    )
    cases = "".join(f"        {name}) words='{' '.join(flags)}' ;;\n" for name, flags in options.items())
    script = f"""_rr_runtime() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=''
    COMPREPLY=()
    case "${{COMP_WORDS[COMP_CWORD-1]}}" in
{taking}    esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        words='{" ".join([*options, *own])}'
    elif [ "${{word#-}}" != "$word" ]; then
        case "${{COMP_WORDS[1]}}" in
{cases}        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _rr_runtime rr-runtime
"""
    return f"autoload -U +X bashcompinit && bashcompinit\n{script}" if zsh else script
