// Draws the lanes of the tracks, and finds the row at a place.  Only what is visible is drawn.

const LANE = 20;
const BAR = 14;
const STRIP = 34; // The height of each counter.
const AXIS = 20;
const MAX_FAINT_LINKS = 500; // If there are more, only those of the path and the selection are drawn.
const MAX_PRINTED_LANES = 120;
const COUNTERS = [ // The name in the trace, the title, and how a value is written.
  ["running commands", "Running", String],
  ["output bytes per second", "Output", (value) => `${size(value)}/s`],
  ["processor percent", "Processor", (value) => `${value} %`],
  ["memory bytes", "Memory", size],
];

class Timeline {
  constructor(scroller, room, canvas) {
    Object.assign(this, { scroller, room, canvas });
    this.pen = canvas.getContext("2d");
    this.axis = new Axis(report.duration);
    this.counters = COUNTERS.filter(([name]) => report.counters[name]?.length);
    this.top = AXIS + this.counters.length * STRIP;
    this.rowsOf = new Map(report.tracks.map(([track]) => [track, []]));
    for (const row of report.rows) this.rowsOf.get(row.track)?.push(row);
    this.marksOf = new Map();
    for (const mark of report.marks) append(this.marksOf, mark[0], mark);
    this.linksOf = new Map();
    for (const link of report.links) {
      append(this.linksOf, link[0], link);
      append(this.linksOf, link[1], link);
    }
    this.selected = null;
    this.printing = false;
    scroller.addEventListener("scroll", () => this.drawSoon());
    new ResizeObserver(() => this.resize()).observe(scroller);
  }

  // Show the tracks of these rows only; other rows on them are faint.
  filter(rows) {
    this.shown = new Set(rows);
    const tracks = new Set(rows.map((row) => row.track));
    this.lanes = report.tracks.filter(([track]) => tracks.has(track));
    this.laneOf = new Map(this.lanes.map(([track], lane) => [track, lane]));
    this.resize();
  }

  resize() {
    const lanes = this.printing ? Math.min(this.lanes.length, MAX_PRINTED_LANES) : this.lanes.length;
    const height = this.top + lanes * LANE + 6;
    this.room.style.height = `${height}px`;
    this.width = this.printing ? 680 : this.scroller.clientWidth;
    this.height = this.printing ? height : Math.min(height, this.scroller.clientHeight || height);
    const ratio = this.printing ? 2 : window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.axis.left = Math.min(180, Math.round(this.width * 0.28));
    this.axis.right = this.width - 8;
    this.draw();
  }

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  y(lane) {
    return this.top + lane * LANE - (this.printing ? 0 : this.scroller.scrollTop);
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    const style = getComputedStyle(document.documentElement);
    const colors = new Map(); // Asking the style for each bar would take a third of the time.
    this.color = (name) => {
      if (!colors.has(name)) colors.set(name, style.getPropertyValue(`--${name}`).trim() || this.color("stopped"));
      return colors.get(name);
    };
    const { pen, width, height, top, axis } = this;
    pen.fillStyle = this.color("back");
    pen.fillRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    this.drawAxis();
    this.counters.forEach((counter, place) => this.drawCounter(counter, AXIS + place * STRIP));
    pen.save();
    this.clip(0, top, width, height - top);
    const first = Math.max(0, Math.floor((top - this.y(0)) / LANE));
    const last = Math.min(this.lanes.length, first + Math.ceil((height - top) / LANE) + 1);
    for (let lane = first; lane < last; lane += 1) this.drawName(lane);
    this.clip(axis.left - 1, top, width, height - top);
    for (let lane = first; lane < last; lane += 1) this.drawLane(lane);
    this.drawLinks();
    pen.restore();
  }

  clip(x, y, width, height) {
    this.pen.beginPath();
    this.pen.rect(x, y, width, height);
    this.pen.clip();
  }

  drawAxis() {
    const { pen, axis, height } = this;
    for (const tick of axis.ticks(90)) {
      const x = axis.x(tick);
      pen.fillStyle = this.color("line");
      pen.fillRect(x, AXIS, 1, height);
      pen.fillStyle = this.color("faint");
      const label = tick === 0 ? "0 s" : `${Number((tick / 1e6).toPrecision(9))} s`;
      pen.fillText(label, Math.min(x, axis.right - pen.measureText(label).width), AXIS / 2);
    }
  }

  drawCounter([name, title, write], y) {
    const { pen, axis } = this;
    const samples = report.counters[name];
    const most = samples.reduce((value, sample) => Math.max(value, sample[1]), 1);
    pen.save();
    this.clip(0, y, this.width, STRIP);
    pen.fillStyle = this.color("text");
    pen.fillText(title, 4, y + STRIP / 2 - 7);
    pen.fillStyle = this.color("faint");
    pen.fillText(`max. ${write(most)}`, 4, y + STRIP / 2 + 7, axis.left - 10);
    pen.fillStyle = this.color("line");
    pen.fillRect(axis.left, y + STRIP - 1, axis.right - axis.left, 1);
    this.clip(axis.left, y, axis.right - axis.left, STRIP);
    pen.fillStyle = this.color("waiting");
    for (let place = Math.max(0, after(samples, axis.begin) - 1); place < samples.length; place += 1) {
      const [time, value] = samples[place];
      if (time > axis.end) break;
      const [x, next] = [axis.x(time), axis.x(samples[place + 1]?.[0] ?? report.duration)];
      const tall = (value / most) * (STRIP - 6);
      pen.fillRect(x, y + STRIP - tall, Math.max(1, next - x), tall);
    }
    pen.restore();
  }

  drawName(lane) {
    const [track, name] = this.lanes[lane];
    const { pen, axis } = this;
    const y = this.y(lane);
    if (this.selected?.track === track) {
      pen.fillStyle = this.color("panel");
      pen.fillRect(0, y, this.width, LANE);
    }
    pen.fillStyle = this.color("text");
    pen.fillText(shortened(pen, name, axis.left - 10), 4, y + LANE / 2);
  }

  drawLane(lane) {
    const [track] = this.lanes[lane];
    const { pen, axis } = this;
    const y = this.y(lane);
    const rows = this.rowsOf.get(track);
    let drawnTo = -1; // Bars within the last pixel are left out.
    let drawnStatus = null;
    for (let place = Math.max(0, firstEnding(rows, axis.begin)); place < rows.length; place += 1) {
      const row = rows[place];
      if (row.origin > axis.end) break;
      const isSpecial = row === this.selected || report.steps.has(row.number);
      const x = axis.x(row.stop);
      if (!isSpecial && x <= drawnTo && row.status === drawnStatus) continue;
      this.drawRow(row, y);
      drawnTo = Math.floor(x) + 1;
      drawnStatus = row.status;
    }
    pen.fillStyle = this.color("text");
    for (const [, time] of this.marksOf.get(track) ?? []) {
      if (time >= axis.begin && time <= axis.end) pen.fillRect(axis.x(time) - 1, y + 1, 2, 4);
    }
  }

  drawRow(row, y) {
    const { pen, axis } = this;
    const from = Math.max(axis.x(row.begin), -10);
    const width = Math.max(1.5, Math.min(axis.x(row.stop), this.width + 10) - from);
    const top = y + (LANE - BAR) / 2;
    pen.globalAlpha = this.shown.has(row) ? 1 : 0.25;
    pen.fillStyle = this.color("waiting");
    for (const [name, begin, end] of row.before ?? []) {
      const [x, tall] = [Math.max(axis.x(begin), -10), name === "starting" ? BAR / 2 : 2];
      pen.fillRect(x, y + (LANE - tall) / 2, Math.max(0, axis.x(end ?? row.begin) - x), tall);
    }
    pen.fillStyle = this.color(row.status);
    pen.fillRect(from, top, row.hasRun ? width : 5, BAR);
    for (const [name, begin, end] of row.phases ?? []) {
      if (name === "running") continue;
      pen.fillStyle = this.color(name === "stopping" ? "text" : "back");
      pen.globalAlpha *= 0.45;
      pen.fillRect(axis.x(begin), top + BAR - 4, axis.x(end ?? row.stop) - axis.x(begin), 4);
      pen.globalAlpha = this.shown.has(row) ? 1 : 0.25;
    }
    if (width > 46) {
      const start = Math.max(from, axis.left) + 5;
      const label = `${SYMBOLS[row.status] ?? ""} ${row.name}`;
      pen.fillStyle = this.color("bar-text");
      pen.fillText(shortened(pen, label, from + width - start - 4), start, y + LANE / 2 + 0.5);
    }
    pen.globalAlpha = 1;
    if (row === this.selected) this.outline(from, top, width, "text");
    else if (report.steps.has(row.number)) this.outline(from, top, width, "path");
  }

  outline(x, y, width, color) {
    this.pen.strokeStyle = this.color(color);
    this.pen.lineWidth = 2;
    this.pen.strokeRect(x - 1, y - 1, width + 2, BAR + 2);
  }

  drawLinks() {
    if (report.links.length <= MAX_FAINT_LINKS) {
      for (const link of report.links) this.drawLink(link, "waiting", 1);
    }
    for (const link of this.linksOf.get(this.selected?.number) ?? []) this.drawLink(link, "text", 1.5);
    report.path.forEach(([row, until], place) => {
      if (place + 1 < report.path.length) this.drawLink([row, report.path[place + 1][0], until], "path", 2);
    });
  }

  drawLink([source, target, time], color, width) {
    const { pen, axis } = this;
    const [from, to] = [report.rows[source], report.rows[target]];
    const lanes = [this.laneOf.get(from.track), this.laneOf.get(to.track)];
    if (lanes.includes(undefined)) return;
    const [y1, y2] = lanes.map((lane) => this.y(lane) + LANE / 2);
    const [x1, x2] = [axis.x(time), axis.x(to.begin)];
    pen.strokeStyle = pen.fillStyle = this.color(color);
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.bezierCurveTo(x1 + 12, y1, x2 - 12, y2, x2, y2);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(x2 + 1, y2);
    pen.lineTo(x2 - 5, y2 - 4);
    pen.lineTo(x2 - 5, y2 + 4);
    pen.fill();
  }

  // Return the values of the counters at a place of the canvas as texts, or null.
  countersAt(x, y) {
    if (y >= this.top || x < this.axis.left || x > this.axis.right) return null;
    const time = this.axis.time(x);
    return this.counters.map(([name, title, write]) => {
      const place = after(report.counters[name], time) - 1;
      return `${title}: ${place < 0 ? "–" : write(report.counters[name][place][1])}`;
    });
  }

  // Return the row at a place of the canvas, or null.
  rowAt(x, y) {
    const lane = Math.floor((y - this.y(0)) / LANE);
    if (y < this.top || x < this.axis.left || !(lane in this.lanes)) return null;
    const rows = this.rowsOf.get(this.lanes[lane][0]);
    for (let place = Math.max(0, firstEnding(rows, this.axis.time(x - 6))); place < rows.length; place += 1) {
      const row = rows[place];
      if (this.axis.x(row.begin) > x + 3) return null;
      if (this.shown.has(row)) return row;
    }
    return null;
  }

  // Select a row, and move so that it is visible.
  select(row) {
    this.selected = row;
    if (row && this.laneOf.has(row.track)) {
      const y = this.y(this.laneOf.get(row.track));
      if (y < this.top) this.scroller.scrollTop -= this.top - y;
      if (y + LANE > this.height) this.scroller.scrollTop += y + LANE - this.height;
      this.axis.reveal(row.begin, row.stop);
    }
    this.drawSoon();
  }

  // Draw the whole run for the printer, or come back to the screen.
  print(isPrinting) {
    this.printing = isPrinting;
    if (isPrinting) {
      this.screen = [this.axis.begin, this.axis.span];
      this.axis.reset();
    } else {
      this.axis.show(...this.screen);
    }
    this.resize();
  }
}

// Add a value to the array of a key.
function append(map, key, value) {
  if (map.has(key)) map.get(key).push(value);
  else map.set(key, [value]);
}

// Return the place of the first sample after a time.
function after(samples, time) {
  return search(samples.length, (place) => samples[place][0] > time);
}

// Return the place of the first row of a track that ends at a time or later.
function firstEnding(rows, time) {
  return search(rows.length, (place) => rows[place].stop >= time);
}

// Return the first number below `length` for which `isReached`; from there on it must hold.
function search(length, isReached) {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isReached(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Return a text, cut so that it is at most `width` pixels wide.
function shortened(pen, text, width) {
  if (text.length * 14 <= width || pen.measureText(text).width <= width) return text;
  const length = search(text.length, (place) => pen.measureText(`${text.slice(0, place)}…`).width > width);
  return length > 1 ? `${text.slice(0, length - 1)}…` : "";
}
