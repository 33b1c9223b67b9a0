"""The ways to hosts: what they run, what they refuse, and which Python an agent gets."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from currant import Command, CommandError
from currant._remote.command_line import python_argv, shell_line
from currant._remote.launcher import RemoteLauncher
from currant._remote.shipment import agent_argv
from currant._remote.transport import ArgvTransport
from currant._values.errors import HostUnreachableError
from currant.hosts import Host, argv, docker, kubectl, srun, ssh
from tests.files import files_left
from tests.pythons import path_of
from tests.streams import read_all
from tests.system import needs_proc
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from currant.hosts import ArgvConnect

H1 = Host("h1")


def words_of(connect: ArgvConnect, host: Host = H1) -> list[str]:
    """Return what comes before the command that the host shall run."""
    words = list(connect(host).argv)
    count = 1 if connect.as_line else len(agent_argv(host.python))
    return words[:-count]


async def say_hi(transport: ArgvTransport) -> bytes:
    """Return what a command prints that an agent has started."""
    with anyio.fail_after(LIMIT):
        async with RemoteLauncher("h1", transport) as launcher:
            process = await launcher.launch(Command(["echo", "hi"]))
            return await read_all(process.stdout)


async def unreachable(transport: ArgvTransport) -> str:
    """Return why no agent could be started."""
    with anyio.fail_after(LIMIT), pytest.raises(HostUnreachableError) as caught:
        async with RemoteLauncher("h1", transport):
            raise AssertionError("not entered")
    return caught.value.reason


# ---- the values ----


WAYS = [
    ssh(),
    ssh(["-J", "bastion"], program="/opt/ssh"),
    srun(["--gres=gpu:1"]),
    kubectl(pod="p", container="c", namespace="n"),
    docker(container="c"),
    argv(["podman", "exec", "-i", "{address}"]),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.words[0])
def test_way_is_a_value(way: ArgvConnect) -> None:
    """It compares, has a hash, can be pickled, and is frozen."""
    copied = pickle.loads(pickle.dumps(way))
    assert copied == way
    assert hash(copied) == hash(way)
    with pytest.raises(FrozenInstanceError):
        way.words = ()  # type: ignore[misc]


def test_ssh_takes_options_first_and_the_address_behind_two_dashes() -> None:
    """The first value of an option counts, so the user's is the one."""
    host = Host("web", address="ssh://me@10.0.0.1:2222", python="/opt/python")
    program, *options, dashes, address, line = ssh(["-J", "bastion"], program="/bin/ssh")(host).argv
    assert (program, options[:2], dashes) == ("/bin/ssh", ["-J", "bastion"], "--")
    assert address == "ssh://me@10.0.0.1:2222"
    assert line == shell_line(agent_argv("/opt/python"))
    for option in ("-T", "-oBatchMode=yes", "-oServerAliveInterval=5", "-oConnectTimeout=10"):
        assert option in options


def test_srun_runs_one_task_on_the_node() -> None:
    """Its output is not held back until a line ends, and other steps may share the node."""
    words = words_of(srun(["--gres=gpu:2"]), Host("n1", address="node01"))
    assert words[:2] == ["srun", "--nodes=1"]
    assert {"--ntasks=1", "--nodelist=node01", "--overlap", "--unbuffered"} < {*words}
    assert words[-1] == "--gres=gpu:2"


def test_kubectl_names_pod_container_and_namespace() -> None:
    """By default the host is the pod, and the container and namespace are the default ones."""
    begin = ["kubectl", "exec", "--stdin", "--quiet"]
    assert words_of(kubectl()) == [*begin, "h1", "--"]
    assert words_of(kubectl(pod="p-{address}", container="c", namespace="n")) == [
        *begin,
        *("--namespace=n", "--container=c", "p-h1", "--"),
    ]
    assert words_of(kubectl(options=["--context=x"], program="oc"))[:3] == [
        "oc",
        "--context=x",
        "exec",
    ]


def test_docker_names_the_container() -> None:
    """By default the host is the container."""
    assert words_of(docker()) == ["docker", "exec", "--interactive", "h1"]
    assert words_of(docker(container="c", options=["--user=app"], program="podman")) == [
        *("podman", "exec", "--interactive", "--user=app", "c"),
    ]


def test_own_words_may_name_the_address_anywhere() -> None:
    """As often as they like."""
    assert words_of(argv(["on", "{address}", "x={address}"]), Host("a", address="b")) == [
        *("on", "b", "x=b"),
    ]


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: ssh("-J bastion"), "options must be a sequence of words"),
        (lambda: ssh([3]), "each word of options must be a str"),  # type: ignore[list-item]
        (lambda: ssh(program=None), "program must be a str or a path"),  # type: ignore[arg-type]
        (lambda: argv([]), "words must begin with a program"),
        (lambda: argv("ssh {address}"), "words must be a sequence"),
        (lambda: argv(["ssh"], as_line=2), "as_line must be True or False"),  # type: ignore[arg-type]
        (lambda: docker(container="-v"), "container must be a non-empty str that does not begin"),
        (lambda: kubectl(pod=""), "pod must be"),
        (lambda: kubectl(namespace="-x"), "namespace must be"),
        (lambda: ssh()(Host("h", python="it's")), "host 'h': field 'python': a word for the shell"),
        (lambda: ssh()(Host("h", python="C:\\python")), "a backslash"),
    ],
)
def test_wrong_argument_is_refused(build: Any, text: str) -> None:
    """In the caller's frame, with its name."""
    with pytest.raises(CommandError, match=text):
        build()


@pytest.mark.parametrize("address", ["-oProxyCommand=sh", "-h"])
def test_address_that_looks_like_an_option_is_refused(address: str) -> None:
    """A host list may come from anywhere."""
    with pytest.raises(CommandError, match="does not begin with '-'"):
        Host("h", address=address)
    with pytest.raises(CommandError, match="does not begin with '-'"):
        Host(address)


# ---- shells and Pythons ----


def in_shell(shell: str, line: str, path: str | None = None) -> ArgvTransport:
    """Return a transport to what sshd would run: the login shell, with the line of ssh."""
    variables = [f"PATH={path}"] if path else []
    return ArgvTransport(["env", *variables, str(shutil.which(shell)), "-c", line])


def python_folder(folder: Path, **versions: str) -> str:
    """Return a PATH with a `sh`, and Pythons under the names given, with ``_`` for a dot."""
    shell = shutil.which("sh")
    assert shell is not None
    (folder / "sh").symlink_to(shell)
    for name, version in versions.items():
        target = path_of(version)
        if target is None:
            pytest.skip(f"there is no Python {version}")
        # A script: a Python finds its library by where it lies.
        program = folder / name.replace("_", ".")
        program.write_text(f'#!{shell}\nexec {target} "$@"\n')
        program.chmod(0o755)
    return str(folder)


SHELLS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(not shutil.which(name), reason=f"needs {name}: install {name}"),
    )
    for name in ("sh", "dash", "bash", "zsh", "ksh", "tcsh", "fish")
]


@needs_proc
@pytest.mark.anyio
@pytest.mark.backends("asyncio")
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("python", [None, sys.executable], ids=["searched", "named"])
async def test_every_login_shell_starts_the_agent(shell: str, python: str | None) -> None:
    """The line means the same to all of them."""
    line = str(ssh()(Host("h1", python=python)).argv[-1])
    # The PATH matters to `searched` alone; without pyenv's shims, which are slow.
    assert await say_hi(in_shell(shell, line, os.defpath)) == b"hi\n"


def test_line_holds_every_sign_that_all_shells_leave_alone() -> None:
    """A single quote, a backslash, an exclamation mark and a line ending are not among them."""
    signs = "".join(map(chr, range(32, 127)))
    for sign in "'\\!":
        signs = signs.replace(sign, "")
        with pytest.raises(CommandError):
            shell_line([sign])
    assert shell_line(["printf", "%s", signs]) == f"exec 'printf' '%s' '{signs}'"


@pytest.mark.parametrize("shell", SHELLS)
def test_words_arrive_unchanged(shell: str) -> None:
    """Whatever is in them."""
    signs = "".join(chr(number) for number in range(32, 127) if chr(number) not in "'\\!") + "é"
    line = shell_line(["printf", "%s,", signs, "", "x y"])
    ran = subprocess.run([shell, "-c", line], capture_output=True, check=True)
    assert ran.stdout.decode() == f"{signs},,x y,"


async def python_that_runs(path: str, home: str = "/nonexistent") -> bytes:
    """Return the version of the Python that the search finds."""
    argv = python_argv(None, "import sys; print('%d.%d' % sys.version_info[:2], sys.argv[1])", "hi")
    ran = await anyio.run_process(argv, env={"PATH": path, "HOME": home}, check=False)
    return ran.stdout.strip() or ran.stderr.strip()


NO_PYTHON = b"there is no python3, no python3.9 to python3.14, and no uv that has one"


@pytest.mark.anyio
@pytest.mark.backends("asyncio")
@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({"python3": "3.11", "python3_13": "3.13"}, b"3.11 hi"),
        ({"python3": "3.8", "python3_9": "3.9"}, b"3.9 hi"),
        ({"python3": "3.6", "python3_9": "3.9", "python3_13": "3.13"}, b"3.13 hi"),
        ({"python3_14": "3.8", "python3_10": "3.10"}, b"3.10 hi"),
        ({"python3": "3.8"}, b"3.8 hi"),
        ({"python": "3.11"}, NO_PYTHON),
        ({}, NO_PYTHON),
    ],
)
async def test_first_python_that_is_new_enough_runs(
    versions: dict[str, str], found: bytes, tmp_path: Path
) -> None:
    """Whatever its name promises; one that is too old runs if there is no other."""
    assert await python_that_runs(python_folder(tmp_path, **versions)) == found


@pytest.mark.anyio
@pytest.mark.backends("asyncio")
@pytest.mark.parametrize("place", ["bin", ".local/bin"])
async def test_uv_is_asked_for_a_python(place: str, tmp_path: Path) -> None:
    """In the PATH, or where it installs itself; it must not get one from the network."""
    folder = python_folder(tmp_path, python3="3.8")
    (tmp_path / place).mkdir(parents=True)
    uv = tmp_path / place / "uv"
    uv.write_text(f"""#!/bin/sh
[ "$*" = "python find --no-project --no-python-downloads >=3.9" ] && echo {sys.executable}
""")
    uv.chmod(0o755)
    own = "{}.{} hi".format(*sys.version_info).encode()
    assert await python_that_runs(f"{folder}:{tmp_path}/bin", str(tmp_path)) == own
    uv.write_text("#!/bin/sh\necho no Python >&2; exit 2\n")
    assert await python_that_runs(f"{folder}:{tmp_path}/bin", str(tmp_path)) == b"3.8 hi"


@pytest.mark.anyio
@pytest.mark.backends("asyncio")
@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8"])
async def test_python_that_is_too_old_says_so(version: str, tmp_path: Path) -> None:
    """Before any file of the agent is sent, named or found."""
    folder = python_folder(tmp_path, python3=version)
    for python in (None, str(tmp_path / "python3")):
        reason = await unreachable(
            in_shell("sh", str(ssh()(Host("h1", python=python)).argv[-1]), folder)
        )
        assert reason == (
            f"Python {version} on h1 is too old: currant needs 3.9 or newer; "
            "name another one by Host(python=...)"
        )


@pytest.mark.anyio
@pytest.mark.backends("asyncio")
async def test_host_without_python_says_so(tmp_path: Path) -> None:
    """With the names that were tried, or the one that was named."""
    folder = python_folder(tmp_path)
    line = str(ssh()(H1).argv[-1])
    assert await unreachable(in_shell("sh", line, folder)) == NO_PYTHON.decode()
    line = str(ssh()(Host("h1", python="python3.99")).argv[-1])
    assert "python3.99: not found" in await unreachable(in_shell("sh", line, folder))


# ---- programs ----

STUB = """#!/bin/sh
# Stands for {name}: drops its own words, and runs the rest here.
while [ "$1" != {last} ]; do shift; done
shift
exec "$@"
"""


@needs_proc
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("way", "name", "last"),
    [
        (kubectl(pod="p", container="c"), "kubectl", "--"),
        (docker(container="c"), "docker", "c"),
        (srun(), "srun", "--quiet"),
        (argv(["podman", "exec", "-i", "{address}"]), "podman", "h1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_whole_link_goes_through_the_program(
    way: ArgvConnect, name: str, last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no cluster and no daemon here, so another program of that name runs the rest."""
    stub = tmp_path / name
    stub.write_text(STUB.format(name=name, last=last))
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert await say_hi(way(Host("h1", python=sys.executable))) == b"hi\n"


@pytest.mark.anyio
@pytest.mark.backends("asyncio")
async def test_program_that_is_not_installed_is_named() -> None:
    """Here, not on the host."""
    way = ssh(program="/nonexistent/ssh")
    assert await unreachable(way(H1)) == "this machine has no program '/nonexistent/ssh'"


@pytest.mark.parametrize("count", [1, 3, 5])
def test_want_of_files_leaves_none_open(count: int) -> None:
    """A program near its limit tries again and again; the fixture of all tests looks for files."""
    with files_left(count), pytest.raises(OSError, match="Too many open files"):
        ArgvTransport(["cat"]).open()


# ---- hosts that turn connections away ----

BUSY = """
read count <{file}
echo $((count - 1)) >{file}
[ $count -le 0 ] && exec "$@"
echo "kex_exchange_identification: Connection closed by remote host" >&2
exit 255
"""


@needs_proc
@pytest.mark.anyio
async def test_connection_that_is_turned_away_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few times: a server of ssh drops some of many logins."""
    monkeypatch.setattr("currant._remote.connection.PAUSES", (0.0, 0.0))
    counter = tmp_path / "count"
    script = BUSY.format(file=counter)
    transport = ArgvTransport(["sh", "-c", script, "sh", *agent_argv(sys.executable)])
    counter.write_text("2\n")
    assert await say_hi(transport) == b"hi\n"
    counter.write_text("3\n")
    assert "Connection closed by remote host" in await unreachable(transport)
    assert counter.read_text() == "0\n"


@pytest.mark.parametrize(
    ("said", "is_temporary"),
    [
        ("kex_exchange_identification: read: Connection reset by peer", True),
        ("Warning: x\nssh_exchange_identification: Connection closed by remote host", True),
        ("stdio forwarding failed\nkex_exchange_identification: Connection closed", False),
        ("ssh: connect to host h1 port 22: Connection refused", False),
        ("Permission denied (publickey).", False),
        ("", False),
    ],
)
def test_only_a_server_that_hangs_up_at_once_is_tried_again(said: str, is_temporary: bool) -> None:
    """All other errors last."""
    transport = ArgvTransport(["true"])
    transport._said.append(said.encode())
    assert transport.was_turned_away() == is_temporary
