"""Links for reviewers without an account."""

from __future__ import annotations

import pytest

from lib.errors import Forbidden, Invalid
from lib.runs.approvals.ballots import Ballot
from lib.runs.approvals.errors import ApprovalConflict, NotAVoter, ReviewNotFound
from lib.runs.approvals.review_links import MailNotConfigured, NewLink, ReviewLinkNotFound
from lib.storage.approval_records import Approval
from lib.storage.ports import ApprovalNotFound
from tests.lib.runs.approvals.conftest import PAYLOAD, Propose, approve, voter
from tests.lib.runs.world import World

ADMIN = voter("usr_root", is_admin=True)
BOB = voter("usr_bob", email="bob@example.com")


def make(
    world: World,
    approval: Approval,
    email: str | None = "eve@example.org",
    maker=BOB,
    *,
    can_mail: bool = False,
) -> NewLink:
    return world.review_links.make(approval.id, email=email, maker=maker, can_mail=can_mail)


def vote(world: World, made: NewLink, **fields):
    """Vote by a link, as a handler does."""
    approval, link = world.review_links.find(made.token)
    reader = world.review_links.reader_of(link, address="192.0.2.9")
    fields.setdefault("proposal_sha256", approval.proposal_sha256)
    return world.decisions.approve(approval.id, Ballot(voter=reader, **fields))


def test_its_one_vote_counts_as_the_address(world: World, propose: Propose) -> None:
    approval = propose()
    made = make(world, approval)
    assert made.is_shown
    assert made.token not in repr(world.approvals.get(approval.id))
    outcome = vote(world, made, edited_output={**PAYLOAD, "text": "By Eve"}, reason="Kinder")
    assert outcome.status == "approved"
    decided = world.approvals.get(approval.id)
    (cast,) = decided.votes
    assert (cast.voter, cast.method, cast.link_id) == ("eve@example.org", "link", made.link.id)
    assert (cast.reason, cast.address, cast.edited) == ("Kinder", "192.0.2.9", True)
    with pytest.raises(ReviewNotFound):
        world.review_links.find(made.token)


def test_unknown_used_revoked_and_expired_are_told_alike(world: World, propose: Propose) -> None:
    told = set()

    def refused(token: str) -> None:
        with pytest.raises(ReviewNotFound) as ex:
            world.review_links.find(token)
        told.add((ex.value.code, ex.value.detail))

    approval = propose("required: true, required_approvals: 2")
    used, revoked, late = (make(world, approval, f"{n}@example.org", ADMIN) for n in "abc")
    for token in (
        "",
        "x",
        used.token[:-1] + "-",
        used.token + "a",
        "rvw_" + "0" * 26 + "_" + "a" * 43,
    ):
        refused(token)
    other = propose()
    refused(f"rvw_{other.id.removeprefix('apr_')}_{used.token.rpartition('_')[2]}")
    vote(world, used)
    refused(used.token)
    world.review_links.revoke(approval.id, revoked.link.id, maker=ADMIN)
    refused(revoked.token)
    world.clock.advance(hours=72)
    refused(late.token)
    assert len(told) == 1


def test_a_link_that_was_revoked_between_look_and_vote_counts_nothing(
    world: World, propose: Propose
) -> None:
    approval = propose()
    made = make(world, approval)
    found, link = world.review_links.find(made.token)
    world.review_links.revoke(approval.id, made.link.id, maker=BOB)
    world.review_links.revoke(approval.id, made.link.id, maker=BOB)
    reader = world.review_links.reader_of(link, address="")
    cast = Ballot(voter=reader, proposal_sha256=found.proposal_sha256)
    with pytest.raises(ReviewNotFound):
        world.decisions.approve(approval.id, cast)


def test_two_votes_by_one_link_at_once(world: World, propose: Propose) -> None:
    approval = propose("required: true, required_approvals: 2")
    made = make(world, approval, maker=ADMIN)
    found, link = world.review_links.find(made.token)
    reader = world.review_links.reader_of(link, address="")
    cast = Ballot(voter=reader, proposal_sha256=found.proposal_sha256)
    world.decisions.approve(approval.id, cast)
    with pytest.raises(ReviewNotFound):
        world.decisions.approve(approval.id, cast)
    assert len(world.approvals.get(approval.id).counted) == 1


def test_a_vote_by_a_link_names_its_proposal(world: World, propose: Propose) -> None:
    made = make(world, propose())
    with pytest.raises(Invalid):
        vote(world, made, proposal_sha256=None)


class TestNoWayAround:
    def test_approvers(self, world: World, propose: Propose) -> None:
        approval = propose("required: true, approvers: [bob@example.com, eve@example.org]")
        for email in ("mallory@example.org", None):
            with pytest.raises((NotAVoter, Invalid)):
                make(world, approval, email, ADMIN)
        assert make(world, approval, "EVE@example.org".lower(), ADMIN).is_shown
        with pytest.raises(NotAVoter):
            make(world, approval, "eve@example.org", voter("usr_cyd"))

    def test_allow_self(self, world: World, propose: Propose) -> None:
        world.people.emails |= {"usr_ada": "ada@example.com", "usr_bob": "bob@example.com"}
        approval = propose("required: true, allow_self: false")
        ada = voter("usr_ada", email="ada@example.com")
        for email, maker in (
            ("ada@example.com", ADMIN),
            ("ada@example.com", BOB),
            ("bob@example.com", ada),
            ("ada.private@example.org", ada),
            ("eve@example.org", voter("local-user", "shared_secret")),
        ):
            with pytest.raises(NotAVoter):
                make(world, approval, email, maker)
        with pytest.raises(Invalid):
            make(world, approval, None, ADMIN)

    def test_the_quorum(self, world: World, propose: Propose) -> None:
        """A voter who could read another's link would have two votes."""
        world.people.emails |= {"usr_cyd": "cyd@example.com", "usr_bob": "bob@example.com"}
        approval = propose("required: true, required_approvals: 2")
        with pytest.raises(NotAVoter):
            make(world, approval, "bob.private@example.org", BOB, can_mail=True)
        with pytest.raises(MailNotConfigured):
            make(world, approval, "cyd@example.com", BOB)
        made = make(world, approval, "cyd@example.com", BOB, can_mail=True)
        assert not made.is_shown
        assert vote(world, made).given == 1
        assert world.approvals.get(approval.id).votes[0].voter == "usr_cyd"
        with pytest.raises(ApprovalConflict):
            approve(world, approval, voter=voter("usr_cyd", email="cyd@example.com"))
        with pytest.raises(ApprovalConflict):
            make(world, approval, "cyd@example.com", ADMIN)

    def test_a_link_to_a_colleagues_vote_is_only_mailed(
        self, world: World, propose: Propose
    ) -> None:
        """Or whoever makes it could decide under their name."""
        world.people.emails |= {"usr_cyd": "cyd@example.com", "usr_bob": "bob@example.com"}
        approval = propose("required: true, approvers: [usr_bob, usr_cyd, dan@example.com]")
        for colleague in ("cyd@example.com", "dan@example.com"):
            with pytest.raises(MailNotConfigured):
                make(world, approval, colleague, BOB)
            assert not make(world, approval, colleague, BOB, can_mail=True).is_shown
            assert make(world, approval, colleague, ADMIN).is_shown
        assert make(world, approval, "bob@example.com", BOB).is_shown

    def test_nobody_in_particular(self, world: World, propose: Propose) -> None:
        approval = propose()
        with pytest.raises(Forbidden):
            make(world, approval, None, BOB)
        made = make(world, approval, None, ADMIN)
        vote(world, made)
        assert world.approvals.get(approval.id).decided_by == made.link.id


def test_links_end_with_their_approval(world: World, propose: Propose) -> None:
    approval = propose()
    made = make(world, approval)
    approve(world, approval)
    with pytest.raises(ReviewNotFound):
        world.review_links.find(made.token)
    with pytest.raises(ApprovalConflict):
        make(world, approval)


def test_what_is_not_there(world: World, propose: Propose) -> None:
    approval = propose()
    with pytest.raises(ReviewLinkNotFound):
        world.review_links.revoke(approval.id, "lnk_0", maker=ADMIN)
    with pytest.raises(ApprovalNotFound):
        world.review_links.revoke("apr_0", "lnk_0", maker=ADMIN)
    with pytest.raises(ApprovalNotFound):
        world.review_links.make("apr_0", email=None, maker=ADMIN, can_mail=False)


def test_there_is_an_end_to_them(world: World, propose: Propose) -> None:
    approval = propose()
    for number in range(50):
        make(world, approval, f"{number}@example.org")
    with pytest.raises(ApprovalConflict, match="50 links"):
        make(world, approval)


def test_who_was_shut_out_has_no_say(world: World, propose: Propose) -> None:
    approval = propose()
    made = make(world, approval)
    world.people.disabled.add("eve@example.org")
    with pytest.raises(ReviewNotFound):
        world.review_links.find(made.token)
    with pytest.raises(NotAVoter):
        make(world, approval)
