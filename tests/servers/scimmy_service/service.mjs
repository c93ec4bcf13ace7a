// A SCIM service in memory: the protocol is scimmy's and scimmy-routers' own; only the shelves are ours.
//
//   node service.mjs PORT TOKEN
import { randomUUID } from "node:crypto";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const [port, token] = process.argv.slice(2);

function keep(type, naming, unique) {
  const shelf = new Map();
  const names = new Map();

  type.ingress((resource, data) => {
    const id = resource.id ?? randomUUID();
    const before = shelf.get(id);
    if (resource.id && !before) throw new SCIMMY.Types.Error(404, null, `Resource ${id} not found`);
    const entry = JSON.parse(JSON.stringify(data));
    const name = String(entry[naming]).toLowerCase();
    if (unique && names.has(name) && names.get(name) !== id) {
      throw new SCIMMY.Types.Error(409, "uniqueness", `${naming} is taken`);
    }
    if (before) names.delete(String(before[naming]).toLowerCase());
    names.set(name, id);
    const now = new Date().toISOString();
    entry.id = id;
    entry.meta = { ...entry.meta, created: before?.meta.created ?? now, lastModified: now };
    shelf.set(id, entry);
    return structuredClone(entry);
  });
  type.egress((resource) => {
    if (!resource.id) return structuredClone(resource.filter ? resource.filter.match([...shelf.values()]) : [...shelf.values()]);
    if (!shelf.has(resource.id)) throw new SCIMMY.Types.Error(404, null, `Resource ${resource.id} not found`);
    return structuredClone(shelf.get(resource.id));
  });
  type.degress((resource) => {
    const entry = shelf.get(resource.id);
    if (!entry) throw new SCIMMY.Types.Error(404, null, `Resource ${resource.id} not found`);
    names.delete(String(entry[naming]).toLowerCase());
    shelf.delete(resource.id);
  });
}

SCIMMY.Config.set({ patch: true, bulk: { supported: true, maxOperations: 500, maxPayloadSize: 1_000_000 }, filter: { supported: true, maxResults: 1000 } });
keep(SCIMMY.Resources.declare(SCIMMY.Resources.User), "userName", true);
SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser, false);
keep(SCIMMY.Resources.declare(SCIMMY.Resources.Group), "displayName", false);

const app = express();
app.use("/scim", new SCIMMYRouters({
  type: "bearer",
  handler: (request) => {
    if (request.header("Authorization") !== `Bearer ${token}`) throw new Error("The token is not valid");
    return "provisor";
  },
}));
app.listen(Number(port), "127.0.0.1");
