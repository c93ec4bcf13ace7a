// Some days of a tenant by @microsoft/microsoft-graph-client: reads one JSON document from standard input, writes what
// came of it.
//
//   NODE_EXTRA_CA_CERTS=ca.pem node drive.mjs   <<< {"url": "https://localhost:8092", "token": ..., "users": [...]}
import { readFileSync } from "node:fs";
import { BatchRequestContent, Client, PageIterator } from "@microsoft/microsoft-graph-client";

const asked = JSON.parse(readFileSync(0, "utf-8"));
const client = Client.init({
  authProvider: (done) => done(null, asked.token),
  baseUrl: `${asked.url}/`,
  customHosts: new Set(["localhost"]),
});
const told = {};

const made = [];
for (const user of asked.users) made.push(await client.api("/users").post(user));
told.made = made.map((one) => one.userPrincipalName);
const taken = await client.api("/users").post(asked.users[0]).catch((error) => error);
told.taken = [taken.statusCode, taken.code, JSON.parse(taken.body).details?.[0]?.target];

const group = await client.api("/groups").post(asked.group);
const base = `${asked.url}/v1.0`;
const bound = made.map((one) => `${base}/directoryObjects/${one.id}`);
await client.api(`/groups/${group.id}`).patch({ "members@odata.bind": bound });
await client.api(`/groups/${group.id}/members/${made[0].id}/$ref`).delete();
told.members = (await client.api(`/groups/${group.id}/members`).select("id").get()).value.length;

const users = [];
const first = await client.api("/users").select("userPrincipalName,accountEnabled").top(2).get();
await new PageIterator(client, first, (one) => users.push(one.userPrincipalName)).iterate();
told.users = users;

let page = await client.api("/users/delta").select("displayName").get();
let changes = page.value.length;
while (page["@odata.nextLink"]) {
  page = await client.api(page["@odata.nextLink"]).get();
  changes += page.value.length;
}
told.changes = changes;
await client.api(`/users/${made[1].id}`).patch({ jobTitle: "Clerk" });
await client.api(`/users/${made[2].id}`).delete();
const since = await client.api(page["@odata.deltaLink"]).get();
told.since = since.value.map((one) => one["@removed"]?.reason ?? "row").sort();
const back = await client.api(`/directory/deletedItems/${made[2].id}/restore`).post({});
told.restored = back.userPrincipalName;

const parts = [made[0].id, "nobody"].map((id, number) => ({
  id: String(number + 1),
  request: new Request(`https://localhost/users/${id}`, { method: "GET" }),
}));
const batch = await client.api("/$batch").post(await new BatchRequestContent(parts).getContent());
told.batch = batch.responses.map((one) => [one.id, one.status]).sort();
console.log(JSON.stringify(told));
