// A server to try receiver.mjs with: prints each event once, and acknowledges it.
//
// Usage: node docs/receivers/serve.mjs SECRET [PORT]      SECRET is the subscription's, whsec_...
//
// With SINCE=http://127.0.0.1:8080/v1/subscriptions/<id>/since and KEY=<API key> in the environment it
// fetches what was lost. STATE names the file in which it remembers what it has handled.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { Receiver, verify } from "./receiver.mjs";

const { SINCE, KEY, STATE } = process.env;
const [secret, port = "9000"] = process.argv.slice(2);

class Printer extends Receiver {
  top = 0;
  missing = [];

  load() { // in earnest: in the transaction of what handling the event writes
    if (STATE && existsSync(STATE)) Object.assign(this, JSON.parse(readFileSync(STATE)));
  }

  save() { // in the same
    if (!STATE) return;
    writeFileSync(`${STATE}.new`, JSON.stringify({ top: this.top, missing: this.missing }));
    renameSync(`${STATE}.new`, STATE);
  }

  handle(event) {
    console.log("verified", JSON.stringify(event));
  }

  async *since(after) { // the items behind a number, page after page
    while (SINCE && after !== null) {
      const headers = { authorization: `Bearer ${KEY}` };
      const answer = await fetch(`${SINCE}/${after}`, { headers, signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(`Rowcall answered ${answer.status}`);
      const page = await answer.json();
      yield* page.items;
      after = page.next;
    }
  }
}

const printer = new Printer();

async function status(headers, body) {
  let event;
  try {
    event = verify(secret, headers, body);
  } catch {
    console.log("REFUSED");
    return 401;
  }
  try {
    printer.load();
    await printer.receive(event);
  } catch (error) { // it is sent again
    console.log("failed", error.message);
    return 500;
  }
  return 204;
}

let turn = Promise.resolve(); // one request after the other
const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  turn = turn.then(() => status(request.headers, Buffer.concat(parts)));
  response.statusCode = await turn;
  response.end();
});
server.listen(Number(port), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
