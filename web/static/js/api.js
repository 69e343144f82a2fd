// The API, asked as this page: same site, with its CSRF token. Every failure becomes a `Problem` with the request's id.

const ROOT = document.querySelector('meta[name="application-root"]')?.content ?? "";
const API = `${ROOT}/api/v1`;

export class Problem extends Error {
  constructor({ status = 0, title = "", detail = "", request_id = null, reason = null }) {
    super(detail || title || "Something went wrong.");
    Object.assign(this, { status, title, requestId: request_id, reason });
  }

  get expired() {
    return this.status === 404 || this.status === 410;
  }
}

export const queryBase = (id) => `${API}/queries/${encodeURIComponent(id)}`;
export const caseBase = (ref) => `${API}/cases/${encodeURIComponent(ref)}`;

/** Sends the files; resolves to the new query's id. `onSent(share 0 to 1)` while the bytes leave. */
export function send(files, { onSent, signal }) {
  const body = new FormData();
  files.forEach((file, number) => body.append("files", file, `scan-${number}`)); // file names stay here
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${API}/queries`);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.setRequestHeader("Prefer", "respond-async");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onSent(event.loaded / event.total));
    request.addEventListener("load", () => {
      if (request.status < 300 && request.response?.id) resolve(request.response.id);
      else reject(problem(request.status, request.response, request.getResponseHeader("X-Request-ID")));
    });
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

export async function askByCase(ref, { signal }) {
  const told = await call(`${caseBase(ref)}/queries`, { method: "POST", headers: { Prefer: "respond-async" }, signal });
  return told.id;
}

export function ask(id, parameters = new URLSearchParams(), { signal } = {}) {
  const query = parameters.toString();
  return call(`${queryBase(id)}${query ? `?${query}` : ""}`, { signal });
}

export function forget(id) {
  return call(queryBase(id), { method: "DELETE", keepalive: true }).catch(() => undefined);
}

/** {gone: which of these cases may be shown no more, over: whether the question is, snapshot: the name of the one served}. */
export function stillShown(query, refs) {
  return call(`${ROOT}/watch`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ query, refs }) });
}

export const filters = () => call(`${API}/filters`);

export async function sampleFile(number, { signal }) {
  const response = await fetch(`${ROOT}/samples/${number}`, { signal }).catch(rethrow);
  if (!response.ok) throw problem(response.status, null, response.headers.get("X-Request-ID"));
  return response.blob();
}

async function call(path, { method = "GET", signal, headers: more = {}, keepalive, body } = {}) {
  const response = await fetch(path, { method, signal, keepalive, body, credentials: "same-origin", headers: { ...headers(), ...more } }).catch(rethrow);
  if (response.status === 204) return null;
  const told = await response.json().catch(() => null);
  if (!response.ok || told === null) throw problem(response.status, told, response.headers.get("X-Request-ID"));
  return told;
}

function headers() {
  return { Accept: "application/json", "X-CSRF-Token": document.querySelector('meta[name="csrf-token"]')?.content ?? "" };
}

function problem(status, told, requestId) {
  const known = {
    0: "The server cannot be reached.",
    401: "You are signed out. Load this page again to sign in.",
    413: "This is more than the server takes at once. Send one study, or only its series of the chest.",
    429: "Too many requests in a short time. Wait a minute, then try again.",
  };
  const found = { title: "The server could not do this", detail: known[status], request_id: requestId, ...(told ?? {}), status };
  return new Problem(status === 401 ? { ...found, title: "You are signed out", detail: known[401] } : found);
}

function unreachable() {
  return new Problem({ title: "The server cannot be reached", detail: "The connection was lost. Check the network, then try again." });
}

function rethrow(error) {
  throw error.name === "AbortError" ? error : unreachable();
}
