// The search page's way: a scan comes in, is followed step by step, and its answer is shown; until it is over or another comes.
import { Problem, ask, askByCase, filters as choices, forget, sampleFile, send } from "./api.js";
import { compare } from "./compare.js";
import { el, replace } from "./dom.js";
import { chosen, dropped } from "./files.js";
import { Filters } from "./filters.js";
import { result, trouble } from "./result.js";
import { watch } from "./watch.js";
import * as words from "./words.js";

const at = (id) => document.getElementById(id);
const STEPS = [["uploading", "Uploading"], ["reading", "Reading the pictures"], ["encoding", "Encoding"], ["searching", "Searching the archive"]];
const [SOONEST_MS, LATEST_MS] = [200, 1500]; // between two looks at how far it is
const MOST_BYTES = Number(at("ask").dataset.uploadMb) * 1024 * 1024;

let run = null; // what is under way or shown: {id, before, abort, cancel, rerun, over, unwatch, viewer, resume, notice}

/** `ref`: of the archived case that is asked by, null for an upload. */
async function begin(start, { ref = null } = {}) {
  const uploads = ref === null;
  const before = run?.resume ? run : (run?.before ?? null); // the answer that is shown again where this comes to nothing
  leave(run);
  const mine = (run = { id: null, before, abort: new AbortController(), cancel, rerun: null, over: null, unwatch: null, viewer: null, resume: null, notice: null });
  show("progress");
  step(uploads ? "uploading" : "reading", uploads);
  at("progress-title").focus();
  try {
    mine.id = await start(mine.abort.signal);
    if (run !== mine) return void forget(mine.id);
    const answer = await follow(mine, uploads);
    if (run !== mine) return;
    if (before) void forget(before.id);
    mine.before = null;
    await present(mine, answer, ref);
  } catch (error) {
    if (run !== mine) return;
    if (mine.id) void forget(mine.id);
    if (mine.before && error.status !== 401) backTo(mine.before, error);
    else failed(error);
  }

  function cancel() {
    leave(mine);
    if (mine.id) void forget(mine.id);
    if (before) backTo(before);
    else stop();
  }
}

/** The answer that was shown before a question that came to nothing. */
function backTo(before, error = null) {
  run = before;
  show("result");
  before.resume();
  if (error) notify(error);
  else at("result-title").focus();
}

/** What went wrong, beside the answer that stays. */
function notify(error) {
  if (!(error instanceof Problem)) console.error(error);
  replace(run.notice, el("div", { class: "failure", tabindex: "-1" }, el("p", {}, el("strong", {}, `${heading(error)}.`)), trouble(error), el("p", {}, "What you see below is the answer to the scan before.")));
  run.notice.firstChild.focus();
}

async function follow(mine, uploads) {
  for (let wait = SOONEST_MS; ; wait = Math.min(wait * 1.3, LATEST_MS)) {
    const told = await ask(mine.id, undefined, { signal: mine.abort.signal });
    if (told.state === "done") return told;
    if (told.state === "failed") throw new Problem({ title: "The scan cannot be used", ...told.problem });
    step(told.state, uploads);
    await new Promise((resolve) => setTimeout(resolve, wait));
    mine.abort.signal.throwIfAborted();
  }
}

async function present(mine, told, ref) {
  let { answer } = told;
  const offered = await choices().catch(() => ({}));
  if (run !== mine) return;
  const filters = new Filters(offered, { ofCase: ref !== null, onChange: () => void again() });
  const drawn = result(at("result"), {
    id: mine.id,
    answer,
    filters,
    whose: ref === null ? "Your scan" : "The archived case asked about",
    onOpen: (neighbour) => (mine.viewer = compare({ id: mine.id, whose: ref === null ? "Your scan" : "Archived case", neighbour, neighbours: answer.neighbours, onClose: () => (mine.viewer = null) })),
    onAsk: (neighbour) => void begin((signal) => askByCase(neighbour.ref, { signal }), { ref: neighbour.ref }),
    onNew: stop,
  });
  show("result");
  at("result-title").focus();
  scrollTo(0, 0);
  say(`${words.plural(answer.neighbours.length, "case")} found.`);
  expire(told.expires_in_s);
  let isOver = false;
  mine.notice = drawn.notice;
  mine.resume = () => (mine.unwatch = watch({ query: mine.id, refs: () => answer.neighbours.map((one) => one.ref), onNews: news, onSignedOut: signedOut, onTouch: touch }));
  mine.resume();

  function touch(isLost) {
    if (isLost) replace(drawn.lost, el("div", { class: "failure" }, el("p", {}, el("strong", {}, "This page has lost touch with the server."), " What you see may be out of date: a case may have been withdrawn since. Check the network, or load the page again."), el("p", {}, el("a", { href: location.pathname }, "Load the page again"))));
    else replace(drawn.lost);
  }

  async function news({ gone, over, snapshot }) {
    if (over && ref) return caseGone();
    if (gone.length) {
      if (gone.some((one) => mine.viewer?.shows(one))) mine.viewer.close();
      drawn.withdraw(new Set(gone));
    }
    if (over && !isOver) ended();
    if (isOver || !(gone.length || (snapshot !== answer.snapshot.name && !mine.viewer))) return;
    if (await again()) replace(drawn.notice, el("p", { class: "renewed" }, "The archive has changed while this page was open. What you see now is its present answer."));
  }

  function caseGone() {
    if (run !== mine) return;
    stop();
    failed(new Problem({ title: "This case is no longer shown", detail: "The case that was asked about was withdrawn from the archive, or the question was held for its time." }));
  }

  async function again() {
    mine.rerun?.abort();
    const rerun = (mine.rerun = new AbortController());
    drawn.answered.setAttribute("aria-busy", "true");
    try {
      const now = await ask(mine.id, filters.parameters(), { signal: rerun.signal });
      answer = now.answer;
      const focused = drawn.answered.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
      replace(drawn.notice);
      drawn.redraw(answer);
      if (focused) drawn.answered.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
      expire(now.expires_in_s);
      say(`${words.plural(answer.neighbours.length, "case")} found.`);
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      if (error.status === 401) signedOut();
      else if (error.expired && ref) caseGone();
      else if (error.expired) ended();
      else replace(drawn.notice, el("div", { class: "failure" }, trouble(error), el("p", {}, "What you see is without this change.")));
      return false;
    } finally {
      if (mine.rerun === rerun) drawn.answered.removeAttribute("aria-busy");
    }
  }

  function expire(seconds) {
    clearTimeout(mine.over);
    if (seconds > 0) mine.over = setTimeout(ended, seconds * 1000);
  }

  function ended() {
    if (run !== mine) return;
    isOver = true;
    filters.disable(true);
    replace(drawn.notice, el("div", { class: "failure expired" }, el("p", {}, el("strong", {}, "This scan has been forgotten."), " Scans are held for a few minutes only. What is shown stays; to filter or to compare pictures, send the scan again."), el("p", {}, el("button", { type: "button", onclick: stop }, "Send a scan"))));
  }
}

// ---- which part of the page is seen

function show(part) {
  at("progress").hidden = part !== "progress";
  at("result").hidden = part !== "result";
  at("ask").hidden = part === "result" || part === "progress";
  if (part !== "failure") at("failure").hidden = true;
}

/** Back to the beginning; what was asked about is forgotten on the server too. */
function stop() {
  forgetAll();
  show("ask");
  at("choose-files").focus();
}

/** Nothing is under way or shown any more, here or on the server. */
function forgetAll() {
  leave(run);
  for (const one of [run, run?.before]) if (one?.id) void forget(one.id);
  run = null;
  replace(at("result"));
}

/** A session that has ended leaves nothing on the screen. */
function signedOut() {
  leave(run);
  run = null;
  replace(at("result"));
  failed(new Problem({ status: 401, title: "You are signed out", detail: "Nobody used this page for a while, so its scan and cases were taken off the screen. Load this page again to sign in." }), "h1");
  at("ask").hidden = true;
  at("failure").append(el("p", {}, el("a", { href: location.pathname }, "Sign in again")));
}

/** Ends whatever a run has going on this page. */
function leave(left) {
  left?.abort.abort();
  left?.rerun?.abort();
  left?.unwatch?.();
  left?.viewer?.close();
  clearTimeout(left?.over);
}

function heading(error) {
  return error.status === 422 ? "This scan cannot be used" : error.status === 410 ? "This is no longer here" : error.title || "This did not work";
}

function failed(error, level = "h2") {
  forgetAll();
  if (!(error instanceof Problem)) console.error(error);
  show("failure");
  replace(at("failure"), el(level, {}, heading(error)), trouble(error));
  at("failure").hidden = false;
  at("failure").focus();
}

function step(now, uploads) {
  const steps = uploads ? STEPS : STEPS.slice(1);
  const current = steps.findIndex(([name]) => name === now);
  replace(at("steps"), steps.map(([, title], number) => el("li", { class: number < current ? "done" : number === current ? "now" : "later", "aria-current": number === current ? "step" : null }, title, el("span", { class: "step-state" }, number < current ? " – done" : number === current ? " …" : ""))));
  at("upload-bar").hidden = now !== "uploading";
  if (steps[current]) say(steps[current][1]);
}

function sent(share) {
  at("upload-bar").value = 100 * share;
  const said = at("steps").querySelector(".now .step-state");
  if (said && !at("upload-bar").hidden) said.textContent = ` ${words.percent(share)}`;
  if (share >= 1) step("reading", true);
}

function say(text) {
  if (at("status").textContent !== text) at("status").textContent = text;
}

// ---- the ways in

function upload(files) {
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  const refused = (problem) => (run?.resume ? notify(problem) : failed(problem));
  if (!files.length) return refused(new Problem({ title: "Nothing was sent", detail: "There was no file in it, or only empty ones." }));
  if (bytes > MOST_BYTES) return refused(new Problem({ title: "Too large", detail: `These files hold ${Math.ceil(bytes / 1024 / 1024)} MB; the server takes ${at("ask").dataset.uploadMb} MB at once. Send one study, or only its series of the chest.` }));
  at("upload-bar").value = 0;
  return begin((signal) => send(files, { onSent: sent, signal }));
}

at("choose-files").addEventListener("click", () => at("files").click());
at("choose-folder").addEventListener("click", () => at("folder").click());
for (const id of ["files", "folder"]) {
  at(id).addEventListener("change", ({ target }) => {
    const files = chosen(target.files);
    target.value = ""; // the same file can be chosen again
    void upload(files);
  });
}
at("cancel").addEventListener("click", () => run?.cancel());
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () => {
    at("upload-bar").value = 0;
    void begin(async (signal) => send([await sampleFile(button.dataset.sample, { signal })], { onSent: sent, signal }));
  });
}

// a scan may be dropped anywhere on the page, also while an answer is shown
let over = 0;
addEventListener("dragenter", (event) => {
  if (event.dataTransfer?.types.includes("Files")) document.body.classList.toggle("dragging", ++over > 0);
});
addEventListener("dragleave", () => document.body.classList.toggle("dragging", (over = Math.max(over - 1, 0)) > 0));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", async (event) => {
  event.preventDefault();
  over = 0;
  document.body.classList.remove("dragging");
  if (event.dataTransfer?.types.includes("Files") && !document.querySelector("dialog[open]")) void upload(await dropped(event.dataTransfer));
});
addEventListener("pagehide", (event) => {
  if (!event.persisted) for (const one of [run, run?.before]) if (one?.id) void forget(one.id);
});
