// Keeps the overview fresh: new rows as the daemon tells of them, everything else fetched anew behind them. Without this a
// reload does the same.
"use strict";
(() => {
  const MOST = 50;
  const SPARE_MS = 2000;
  const connection = document.getElementById("connection");

  const say = (text) => {
    connection.textContent = text;
    connection.hidden = !text;
  };

  const time = (stamp) => String(stamp).slice(0, 19).replace("T", " ");

  const add = (feed, cells, whom) => {
    const body = document.getElementById(feed);
    const row = document.createElement("tr");
    row.className = "new";
    for (const text of cells) {
      const cell = row.appendChild(document.createElement("td"));
      if (text !== whom) {
        cell.textContent = text;
        continue;
      }
      const link = cell.appendChild(document.createElement("a"));
      link.href = `/address?ip=${encodeURIComponent(whom)}`;
      link.textContent = whom;
    }
    body.prepend(row);
    while (body.rows.length > MOST) body.deleteRow(-1);
  };

  // The same page once more: what it says of each part is what the server would say at a reload.
  const refresh = async () => {
    const answer = await fetch("/", { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other && !part.contains(document.activeElement)) part.replaceChildren(...other.childNodes);
    }
    document.querySelector("h1").textContent = fresh.querySelector("h1").textContent;
  };

  let isDue = false;
  let isWaiting = false;
  const soon = () => {
    isDue = true;
    if (isWaiting) return;
    isWaiting = true;
    isDue = false;
    refresh().then(() => say(""), () => say("The daemon does not answer; what stands here is old."));
    setTimeout(() => {
      isWaiting = false;
      if (isDue) soon();
    }, SPARE_MS);
  };

  const events = new EventSource("/events");
  events.addEventListener("hello", soon);
  events.addEventListener("error", () => say("Not connected; what stands here is old."));
  events.addEventListener("attempt", (event) => {
    const told = JSON.parse(event.data);
    const what = told.success ? "good login" : String(told.class).replaceAll("_", " ");
    add("attempt-feed", [time(told.time), told.jail, told.ip, told.user ?? "", what], told.ip);
    soon();
  });
  events.addEventListener("ban", (event) => {
    const told = JSON.parse(event.data);
    add("ban-feed", [time(told.time), told.what, told.prefix, told.jail, told.reason], told.prefix);
    soon();
  });
  setInterval(() => { if (!document.hidden) soon(); }, 30000);
})();
