"""Takes Rowcall's webhooks: each event is handled once, and what was lost is fetched. See README.md."""
import base64, hmac, json, sys, time

class Receiver:
    def __init__(self, secret, since, handle, state, save):
        self.key = base64.b64decode(secret.removeprefix("whsec_"))
        self.since, self.handle, self.state, self.save = since, handle, state, save

    def receive(self, headers, body):  # the status to answer with
        moment = headers.get("webhook-timestamp") or ""
        signed = f"{headers.get('webhook-id')}.{moment}.".encode() + body
        right = b"v1," + base64.b64encode(hmac.digest(self.key, signed, "sha256"))
        given = (headers.get("webhook-signature") or "").encode().split()
        is_recent = moment.isdecimal() and abs(time.time() - int(moment)) <= 300
        if not is_recent or not any(hmac.compare_digest(right, one) for one in given):
            return 401
        event = json.loads(body)
        if event["type"] == "rowcall.heartbeat":
            self.catch_up(self.state["through"], int(event["data"]["settled_through"]))
            self.catch_up(self.state["top"], int(event["data"]["assigned"]))
        else:
            self.catch_up(self.state["top"], int(event["sequence"]) - 1)
            self.take(int(event["sequence"]), event)
        return 204

    def catch_up(self, after, until):  # of a hole, what is settled was lost; the rest is on its way
        while after < until:
            page = self.since(after)
            for item in page["items"]:
                after = int(item["sequence"])
                try:
                    if "tombstone" in item or item["state"] in ("delivered", "dead"):
                        self.take(after, item.get("event"))
                except Exception as error:  # a heartbeat comes back to it
                    print(f"event {after} could not be handled: {error}", file=sys.stderr)
            self.state["top"] = max(self.state["top"], after)
            until = until if page["next"] else after

    def take(self, number, event):  # all up to `through` are done; `done`: those beyond it
        state, done = self.state, self.state["done"]
        id = event["id"] if event else f"none for {number}"
        if number > state["through"] and id not in done.values():
            if event:
                self.handle(event)
            done[str(number)] = id
            while done.pop(str(state["through"] + 1), None):
                state["through"] += 1
            state["top"] = max(state["top"], number)
            self.save(state)
