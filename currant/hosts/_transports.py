"""Ways to hosts: each is a value that can be called with a `Host`, and returns a transport.

Each way here is a local program whose stdin and stdout lead to a program on the host.  `argv` takes
any such program; `ssh`, `srun`, `kubectl` and `docker` build the words of well-known ones.  No way
installs or writes anything on a host.
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
"""The way to a host: a function that returns a transport to the host, not opened yet."""

ADDRESS = "{address}"
"""The word, or part of a word, that is replaced by the address of a host."""

SSH_OPTIONS = (
    "-T",  # A terminal would change bytes, and send signals.
    "-oBatchMode=yes",  # No user is there to type a password.
    "-oConnectTimeout=10",
    "-oServerAliveInterval=5",  # With the next option: ssh exits 20 s after the network was cut.
    "-oServerAliveCountMax=3",
    "-oLogLevel=INFO",  # ssh shows errors, whatever the user's configuration says.
    "-oControlMaster=no",  # A running master is used.  Ours would end with our connection.
    "-oForwardAgent=no",
    "-oForwardX11=no",
    "-oClearAllForwardings=yes",  # Forwarded ports are for the user's own sessions.
    "-oPermitLocalCommand=no",
    "-oRemoteCommand=none",
)


@dataclass(frozen=True, slots=True)
class ArgvConnect:
    """A way to hosts through a local program; call it with a `Host` to get a `Transport`.

    Attributes:
        words: the program and its arguments.  ``{address}`` in a word stands for the address of the
            host.  The command line of the agent is added at the end.
        as_line: whether the command line of the agent is added as one word, for a shell on the
            host.
    """

    words: tuple[str, ...]
    as_line: bool = False

    def __call__(self, host: Host) -> ArgvTransport:
        """Return a transport to `host`.

        Raises:
            CommandError: `Host.python` has a character that shells on hosts may read differently.
        """
        remote = agent_argv(host.python)
        if self.as_line:
            with naming(host.name, "host"), naming("python", "field"):
                remote = (shell_line(remote),)
        address = host.address or host.name
        return ArgvTransport([*(word.replace(ADDRESS, address) for word in self.words), *remote])


def argv(words: Sequence[StrOrPath], *, as_line: bool = False) -> ArgvConnect:
    """Return a way to hosts through any local program that runs a command there, as ssh does.

    currant adds the command line of its agent to the words.  The program must connect its stdin and
    stdout with those of the agent, must pass on each byte, and must end a stream when the other
    side ends.  Errors of currant show the stderr of the program.

    Args:
        words: the program and its arguments, such as ``["podman", "exec", "-i", "{address}"]``.
            ``{address}`` in a word stands for the address of the host.
        as_line: whether to add the command line of the agent as one word, a line for a shell on the
            host, as ssh needs it.

    Raises:
        CommandError: an argument is invalid.
    """
    check_flag("as_line", as_line)
    checked = checked_words("words", words)
    if not checked:
        raise CommandError("words must begin with a program, but there are none")
    return ArgvConnect(checked, as_line)


def ssh(options: Sequence[StrOrPath] = (), *, program: StrOrPath = "ssh") -> ArgvConnect:
    """Return the way through OpenSSH.

    The address of a host is any that ssh accepts: a name, which ``~/.ssh/config`` may define,
    ``user@name`` or ``ssh://user@name:port``.  The user's configuration is used, with its known
    hosts, keys and jump hosts.  ssh asks for nothing, so a host that needs a password, or whose key
    is unknown, cannot be reached.  The program must be OpenSSH 7.6 or newer.

    Args:
        options: options of ssh, such as ``["-J", "bastion", "-i", "key"]``.  They override the
            options of currant.
        program: the name or the path of ssh.

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
        program: the name or the path of srun.

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
        container: the container in the pod; None: the default container of the pod.
        namespace: the namespace; None: the namespace of the current context.
        options: more options of kubectl, such as ``["--context=staging"]``.
        program: the name or the path of kubectl.

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
        program: the name or the path of docker, or of podman.

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
