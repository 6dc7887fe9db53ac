// The benchmark's peer: the same two requests on Express, express-session, connect-redis
// and node-redis, written plainly and left as they come. Where there was a choice it is
// the one that is cheaper for the peer: a login is stored only where someone signs in,
// the media are read by F alone, and both counters leave in one packet.
"use strict";

const express = require("express");
const session = require("express-session");
const { RedisStore } = require("connect-redis");
const { createClient } = require("redis");

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const redis = createClient({ url: process.env.REDIS_URL });
const app = express();

app.use(session({
  name: "connect.sid",
  secret: "not a secret: this server lives for one benchmark",
  store: new RedisStore({ client: redis }),
  resave: false,
  saveUninitialized: false,
  cookie: { httpOnly: true, sameSite: "lax", maxAge: 7 * 86400 * 1000 },
}));

async function shared(req, res, event, answer) {
  const code = req.params.code;
  const id = UUID.test(code) ? await redis.get(`share:${code}`) : null;
  const fields = id ? await redis.hGetAll(`session:{${id}}`) : {};
  if (!fields.title) return res.status(404).json({ error: "Not Found" });
  const day = new Date().toISOString().slice(0, 10);
  await Promise.all([
    redis.hIncrBy(`session:{${id}}:stats`, event, 1),
    redis.hIncrBy(`session:{${id}}:daily`, `${day}:${event}`, 1),
  ]);
  res.json(await answer(id, fields));
}

app.post("/api/login", (req, res) => {
  req.session.userId = "recipient";
  res.json({ id: req.session.userId });
});

app.get("/api/shared/:code/preview", (req, res) =>
  shared(req, res, "opens", (id, { userId, isPublic, updatedAt, ...preview }) =>
    ({ shareCode: req.params.code, ...preview })));

app.get("/api/shared/:code", (req, res) => {
  if (!req.session.userId) return res.status(401).json({ error: "Unauthorized" });
  return shared(req, res, "plays", async (id, { userId, ...shown }) =>
    ({ session: shown, media: JSON.parse(await redis.get(`session:{${id}}:media`)) }));
});

redis.connect().then(() => app.listen(Number(process.env.PORT), "127.0.0.1"));
