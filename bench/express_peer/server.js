// The benchmark's peer: the same two requests on the product's original stack, Express
// with express-session, connect-redis and node-redis, written plainly and left as they
// come: the login for the whole application, as express-session's own README shows it.
// Where there was a choice it is the one that is cheaper for the peer: a login is stored
// only where someone signs in, the media are read by F alone, and both counters leave in
// one packet.
"use strict";

const express = require("express");
const session = require("express-session");
const { RedisStore } = require("connect-redis");
const { createClient } = require("redis");

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const redis = createClient({ url: process.env.REDIS_URL });
const app = express();
const login = session({
  name: "connect.sid",
  secret: "not a secret: this server lives for one benchmark",
  store: new RedisStore({ client: redis }),
  resave: false,
  saveUninitialized: false,
  cookie: { httpOnly: true, sameSite: "lax", maxAge: 7 * 86400 * 1000 },
});

app.use(login);

const notFound = (res) =>
  res.status(404).json({ error: "Not Found", message: "Shared session not found" });

async function find(code) {
  const id = UUID.test(code) ? await redis.get(`share:${code}`) : null;
  const fields = id ? await redis.hGetAll(`session:{${id}}`) : {};
  return fields.title ? { id, ...fields } : null;
}

const count = (id, event) => {
  const day = new Date().toISOString().slice(0, 10);
  return Promise.all([
    redis.hIncrBy(`session:{${id}}:stats`, event, 1),
    redis.hIncrBy(`session:{${id}}:daily`, `${day}:${event}`, 1),
  ]);
};

app.post("/api/login", (req, res) => {
  req.session.userId = "recipient";
  res.json({ id: req.session.userId });
});

app.get("/api/shared/:code/preview", async (req, res) => {
  const found = await find(req.params.code);
  if (!found) return notFound(res);
  await count(found.id, "opens");
  const { id, userId, isPublic, updatedAt, ...preview } = found;
  res.json({ shareCode: req.params.code, ...preview });
});

app.get("/api/shared/:code", async (req, res) => {
  if (!req.session.userId) return res.status(401).json({ error: "Unauthorized" });
  const found = await find(req.params.code);
  if (!found) return notFound(res);
  const media = JSON.parse(await redis.get(`session:{${found.id}}:media`));
  await count(found.id, "plays");
  const { userId, ...shown } = found;
  res.json({ session: shown, media });
});

redis.connect().then(() => app.listen(Number(process.env.PORT), "127.0.0.1"));
