"""Voter: a replica's share in elections: what the kernel may hear of votes, and when it may ask for some."""

from __future__ import annotations

from peercron.consensus.messages import Message
from peercron.consensus.outbox import Outbox
from peercron.consensus.raft import Kernel


class Voter(Outbox):
    """The messages of elections, judged by `Election` before the kernel sees them."""

    #: Do we count for majorities, by the newest configuration that we know? Others may know a newer one, so we answer
    #: whoever asks for our vote; but only who counts asks for votes.
    votes = False
    #: How often we stood.
    campaigns = 0

    def may_campaign(self) -> bool:
        if not self.votes:
            return False
        stand, round_number = self.election.may_stand(self._now_s, transferring=self.kernel.transferring)
        if round_number is not None:
            # Without a majority no term follows that would end the old leader's, and who asks would wait for the dead.
            self.kernel.forget_leader()
            term, index = self._position()
            for peer in self.kernel.voters:
                self.send(
                    peer,
                    {
                        "type": "prevote",
                        "round": round_number,
                        "term": self.kernel.term + 1,
                        "last_log_index": index,
                        "last_log_term": term,
                    },
                )
        stands = stand and self._may_trust_itself()
        self.campaigns += stands
        return stands

    def _on_request_vote(self, peer: str, message: Message) -> None:
        kernel, now = self.kernel, self._now_s
        if message["term"] < kernel.term:
            return self._notice(peer)
        if not message["transfer"] and message["term"] > kernel.term and self._bound_to_leader():
            return None
        if not self._would_vote(peer, message):
            # The term still counts: refusing to learn it would leave us behind for ever.
            message = dict(message, last_log_index=0, last_log_term=-1)
        if message["term"] == kernel.term and kernel.role == Kernel.CANDIDATE:
            kernel.campaign_at(self.election.split_retry_at(now))
        kernel.deliver(peer, message)
        return None

    def _on_response_vote(self, peer: str, message: Message) -> None:
        counts = peer in self.kernel.voters and message["term"] == self.kernel.term
        if counts and self.election.first_vote(message["term"], peer):
            self.kernel.deliver(peer, message)

    def _on_timeout_now(self, peer: str, message: Message) -> None:
        if message["term"] == self.kernel.term and not self.journal.doubt:
            self.kernel.deliver(peer, message)

    def _on_prevote(self, peer: str, message: Message) -> None:
        if message["term"] <= self.kernel.term:
            self._notice(peer)
        elif self._bound_to_leader():
            self.election.refuse_for_now(peer, message, self._now_s)
        elif self._would_vote(peer, message):
            self.send(peer, {"type": "prevote_ok", "round": message["round"]})

    def _on_prevote_ok(self, peer: str, message: Message) -> None:
        counts = peer in self.kernel.voters and not self.kernel.is_leader
        if counts and self.election.granted(peer, message["round"]):
            self.kernel.campaign_at(self._now_s - 1e-9)

    def _on_term_notice(self, peer: str, message: Message) -> None:
        """Somebody is in a later term: go there, as a follower (the kernel learns terms from requests for votes)."""
        if message["term"] > self.kernel.term:
            learn = {"type": "request_vote", "term": message["term"], "last_log_index": 0, "last_log_term": -1}
            self.kernel.deliver(peer, learn)

    def _on_position(self, peer: str, message: Message) -> None:
        self.election.told[peer] = ((message["last_log_term"], message["last_log_index"]), message["_t"])

    def _would_vote(self, peer: str, message: Message) -> bool:
        theirs = (message["last_log_term"], message["last_log_index"])
        return self.election.would_vote(peer, message["term"], self._position(), theirs, doubt=self.journal.doubt)

    def _may_trust_itself(self) -> bool:
        term = self.kernel.term + 1
        return self.election.would_vote(self.me, term, self._position(), self._position(), doubt=self.journal.doubt)

    def _bound_to_leader(self) -> bool:
        if self.kernel.is_leader:
            since = self._now_s - self.election.min_timeout_s
            return self.kernel.responded_since(since) >= self.kernel.quorum
        return self.election.hears_leader(self._now_s)

    def _notice(self, peer: str) -> None:
        self.send(peer, {"type": "term_notice", "term": self.kernel.term})

    def _position(self) -> tuple[int, int]:
        index, term = self.journal.last
        return term, index
