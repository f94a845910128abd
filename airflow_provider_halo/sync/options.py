"""What a sync is to do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SyncOptions"]


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """What a sync is to do, the same for every batch of a run.

    :param only: names of the plan's parts to send (``companies``, ``users.context.onboarding``, ``links`` …); empty
        for all.
    :param full: send everything again, whatever the ledger says. Without a ledger every sync is full.
    :param dry_run: read, check and count, but send nothing.
    :param link_users: link each user to its company, one call per user. None: yes.
    :param update_only: skip users that Halo doesn't know.
    :param retry_rejected: try records again that Halo has refused and that haven't changed since.
    :param activity: send the user by users/identify, which marks it as active now. Only for a batch of one user.
    """

    only: tuple[str, ...] = ()
    full: bool = False
    dry_run: bool = False
    link_users: bool | None = None
    update_only: bool = False
    retry_rejected: bool = False
    activity: bool = False
