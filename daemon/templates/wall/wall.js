// Search and sort in the list of offenders. Without this the pages work all the same.
"use strict";
(() => {
  const table = document.getElementById("list");
  if (!table) return;
  const MOST = 500;
  const body = table.tBodies[0];
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const number = new Intl.NumberFormat("en");
  const words = new Intl.Collator("en", { numeric: true });
  let rows = [...body.rows].map((row) => {
    const [name, first, last, attempts, services] = [...row.cells].map((cell) => cell.textContent);
    return { name, href: row.querySelector("a").getAttribute("href"), first, last, attempts: Number(attempts.replaceAll(",", "")), services };
  });
  let isWhole = table.dataset.pages === "1";
  let order = { key: "last", down: true };

  // Who is on the other pages is fetched once somebody searches or sorts.
  let asked = null;
  const whole = () => {
    if (isWhole) return Promise.resolve();
    asked ??= fetchAll().catch((error) => { asked = null; throw error; });
    return asked;
  };
  const fetchAll = async () => {
    const answer = await fetch("offenders.json");
    if (!answer.ok) throw new Error(answer.status);
    const told = await answer.json();
    rows = told.offenders.map(([name, file, first, last, attempts, services]) =>
      ({ name, href: `o/${file}.html`, first, last, attempts, services }));
    isWhole = true;
  };

  const compare = (a, b) => {
    const [x, y] = [a[order.key], b[order.key]];
    const by = typeof x === "number" ? x - y : words.compare(x, y);
    return order.down ? -by : by;
  };

  const cell = (row, text, kind) => {
    const made = row.appendChild(document.createElement(kind || "td"));
    made.textContent = text;
    return made;
  };

  const draw = () => {
    const sought = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => sought.every((word) => row.name.toLowerCase().includes(word) || row.services.toLowerCase().includes(word)
      || row.first.includes(word) || row.last.includes(word));
    const shown = rows.filter(fits).sort(compare);
    body.replaceChildren(...shown.slice(0, MOST).map((one) => {
      const row = document.createElement("tr");
      const name = cell(row, "", "th");
      name.scope = "row";
      const link = name.appendChild(document.createElement("a"));
      link.href = one.href;
      link.textContent = one.name;
      cell(row, one.first);
      cell(row, one.last);
      cell(row, number.format(one.attempts)).className = "n";
      cell(row, one.services);
      return row;
    }));
    const beyond = shown.length > MOST ? `, the first ${MOST} are shown` : "";
    found.textContent = sought.length || beyond ? `${number.format(shown.length)} of ${number.format(rows.length)}${beyond}` : "";
  };

  const update = () => whole().then(draw, () => {
    draw();
    found.textContent = "only this page is searched: the other ones cannot be fetched";
  });

  ["name", "first", "last", "attempts", "services"].forEach((key, at) => {
    const head = table.tHead.rows[0].cells[at];
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      order = { key, down: order.key === key ? !order.down : key !== "name" && key !== "services" };
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      update();
    });
  });
  search.addEventListener("input", update);
  search.closest("p").hidden = false;
})();
