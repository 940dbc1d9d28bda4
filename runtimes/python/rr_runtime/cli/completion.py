"""What makes a shell complete the commands and options of ``rr-runtime``."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "fish")


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Returns the script that a shell sources.

    Args:
        parser: of the command line.
        shell: one of ``SHELLS``.
    """
    (commands,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    options = {name: _options(command) for name, command in commands.items()}
    if shell == "fish":
        lines = [f"complete -c rr-runtime -f -n __fish_use_subcommand -a '{' '.join(options)}'"]
        for name, flags in options.items():
            seen = f"-n '__fish_seen_subcommand_from {name}'"
            lines += [f"complete -c rr-runtime {seen} -l {flag.removeprefix('--')}" for flag in flags]
        return "\n".join(lines) + "\n"
    cases = "\n".join(f"        {name}) words='{' '.join(flags)}' ;;" for name, flags in options.items())
    script = f"""_rr_runtime() {{
    local words='{" ".join(options)}'
    if [ "$COMP_CWORD" -gt 1 ]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
        *) words='' ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _rr_runtime rr-runtime
"""
    return script if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{script}"


def _options(command: argparse.ArgumentParser) -> list[str]:
    return [flag for action in command._actions for flag in action.option_strings if flag.startswith("--")]
