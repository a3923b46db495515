"""A mail server on loopback that speaks SMTP with a password, in the clear and in TLS, and a proxy that stands for any service behind TLS."""

import base64
import json
import queue
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from typing import Any, Literal, NamedTuple

import trustme

USER, PASSWORD = "watch", "mail-password"


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail of those who know the password; `is_away` refuses everybody.

    Where it has TLS, from the first byte (`ssl`) or after STARTTLS, it hears no password and no mail in the clear.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, mode: Literal["insecure", "ssl", "starttls"] = "insecure") -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mode = mode
        self.authority = trustme.CA()
        self.heard: queue.Queue[Message] = queue.Queue()
        self.said: list[tuple[bool, str]] = []
        """(whether in TLS, the command) of all that clients said."""
        self.is_away = False

    @property
    def address(self) -> str:
        return self.write_address(self.mode)

    def write_address(self, mode: str) -> str:
        """Write the address as Apprise takes it, for a server that is thought to be of a mode."""
        scheme = "mailto" if mode == "insecure" else "mailtos"
        port = self.server_address[1]
        return f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{port}?from=watch@example.com&to=me@example.com&mode={mode}"

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Speak TLS from here on, with a certificate of our authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        return context.wrap_socket(connection, server_side=True)


class _Session(socketserver.StreamRequestHandler):
    """One conversation."""

    server: MailServer

    def handle(self) -> None:
        if self.server.is_away:
            self.say("421 closing")
            return
        try:
            if self.server.mode == "ssl":
                self.secure()
            self.say("220 loopback ESMTP")
            self.talk()
        except (ssl.SSLError, ConnectionError):
            return  # a client that does not trust us, or does not speak TLS
        finally:
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.close()

    def secure(self) -> None:
        """Go on in TLS."""
        self.connection = self.server.wrap(self.request)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)

    def talk(self) -> None:
        """Answer until the client goes."""
        is_known = False
        for line in iter(lambda: self.rfile.readline(), b""):
            verb, _, rest = line.decode().strip().partition(" ")
            is_secure = isinstance(self.connection, ssl.SSLSocket)
            self.server.said.append((is_secure, verb.upper()))
            match verb.upper():
                case "EHLO":
                    has_tls = self.server.mode == "starttls" and not is_secure
                    self.say("250-loopback", "250 STARTTLS" if has_tls else "250 AUTH PLAIN")
                case "STARTTLS":
                    self.say("220 go on")
                    self.secure()
                case "AUTH" | "MAIL" if self.server.mode != "insecure" and not is_secure:
                    self.say("530 not in the clear")
                case "AUTH":
                    given = base64.b64decode(rest.split(" ")[1]).split(b"\0")[1:]
                    is_known = given == [USER.encode(), PASSWORD.encode()]
                    self.say("235 welcome" if is_known else "535 wrong password")
                case "MAIL" | "RCPT":
                    self.say("250 ok" if is_known else "530 who are you?")
                case "DATA":
                    self.say("354 go on")
                    body = b"".join(iter(self.rfile.readline, b".\r\n"))
                    self.server.heard.put(message_from_bytes(body.replace(b"\r\n..", b"\r\n.")))
                    self.say("250 taken")
                case "QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 ok")

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


class Heard(NamedTuple):
    """One request that came through the proxy."""

    host: str
    path: str
    body: dict[str, Any]


class Proxy(socketserver.ThreadingTCPServer):
    """Answers every tunnel itself, with a certificate for the host that is asked for."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.authority = trustme.CA()
        self.heard: queue.Queue[Heard] = queue.Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Tunnel(socketserver.StreamRequestHandler):
    """One tunnel, one request."""

    server: Proxy

    def handle(self) -> None:
        host = self.rfile.readline().decode().split(" ")[1].partition(":")[0]
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 connected\r\n\r\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.authority.issue_cert(host).configure_cert(context)
        with context.wrap_socket(self.connection, server_side=True) as inner, inner.makefile("rwb") as stream:
            path = stream.readline().decode().split(" ")[1]
            length = 0
            while line := stream.readline().strip():
                name, _, value = line.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            self.server.heard.put(Heard(host, path, json.loads(stream.read(length) or b"{}")))
            answer = b"ok" if "slack" in host else b'{"ok": true, "result": {"message_id": 1}}'
            stream.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
            )
            stream.flush()


@contextmanager
def serve(server: socketserver.TCPServer) -> Iterator[None]:
    """Run a server in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
