"""Users and groups: whom a process runs as.

`subprocess` changes the user and leaves the groups of this program, so a command that root starts
as another user could still write what root's groups may write.  Here a user brings their own
groups, as with `su` and systemd.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from currant._values.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

if os.name == "posix":  # On other systems `require_posix` raises a clear error later.
    import grp
    import pwd

__all__ = ["Credentials", "credentials_of"]


class Credentials(NamedTuple):
    """The IDs that a process has; None: that of this program."""

    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None


def credentials_of(
    user: str | int | None, group: str | int | None, extra_groups: Sequence[str | int] | None
) -> Credentials:
    """Look up users and groups, and fill in the groups of a user.

    The user that this program runs as changes nothing, so naming that user takes no privilege.

    Raises:
        SetupError: the system has no such user or group, or does not know the groups of
            the user.
    """
    extra = None if extra_groups is None else tuple(map(_group_id, extra_groups))
    own = Credentials(None, None if group is None else _group_id(group), extra)
    if user is None:
        return own
    entry = _entry_of(user)
    number = user if isinstance(user, int) else entry.pw_uid if entry else None
    if number is None:
        raise SetupError(f"there is no user {user!r}")
    return own if number == os.getuid() == os.geteuid() else _with_groups(own, number, entry)


def _with_groups(own: Credentials, user: int, entry: pwd.struct_passwd | None) -> Credentials:
    group, extra = own.group, own.extra_groups
    if entry is None:
        if group is None:
            raise SetupError(f"the system does not know the group of user {user}; set it")
        return Credentials(user, group, extra or ())
    if group is None:
        group = entry.pw_gid
    if extra is None:
        extra = tuple(os.getgrouplist(entry.pw_name, group))
    return Credentials(user, group, extra)


def _entry_of(user: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:
        return None


def _group_id(group: str | int) -> int:
    if isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise SetupError(f"there is no group {group!r}") from None
