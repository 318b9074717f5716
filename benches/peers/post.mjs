// Posts a body and waits for the answer, over connections that stay open.
import http from "node:http";

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

export function poster(url) {
  return (id, body) =>
    new Promise((resolve, reject) => {
      const headers = {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "webhook-id": String(id),
      };
      const request = http.request(url, { agent, method: "POST", headers }, (response) => {
        const isDone = response.statusCode >= 200 && response.statusCode < 300;
        response.resume();
        response.on("end", () => (isDone ? resolve() : reject(new Error(response.statusCode))));
      });
      request.on("error", reject);
      request.end(body);
    });
}
