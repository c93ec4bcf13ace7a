// Some days of an org by jsforce: reads one JSON document from standard input, writes what came of it.
//
//   node drive.mjs   <<< {"url": ..., "token": ..., "users": [...], "broken": {...}}
import { readFileSync } from "node:fs";
import jsforce from "jsforce";

const asked = JSON.parse(readFileSync(0, "utf-8"));
const connection = new jsforce.Connection({ instanceUrl: asked.url, accessToken: asked.token, version: "67.0" });
const many = { allOrNone: false };
const told = {};

const described = await connection.sobject("User").describe();
told.username = described.fields.find((one) => one.name === "Username").length;
const profiles = await connection.sobject("Profile").find({ Name: "Standard User" }, ["Id"]);
const withProfile = [...asked.users, asked.broken].map((one) => ({ ...one, ProfileId: profiles[0].Id }));
const made = await connection.sobject("User").create(withProfile, many);
told.made = made.map((one) => (one.success ? "made" : one.errors[0].statusCode));
const ids = made.filter((one) => one.success).map((one) => one.id);
const changed = await connection.sobject("User").update(
  ids.slice(0, 2).map((Id) => ({ Id, Title: "Clerk", IsActive: false })),
  many,
);
told.changed = changed.map((one) => one.success);

const group = await connection.sobject("Group").create({ Name: "Sales & Co", DeveloperName: "Sales", Type: "Regular" });
const edges = ids.map((id) => ({ GroupId: group.id, UserOrGroupId: id }));
const joined = await connection.sobject("GroupMember").create(edges, many);
const left = await connection.sobject("GroupMember").destroy([joined[0].id], many);
told.members = [joined.length, left[0].success];

const query = connection.query("SELECT Id, Username, LastName, Title, IsActive, Profile.Name FROM User", {
  autoFetch: true,
  maxFetch: 10000,
});
told.users = (await query).records.map(({ Username, LastName, Title, IsActive, Profile }) => [
  Username,
  LastName,
  Title,
  IsActive,
  Profile?.Name ?? null,
]);
told.left = await connection.sobject("GroupMember").count({ GroupId: group.id });
const gone = await connection.sobject("User").destroy(ids[0]).catch((error) => error);
told.refusal = gone.errorCode ?? gone.errors?.[0]?.statusCode;
told.usage = connection.limitInfo.apiUsage.limit;
console.log(JSON.stringify(told));
