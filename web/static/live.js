// Keeps the page fresh: hears of changes over /live, fetches this page again, and moves only what differs.
// Nothing under the pointer or with the focus changes place; what is open stays open.
"use strict";

(() => {
  const LOST_AFTER_MS = 4200; // the server says something every 2 s
  const SETTLE_MS = 300; // changes come in bursts
  const LEAST_PAUSE_MS = 2000; // between two fetches
  const RELEVANT = /^\/(alerts|risks|storage)/.test(location.pathname)
    ? ["findings", "alerts", "unknown"]
    : ["samples", "findings", "alerts", "unknown"];

  const dot = document.getElementById("live");
  const announce = document.getElementById("announce");
  const main = document.querySelector("main[data-live]");
  if (!dot || !main || !window.EventSource) return;

  const WORDS = {
    off: "not live",
    connected: "live",
    lost: "connection lost",
    database: "database lost",
  };
  let heard = 0;
  let connectedBefore = false;

  function show(state) {
    if (dot.dataset.state === state) return;
    dot.dataset.state = state;
    dot.querySelector(".live-words").textContent = WORDS[state];
    document.documentElement.classList.toggle("disconnected", state !== "connected");
  }

  // The stream ----------------------------------------------------------------------------------

  let stream;
  function connect() {
    stream?.close();
    stream = new EventSource("/live");
    stream.addEventListener("tick", (event) => {
      heard = performance.now();
      const state = event.data === "database" ? "database" : "connected";
      if (state === "connected" && connectedBefore && dot.dataset.state !== "connected") refresh();
      connectedBefore ||= state === "connected";
      show(state);
    });
    for (const change of RELEVANT) stream.addEventListener(change, refresh);
    // A refusal (signed out, server restarting) ends the stream for good: try anew by ourselves.
    stream.addEventListener("error", () => {
      if (stream.readyState !== EventSource.CLOSED) return;
      setTimeout(connect, 2000);
      refresh(); // leads to the sign-in page if the session is over
    });
  }
  setInterval(() => {
    if (performance.now() - heard > LOST_AFTER_MS && connectedBefore) show("lost");
  }, 300);
  addEventListener("pagehide", () => stream?.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
  connect();

  // Fetching ------------------------------------------------------------------------------------

  let timer = 0;
  let last = 0;
  function refresh() {
    if (timer || document.hidden) return;
    const pause = Math.max(SETTLE_MS, last + LEAST_PAUSE_MS - performance.now());
    timer = setTimeout(fetchPage, pause);
  }
  document.addEventListener("visibilitychange", () => document.hidden || refresh());

  async function fetchPage() {
    try {
      const response = await fetch(location.href, { headers: { accept: "text/html" } });
      if (response.redirected && new URL(response.url).pathname === "/sign-in") {
        location.reload();
        return;
      }
      if (!response.ok) return;
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      apply(fresh);
      document.dispatchEvent(new CustomEvent("live:refreshed"));
    } catch (error) {
      // The dot tells of a lost connection; the next tick after it fetches again.
      console.debug("not refreshed:", error);
    } finally {
      last = performance.now();
      timer = 0;
    }
  }

  function apply(fresh) {
    const badge = fresh.getElementById("open-alerts");
    if (badge) morph(document.getElementById("open-alerts"), badge);
    const freshMain = fresh.querySelector("main");
    if (freshMain) morph(main, freshMain);
  }

  // Morphing ------------------------------------------------------------------------------------

  const key = (node) => (node.nodeType === 1 ? node.dataset.key || node.id || "" : "");
  const alike = (a, b) =>
    a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);
  const held = (element) => element.matches(":hover") || element.contains(document.activeElement);

  function morph(old, fresh) {
    if (old.isEqualNode(fresh) || old.hasAttribute("data-still")) return;
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      const ours = name === "open" || name === "data-live" || name === "tabindex";
      if (!fresh.hasAttribute(name) && !ours) old.removeAttribute(name);
    }
    if (old.nodeName === "INPUT" || old.nodeName === "SELECT") return;
    if (old.nodeName === "TBODY" && fresh.querySelector("tr[data-key]")) morphRows(old, fresh);
    else morphChildren(old, fresh);
  }

  function morphChildren(old, fresh) {
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = at;
      if (found && !alike(found, wanted)) {
        found = key(wanted) ? [...old.childNodes].find((child) => alike(child, wanted)) : null;
      }
      if (!found) {
        old.insertBefore(document.importNode(wanted, true), at);
        continue;
      }
      if (found !== at) old.insertBefore(found, at);
      if (found.nodeType === 1) morph(found, wanted);
      else if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
      at = found.nextSibling;
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // Rows keep their place while the table is held; the order is put right once it is let go.
  function morphRows(body, fresh) {
    const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
    const still = held(body);
    const quiet = body.closest("[data-quiet]") !== null; // every row is new all the time
    let added = 0;
    let at = null;
    for (const wanted of fresh.rows) {
      let row = rows.get(wanted.dataset.key);
      rows.delete(wanted.dataset.key);
      if (row) {
        morph(row, wanted);
      } else {
        row = document.importNode(wanted, true);
        if (!quiet) {
          row.classList.add("is-new");
          added += 1;
        }
        if (still) body.append(row);
      }
      if (!still) {
        const place = at ? at.nextElementSibling : body.firstElementChild;
        if (place !== row) body.insertBefore(row, place);
        at = row;
      }
    }
    for (const gone of rows.values()) {
      if (still) gone.classList.add("stale");
      else gone.remove();
    }
    if (still && !body.dataset.waiting) {
      body.dataset.waiting = "1";
      const later = () => {
        if (held(body)) return;
        delete body.dataset.waiting;
        body.removeEventListener("pointerleave", later);
        body.removeEventListener("focusout", later);
        refresh();
      };
      body.addEventListener("pointerleave", later);
      body.addEventListener("focusout", later);
    }
    if (added) announce.textContent = added === 1 ? "1 new row" : `${added} new rows`;
  }

  // One menu, closed by a click elsewhere or Escape.
  const menu = document.getElementById("account");
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") menu.open = false;
  });
})();
