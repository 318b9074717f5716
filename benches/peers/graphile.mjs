// graphile-worker: a trigger adds a job for each row, and its task posts it.
//
// Usage: node graphile.mjs DATABASE_URL RECEIVER_URL migrate|default|many|tuned
import { run, runMigrations } from "graphile-worker";
import { poster } from "./post.mjs";

const [connectionString, receiverUrl, way] = process.argv.slice(2);
const post = poster(receiverUrl);

// As many jobs at once as in the measurements on its own page about performance; its default is one,
// which waits for each answer before it sends the next.
const many = { concurrentJobs: 24, maxPoolSize: 25 };
// What that page adds.
const tuned = { ...many, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };

const worker = { connectionString, ...{ many, tuned }[way] };
if (way === "migrate") {
  await runMigrations({ preset: { worker } });
} else {
  const runner = await run({
    preset: { worker },
    taskList: { post: (payload) => post(payload.id, JSON.stringify(payload)) },
  });
  console.log("ready");
  await runner.promise;
}
