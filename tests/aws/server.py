"""Loopback servers for run.sh: an EC2 instance's metadata service, and HTTPS files. Each prints its port and serves until killed.

server.py metadata STATUS      answers every GET with this status: 200 as IMDSv1 does, 401 where only IMDSv2 is let in
server.py files FOLDER PEM     serves a folder's files over HTTPS with the key and certificate in PEM
"""

import functools
import http.server
import ssl
import sys


class Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


if sys.argv[1] == "metadata":
    server = http.server.HTTPServer(("127.0.0.1", 0), Metadata)
else:
    server = http.server.HTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=sys.argv[2]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
