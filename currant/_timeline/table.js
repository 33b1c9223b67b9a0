// The table of results: sorted by buttons in its head, and made in pieces if it is long.

const PIECE = 200; // Rows that are added at a time.

const COLUMNS = [
  { title: "Command", value: (row) => row.name, cell: commandCell, className: "name" },
  { title: "Status", value: (row) => statusOf(row).slice(2), cell: statusCell },
  { title: "Exit", value: (row) => row.exit ?? row.error, className: "exit" },
  { title: "Attempt", value: (row) => row.attempt, isNumber: true, isShown: (row) => row.attempt > 1 },
  { title: "Host", value: (row) => row.host, isShown: (row) => row.host !== undefined },
  { title: "Started", value: (row) => (row.hasRun ? row.begin : undefined), write: duration, isNumber: true },
  { title: "Took", value: (row) => (row.hasRun ? row.stop - row.begin : undefined), write: duration, isNumber: true },
  { title: "Processor", value: processorTime, write: (seconds) => duration(seconds * 1e6), isNumber: true },
  { title: "Peak memory", value: (row) => row.memory, write: size, isNumber: true },
  { title: "Output", value: outputOf, write: size, isNumber: true },
  { title: "Last lines", value: (row) => row.lines?.length, cell: linesCell, isShown: (row) => row.lines },
].filter((column) => !column.isShown || report.rows.some(column.isShown));

const order = new Intl.Collator(undefined, { numeric: true });

class Results {
  constructor(heads, body, more, onChoose) {
    Object.assign(this, { heads, body, more, onChoose, rows: [], made: 0 });
    this.column = null;
    this.isDescending = false;
    for (const column of COLUMNS) {
      const button = element("button", { type: "button", class: "plain" }, `${column.title} `, element("span", { "aria-hidden": "true" }, "↕"));
      button.addEventListener("click", () => this.sortBy(column));
      column.head = element("th", { scope: "col", "aria-sort": "none", class: column.isNumber ? "number" : "" }, button);
      heads.append(column.head);
    }
    body.addEventListener("click", (event) => {
      const button = event.target.closest("button.name");
      if (button) onChoose(report.rows[button.dataset.row]);
    });
  }

  // Show these rows, in the order that was chosen.
  show(rows) {
    this.rows = this.column ? this.sorted(rows) : rows;
    this.body.replaceChildren();
    this.made = 0;
    this.add(PIECE);
  }

  add(count) {
    const piece = this.rows.slice(this.made, this.made + Math.max(0, count));
    this.body.append(...piece.map((row) => this.tableRow(row)));
    this.made += piece.length;
    this.more.hidden = this.made >= this.rows.length;
  }

  sortBy(column) {
    this.isDescending = column === this.column ? !this.isDescending : Boolean(column.isNumber && column.title !== "Started");
    this.column = column;
    for (const each of COLUMNS) {
      const direction = each !== column ? "none" : this.isDescending ? "descending" : "ascending";
      each.head.setAttribute("aria-sort", direction);
      each.head.querySelector("span").textContent = { none: "↕", ascending: "↑", descending: "↓" }[direction];
    }
    this.show(this.rows);
  }

  // Rows without a value are last in both orders.
  sorted(rows) {
    const { value, isNumber } = this.column;
    const sign = this.isDescending ? -1 : 1;
    const compare = isNumber ? (a, b) => a - b : order.compare;
    const keyed = rows.map((row) => [value(row), row]);
    keyed.sort(([a, first], [b, second]) => {
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined) || first.number - second.number;
      return sign * compare(a, b) || first.number - second.number;
    });
    return keyed.map(([, row]) => row);
  }

  tableRow(row) {
    const cells = COLUMNS.map((column, place) => {
      const attributes = { class: column.className ?? (column.isNumber ? "number" : "") };
      const value = column.cell ? column.cell(row) : text(column, row);
      return place ? element("td", attributes, value) : element("th", { ...attributes, scope: "row" }, ...value);
    });
    const made = element("tr", { "data-row": row.number }, ...cells);
    if (row === this.selected) made.className = "selected";
    return made;
  }

  select(row) {
    this.selected = row;
    this.body.querySelector("tr.selected")?.classList.remove("selected");
    if (row) this.body.querySelector(`tr[data-row="${row.number}"]`)?.classList.add("selected");
  }
}

function text(column, row) {
  const value = column.value(row);
  return value === undefined ? "" : (column.write ?? String)(value);
}

function commandCell(row) {
  const button = element("button", { type: "button", class: "plain name", "data-row": row.number }, row.name);
  return row.command === undefined || row.command === row.name ? [button] : [button, element("div", {}, row.command)];
}

function statusCell(row) {
  const cell = element("span", { style: "white-space: nowrap" });
  cell.append(swatch(row.status), statusOf(row));
  return cell;
}

function swatch(status) {
  return element("span", { class: "swatch", "aria-hidden": "true", style: `background: var(--${STATUSES.includes(status) ? status : "stopped"})` });
}

function linesCell(row) {
  if (!row.lines) return "";
  const count = row.lines.length === 1 ? "1 line" : `${row.lines.length} lines`;
  return element("details", {}, element("summary", {}, count), element("pre", {}, row.lines.join("\n")));
}
