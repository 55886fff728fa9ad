"""Takes OpenTelemetry logs: otlp.py [CERTIFICATE KEY]. Says where it listens, is busy once, and then takes what comes.

A line on standard input asks for what was taken: one JSON line, read with OpenTelemetry's own definitions.
"""

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

REQUESTS = []
BUSY = [True]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/logs" or self.headers["content-type"] != "application/x-protobuf":
            return self.answer(400, b"not for logs")
        if BUSY:
            BUSY.clear()
            return self.answer(503, b"", ("retry-after", "0"))
        REQUESTS.append((self.headers["authorization"], ExportLogsServiceRequest.FromString(body)))
        return self.answer(200, ExportLogsServiceResponse().SerializeToString())

    def answer(self, status, body, *fields):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def plain(value):
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [plain(one) for one in found.values] if kind == "array_value" else found


def attributes(pairs):
    return {pair.key: plain(pair.value) for pair in pairs}


def record(log):
    return {
        "time": log.time_unix_nano,
        "observed": log.observed_time_unix_nano,
        "severity": log.severity_number,
        "word": log.severity_text,
        "event": log.event_name,
        "body": plain(log.body),
        "attributes": attributes(log.attributes),
    }


def taken():
    for authorization, request in REQUESTS:
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                yield {
                    "authorization": authorization,
                    "resource": attributes(resource.resource.attributes),
                    "scope": scope.scope.name,
                    "records": [record(log) for log in scope.log_records],
                }


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.readline()
print(json.dumps(list(taken())), flush=True)
