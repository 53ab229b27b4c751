// Interactive attention of one pair: words highlight regions, regions highlight words. The numbers
// are those of itm_book.pairs.pair_records; this file only draws them. drawing.js, explorer_menu.js
// and explorer_panel.js are always loaded before it.

const WIDE = 400; // units across a picture, whatever its pixels
const LABELS = 78, ROW = 15, TRACK = 58, TALL = 34, GAP = 10; // units of the matrix
const NARROW = 500; // pixels; where there are fewer, the bars stand below the matrix
const MOST_PINS = 3, MOST_BOXES = 10;
const HINT = "Point at a word or at a region of the picture. A click, a tap or Enter pins a word or lets it go, Escape clears.";
const TURN = 700; // milliseconds from one step to the next

const STYLE = `${ground("itm-explorer")}
.itm-explorer .words { display: flex; flex-wrap: wrap; gap: 4px; font-size: 17px; }
.itm-explorer .words button { position: relative; border-color: transparent; border-bottom: 3px solid var(--line); }
.itm-explorer .words button.on { border-color: currentColor; }
.itm-explorer .words i { display: block; height: 4px; margin: 0 -0.2em 1px; border-radius: 2px; opacity: 0; }
.itm-explorer .hint { margin-top: 0.35rem; font-size: 13px; color: var(--soft); }
.itm-explorer .menu { display: flex; flex-wrap: wrap; gap: 0.35rem 1rem; margin-bottom: 0.6rem; font-size: 13px; color: var(--soft); }
.itm-explorer .menu label { display: inline-flex; gap: 0.35em; align-items: center; margin: 0; min-width: 0; max-width: 100%; white-space: nowrap; }
.itm-explorer .menu select { min-width: 0; max-width: 100%; padding: 0.1em; font: inherit; text-overflow: ellipsis; color: var(--ink);
  background: var(--card); border: 1px solid var(--line); border-radius: 4px; }
.itm-explorer .tools { display: flex; flex-wrap: wrap; gap: 0.35rem 1rem; align-items: center;
  margin: 0.6rem 0; font-size: 13px; color: var(--soft); }
.itm-explorer .tools label { display: inline-flex; gap: 0.35em; align-items: center; margin: 0; }
.itm-explorer .tools :is(input, select) { margin: 0; font: inherit; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 4px; accent-color: rgb(var(--lit)); }
.itm-explorer .tools input[type="number"] { width: 3.2em; }
.itm-explorer .tools input[type="range"] { width: 7em; }
.itm-explorer .panels { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
.itm-explorer .panel { container-type: inline-size; min-width: 0; }
.itm-explorer .views { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0.6rem; margin-top: 0.4rem; align-items: start; }
.itm-explorer .folded .picture { max-width: 480px; }
.itm-explorer .picture { max-width: 420px; border-radius: 4px; touch-action: manipulation; }
.itm-explorer .scroll { overflow-x: auto; min-width: 0; }
.itm-explorer .fold { grid-column: 1 / -1; font-size: 13px; color: var(--soft); }
.itm-explorer .fold summary { cursor: pointer; }
.itm-explorer .scroll svg { min-width: ${NARROW}px; max-width: 760px; }
.itm-explorer .scroll svg.narrow { min-width: 0; max-width: ${NARROW}px; }
.itm-explorer [data-region] { cursor: pointer; outline: none; }
.itm-explorer [data-region]:focus-visible { stroke: rgb(var(--lit)); stroke-width: 3; }
.itm-explorer .facts { margin-top: 0.4rem; min-height: 2.9em; font-size: 13px; color: var(--soft); font-variant-numeric: tabular-nums; }
.itm-explorer .facts b { color: var(--ink); }
.itm-explorer .facts i { display: inline-block; width: 0.7em; height: 0.7em; margin-right: 0.4em; border-radius: 50%; }
.itm-explorer .tip { position: absolute; z-index: 5; max-width: 16rem; padding: 0.25rem 0.5rem; border-radius: 4px;
  background: var(--ink); color: var(--card); font-size: 12px; pointer-events: none; white-space: pre-line; }
@container (min-width: 660px) {
  .itm-explorer .panels.two { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .itm-explorer .panels.two .views { grid-template-columns: minmax(0, 1fr); }
  .itm-explorer .views { grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); }
  .itm-explorer .panels:not(.two) .views.folded { grid-template-columns: minmax(0, 5fr) minmax(0, 3fr); }
}
@media print { .itm-explorer :is(.tools, .menu, .hint) { display: none; } }
`;

const cut = (word) => (word.length > 11 ? `${word.slice(0, 10)}…` : word);

/** Return the values at a step that may lie between two of them, and stay at the last. */
function at(steps, step) {
  const low = Math.min(Math.floor(step), steps.length - 1);
  const high = Math.min(low + 1, steps.length - 1), part = step - Math.floor(step);
  if (low === high || part === 0) return steps[low];
  const mix = (a, b) => (Array.isArray(a) ? a.map((x, k) => mix(x, b[k])) : a + part * (b - a));
  return mix(steps[low], steps[high]);
}

let count = 0; // explorers of this module; with the random part, mask names are unique

class Explorer {
  constructor(data, el, source, menu) {
    Object.assign(this, { data, source, el });
    const start = data.start || {};
    this.name = `itm-${Math.random().toString(36).slice(2, 9)}-${count++}`;
    this.pins = Array(MOST_PINS).fill(null);
    (start.pins || []).slice(0, MOST_PINS).forEach((word, slot) => (this.pins[slot] = word));
    this.word = this.region = this.held = null;
    this.step = 0;
    this.top = start.top ?? 3;
    this.truth = Boolean(start.truth && data.true_boxes);
    this.mode = "each";
    this.steps = Math.max(
      ...data.methods.flatMap((m) => m.directions.map((d) => Math.max(d.weights.length, d.pooling.length))),
    );
    this.step = clamp(start.step ?? this.steps - 1, 0, this.steps - 1);
    this.root = html("div", el, { class: "itm-explorer", role: "group" });
    this.root.setAttribute("aria-label", `Attention of the words: ${data.caption}`);
    html("style", this.root, {}, STYLE);
    menu?.draw(this.root);
    this.drawWords();
    html("p", this.root, { class: "hint" }, HINT);
    this.drawTools();
    const panels = html("div", this.root, { class: data.methods.length > 1 ? "panels two" : "panels" });
    this.panels = data.methods.map((method, k) => new Panel(this, method, k, panels));
    this.tip = html("div", this.root, { class: "tip", "aria-hidden": "true" });
    this.tip.hidden = true;
    this.status = html("div", this.root, { class: "live", role: "status", "aria-live": "polite" });
    this.listen();
    this.watch = followTheme(this.root);
    this.stepped();
  }

  // Which side is the query: a hovered word where the method has t2i, a hovered region where i2t.
  direction(method, kind) {
    const wanted = this.mode === "each" ? (kind === "word" ? "t2i" : "i2t") : this.mode;
    return method.directions.find((d) => d.direction === wanted) || method.directions[0];
  }

  colour(word) {
    const slot = this.pins.indexOf(word);
    return slot < 0 ? this.data.palette.lit : this.data.palette.pins[slot];
  }

  /** The words that are shown, the hovered one last. */
  active() {
    const pinned = this.pins.filter((word) => word !== null);
    return this.word === null || pinned.includes(this.word) ? pinned : [...pinned, this.word];
  }

  drawWords() {
    const row = html("div", this.root, { class: "words", role: "group" });
    row.setAttribute("aria-label", "Words of the caption: arrow keys move, Enter pins, Escape clears");
    this.words = this.data.words.map((word, k) => {
      const button = html("button", row, { type: "button", "data-word": k, "aria-pressed": "false" }, word);
      button.tabIndex = k === 0 ? 0 : -1;
      for (const method of this.data.methods) html("i", button).style.background = method.colour;
      return button;
    });
  }

  drawTools() {
    const tools = html("div", this.root, { class: "tools" });
    const label = (text) => html("label", tools, {}, text);
    if (this.steps > 1) {
      const range = { type: "range", min: 0, max: this.steps - 1, step: 1, value: this.step };
      this.slider = html("input", label("step"), { ...range, "aria-label": "Step of the regulator" });
      this.shown = html("output", tools);
      this.player = html("button", tools, { type: "button", "aria-label": "Play the steps" }, "▶ play");
      this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
      this.player.addEventListener("click", () => (this.playing ? this.stop() : this.play()));
    }
    if (this.data.methods.some((m) => m.directions.length > 1)) {
      const select = html("select", label("queries"), { class: "mode" });
      for (const [value, text] of [["each", "both sides"], ["t2i", "words"], ["i2t", "regions"]])
        html("option", select, { value }, text);
      select.addEventListener("change", () => { this.mode = select.value; this.stepped(); });
    }
    const top = html("input", label("best boxes"), { type: "number", min: 0, max: MOST_BOXES, value: this.top });
    top.addEventListener("input", () => {
      this.top = clamp(Math.round(Number(top.value)) || 0, 0, MOST_BOXES);
      this.update();
    });
    if (this.data.true_boxes) {
      const field = label("");
      const truth = html("input", field, { type: "checkbox", class: "truth" });
      field.append("true boxes");
      truth.checked = this.truth;
      truth.addEventListener("change", () => { this.truth = truth.checked; this.update(); });
    }
    for (const kind of ["PNG", "SVG", "HTML"]) {
      const button = html("button", tools, { type: "button", "aria-label": `Save as ${kind}` }, kind);
      button.addEventListener("click", () => this.save(kind.toLowerCase()));
    }
  }

  listen() {
    const root = this.root, find = (e, name) => e.target.closest?.(`[data-${name}]`)?.dataset[name];
    const point = (e) => {
      const [word, region] = [find(e, "word"), find(e, "region")];
      if (word === undefined && region === undefined) return;
      this.focus(word === undefined ? null : Number(word), region === undefined ? null : Number(region));
      this.showTip(e);
    };
    root.addEventListener("pointerover", point);
    root.addEventListener("pointermove", (e) => this.moveTip(e));
    root.addEventListener("pointerout", (e) => {
      if (find(e, "word") !== undefined || find(e, "region") !== undefined) this.focus(null, null);
    });
    root.addEventListener("focusin", (e) => e.target.matches(":focus-visible") && point(e));
    root.addEventListener("focusout", () => this.focus(null, null));
    root.addEventListener("click", (e) => {
      const [word, region] = [find(e, "word"), find(e, "region")];
      if (word !== undefined) this.pin(Number(word));
      else if (region !== undefined) this.hold(Number(region));
    });
    root.addEventListener("keydown", (e) => this.key(e));
  }

  key(e) {
    if (e.key === "Escape") return this.clear();
    const group = e.target.matches?.("[data-word], [data-region]") && [...e.target.parentNode.children];
    if (!group) return undefined;
    if (["Enter", " "].includes(e.key) && e.target.dataset.region !== undefined) {
      e.preventDefault(); // buttons click by themselves, regions do not
      return this.hold(Number(e.target.dataset.region));
    }
    return rove(e, group);
  }

  focus(word, region) {
    if (word === this.word && region === this.region) return;
    Object.assign(this, { word, region });
    if (word === null && region === null) this.tip.hidden = true;
    this.update();
  }

  pin(word) {
    const slot = this.pins.indexOf(word), free = this.pins.indexOf(null);
    if (slot >= 0) this.pins[slot] = null;
    else this.pins[free < 0 ? 0 : free] = word;
    this.update();
  }

  hold(region) {
    this.held = this.held === region ? null : region;
    this.update();
  }

  clear() {
    this.pins.fill(null);
    this.word = this.region = this.held = null;
    this.tip.hidden = true;
    this.update();
  }

  go(step) {
    this.step = step;
    this.stepped();
  }

  play() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const from = this.step >= this.steps - 1 ? 0 : Math.floor(this.step), begun = performance.now();
    this.player.textContent = "■ stop";
    const frame = (now) => {
      const gone = Math.max(now - begun, 0) / TURN, full = Math.floor(gone / 2), part = gone - 2 * full;
      // half of the time a step is shown unchanged, so that its numbers can be read
      const step = Math.min(from + full + (still ? 0 : clamp(part - 1, 0, 1)), this.steps - 1);
      if (step !== this.step) this.go(step);
      if (step >= this.steps - 1) this.stop();
      else this.playing = requestAnimationFrame(frame);
    };
    this.playing = requestAnimationFrame(frame);
  }

  stop() {
    cancelAnimationFrame(this.playing);
    this.playing = 0;
    if (this.player) this.player.textContent = "▶ play";
    if (this.step % 1) this.go(Math.round(this.step));
  }

  leave() {
    this.stop();
    this.watch?.disconnect();
    for (const panel of this.panels) panel.sizes.disconnect();
    clearTimeout(this.saying);
  }

  stepped() {
    if (this.slider) {
      this.slider.value = Math.round(this.step);
      this.shown.textContent = `${Math.floor(this.step) + 1} of ${this.steps}`;
    }
    for (const panel of this.panels) panel.stepped();
    this.update();
  }

  update() {
    const active = this.active(), region = this.region ?? this.held;
    const lights = region === null ? null : this.panels.map((panel) => panel.ofRegion(region));
    this.words.forEach((button, k) => {
      const pinned = this.pins.includes(k);
      button.setAttribute("aria-pressed", String(pinned));
      button.classList.toggle("on", active.includes(k));
      button.style.borderBottomColor = active.includes(k) ? this.colour(k) : "";
      const light = lights ? lights.map((values) => values[k] / (largest(values) || 1)) : [];
      button.style.background = lights ? `rgb(var(--lit) / ${(0.75 * largest(light)).toFixed(3)})` : "";
      this.panels.forEach((_, m) => (button.children[m].style.opacity = lights ? light[m].toFixed(3) : 0));
    });
    for (const panel of this.panels) panel.update(active, region);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (this.status.textContent = this.spoken()), 150);
  }

  spoken() {
    return this.panels.map((panel) => `${panel.method.name}: ${panel.facts.innerText}`).join(" ");
  }

  showTip(e) {
    const panel = this.panels.find((panel) => panel.box.contains(e.target)) || this.panels[0];
    this.tip.textContent = panel.tip(this.active(), this.word, this.region);
    this.tip.hidden = !this.tip.textContent;
    this.moveTip(e);
  }

  moveTip(e) {
    if (this.tip.hidden) return;
    const frame = this.root.getBoundingClientRect(), target = e.target.getBoundingClientRect();
    const x = (e.clientX ?? target.right) - frame.left, y = (e.clientY ?? target.top) - frame.top;
    const left = x + 14 + this.tip.offsetWidth > frame.width ? x - 14 - this.tip.offsetWidth : x + 14;
    Object.assign(this.tip.style, { left: `${Math.max(left, 0)}px`, top: `${y + 14}px` });
  }

  /** Return the panels as one self-contained picture. */
  compose() {
    const style = getComputedStyle(this.root), side = 300, wide = 940;
    const out = svg("svg", null, { xmlns: NAMESPACE, "font-family": FONT, color: style.color, fill: "currentColor" });
    const ground = svg("rect", out, { width: wide, fill: style.backgroundColor });
    const caption = svg("text", out, { x: 16, y: 30, "font-size": 17 });
    let across = 0, y = 30;
    this.data.words.forEach((word, k) => {
      if (across > 90) (across = 0), (y += 24);
      const place = across ? {} : { x: 16, y };
      const strong = this.active().includes(k) ? { fill: this.colour(k), "font-weight": "bold" } : {};
      svg("tspan", caption, { ...place, ...strong }, word);
      svg("tspan", caption, {}, " ");
      across += word.length + 1;
    });
    for (const panel of this.panels) {
      svg("text", out, { x: 16, y: y + 34, "font-size": 14, "font-weight": "bold" }, panel.title());
      let tall = 0;
      for (const [view, x, width] of [[panel.picture, 16, side], [panel.matrix, side + 32, wide - side - 48]]) {
        const copy = view.cloneNode(true), [, , w, h] = view.getAttribute("viewBox").split(" ").map(Number);
        copy.querySelectorAll(".hits").forEach((node) => node.remove());
        for (const [k, v] of Object.entries({ x, y: y + 46, width, height: (width * h) / w })) copy.setAttribute(k, v);
        out.append(copy);
        tall = Math.max(tall, (width * h) / w);
      }
      y += 52 + tall;
    }
    ground.setAttribute("height", y + 16);
    for (const [k, v] of Object.entries({ width: wide, height: y + 16, viewBox: `0 0 ${wide} ${y + 16}` })) out.setAttribute(k, v);
    return out;
  }

  /** Return this explorer as a separate page in its present state. */
  page() {
    const start = { pins: this.pins.filter((w) => w !== null), step: Math.round(this.step), top: this.top, truth: this.truth };
    const records = JSON.stringify({ ...this.data, start }).replaceAll("<", "\\u003c");
    const head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">';
    return `${head}<title>Attention of the words</title><div data-explorer="one"></div>
<script type="application/json" data-explorer-records="one">${records}<\/script>
<script type="module" data-explorer-module="one">${this.source}\nmount("explorer", "one");<\/script></html>`;
  }

  async save(kind) {
    const drawn = kind === "html" ? null : new XMLSerializer().serializeToString(this.compose());
    const blob =
      kind === "html" ? new Blob([this.page()], { type: "text/html" })
      : kind === "svg" ? new Blob([drawn], { type: "image/svg+xml" })
      : await painted(drawn);
    const link = html("a", null, { download: `attention-${this.data.image.replace(/\W+/g, "-")}.${kind}` });
    link.href = URL.createObjectURL(blob);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

/** Return an SVG as a PNG of twice its size. */
async function painted(text) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = html("canvas", null, { width: 2 * image.width, height: 2 * image.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

const render = renderer((records, el, before, source) => {
  if (records.pairs) return new Menu(records, el, source);
  if (!records.words) return null;
  const options = before && { top: before.top, truth: before.truth };
  return new Explorer({ ...records, start: { ...records.start, ...options } }, el, source);
});

export default { render };
