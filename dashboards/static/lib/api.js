/** JSON over fetch. Every failure is an ApiError that says what, likely cause and next step. */
export class ApiError extends Error {
  constructor(body, status) {
    super(body.what ?? `The server answered ${status}.`);
    Object.assign(this, { status, what: this.message, cause: body.cause ?? "", next: body.next ?? "", id: body.id ?? "" });
  }
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, { headers: { accept: "application/json" }, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ what: "The page server does not answer.", cause: "It stopped or restarts.",
      next: "Wait; this page tries again by itself. See: twinflow status" }, 0);
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(body.what ? body : body.detail ?? {}, answer.status);
  return body;
}

/** GET /api/path?params; null and undefined params are left out. */
export function get(path, params = {}, signal = undefined) {
  const q = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== null && v !== undefined));
  return ask(q.size ? `${path}?${q}` : path, { signal });
}

/** POST a JSON body. */
export const post = (path, body) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

let known = null;
/** What this installation can do, e.g. {commands: true}; {} until the server says so. Asked once, again after a failure. */
export function features() {
  known ??= get("features").catch(() => { known = null; return {}; });
  return known;
}

/** Call `fetchOne` now and again `everyMs` after each answer while `alive()`; results to `ok`, failures to `bad`.
    Returns a function that asks at once. A hidden page does not ask. */
export function poll(everyMs, alive, fetchOne, ok, bad) {
  let timer = 0, turn = 0;
  const round = async () => {
    clearTimeout(timer);
    const mine = ++turn;
    if (!alive()) return;
    try {
      if (document.visibilityState !== "hidden") {
        const result = await fetchOne();
        if (mine === turn && alive()) ok(result);
      }
    } catch (error) { if (mine === turn && alive()) bad(error); }
    if (mine === turn) timer = setTimeout(round, everyMs);
  };
  round();
  return round;
}
