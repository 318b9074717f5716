// The least that tells of changes: a trigger notifies, and this posts what it hears. What is
// changed while it does not listen is lost, and nothing is tried twice.
//
// Usage: node notify.mjs DATABASE_URL RECEIVER_URL
import pg from "pg";
import { poster } from "./post.mjs";

const [databaseUrl, receiverUrl] = process.argv.slice(2);
const post = poster(receiverUrl);
const client = new pg.Client({ connectionString: databaseUrl });
await client.connect();
client.on("notification", ({ payload }) => {
  post(JSON.parse(payload).id, payload).catch((error) => {
    console.error(error);
    process.exit(1);
  });
});
await client.query("listen bench");
console.log("ready");
