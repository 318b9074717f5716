// Takes Rowcall's webhooks: each event is handled once, and what was lost is fetched. See README.md.
import { createHmac, timingSafeEqual } from "node:crypto";

export class Receiver {
  constructor(secret, since, handle, state, save) {
    Object.assign(this, { since, handle, state, save, turn: Promise.resolve() });
    this.key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  }

  receive(headers, body) { // the status to answer with; one request after the other
    return (this.turn = this.turn.catch(() => {}).then(() => this.one(headers, body)));
  }

  async one(headers, body) {
    const moment = headers["webhook-timestamp"] ?? "", signed = `${headers["webhook-id"]}.${moment}.`;
    const mac = createHmac("sha256", this.key).update(signed).update(body).digest("base64");
    const right = Buffer.from(`v1,${mac}`);
    const given = (headers["webhook-signature"] ?? "").split(" ").map((one) => Buffer.from(one));
    const isRecent = /^\d+$/.test(moment) && Math.abs(Date.now() / 1000 - moment) <= 300;
    const isRight = (one) => one.length === right.length && timingSafeEqual(one, right);
    if (!isRecent || !given.some(isRight)) return 401;
    const event = JSON.parse(body);
    if (event.type === "rowcall.heartbeat") {
      await this.catchUp(this.state.through, Number(event.data.settled_through));
      await this.catchUp(this.state.top, Number(event.data.assigned));
    } else {
      await this.catchUp(this.state.top, Number(event.sequence) - 1);
      await this.take(Number(event.sequence), event);
    }
    return 204;
  }

  async catchUp(after, until) { // of a hole, what is settled was lost; the rest is on its way
    while (after < until) {
      const page = await this.since(after);
      for (const item of page.items) {
        after = Number(item.sequence);
        const isSettled = item.tombstone || item.state === "delivered" || item.state === "dead";
        const failed = (error) => console.error(`event ${item.sequence} could not be handled: ${error}`);
        if (isSettled) await this.take(after, item.event).catch(failed); // a heartbeat comes back to it
      }
      this.state.top = Math.max(this.state.top, after);
      until = page.next ? until : after;
    }
  }

  async take(number, event) { // all up to `through` are done; `done`: those beyond it
    const { state, state: { done } } = this, id = event?.id ?? `none for ${number}`;
    if (number <= state.through || Object.values(done).includes(id)) return;
    if (event) await this.handle(event);
    done[number] = id;
    for (; done[state.through + 1]; state.through++) delete done[state.through + 1];
    state.top = Math.max(state.top, number);
    await this.save(state);
  }
}
