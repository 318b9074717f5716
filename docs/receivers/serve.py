"""A server to try receiver.py with: prints each event once, and acknowledges it.

Usage: python3 docs/receivers/serve.py SECRET [PORT]     SECRET is the subscription's, whsec_...

With SINCE=http://127.0.0.1:8080/v1/subscriptions/<id>/since and KEY=<API key> in the environment it
fetches what was lost. STATE names the file in which it remembers what it has handled.
"""

import json, os, sys, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from receiver import Receiver, verify

SECRET = sys.argv[1]
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 9000
SINCE, KEY, STATE = (os.environ.get(name) for name in ("SINCE", "KEY", "STATE"))


class Printer(Receiver):
    top, missing = 0, set()

    def load(self):  # in earnest: in the transaction of what handling the event writes
        if STATE and os.path.exists(STATE):
            with open(STATE) as file:
                state = json.load(file)
            self.top, self.missing = state["top"], set(state["missing"])

    def save(self):  # in the same
        if STATE:
            with open(STATE + ".new", "w") as file:
                json.dump({"top": self.top, "missing": sorted(self.missing)}, file)
            os.replace(STATE + ".new", STATE)

    def handle(self, event):
        print("verified", json.dumps(event, separators=(",", ":")), flush=True)

    def since(self, after):  # the items behind a number, page after page
        while SINCE and after is not None:
            request = urllib.request.Request(f"{SINCE}/{after}", headers={"authorization": f"Bearer {KEY}"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                page = json.load(answer)
            yield from page["items"]
            after = page["next"]


printer = Printer()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        self.send_response(self.status(body))
        self.send_header("content-length", "0")
        self.end_headers()

    def status(self, body):
        try:
            event = verify(SECRET, self.headers, body)
        except ValueError:
            print("REFUSED", flush=True)
            return 401
        try:
            printer.load()
            printer.receive(event)
        except Exception as error:  # it is sent again
            print("failed", error, flush=True)
            return 500
        return 204

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", PORT), Handler)  # one request after the other
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
