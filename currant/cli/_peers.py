"""Options of concurrently, foreman, honcho, overmind and GNU parallel with another name here."""

from __future__ import annotations

__all__ = ["advice_on"]

_KILL_FAILURE = "--kill-others-on failure"
_SECONDS = "the number is in seconds"

_INSTEAD = {
    "--handle-input": "--interactive NAME",
    "--default-input-target": "--interactive NAME",
    "--kill-others": "--kill-others-on exit",
    "--kill-others-on-fail": _KILL_FAILURE,
    "--kill-signal": "--stop-signal",
    "--kill-timeout": f"--grace; {_SECONDS}",
    "--timeout": (
        "--grace S for the time to stop (foreman, overmind), or for a time limit the command "
        "'timeout 60 make'"
    ),
    "--shutdown-timeout": f"--grace; {_SECONDS}",
    "-t": f"--grace (foreman, overmind; {_SECONDS}) or --timestamps (concurrently)",
    "--restart-tries": "--restart on-failure --max-restarts N",
    "--restart-after": f"--restart-delay; {_SECONDS}",
    "--auto-restart": "--restart always",
    "--prefix-colors": "--colors",
    "--timestamp": "--timestamps",
    "--timestamp-format": "--prefix '{time:%H:%M:%S} {name} | '",
    "--no-color": "--color never",
    "--no-colour": "--color never",
    "--no-prefix": "--prefix none",
    "--root": "--cwd",
    "--app-root": "--cwd",
    "-d": "--cwd",
    "-l": "the names as arguments: currant start web worker",
    "--processes": "the names as arguments: currant start web worker",
    "--ignored-processes": "--formation all=1,NAME=0",
    "--can-die": _KILL_FAILURE,
    "--any-can-die": _KILL_FAILURE,
}

_PARALLEL = {
    "--link": ":::+ for :::, and ::::+ for ::::",
    "--xapply": ":::+ for :::, and ::::+ for ::::",
    "-d": "--null, or --recend with --stdin",
    "--delimiter": "--null, or --recend with --stdin",
    "-L": "-n",
    "-l": "-n",
    "-X": "-n N: N values for each command",
    "--xargs": "-n N: N values for each command",
    "-I": "{} and {1}",
    "--replace": "{} and {1}",
    "-t": "--tag, --dry-run or --json, which show the commands",
    "-v": "--tag, --dry-run or --json, which show the commands",
    "--verbose": "--tag, --dry-run or --json, which show the commands",
    "-r": "a shell: '[ -z {} ] || echo {}'",
    "--no-run-if-empty": "a shell: '[ -z {} ] || echo {}'",
    "-S": "--hosts",
    "--sshlogin": "--hosts",
    "--slf": "--hosts-file",
    "--sshloginfile": "--hosts-file",
    "--wd": "--cwd",
    "--workdir": "--cwd",
    "--nice": "nice in the command: nice -n 10 gzip {}",
    "--files": "--results DIR",
    "--shuf": "shuf before it: shuf FILE | currant map gzip",
    "--tagstring": "--tag",
    "--plus": "a shell: 'x={}; echo \"${x%.tar.gz}\"'",
    "--rpl": "a shell: 'x={}; echo \"${x%.tar.gz}\"'",
    "--pipepart": "--stdin < FILE",
    "--pipe-part": "--stdin < FILE",
    "--env": "the environment, which the commands inherit; on hosts --forward-env",
}
"""For `currant map`."""


def advice_on(option: str, subcommand: str | None) -> str:
    """Return advice on an unknown option of a subcommand; empty if there is none."""
    instead = (_PARALLEL if subcommand == "map" else _INSTEAD).get(option)
    return "" if instead is None else f" Use {instead}."
