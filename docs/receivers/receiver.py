"""Takes Rowcall's webhooks: each event is handled once, and what was lost is fetched. See README.md."""
import base64, hmac, json, logging, time


def verify(secret, headers, body):  # the event, or a ValueError
    id, moment, given = (headers.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature"))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    right = b"v1," + base64.b64encode(hmac.digest(key, f"{id}.{moment}.".encode() + body, "sha256"))
    is_right = any(hmac.compare_digest(right, one) for one in given.encode().split())
    if not is_right or abs(time.time() - int(moment)) > 300:
        raise ValueError("not signed, or long ago")
    return json.loads(body)


class Receiver:  # yours adds since, handle and save, and sets top and missing
    def receive(self, event):
        if event["type"] == "rowcall.heartbeat":
            lost = [one for one in self.missing if one <= int(event["data"]["settled_through"])]
            return self.catch_up(min(lost, default=self.top + 1) - 1, int(event["data"]["assigned"]))
        self.catch_up(self.top, int(event["sequence"]) - 1)
        self.take(int(event["sequence"]), event)

    def catch_up(self, after, until):  # what is settled and not here was lost; the rest is on its way
        for item in self.since(after) if after < until else ():
            if item.get("state") not in ("pending", "sending", "held"):
                try:
                    self.take(int(item["sequence"]), item.get("event"))
                except Exception:
                    logging.exception("event %s waits for a heartbeat", item["sequence"])

    def take(self, number, event):  # up to `top` all is done but what is `missing`
        if number > self.top or number in self.missing:
            if event:
                self.handle(event)
            self.missing = {*self.missing, *range(self.top + 1, number)} - {number}
            self.top = max(self.top, number)
            self.save()
