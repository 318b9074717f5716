"""Verifies one webhook with the verifier that Standard Webhooks publishes.

Reads {"id", "timestamp", "signature", "body", "secret"} as JSON from standard input and prints
`verified`, or `refused: ` and the reason. The exit code is 0 in both cases: a refusal is an answer.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = json.load(sys.stdin)
headers = {
    "webhook-id": webhook["id"],
    "webhook-timestamp": webhook["timestamp"],
    "webhook-signature": webhook["signature"],
}
try:
    Webhook(webhook["secret"]).verify(webhook["body"], headers)
    print("verified")
except WebhookVerificationError as error:
    print(f"refused: {error}")
