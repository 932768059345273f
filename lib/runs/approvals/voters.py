"""Who votes, and whose vote counts.

A person may be known by a user id, by an address, or by both: two votes are one
person's as soon as they share a name. Where a name lets somebody in, it is that
name, in any case; where it keeps somebody out, one that looks like it is enough. The built-in account, whose credential is
the shared secret, names nobody. Where it matters who votes its word does not
count, and a run that it started may be anybody's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from lib.auth.principal import LOCAL_USER_ID
from lib.manifest.policies import Approvals
from lib.runs.approvals.errors import ApprovalConflict, NotAVoter
from lib.storage.approval_records import Approval, VoteMethod
from lib.storage.records import RunRecord

_KELVIN: Final = "\u212a"  # the one other character whose lower case is in ASCII


class People(Protocol):
    """Accounts by id and by address."""

    def find_email(self, user_id: str) -> str | None:
        """Return the address of an account, if it has one."""
        ...

    def find_user_id(self, email: str) -> str | None:
        """Return the account of an address, any case, if there is one."""
        ...

    def is_disabled(self, email: str) -> bool:
        """Return whether the account of an address was disabled; False without one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Voter:
    """Somebody whose vote is at hand.

    Attributes:
        id: A user id; without an account the address, or the id of a link.
        address: Where the request came from; None for the system.
        link_id: Of the review link that carries the vote.
    """

    id: str
    email: str | None = None
    method: VoteMethod
    is_admin: bool = False
    address: str | None = None
    link_id: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """All that the person is known by."""
        return names_of((self.id, self.email))

    @property
    def likenesses(self) -> frozenset[str]:
        """All that the person may be known by."""
        return likenesses_of((self.id, self.email))

    @property
    def is_unnamed(self) -> bool:
        """Whether it may be anybody who knows the shared secret."""
        return self.id == LOCAL_USER_ID


def names_of(names: Iterable[str | None]) -> frozenset[str]:
    """Return names as they are compared where they let somebody in.

    Only case is nothing: to fold `ß` or the long `s` as well would take another
    mailbox, which anybody may own, for an approver's.
    """
    return frozenset(_lower(name) for name in names if name)


def likenesses_of(names: Iterable[str | None]) -> frozenset[str]:
    """Return names as they are compared where they keep somebody out: by what they look like."""
    return frozenset(_folded(name) for name in names if name)


def _lower(name: str) -> str:
    """Return a name in lower case, composed as accounts' are; the kelvin sign is no `k`."""
    lower = "".join(each if each == _KELVIN else each.lower() for each in name)
    return unicodedata.normalize("NFC", lower)


def _folded(name: str) -> str:
    once = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", once).casefold()


def starter_of(run: RunRecord, people: People) -> frozenset[str]:
    """Return likenesses of whoever started a run; nothing where that was a clock."""
    by = run.trigger.by
    return frozenset() if by is None else likenesses_of((by, people.find_email(by)))


def with_address(voter: Voter, people: People) -> Voter:
    """Return a voter under all names of theirs: not every credential says the address."""
    return voter if voter.email else replace(voter, email=people.find_email(voter.id))


def check_may_vote(run: RunRecord, voter: Voter, *, starter: frozenset[str]) -> None:
    """Check that a voter's word counts on this run's proposal.

    Raises:
        NotAVoter: says why not.
    """
    policy = run.policy.approvals or Approvals()
    if policy.approvers and not voter.names & names_of(policy.approvers):
        raise NotAVoter("Only the approvers that worker.yml lists may decide on this run.")
    if voter.is_unnamed and voter.method != "local" and policy.required_approvals > 1:
        raise NotAVoter(
            "The shared secret names nobody, and here several people must agree: sign in to vote."
        )
    if not policy.allow_self:
        _check_is_another(voter, starter)


def _check_is_another(voter: Voter, starter: frozenset[str]) -> None:
    if voter.likenesses & starter:
        raise NotAVoter("Whoever started this run may not decide on it; ask somebody else.")
    if voter.is_unnamed:
        raise NotAVoter(
            "The shared secret names nobody, and whoever started this run may not decide on it: "
            "sign in to vote."
        )
    if LOCAL_USER_ID in starter and not voter.is_admin:
        raise NotAVoter(
            "This run was started with the shared secret, which names nobody: only an "
            "administrator may decide on it."
        )


def check_has_not_voted(approval: Approval, voter: Voter) -> None:
    """Check that a voter has not voted for the present proposal. Raises ApprovalConflict."""
    for vote in approval.counted:
        if likenesses_of((vote.voter, vote.email)) & voter.likenesses:
            raise ApprovalConflict(f"{vote.voter} has voted for this proposal already.")
