"""Ways to a host: values that are functions from a `Host` to a transport.

Each way is a local program whose stdin and stdout lead to a program on the host: `argv` takes the
words of any such program, and the others are some that many people have.  No way installs or
writes anything on a host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from currant._remote.command_line import shell_line
from currant._remote.shipment import agent_argv
from currant._remote.transport import ArgvTransport, Transport
from currant._values.checks import check_flag, checked_path, checked_words, naming
from currant._values.errors import CommandError
from currant.hosts._host import Host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from currant._values.checks import StrOrPath

__all__ = ["ArgvConnect", "Connect", "argv", "docker", "kubectl", "srun", "ssh"]


Connect: TypeAlias = Callable[[Host], Transport]
"""How to reach a host: returns a transport to it, which has not been opened yet."""

ADDRESS = "{address}"
"""The word, or part of a word, that becomes the address of a host."""

SSH_OPTIONS = (
    "-T",  # A terminal would change bytes, and send signals.
    "-oBatchMode=yes",  # There is nobody to ask for a password.
    "-oConnectTimeout=10",
    "-oServerAliveInterval=5",  # With the next: a network that is cut ends ssh after 20 s.
    "-oServerAliveCountMax=3",
    "-oLogLevel=INFO",  # Errors reach us, whatever the user's configuration says.
    "-oControlMaster=no",  # A master is used if there is one.  Ours would end with our connection.
    "-oForwardAgent=no",
    "-oForwardX11=no",
    "-oClearAllForwardings=yes",  # The ports are for the user's own sessions.
    "-oPermitLocalCommand=no",
    "-oRemoteCommand=none",
)


@dataclass(frozen=True, slots=True)
class ArgvConnect:
    """A way to hosts through a local program; call it with a `Host` to get a `Transport`.

    Attributes:
        words: the program and its arguments, in which ``{address}`` stands for the address of the
            host.  What the host shall run comes behind them.
        as_line: whether the command that the host shall run is one word, for a shell there.
    """

    words: tuple[str, ...]
    as_line: bool = False

    def __call__(self, host: Host) -> ArgvTransport:
        """Return a transport to `host`.

        Raises:
            CommandError: the host's Python has a sign that not all shells read the same.
        """
        remote = agent_argv(host.python)
        if self.as_line:
            with naming(host.name, "host"):
                remote = (shell_line(remote),)
        address = host.address or host.name
        return ArgvTransport([*(word.replace(ADDRESS, address) for word in self.words), *remote])


def argv(words: Sequence[StrOrPath], *, as_line: bool = False) -> ArgvConnect:
    """Return a way to hosts through any program that passes on bytes.

    Its stdin and stdout must be those of the command that the host shall run, byte by byte, and
    must end when the other side ends.  Its stderr is for errors.

    Args:
        words: the program and its arguments, such as ``["podman", "exec", "-i", "{address}"]``.
            ``{address}`` stands for the address of the host.  The words of the command that the
            host shall run come behind them.
        as_line: whether that command is one more word, a line for a shell, as ssh needs it.

    Raises:
        CommandError: an argument is invalid.
    """
    check_flag("as_line", as_line)
    checked = checked_words("words", words)
    if not checked:
        raise CommandError("words must begin with a program, and are empty")
    return ArgvConnect(checked, as_line)


def ssh(options: Sequence[StrOrPath] = (), *, program: StrOrPath = "ssh") -> ArgvConnect:
    """Return the way through OpenSSH.

    The address of a host is what ssh takes: a name, also one from ``~/.ssh/config``,
    ``user@name`` or ``ssh://user@name:port``.  The user's configuration counts, known hosts, keys
    and jump hosts among it.  ssh asks for nothing: a host that needs a password, or whose key is
    unknown, is told to be unreachable.

    Args:
        options: options of ssh, such as ``["-J", "bastion", "-i", "key"]``.  They come before
            currant's own, and the first value of an option counts.
        program: the program.

    Raises:
        CommandError: an argument is invalid.
    """
    given = checked_words("options", options)
    return argv(
        [checked_path("program", program), *given, *SSH_OPTIONS, "--", ADDRESS], as_line=True
    )


def srun(options: Sequence[StrOrPath] = (), *, program: StrOrPath = "srun") -> ArgvConnect:
    """Return the way through Slurm, from inside an allocation.

    The address of a host is the name of a node of the allocation.  Each agent is a job step of one
    task that shares the node with other steps.

    Args:
        options: more options of srun, such as ``["--gres=gpu:2"]``.
        program: the program.

    Raises:
        CommandError: an argument is invalid.
    """
    return argv(
        [
            checked_path("program", program),
            *("--nodes=1", "--ntasks=1", f"--nodelist={ADDRESS}", "--overlap"),
            "--unbuffered",  # Otherwise output is held back until its line ends.
            "--quiet",
            *checked_words("options", options),
        ]
    )


def kubectl(
    *,
    pod: str = ADDRESS,
    container: str | None = None,
    namespace: str | None = None,
    options: Sequence[StrOrPath] = (),
    program: StrOrPath = "kubectl",
) -> ArgvConnect:
    """Return the way into pods of Kubernetes, by ``kubectl exec``.

    Args:
        pod: the pod; by default the address of the host.
        container: the container in the pod; None: its default one.
        namespace: the namespace; None: that of the current context.
        options: more options of kubectl, such as ``["--context=staging"]``.
        program: the program.

    Raises:
        CommandError: an argument is invalid.
    """
    chosen = [
        f"--{name}={_checked_name(name, value)}"
        for name, value in (("namespace", namespace), ("container", container))
        if value is not None
    ]
    given = checked_words("options", options)
    words = [checked_path("program", program), *given, "exec", "--stdin", "--quiet", *chosen]
    return argv([*words, _checked_name("pod", pod), "--"])


def docker(
    *,
    container: str = ADDRESS,
    options: Sequence[StrOrPath] = (),
    program: StrOrPath = "docker",
) -> ArgvConnect:
    """Return the way into containers, by ``docker exec``; Podman has the same options.

    Args:
        container: the container; by default the address of the host.
        options: more options of ``docker exec``, such as ``["--user=app"]``.
        program: the program.

    Raises:
        CommandError: an argument is invalid.
    """
    given = checked_words("options", options)
    words = [checked_path("program", program), "exec", "--interactive", *given]
    return argv([*words, _checked_name("container", container)])


def _checked_name(what: str, name: object) -> str:
    if not isinstance(name, str) or not name or name.startswith("-"):
        raise CommandError(f"{what} must be a non-empty str that does not begin with '-': {name!r}")
    return name
