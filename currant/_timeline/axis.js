// The part of the run that is shown, and where a time is on the screen.

const MIN_SPAN = 10; // Microseconds; below that, nothing is to be seen.

class Axis {
  constructor(whole) {
    this.whole = Math.max(whole, MIN_SPAN);
    this.left = 0;
    this.right = 0; // Pixels; the timeline sets both.
    this.reset();
  }

  reset() {
    this.begin = 0;
    this.end = this.whole;
  }

  get span() {
    return this.end - this.begin;
  }

  x(time) {
    return this.left + ((time - this.begin) / this.span) * (this.right - this.left);
  }

  time(x) {
    return this.begin + ((x - this.left) / (this.right - this.left)) * this.span;
  }

  // Show a part that is `factor` times as long; `time` keeps its place.
  zoom(factor, time = (this.begin + this.end) / 2) {
    const span = Math.min(this.whole, Math.max(MIN_SPAN, this.span * factor));
    const share = (time - this.begin) / this.span;
    this.show(time - share * span, span);
  }

  // Move by a share of the part that is shown.
  move(share) {
    this.show(this.begin + share * this.span, this.span);
  }

  // Show the part of this length from `begin` on, or the nearest one within the run.
  show(begin, span) {
    this.begin = Math.min(Math.max(0, begin), this.whole - span);
    this.end = this.begin + span;
  }

  // Move so that some of [begin, end] is shown.
  reveal(begin, end) {
    if (end < this.begin || begin > this.end) this.show(begin - this.span / 4, this.span);
  }

  // Return round times in the part that is shown, at least `distance` pixels apart.
  ticks(distance) {
    const least = (distance / (this.right - this.left)) * this.span;
    const power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= least);
    const ticks = [];
    for (let tick = Math.ceil(this.begin / step) * step; tick <= this.end; tick += step) {
      ticks.push(tick);
    }
    return ticks;
  }
}
