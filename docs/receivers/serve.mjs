// A server to try receiver.mjs with: prints each event once, and acknowledges it.
//
// Usage: node docs/receivers/serve.mjs SECRET [PORT]      SECRET is the subscription's, whsec_...
//
// With SINCE=http://127.0.0.1:8080/v1/subscriptions/<id>/since and KEY=<API key> in the environment it
// fetches what was lost. STATE names the file in which it remembers what it has handled.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { Receiver } from "./receiver.mjs";

const { SINCE, KEY, STATE } = process.env;
const [secret, port = "9000"] = process.argv.slice(2);

async function since(after) {
  if (!SINCE) return { items: [], next: null };
  const headers = { authorization: `Bearer ${KEY}` };
  const answer = await fetch(`${SINCE}/${after}`, { headers, signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw new Error(`Rowcall answered ${answer.status}`);
  return answer.json();
}

function handle(event) {
  console.log("verified", JSON.stringify(event));
}

function save(state) { // in earnest: in the transaction of what handling the event writes
  if (!STATE) return;
  writeFileSync(`${STATE}.new`, JSON.stringify(state));
  renameSync(`${STATE}.new`, STATE);
}

const known = STATE && existsSync(STATE) && JSON.parse(readFileSync(STATE));
const receiver = new Receiver(secret, since, handle, known || { through: 0, top: 0, done: {} }, save);

const server = createServer(async (request, response) => {
  try {
    const parts = [];
    for await (const part of request) parts.push(part);
    response.statusCode = await receiver.receive(request.headers, Buffer.concat(parts));
    if (response.statusCode === 401) console.log("REFUSED");
  } catch (error) { // it is sent again
    response.statusCode = 500;
    console.log("failed", error.message);
  }
  response.end();
});
server.listen(Number(port), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
