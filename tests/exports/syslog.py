"""Takes syslog messages: syslog.py tcp|udp|tls [CERTIFICATE KEY]. Says where it listens; reads one connection to its end, or datagrams.

A line on standard input asks for what was taken: one JSON line, read by an independent parser of RFC 5424.
"""

import json
import socket
import ssl
import sys
import threading

from syslog_rfc5424_parser import SyslogMessage

KIND = sys.argv[1]
MESSAGES = []
DONE = threading.Event()


def frames(data: bytes):
    """Octet counting, RFC 6587 section 3.4.1."""
    while data:
        length, _, rest = data.partition(b" ")
        yield rest[: int(length)]
        assert len(rest) >= int(length), "the last message is cut"
        data = rest[int(length) :]


def stream(listener):
    connection, _ = listener.accept()
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    MESSAGES.extend(frames(data))
    DONE.set()


def datagrams(receiver):
    while True:
        MESSAGES.append(receiver.recv(65536))


if KIND == "udp":
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    DONE.set()
else:
    listener = socket.create_server(("127.0.0.1", 0))
    if KIND == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        listener = context.wrap_socket(listener, server_side=True)
port = listener.getsockname()[1]
threading.Thread(target=datagrams if KIND == "udp" else stream, args=(listener,), daemon=True).start()
print(port, flush=True)
wanted = int(sys.stdin.readline())
DONE.wait(30)
while len(MESSAGES) < wanted and KIND == "udp":
    threading.Event().wait(0.01)
print(json.dumps([SyslogMessage.parse(message.decode()).as_dict() for message in MESSAGES]), flush=True)
