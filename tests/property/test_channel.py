"""Messages arrive whole and in order, however they are written together, and with the descriptors that are theirs."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise._runtime.channel import Channel

Message = tuple[int, bool, bool]  # Bytes, whether it passes a descriptor, and whether another one follows.

MESSAGES = st.lists(
    st.tuples(st.sampled_from([0, 1, 500, 70_000]), st.booleans(), st.booleans()), min_size=1, max_size=40
)


def pair() -> tuple[Channel, Channel]:
    """Return two ends of a channel that holds little at a time."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return Channel(ours), Channel(theirs)


def check(arrived: list[tuple[int, bytes, bool]], sent: list[Message], receiver: Channel) -> None:
    """Every message is there once, in order; what was written to each descriptor can be read from it."""
    assert [(number, len(text), passes) for number, text, passes in arrived] == [
        (number, size, passes) for number, (size, passes, _) in enumerate(sent)
    ]
    for number, _, passes in arrived:
        if passes:
            descriptor = receiver.received_descriptors.popleft()
            assert os.pread(descriptor, 100, 0) == b"%d" % number
            os.close(descriptor)
    assert not receiver.received_descriptors


def described(number: int, *, passes: bool) -> list[int]:
    """Return a descriptor that tells the message's number, where it is to pass one."""
    if not passes:
        return []
    descriptor = os.memfd_create("test")
    os.write(descriptor, b"%d" % number)
    return [descriptor]


pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the test makes its descriptors with memfd")


@settings(deadline=None)
@given(MESSAGES)
def test_a_sender_that_blocks(messages: list[Message]) -> None:
    """As worker processes do."""
    sender, receiver = pair()
    last = len(messages) - 1

    def send() -> None:
        for number, (size, passes, more) in enumerate(messages):
            given = described(number, passes=passes)
            sender.send((number, b"x" * size, passes), given, more=more and number < last)
            sent.extend(given)

    sent: list[int] = []
    thread = threading.Thread(target=send)
    thread.start()
    arrived = [receiver.receive() for _ in messages]
    thread.join()
    check(arrived, messages, receiver)  # type: ignore[arg-type]
    for descriptor in sent:
        os.close(descriptor)
    sender.close()
    receiver.close()


@settings(deadline=None)
@given(MESSAGES)
def test_a_sender_that_does_not_block(messages: list[Message]) -> None:
    """As the calling process does: what the socket does not take waits."""
    sender, receiver = pair()
    sender.sock.setblocking(False)
    receiver.sock.setblocking(False)
    arrived = []
    sent = []
    for number, (size, passes, more) in enumerate(messages):
        given = described(number, passes=passes)
        sender.queue((number, b"x" * size, passes), given, more=more)
        sent.extend(given)
    while sender.flush() or sender.pending:
        arrived += receiver.receive_ready()
    arrived += receiver.receive_ready()
    check(arrived, messages, receiver)  # type: ignore[arg-type]
    for descriptor in sent:
        os.close(descriptor)
    sender.close()
    receiver.close()


def test_what_waits_for_more_is_written_with_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten messages are one system call."""
    sender, receiver = pair()
    calls = []

    class Counted:
        def sendmsg(self, views: list[memoryview]) -> int:
            calls.append(len(views))
            return sock.sendmsg(views)

    sock = sender.sock
    monkeypatch.setattr(sender, "sock", Counted())
    for number in range(10):
        sender.send((number,), more=number < 9)
    assert [receiver.receive() for _ in range(10)] == [(number,) for number in range(10)]
    assert calls == [20]
    sock.close()
    receiver.close()
