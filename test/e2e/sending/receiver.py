"""A receiver of webhooks with nothing but Python's standard library. One line of JSON per request; it checks the signature itself."""

import base64
import hashlib
import hmac
import http.server
import json
import sys

secret = base64.b64decode(sys.argv[1].removeprefix("whsec_"))
seen = set()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        key = self.headers["idempotency-key"]
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        again = key in seen
        seen.add(key)
        # The first request of all fails: what comes next must be the same one.
        status = 503 if len(seen) == 1 and not again else 204
        line = {
            "event": self.headers["hubline-event"],
            "topic": self.headers["hubline-topic"],
            "body": body.decode(),
            "genuine": self.headers["webhook-signature"] == f"v1,{expected}",
            "again": again,
            "status": status,
        }
        print(json.dumps(line), flush=True)
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
