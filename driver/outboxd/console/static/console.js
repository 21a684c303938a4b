// What pages do beyond links and forms: times in the reader's zone, looking again, and marking rows. All of it may be absent.
"use strict";
(() => {
  const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  const two = (number) => String(number).padStart(2, "0");
  const local = (at) =>
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;

  function localise(within) {
    for (const time of within.querySelectorAll("time:not(.zoned)")) {
      const at = new Date(time.dateTime);
      if (at.getTimezoneOffset() === 0) continue;
      const own = document.createElement("span");
      own.className = "own";
      own.textContent = local(at);
      time.prepend(own);
      const utc = time.querySelector(".utc");
      if (own.textContent.slice(0, 10) === utc.textContent.slice(0, 10)) utc.textContent = utc.textContent.slice(11);
      time.classList.add("zoned");
    }
    const told = document.querySelector(".zone");
    if (told && new Date().getTimezoneOffset() !== 0) told.textContent = `times in ${zone}, UTC beside`;
  }

  // Looking again: only while somebody looks, and not under the hands of somebody who marks rows or types.
  let lookedAt = Date.now();
  function isBusy(live) {
    const focus = document.activeElement;
    // What has an id has the focus again afterwards.
    return live.querySelector("tbody input:checked") !== null ||
      (live.contains(focus) && (focus.id === "" || focus.matches("input:not([type=checkbox]), select, textarea")));
  }
  function look() {
    const live = document.getElementById("live");
    if (!live || live.hasAttribute("data-over") || document.visibilityState !== "visible") return;
    const every = 1000 * Number(live.dataset.every);
    if (Date.now() - lookedAt < every || isBusy(live)) return;
    lookedAt = Date.now();
    htmx.trigger(live, "look");
  }
  setInterval(look, 500);
  document.addEventListener("visibilitychange", look);

  const lost = document.getElementById("lost");
  function isLost(why) {
    if (lost.hidden) lost.textContent = `Not renewed since ${local(new Date())}: ${why}. It is tried again.`;
    lost.hidden = false;
  }
  document.addEventListener("htmx:sendError", () => isLost("the console does not answer"));
  document.addEventListener("htmx:responseError", (event) =>
    isLost(event.detail.xhr.status === 503 ? "MySQL cannot be reached" : `the console answers ${event.detail.xhr.status}`));
  document.addEventListener("htmx:afterSwap", (event) => {
    lost.hidden = true;
    localise(document);
    pick();
    further(event.detail.target.ownerDocument);
  });

  // A search that has not filled its page goes on by itself, while somebody looks.
  function further(within) {
    const more = within.querySelector("tr.looking");
    if (more && document.visibilityState === "visible") setTimeout(() => htmx.trigger(more, "further"), 20);
  }

  // Marking rows: all of the page, a range with Shift; arrow keys go from row to row.
  let last = null;
  const boxes = (form) => [...form.querySelectorAll("tbody .pick input")];
  function pick() {
    for (const all of document.querySelectorAll(".pick-all")) {
      const own = boxes(all.form);
      const marked = own.filter((box) => box.checked).length;
      all.parentElement.hidden = own.length === 0;
      all.checked = marked > 0 && marked === own.length;
      all.indeterminate = marked > 0 && marked < own.length;
      for (const told of all.form.querySelectorAll(".picked")) told.textContent = marked ? `${marked} selected` : "";
    }
  }
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || box.type !== "checkbox" || !box.form) return;
    const own = boxes(box.form);
    if (box.classList.contains("pick-all")) {
      for (const one of own) one.checked = box.checked;
    } else if (event.shiftKey && last && own.includes(last) && own.includes(box)) {
      const [from, to] = [own.indexOf(last), own.indexOf(box)].sort((one, other) => one - other);
      for (const one of own.slice(from, to + 1)) one.checked = box.checked;
    }
    last = box;
    pick();
  });
  document.addEventListener("keydown", (event) => {
    const row = event.target.closest?.(".picks tbody tr");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!row || !step || event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = [...row.parentElement.children];
    const next = rows[rows.indexOf(row) + step];
    const kind = event.target.matches(".pick input") ? ".pick input" : "a";
    const goal = next?.querySelector(kind) ?? next?.querySelector("input, a");
    if (!goal) return;
    goal.focus();
    event.preventDefault();
  });

  // A form that is on its way is not sent twice.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    setTimeout(() => {
      for (const button of event.target.querySelectorAll("button")) button.disabled = true;
    });
  });
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
    pick();
  });

  addEventListener("DOMContentLoaded", () => {
    localise(document);
    pick();
    further(document);
  });
})();
