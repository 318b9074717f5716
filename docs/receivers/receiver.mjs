// Takes Rowcall's webhooks: each event is handled once, and what was lost is fetched. See README.md.
import { createHmac, timingSafeEqual } from "node:crypto";

export function verify(secret, headers, body) { // the event, or an error
  const [id, moment, given] = ["id", "timestamp", "signature"].map((part) => `${headers[`webhook-${part}`]}`);
  const mac = createHmac("sha256", Buffer.from(secret.replace("whsec_", ""), "base64"));
  const right = Buffer.from(`v1,${mac.update(`${id}.${moment}.`).update(body).digest("base64")}`);
  const isRight = (one) => one.length === right.length && timingSafeEqual(Buffer.from(one), right);
  const isRecent = Math.abs(Date.now() / 1000 - moment) <= 300;
  if (!isRecent || !given.split(" ").some(isRight)) throw new Error("not signed, or long ago");
  return JSON.parse(body);
}

export class Receiver { // yours adds since, handle and save, and sets top and missing
  async receive(event) {
    const isBeat = event.type === "rowcall.heartbeat";
    const lost = this.missing.filter((one) => isBeat && one <= event.data.settled_through);
    const until = Number(isBeat ? event.data.assigned : event.sequence - 1);
    await this.catchUp(Math.min(this.top + 1, ...lost) - 1, until);
    if (!isBeat) await this.take(Number(event.sequence), event);
  }

  async catchUp(after, until) { // what is settled and not here was lost; the rest is on its way
    for await (const { sequence, state, event } of after < until ? this.since(after) : [])
      if (!/pending|sending|held/.test(state)) await this.take(Number(sequence), event).catch(console.error);
  }

  async take(number, event) { // up to `top` all is done but what is `missing`
    if (number <= this.top && !this.missing.includes(number)) return;
    if (event) await this.handle(event);
    while (this.top < number) this.missing.push(++this.top);
    this.missing = this.missing.filter((one) => one !== number);
    await this.save();
  }
}
