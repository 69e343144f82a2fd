// An open page asks every other second which of its cases may be shown no more, and which snapshot is served.
import { stillShown } from "./api.js";

const EVERY_MS = 2000; // with the server's own look every two seconds, a withdrawn case is gone within five

const MISSED = 3; // looks in a row that failed, until the reader is told

/** `query`: the id of the question; `refs()`: the cases on the page. `onNews({gone, over, snapshot})` after each look, `onSignedOut()` once, `onTouch(isLost)` when the server is not heard any more, and again. Returns what ends it. */
export function watch({ query, refs, onNews, onSignedOut, onTouch }) {
  let timer = null;
  let missed = 0;
  let ended = false;
  async function look() {
    clearTimeout(timer);
    try {
      const news = await stillShown(query, refs());
      if (missed >= MISSED && !ended) onTouch(false);
      missed = 0;
      if (!ended) await onNews(news);
    } catch (error) {
      if (error.status === 401 && !ended) return void onSignedOut();
      missed += 1; // it is asked again
      if (missed === MISSED && !ended) onTouch(true);
    }
    if (!ended) timer = setTimeout(look, EVERY_MS);
  }
  const seen = () => document.visibilityState === "visible" && void look(); // a hidden tab's timers are slow
  document.addEventListener("visibilitychange", seen);
  timer = setTimeout(look, EVERY_MS);
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
}
