// The one place that speaks to the node: requests, the access token, what went wrong, and the cluster's clock.

const TOKEN = "peercron-token";
/** No answer within this is none. */
const PATIENCE_MS = 8000;

/** What went wrong: `status` 0: no answer. */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** The access token of this tab; it is gone when the tab is closed. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN) || "",
  set: (text) => (text ? sessionStorage.setItem(TOKEN, text) : sessionStorage.removeItem(TOKEN)),
};

// The Date header has whole seconds: the largest difference that was seen lately is nearest to the truth.
let offsets = [];

/** Milliseconds since 1970 by the clock of the node. */
export function now() {
  return Date.now() + (offsets.length ? Math.max(...offsets) : 0);
}

function set(date, received) {
  const at = Date.parse(date || "");
  if (at) offsets = [...offsets.slice(-20), at - received];
}

/** The answer of the node; Problem where it is none, or a refusal. */
export async function fetched(path, options = {}, patience = PATIENCE_MS) {
  const gone = new AbortController();
  const timer = setTimeout(() => gone.abort(), patience);
  const stop = () => gone.abort();
  options.signal?.addEventListener("abort", stop, { once: true });
  const headers = { ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, signal: gone.signal, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, "unreachable", "the node does not answer");
  } finally {
    clearTimeout(timer);
  }
  set(answer.headers.get("Date"), Date.now());
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function refusal(answer) {
  try {
    const told = await answer.json();
    const errors = (told.errors || []).map((each) => `${each.path}: ${each.message}`);
    return new Problem(answer.status, told.code, told.detail || errors.join("; ") || told.title);
  } catch {
    return new Problem(answer.status, "", `the node answered ${answer.status}`);
  }
}

/** JSON of a read, as this node knows it now: a page wants to see something also where there is no leader. */
export async function read(path, signal) {
  const stale = `${path}${path.includes("?") ? "&" : "?"}consistency=stale`;
  return json(await fetched(stale, { signal }), signal);
}

/** JSON of the answer to a write, which is done once, however often it is sent. */
export async function write(path) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return json(await fetched(path, { method: "POST", headers: { "Idempotency-Key": key } }));
}

async function json(answer, signal) {
  try {
    return await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "unreachable", "the node broke off its answer");
  }
}

/** The part of a path that names a job or a run: its slash is written as %2F. */
export function part(name) {
  return encodeURIComponent(name);
}
