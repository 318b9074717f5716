"""A receiver to try Rowcall with: verifies each webhook, prints it, and acknowledges it.

Usage: python3 docs/receiver.py SECRET [PORT]     SECRET is the subscription's, whsec_...

It needs nothing but Python. In earnest take a Standard Webhooks library (standardwebhooks.com), and
answer 2xx only when the event is stored: what was acknowledged is not sent again.
"""

import base64
import hashlib
import hmac
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

KEY = base64.b64decode(sys.argv[1].removeprefix("whsec_"))
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 9000
TOLERANCE_S = 300


def is_genuine(headers, body):
    identity, moment = headers["webhook-id"] or "", headers["webhook-timestamp"] or "0"
    signed = f"{identity}.{moment}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    given = (headers["webhook-signature"] or "").split()
    is_recent = moment.isdigit() and abs(time.time() - int(moment)) <= TOLERANCE_S
    return is_recent and any(hmac.compare_digest(expected, one) for one in given)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        genuine = is_genuine(self.headers, body)
        print("verified" if genuine else "REFUSED", body.decode(), flush=True)
        self.send_response(204 if genuine else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
