"""A server to try receiver.py with: prints each event once, and acknowledges it.

Usage: python3 docs/receivers/serve.py SECRET [PORT]     SECRET is the subscription's, whsec_...

With SINCE=http://127.0.0.1:8080/v1/subscriptions/<id>/since and KEY=<API key> in the environment it
fetches what was lost. STATE names the file in which it remembers what it has handled.
"""

import json, os, sys, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receiver import Receiver

PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 9000
SINCE, KEY, STATE = (os.environ.get(name) for name in ("SINCE", "KEY", "STATE"))


def since(after):
    if not SINCE:
        return {"items": [], "next": None}
    request = urllib.request.Request(f"{SINCE}/{after}", headers={"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def handle(event):
    print("verified", json.dumps(event, separators=(",", ":")), flush=True)


def save(state):  # in earnest: in the transaction of what handling the event writes
    if STATE:
        with open(STATE + ".new", "w") as file:
            json.dump(state, file)
        os.replace(STATE + ".new", STATE)


state = {"through": 0, "top": 0, "done": {}}
if STATE and os.path.exists(STATE):
    with open(STATE) as file:
        state = json.load(file)
receiver = Receiver(sys.argv[1], since, handle, state, save)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        try:
            status = receiver.receive(self.headers, body)
        except Exception as error:  # it is sent again
            status = 500
            print("failed", error, flush=True)
        if status == 401:
            print("REFUSED", flush=True)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", PORT), Handler)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
