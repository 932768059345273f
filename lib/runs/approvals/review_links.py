"""Links for reviewers without an account: one vote each, as the address they were made for.

A token names its approval, `rvw_<approval>_<secret>`, and its hash stands on
the approval itself: to use, revoke or expire a link is to change that one
record, in the transaction that takes the vote.

Whoever sees a link's address can vote by it. So it is shown only to those who
could decide without it, and to administrators alone where the vote would stand
under a colleague's name. To others it is only mailed, and only to somebody
whose word is known to be their own.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from lib.auth.email_address import normal_address
from lib.auth.secret_token import find_named, mint_for
from lib.clock import Clock
from lib.errors import Forbidden, Invalid, Unavailable
from lib.ids import Ids
from lib.manifest.policies import Approvals as Policy
from lib.runs.approvals.docket import Docket
from lib.runs.approvals.errors import ApprovalConflict, NotAVoter, ReviewNotFound, no_review
from lib.runs.approvals.voters import (
    People,
    Voter,
    check_has_not_voted,
    check_may_vote,
    names_of,
    starter_of,
    with_address,
)
from lib.storage.approval_records import Approval, ReviewLink
from lib.storage.ports import ApprovalNotFound, ApprovalStore, RunStore
from lib.storage.records import Ruling, RunChange, RunRecord

MAX_LINKS: Final = 50  # of one approval; they live on its record
TOKEN_PREFIX: Final = "rvw_"  # noqa: S105  a prefix, not a token
_ID_PREFIX: Final = "apr_"


class ReviewLinkNotFound(ReviewNotFound):
    """The approval has no link of this id."""

    code = "review_link_not_found"


class MailNotConfigured(Unavailable):
    """No mail server is set up."""

    code = "not_configured"


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link that was just made.

    Attributes:
        token: Goes into its address, and nowhere else.
        is_shown: Whether its maker may see the address; else it is only mailed.
    """

    link: ReviewLink
    token: str = field(repr=False)
    is_shown: bool


class ReviewLinks:
    """Makes, revokes and finds them. Any thread may call."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        docket: Docket,
        runs: RunStore,
        people: People,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._docket = docket
        self._runs = runs
        self._people = people
        self._clock = clock
        self._ids = ids

    def make(self, approval_id: str, *, email: str | None, maker: Voter, can_mail: bool) -> NewLink:
        """Make a link to a pending approval.

        Args:
            approval_id: The approval's.
            email: Whose vote it carries; None: whoever has it, where one vote of
                anybody decides.
            maker: Who asks for it.
            can_mail: Whether a link that its maker may not see reaches its reader.

        Raises:
            BadAddress: the address is none.
            ApprovalNotFound: there is no such approval.
            ApprovalConflict: it waits no more, that address has voted, or there
                are too many links.
            NotAVoter: neither maker nor address may vote.
            Forbidden: a link without an address is not for this maker.
            Invalid: one without an address cannot be made for this worker.
            MailNotConfigured: it could only be mailed.
        """
        email = None if email is None else normal_address(email)
        token = mint_for(TOKEN_PREFIX, approval_id)
        now = self._clock.now()
        link = ReviewLink(
            id=self._ids.new("lnk"),
            token_sha256=token.sha256,
            email=email,
            created_by=maker.id,
            created_at=now,
        )
        run = self._run_of(approval_id)
        starter = starter_of(run, self._people)
        maker = with_address(maker, self._people)
        if email is not None and self._people.is_disabled(email):
            raise NotAVoter("The account of this address is disabled.")
        reader = self._reader(link, address=None)
        is_shown = _may_see(run, maker, reader, starter)

        def judge(run: RunRecord, approval: Approval) -> Ruling:
            _check_waits(run, approval, now)
            _check_maker(run, maker, reader, starter)
            check_has_not_voted(approval, reader)
            if not is_shown and not can_mail:
                raise MailNotConfigured(
                    "This link can only be mailed, or be made by an administrator: "
                    "set FLOOM_SMTP_URL."
                )
            if len(approval.links) >= MAX_LINKS:
                raise ApprovalConflict(f"There are {MAX_LINKS} links to this approval already.")
            added = replace(approval, links=(*approval.links, link))
            return Ruling(RunChange(run, approval=added))

        self._docket.decide(approval_id, judge, now=now)
        return NewLink(link, token.value, is_shown)

    def revoke(self, approval_id: str, link_id: str, *, maker: Voter) -> None:
        """Make a link good for nothing; a vote that it carried stays.

        Raises:
            ApprovalNotFound, ReviewLinkNotFound: there is no such thing.
            NotAVoter: the caller is neither an administrator nor may vote.
        """
        now = self._clock.now()
        starter = starter_of(self._run_of(approval_id), self._people)
        maker = with_address(maker, self._people)

        def judge(run: RunRecord, approval: Approval) -> Ruling | None:
            if not maker.is_admin:
                check_may_vote(run, maker, starter=starter)
            if all(link.id != link_id for link in approval.links):
                raise ReviewLinkNotFound(f"Approval {approval.id} has no link {link_id}.")
            links = tuple(_revoked(link, now) if link.id == link_id else link
                          for link in approval.links)  # fmt: skip
            if links == approval.links:
                return None
            return Ruling(RunChange(run, approval=replace(approval, links=links)))

        self._docket.decide(approval_id, judge, now=now)

    def find(self, token: str) -> tuple[Approval, ReviewLink]:
        """Return the open review that a token leads to.

        Raises:
            ReviewNotFound: unknown, used, revoked, expired or decided, all alike.
        """
        named = find_named(TOKEN_PREFIX, token.encode(errors="replace"))
        if named is None:
            raise no_review()
        try:
            approval = self._store.get(_ID_PREFIX + named.ulid)
        except ApprovalNotFound:
            raise no_review() from None
        for link in approval.links:
            if hmac.compare_digest(link.token_sha256, named.sha256):
                return self._open(approval, link)
        raise no_review()

    def reader_of(self, link: ReviewLink, *, address: str) -> Voter:
        """Return whose vote a link carries."""
        return self._reader(link, address=address)

    def _open(self, approval: Approval, link: ReviewLink) -> tuple[Approval, ReviewLink]:
        is_over = not approval.is_pending or self._clock.now() >= approval.expires_at
        is_shut_out = link.email is not None and self._people.is_disabled(link.email)
        if is_over or is_shut_out or approval.find_link(link.id) is None:
            raise no_review()
        return approval, link

    def _reader(self, link: ReviewLink, *, address: str | None) -> Voter:
        user_id = None if link.email is None else self._people.find_user_id(link.email)
        return Voter(
            id=user_id or link.email or link.id,
            email=link.email,
            method="link",
            address=address,
            link_id=link.id,
        )

    def _run_of(self, approval_id: str) -> RunRecord:
        return self._runs.get(self._store.get(approval_id).run_id)


def _check_waits(run: RunRecord, approval: Approval, now: datetime) -> None:
    if not approval.is_pending or now >= approval.expires_at:
        raise ApprovalConflict(f"Run {run.id} waits for no decision any more.")


def _check_maker(run: RunRecord, maker: Voter, reader: Voter, starter: frozenset[str]) -> None:
    """Check that the maker may hand out this reader's vote.

    Raises:
        NotAVoter, Forbidden, Invalid: see ReviewLinks.make.
    """
    if reader.email is None:
        _check_needs_no_name(run, maker)
        return
    check_may_vote(run, reader, starter=starter)
    if maker.is_admin:
        return
    check_may_vote(run, maker, starter=starter)
    if not _is_known(run, reader) and not _may_decide_alone(run, maker, starter):
        raise NotAVoter(
            "Nobody here has this address, so its word may be anybody's: an administrator can "
            "make this link."
        )


def _check_needs_no_name(run: RunRecord, maker: Voter) -> None:
    policy = run.policy.approvals or Policy()
    if not maker.is_admin:
        raise Forbidden("Only an administrator can make a link for nobody in particular.")
    if policy.approvers or not policy.allow_self or policy.required_approvals > 1:
        raise Invalid("Say for whom the link is: who votes matters to this worker.")


def _is_known(run: RunRecord, reader: Voter) -> bool:
    """Whether a reader has an account, or is an approver."""
    policy = run.policy.approvals or Policy()
    return reader.id != reader.email or not reader.names.isdisjoint(names_of(policy.approvers))


def _may_see(run: RunRecord, maker: Voter, reader: Voter, starter: frozenset[str]) -> bool:
    """Whether the maker may see the link's address, and so vote by it."""
    if maker.is_admin:
        return True
    is_colleague = _is_known(run, reader) and reader.likenesses.isdisjoint(maker.likenesses)
    return not is_colleague and _may_decide_alone(run, maker, starter)


def _may_decide_alone(run: RunRecord, maker: Voter, starter: frozenset[str]) -> bool:
    """Whether the maker could do by one vote of their own what the link can do."""
    policy = run.policy.approvals or Policy()
    if maker.is_admin:
        return True
    try:
        check_may_vote(run, maker, starter=starter)
    except NotAVoter:
        return False
    return policy.required_approvals == 1


def _revoked(link: ReviewLink, now: datetime) -> ReviewLink:
    return link if link.revoked_at is not None else replace(link, revoked_at=now)
