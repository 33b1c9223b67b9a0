"""The stack of a project, as a run of pytest with ``--currant-keep`` sees it."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING

import anyio
import pytest

from currant.pytest_plugin._project_stack import ProjectStack
from currant.stack._folder import StackPaths, runtime_folder
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


class EndingClient:
    """Talks to a stack whose last command has ended, and whose messages have ended."""

    async def list(self) -> SimpleNamespace:
        """Return no process that runs."""
        return SimpleNamespace(commands=())

    async def logs(self, last: int, *, follow: bool) -> AsyncIterator[None]:
        """Yield nothing more."""
        messages: tuple[None, ...] = ()
        for message in messages:
            yield message


@pytest.mark.usefixtures("runtime")
async def test_stack_that_is_about_to_end_has_ended_once_its_socket_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages end before the stack gives up its socket, and then a new stack may start."""
    stack = ProjectStack(str(tmp_path), ())
    monkeypatch.setattr(ProjectStack, "client", EndingClient())
    outcomes: list[bool] = []

    async def wait() -> None:
        outcomes.append(await stack.has_ended())

    path = StackPaths.of(str(tmp_path), runtime_folder(create=True)).socket
    with anyio.fail_after(LIMIT), socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(100)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert outcomes == []
            server.close()
    assert outcomes == [True]
