"""A mail server on this machine that keeps what it is sent."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """What the mail server has taken; it refuses while ``full``."""

    def __init__(self, port: int) -> None:
        self.address = f"mailto://127.0.0.1:{port}/?from=provisor@example.com&to=ops@example.com"
        """As a job names it."""
        self.mails: list[EmailMessage] = []
        self.full = False

    async def handle_DATA(  # noqa: N802 (the name that the server calls)
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.full:
            return "452 mailbox full"
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    def body(self, number: int = -1) -> str:
        """The plain text of a mail, by default the last one's."""
        found = self.mails[number].get_body(("plain",))
        assert found is not None
        return str(found.get_content()).replace("\r\n", "\n")


@contextmanager
def open_mailbox() -> Iterator[Mailbox]:
    """A mailbox whose server runs until the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mailbox = Mailbox(port)
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        yield mailbox
    finally:
        server.stop()
