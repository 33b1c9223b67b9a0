// Connects the timeline, the table, the filter and the details.

const find = (id) => document.getElementById(id);

const timeline = new Timeline(find("lanes"), find("room"), find("canvas"));
const results = new Results(find("heads"), find("rows"), find("more"), (row) => choose(row));
let rowsShown = report.rows;

// ---- the summary, the legend and the critical path ----

const counts = new Map();
for (const row of report.rows) counts.set(row.status, (counts.get(row.status) ?? 0) + 1);
const statuses = [...STATUSES.filter((status) => counts.has(status)), ...[...counts.keys()].filter((status) => !STATUSES.includes(status))];

function showSummary() {
  const parts = statuses.map((status) => `${counts.get(status)} ${status}`);
  const most = (name) => report.counters[name]?.reduce((value, sample) => Math.max(value, sample[1]), 0);
  const running = most("running commands");
  const rate = most("output bytes per second");
  const [percent, memory] = [most("processor percent"), most("memory bytes")];
  const end = report.isWhole ? "" : " The trace breaks off: currant was killed, or is still running.";
  find("summary").textContent =
    `${duration(report.duration)}; ${parts.join(", ") || "no command"}` +
    (running ? `; at most ${running} at a time` : "") + (rate ? `, at most ${size(rate)}/s of output` : "") +
    (memory ? `, ${percent} % of a processor and ${size(memory)} of memory` : "") + `.${end}`;
  for (const status of statuses) {
    const box = element("input", { type: "checkbox", value: status, checked: "" });
    find("statuses").append(element("label", {}, box, " ", swatch(status), `${status} (${counts.get(status)})`));
    find("legend").append(element("span", {}, swatch(status), status));
  }
  find("legend").append(element("span", {}, swatchOf("waiting"), "waiting (thin) and starting"));
  for (const phase of ["until ready", "stopping"]) {
    if (report.rows.some((row) => row.phases?.some(([name]) => name === phase))) {
      find("legend").append(element("span", {}, element("span", { class: `swatch ${phase.replace(" ", "-")}` }), phase));
    }
  }
  if (report.path.length) find("legend").append(element("span", {}, swatchOf("path"), "critical path"));
}

function swatchOf(color) {
  return element("span", { class: "swatch", style: `background: var(--${color})` });
}

function showPath() {
  find("path").hidden = !report.path.length;
  report.path.forEach(([number, until], place) => {
    const row = report.rows[number];
    const button = element("button", { type: "button", class: "plain name" }, row.name);
    button.addEventListener("click", () => choose(row));
    const next = place + 1 < report.path.length && report.rows[report.path[place + 1][0]];
    find("path-rows").append(element("tr", {},
      element("th", { class: "name", scope: "row" }, button),
      element("td", { class: "number" }, duration(row.begin)),
      element("td", { class: "number" }, duration(Math.max(0, until - row.begin))),
      element("td", {}, next ? `${next.name} could go on` : until === row.stop ? "its end" : "it was ready")));
  });
}

// ---- the filter ----

function applyFilter() {
  const wanted = find("text").value.toLowerCase();
  const boxes = [...find("statuses").querySelectorAll("input:checked")].map((box) => box.value);
  rowsShown = report.rows.filter((row) => boxes.includes(row.status) && wordsOf(row).includes(wanted));
  timeline.filter(rowsShown);
  results.show(rowsShown);
  const all = report.rows.length;
  find("count").textContent = rowsShown.length === all ? `${all} results` : `${rowsShown.length} of ${all} results`;
}

function wordsOf(row) {
  row.words ??= [row.name, row.command, row.exit, row.error, row.host, ...(row.lines ?? [])].join("\n").toLowerCase();
  return row.words;
}

// ---- the details ----

function choose(row) {
  timeline.select(row);
  results.select(row);
  find("details").replaceChildren();
  if (!row) return;
  const list = element("dl");
  for (const [label, value] of factsOf(row)) list.append(element("dt", {}, label), element("dd", {}, value));
  find("details").append(list);
  if (row.lines) find("details").append(element("pre", {}, row.lines.join("\n")));
}

function showTip(event) {
  const [x, y] = [event.offsetX, event.offsetY];
  const row = dragged ? null : timeline.rowAt(x, y);
  const counters = dragged ? null : timeline.countersAt(x, y);
  const tip = find("tip");
  tip.hidden = !row && !counters;
  timeline.canvas.style.cursor = row ? "pointer" : "default";
  if (tip.hidden) return;
  const facts = row && factsOf(row).slice(1).map(([label, value]) => `${label}: ${value.slice(0, 200)}`);
  tip.textContent = (row ? [row.name, ...facts] : [`At ${duration(axis.time(x))}`, ...counters]).join("\n");
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 4))}px`;
  const below = event.clientY + 16;
  tip.style.top = `${below + box.height < innerHeight ? below : Math.max(4, event.clientY - box.height - 10)}px`;
}

// ---- keys, wheel and pointer of the timeline ----

const { axis, canvas } = timeline;

// Choose the row `step` rows away from the chosen one, from lane to lane.
function chooseNext(step) {
  const rows = timeline.lanes.flatMap(([track]) => timeline.rowsOf.get(track).filter((row) => timeline.shown.has(row)));
  const place = rows.indexOf(timeline.selected);
  const next = place < 0 ? (step > 0 ? 0 : rows.length - 1) : place + step;
  if (rows[next]) choose(rows[next]);
}

// Zoom around the chosen row if it is visible, so that it stays visible.
function zoom(factor) {
  const row = timeline.selected;
  const [from, to] = row ? [Math.max(row.begin, axis.begin), Math.min(row.stop, axis.end)] : [1, 0];
  axis.zoom(factor, from <= to ? (from + to) / 2 : undefined);
}

const KEYS = {
  "+": () => zoom(0.5),
  "=": () => zoom(0.5),
  "-": () => zoom(2),
  "0": () => axis.reset(),
  ArrowLeft: () => axis.move(-0.2),
  ArrowRight: () => axis.move(0.2),
  ArrowUp: () => chooseNext(-1),
  ArrowDown: () => chooseNext(1),
  Escape: () => choose(null),
};

function press(key) {
  if (!Object.hasOwn(KEYS, key)) return false;
  find("tip").hidden = true;
  KEYS[key]();
  timeline.drawSoon();
  return true;
}

canvas.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey || event.altKey) && press(event.key)) event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") find("tip").hidden = true;
});
for (const button of document.querySelectorAll("[data-key]")) {
  button.addEventListener("click", () => press(button.dataset.key));
}

canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && document.activeElement !== canvas) return; // The wheel scrolls the page.
  event.preventDefault();
  if (event.shiftKey) timeline.scroller.scrollTop += event.deltaY || event.deltaX;
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) axis.move(event.deltaX / 1000);
  else axis.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 400))), axis.time(event.offsetX));
  timeline.drawSoon();
}, { passive: false });

let dragged = null; // Where the pointer went down, and the part that was shown then.
canvas.addEventListener("pointerdown", (event) => {
  dragged = { x: event.clientX, begin: axis.begin };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  showTip(event);
  if (!dragged) return;
  const moved = ((event.clientX - dragged.x) / (axis.right - axis.left)) * axis.span;
  axis.show(dragged.begin - moved, axis.span);
  timeline.drawSoon();
});
canvas.addEventListener("pointerup", (event) => {
  const isClick = dragged && Math.abs(event.clientX - dragged.x) < 4;
  dragged = null;
  if (isClick) choose(timeline.rowAt(event.offsetX, event.offsetY));
});
canvas.addEventListener("pointercancel", () => { dragged = null; });
canvas.addEventListener("pointerleave", () => { find("tip").hidden = true; });

// ---- the printer, and the colours ----

const MAX_PRINTED_ROWS = 1000; // About 80 pages.

addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printing");
  results.add(MAX_PRINTED_ROWS - results.made);
  find("not-printed").hidden = results.made >= results.rows.length;
  find("not-printed").textContent = `${results.rows.length - results.made} more results are not printed; use the filter.`;
  for (const each of document.querySelectorAll("#rows details")) each.open = true;
  timeline.print(true);
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  find("not-printed").hidden = true;
  timeline.print(false);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.drawSoon());

find("filter").addEventListener("input", applyFilter);
find("filter").addEventListener("submit", (event) => event.preventDefault());
find("more-some").addEventListener("click", () => results.add(PIECE));
find("more-all").addEventListener("click", () => results.add(Infinity));

showSummary();
showPath();
applyFilter();
