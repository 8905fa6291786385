"use strict";
const table = document.getElementById("species");
const body = table.tBodies[0];
const headers = [...table.tHead.rows[0].cells];
const shown = document.getElementById("shown");

const valueOf = (row, column) => {
  const text = row.cells[column].textContent;
  const number = Number(text);
  if (text === "–") return -1;
  return Number.isNaN(number) ? text.toLowerCase() : number;
};

const compare = (a, b) => {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
};

const sortBy = (column) => {
  const header = headers[column];
  const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  headers.forEach((other) => other.setAttribute("aria-sort", "none"));
  header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const keyed = [...body.rows].map((row) => [valueOf(row, column), row]);
  keyed.sort((a, b) => sign * compare(a[0], b[0]));
  body.append(...keyed.map(([, row]) => row));
};

headers.forEach((header, column) => header.querySelector("button").addEventListener("click", () => sortBy(column)));

document.getElementById("search").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  let count = 0;
  for (const row of body.rows) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
    if (!row.hidden) count += 1;
  }
  shown.textContent = `${count} of ${body.rows.length} species shown`;
});

document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
