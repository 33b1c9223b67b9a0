// The data of the page, and how times and sizes are written.
//
// All times are in microseconds since the start of the run.  A row is an attempt, or a command that
// never ran: {track, name, begin, hasRun, status}, and if known {end, exit, error, attempt, pid,
// host, command, cpu: [user, system], memory, stdout, stderr, lines, before, phases}.  A phase, and
// the waits and the launch before an attempt, are [name, begin, end].  A mark is [track, time, name,
// facts].  A link is [source, target, time], with the numbers of two rows.
// A step of the critical path is [row, until].

const report = JSON.parse(document.getElementById("data").textContent);

report.rows.forEach((row, number) => {
  row.number = number;
  row.stop = row.end ?? report.duration; // Where the bar ends.
  row.origin = row.before?.[0][1] ?? row.begin; // Where the wait before it begins.
});
report.steps = new Map(report.path); // The rows of the critical path.

const STATUSES = ["succeeded", "failed", "stopped", "skipped", "unfinished"];
const SYMBOLS = { succeeded: "✓", failed: "✗", stopped: "■", skipped: "↷", unfinished: "…" };

function statusOf(row) {
  return `${SYMBOLS[row.status] ?? "?"} ${row.status}`;
}

// Write microseconds, with as many digits as a reader can use.
function duration(time) {
  const seconds = time / 1e6;
  if (seconds < 0.001) return `${Math.round(time)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 2 : 0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(2)} s`;
  const whole = Math.round(seconds);
  const minutes = `${Math.floor(whole / 60) % 60} min ${String(whole % 60).padStart(2, "0")} s`;
  return whole < 3600 ? minutes : `${Math.floor(whole / 3600)} h ${minutes}`;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function processorTime(row) {
  return row.cpu ? row.cpu[0] + row.cpu[1] : undefined;
}

function outputOf(row) {
  return row.hasRun && row.end !== undefined ? (row.stdout ?? 0) + (row.stderr ?? 0) : undefined;
}

// Return the marks of a row that its status does not tell of.
function marksOf(row) {
  return report.marks.filter(([track, time, name]) =>
    track === row.track && time >= row.begin && time <= row.stop && !STATUSES.includes(name));
}

// Return what is known of a row, as pairs of a label and a text.
function factsOf(row) {
  const facts = [["Command", row.name], ["Status", statusOf(row)]];
  const add = (label, value, write = String) => {
    if (value !== undefined && value !== null) facts.push([label, write(value)]);
  };
  add("Exit", row.exit);
  add("Error", row.error);
  if (row.hasRun || row.status !== "unfinished") add(row.hasRun ? "Started at" : "Given up at", row.begin, duration);
  if (row.hasRun) add("Took", row.stop - row.begin, duration);
  for (const [name, begin, end] of [...(row.before ?? []), ...(row.phases ?? [])]) {
    add(name[0].toUpperCase() + name.slice(1), (end ?? row.stop) - begin, duration);
  }
  add("Marks", marksOf(row).map(([, time, name]) => `${name} at ${duration(time)}`).join(", ") || null);
  if (row.cpu) {
    const [user, system] = row.cpu.map((seconds) => duration(seconds * 1e6));
    add("Processor time", `${user} user, ${system} system`);
  }
  add("Peak memory", row.memory, size);
  add("stdout", row.stdout, size);
  add("stderr", row.stderr, size);
  add("Attempt", row.attempt);
  add("Process", row.pid);
  add("Host", row.host);
  add("Command line", row.command);
  return facts;
}

// Return a new element; `children` are elements and texts, which are never parsed as HTML.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
