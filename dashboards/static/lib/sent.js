/** Commands sent from this page, followed until they end. All go by POST to the API and from there to the gate. */
import { post } from "./api.js";
import { commands, onCommands, verdict } from "./commands.js";

const GIVE_UP_MS = 60_000, AGAIN_MS = 400;
const followed = new Map();  // key -> {id, state: sending|waiting|confirmed|ended|failed, said, sinceMs, command}
const hearers = new Set(), watchers = new Set();
let dropFollow = null, poll = 0;

/** Called with a command sent from here when it has ended. */
export const onEnd = (fn) => { hearers.add(fn); };

function tell() { commands.tell(); for (const fn of [...watchers]) fn(); }

export const sent = {
  onChange(fn) { watchers.add(fn); return () => watchers.delete(fn); },
  of: (key) => followed.get(key) ?? null,
  /** Whether a command of this id was sent from here and is not known to have ended. */
  asked: (id) => [...followed.values()].some((f) => f.id !== null && f.id === id && f.state === "waiting"),
  get busy() { return [...followed.values()].filter((f) => f.state === "sending" || f.state === "waiting").length; },
  forget(key) { followed.delete(key); tell(); },
  /** POST to the gate; resolves to the id, or null when it was not taken. */
  async send(key, body) {
    if (["sending", "waiting"].includes(followed.get(key)?.state)) return null;
    const entry = { id: null, state: "sending", said: "", sinceMs: Date.now(), command: null };
    followed.set(key, entry);
    tell();
    try {
      entry.id = (await post("commands", body)).id;
      entry.state = "waiting";
    } catch (error) { Object.assign(entry, { state: "failed", said: [error.what, error.cause, error.next].filter(Boolean).join(" ") }); }
    dropFollow ??= commands.watch(() => {});
    clearInterval(poll);
    poll = setInterval(() => { giveUp(); if (sent.busy) commands.again(); else rest(); }, AGAIN_MS);
    if (entry.id) commands.again();
    tell();
    return entry.id;
  },
};

function rest() { clearInterval(poll); dropFollow?.(); dropFollow = null; }

function giveUp() {
  for (const entry of followed.values()) {
    if (entry.state !== "waiting" || entry.command || Date.now() - entry.sinceMs < GIVE_UP_MS) continue;
    Object.assign(entry, { state: "failed", said: `The gate says nothing of ${entry.id} after ${GIVE_UP_MS / 1000} s. It may be down; see: twinflow status` });
    tell();
  }
}

onCommands((list) => {
  for (const entry of followed.values()) {
    const c = entry.state === "waiting" && list.find((found) => found.id === entry.id);
    if (!c) continue;
    entry.command = c;
    if (!c.end) continue;
    entry.state = c.end === "effect" ? "confirmed" : "ended";
    entry.said = c.end === "effect" ? "" : verdict(c)[0];
    for (const fn of hearers) fn(c);
  }
  for (const fn of [...watchers]) fn();
});
