// Interactive attention of one pair: words highlight regions, regions highlight words. The numbers
// are those of itm_book.pairs.pair_records; this file only draws them. drawing.js is always loaded
// before it.

const WIDE = 400; // units across a picture, whatever its pixels
const LABELS = 78, ROW = 15, TRACK = 58, TALL = 34, GAP = 10; // units of the matrix
const NARROW = 500; // pixels; where there are fewer, the bars stand below the matrix
const MAX_ALPHA = 0.78; // opacity of the overlay on regions without attention
const MOST_PINS = 3, MOST_BOXES = 10;
const TURN = 700; // milliseconds from one step to the next

const STYLE = `${ground("itm-explorer")}
.itm-explorer .words { display: flex; flex-wrap: wrap; gap: 4px; font-size: 17px; }
.itm-explorer .words button { position: relative; border-color: transparent; border-bottom: 3px solid var(--line); }
.itm-explorer .words button.on { border-color: currentColor; }
.itm-explorer .words i { display: block; height: 4px; margin: 0 -0.2em 1px; border-radius: 2px; opacity: 0; }
.itm-explorer .tools { display: flex; flex-wrap: wrap; gap: 0.35rem 1rem; align-items: center;
  margin: 0.6rem 0; font-size: 13px; color: var(--soft); }
.itm-explorer .tools label { display: inline-flex; gap: 0.35em; align-items: center; margin: 0; }
.itm-explorer .tools :is(input, select) { margin: 0; font: inherit; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 4px; accent-color: rgb(var(--lit)); }
.itm-explorer .tools input[type="number"] { width: 3.2em; }
.itm-explorer .tools input[type="range"] { width: 7em; }
.itm-explorer .panels { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
.itm-explorer .panel { container-type: inline-size; min-width: 0; }
.itm-explorer .views { display: grid; gap: 0.6rem; margin-top: 0.4rem; align-items: start; }
.itm-explorer .picture { max-width: 420px; border-radius: 4px; touch-action: manipulation; }
.itm-explorer .scroll { overflow-x: auto; min-width: 0; }
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
}
@media print { .itm-explorer .tools { display: none; } }
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
  constructor(data, el, source) {
    Object.assign(this, { data, source, el });
    const start = data.start || {};
    this.name = `itm-${Math.random().toString(36).slice(2, 9)}-${count++}`;
    this.pins = Array(MOST_PINS).fill(null);
    (start.pins || []).slice(0, MOST_PINS).forEach((word, slot) => (this.pins[slot] = word));
    this.word = this.region = this.held = null;
    this.step = 0;
    this.top = start.top ?? 3;
    this.truth = Boolean(start.truth);
    this.mode = "each";
    this.steps = Math.max(
      ...data.methods.flatMap((m) => m.directions.map((d) => Math.max(d.weights.length, d.pooling.length))),
    );
    this.step = clamp(start.step ?? this.steps - 1, 0, this.steps - 1);
    this.root = html("div", el, { class: "itm-explorer", role: "group" });
    this.root.setAttribute("aria-label", `Attention of the words: ${data.caption}`);
    html("style", this.root, {}, STYLE);
    this.drawWords();
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
      this.shown.textContent = `${Math.floor(this.step)} of ${this.steps - 1}`;
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

/** One method: its picture, its matrix with the shares of the score, and a line of numbers. */
class Panel {
  constructor(view, method, place, parent) {
    Object.assign(this, { view, method, data: view.data });
    this.box = html("section", parent, { class: "panel" });
    this.box.setAttribute("aria-label", method.name);
    const title = html("h4", this.box);
    html("i", title).style.background = method.colour;
    title.append(this.title());
    const views = html("div", this.box, { class: "views" });
    this.boxes = this.data.boxes || cells(this.data.regions, this.data.size);
    this.drawPicture(views, `${view.name}-${place}`);
    this.scroll = html("div", views, { class: "scroll", tabindex: 0, role: "group" });
    this.scroll.setAttribute("aria-label", `Matrix of words and regions, ${method.name}`);
    this.facts = html("p", this.box, { class: "facts" });
    this.wide = 0; // of the matrix on the page, in pixels; zero while it is not shown
    this.sizes = new ResizeObserver(([entry]) => {
      const wide = Math.round(entry.contentRect.width), changed = wide !== this.wide;
      this.wide = wide;
      if (changed && this.matrix) this.view.stepped();
    });
    this.sizes.observe(this.scroll);
  }

  title() {
    return `${this.method.name}: score ${this.method.score.toFixed(3)}`;
  }

  weights(direction, step = this.view.step) {
    return at(direction.weights, step);
  }

  drawPicture(parent, name) {
    const [wide, tall] = this.data.size, scale = WIDE / wide, height = tall * scale;
    this.frames = this.boxes.map(([a, b, c, d]) => ({
      x: a * scale, y: b * scale, width: Math.max((c - a) * scale, 1), height: Math.max((d - b) * scale, 1),
    }));
    const root = svg("svg", parent, { class: "picture", viewBox: `0 0 ${WIDE} ${height}`, role: "group", "font-family": FONT });
    root.setAttribute("aria-label", "Regions of the picture: arrow keys move, Enter holds one");
    const full = { width: WIDE, height };
    if (this.data.picture) svg("image", root, { ...full, href: this.data.picture, preserveAspectRatio: "none" });
    else svg("rect", root, { ...full, fill: this.data.palette.lit });
    const mask = svg("mask", svg("defs", root), { id: name, maskUnits: "userSpaceOnUse", x: 0, y: 0, ...full });
    svg("rect", mask, { ...full, fill: "#fff" });
    this.spots = this.frames.map((frame, r) => svg("rect", mask, { ...frame, "data-spot": r, fill: "#fff" }));
    this.mask = mask;
    this.veil = svg("rect", root, { ...full, fill: "#0b0f12", "fill-opacity": MAX_ALPHA, mask: `url(#${name})` });
    const lines = svg("g", root, { fill: "none", stroke: "#fff", "stroke-width": 0.8 });
    for (const frame of this.frames) svg("rect", lines, frame);
    this.lines = lines;
    this.trueBoxes = svg("g", root, { fill: "none", "stroke-width": 2.5 });
    this.marks = svg("g", root, { "font-size": 12.5, "pointer-events": "none" });
    const hits = svg("g", root, { class: "hits", fill: "transparent" });
    const area = this.frames.map((f) => f.width * f.height); // small ones above large ones
    for (const r of order(area)) {
      const hit = svg("rect", hits, { ...this.frames[r], "data-region": r, role: "button", tabindex: -1 });
      hit.setAttribute("aria-label", `region ${r}`);
    }
    hits.firstChild?.setAttribute("tabindex", 0);
    this.picture = root;
  }

  /** Draw the matrix of the shown step, with the bars of its queries at the side where they are. */
  stepped() {
    const { view, data, method } = this, palette = data.palette.heat;
    this.shown = view.direction(method, "word");
    const narrow = this.wide > 0 && this.wide < NARROW, L = data.words.length;
    const cell = clamp((narrow ? this.wide - LABELS - 8 : 324) / data.regions, 3, 18), across = cell * data.regions;
    const sides = view.mode === "each" ? method.directions : [this.shown];
    const columns = sides.find((d) => d.direction === "i2t"), rows = sides.find((d) => d.direction === "t2i");
    const above = columns ? this.tracks(columns).length * (TALL + 6) + 4 : 0, y0 = above + 16;
    const bars = rows ? this.tracks(rows).length * (TRACK + GAP) + GAP : columns ? 40 : 0;
    const below = narrow && rows ? (L + 1) * ROW + 14 : 0, end = y0 + (L + 2) * ROW + below;
    const size = [LABELS + (below ? Math.max(across, bars) : across + bars) + 4, end + 8];
    const kind = narrow ? "matrix narrow" : "matrix";
    const root = svg("svg", null, { class: kind, viewBox: `0 0 ${size.join(" ")}`, role: "img", fill: "currentColor" });
    root.setAttribute("font-family", FONT);
    root.setAttribute("font-size", 11);
    root.setAttribute("aria-label", `Attention of ${L} words over ${data.regions} regions, ${method.name}`);
    const values = this.weights(this.shown), most = largest(values.map(largest)) || 1;
    const label = (l, top) => svg("text", root, { x: LABELS - 6, y: top + l * ROW + 11, "text-anchor": "end" }, cut(data.words[l]));
    this.labels = data.words.map((_, l) => {
      values[l].forEach((value, r) => {
        const fill = palette[Math.round((value / most) * (palette.length - 1))];
        svg("rect", root, { x: LABELS + r * cell, y: y0 + l * ROW, width: cell, height: ROW, fill });
      });
      return [label(l, y0)];
    });
    for (let r = 0; r < data.regions; r += data.regions > 40 ? 10 : 5)
      svg("text", root, { x: LABELS + (r + 0.5) * cell, y: y0 - 4, "font-size": 9, "text-anchor": "middle" }, String(r));
    if (columns) this.drawColumns(root, columns, cell, above, !rows);
    if (rows && !below) this.drawRows(root, rows, LABELS + across + GAP, y0);
    if (below) {
      const top = y0 + (L + 1) * ROW + 6;
      this.labels.forEach((labels, l) => labels.push(label(l, top)));
      this.drawRows(root, rows, LABELS, top);
    }
    const sum = [...sides.map((d) => [d.direction === "t2i" ? "words" : "regions", total(d.contributions)]), ["remainder", method.remainder]];
    const added = sum.map(([what, value]) => `${what} ${value.toFixed(3)}`).join(" + ");
    const text = sides.length === method.directions.length ? `${added} = score ${method.score.toFixed(3)}` : added;
    svg("text", root, { x: narrow ? 4 : LABELS, y: end, class: "sum" }, text);
    this.cross = svg("g", root, { fill: "none", stroke: "currentColor", "stroke-width": 1.6, "pointer-events": "none" });
    const field = svg("rect", root, { class: "hits field", x: LABELS, y: y0, width: across, height: L * ROW, fill: "transparent" });
    field.addEventListener("pointermove", (e) => {
      const box = field.getBoundingClientRect();
      const l = clamp(Math.floor(((e.clientY - box.top) / box.height) * L), 0, L - 1);
      const r = clamp(Math.floor(((e.clientX - box.left) / box.width) * data.regions), 0, data.regions - 1);
      view.focus(l, r);
      view.showTip(e);
    });
    field.addEventListener("pointerleave", () => view.focus(null, null));
    field.addEventListener("click", () => view.word !== null && view.pin(view.word));
    this.matrix = root;
    this.layout = { cell, across, y0 };
    this.scroll.replaceChildren(root);
  }

  /** Return name and values of the bars drawn for the queries of a direction. */
  tracks(direction) {
    const { step, steps } = this.view, tracks = [["contribution", direction.contributions]];
    if (direction.pooling.length) tracks.push(["weight β", at(direction.pooling, step)]);
    if (steps > 1) tracks.push(["temperature λ", at(direction.temperature, step)]);
    return tracks;
  }

  drawRows(root, direction, x0, y0) {
    this.tracks(direction).forEach(([name, values], k) => {
      const shown = k ? values : [...values, this.method.remainder], x = x0 + k * (TRACK + GAP);
      const scale = spread(shown, TRACK);
      svg("text", root, { x, y: y0 - 4, "font-size": 9 }, name);
      svg("path", root, { d: `M${x + scale.zero} ${y0}v${shown.length * ROW}`, stroke: "currentColor", "stroke-width": 0.5 });
      shown.forEach((value, l) => {
        const y = y0 + l * ROW + 3 + (l === values.length ? 3 : 0), [from, width] = scale.bar(value);
        bar(root, { x: x + from, y, width, height: ROW - 6 }, name, value, this.method.colour);
      });
    });
    svg("text", root, { x: x0 - 6, y: y0 + (this.data.words.length + 1) * ROW - 1, "text-anchor": "end" }, "remainder");
  }

  drawColumns(root, direction, cell, above, withRemainder) {
    this.tracks(direction).forEach(([name, values], k) => {
      const shown = k || !withRemainder ? values : [...values, this.method.remainder];
      const y = above - (k + 1) * (TALL + 6) + 2, scale = spread(shown, TALL);
      svg("text", root, { x: LABELS - 6, y: y + TALL / 2 + 4, "font-size": 9, "text-anchor": "end" }, name);
      svg("path", root, { d: `M${LABELS} ${y + TALL - scale.zero}h${values.length * cell}`, stroke: "currentColor", "stroke-width": 0.5 });
      shown.forEach((value, r) => {
        const x = LABELS + r * cell + 1 + (r === values.length ? 8 : 0), [from, height] = scale.bar(value);
        bar(root, { x, y: y + TALL - from - height, width: cell - 2, height }, name, value, this.method.colour);
        if (r === values.length) svg("text", root, { x: x + cell, y: y + TALL, "font-size": 9 }, "remainder");
      });
    });
  }

  ofRegion(region) {
    const direction = this.view.direction(this.method, "region");
    return this.weights(direction).map((row) => row[region]);
  }

  update(active, region) {
    const { view } = this, lit = view.word !== null ? [view.word] : active;
    const direction = view.direction(this.method, "word"), weights = this.weights(direction);
    const relative = lit.map((l) => weights[l].map((w) => w / (largest(weights[l]) || 1)));
    this.light(this.frames.map((_, r) => largest(relative.map((row) => row[r]))), lit.length > 0);
    this.drawMarks(active, weights, region);
    this.drawTrueBoxes(lit);
    this.drawCross(active, region);
    this.write(active, direction, region);
  }

  /** Highlight regions: a pixel is as bright as the brightest region that covers it. */
  light(bright, dark) {
    this.veil.setAttribute("visibility", dark ? "visible" : "hidden");
    this.lines.setAttribute("stroke-opacity", dark ? 0.16 : 0.55);
    if (!dark) return;
    for (const r of order(bright).reverse()) {
      const grey = Math.round(255 * (1 - bright[r]));
      this.spots[r].setAttribute("fill", `rgb(${grey},${grey},${grey})`);
      this.mask.append(this.spots[r]); // the brightest on top
    }
  }

  drawMarks(active, weights, region) {
    const taken = [], labels = svg("g", null);
    this.marks.replaceChildren();
    for (const word of active) {
      const colour = this.view.colour(word), best = order(weights[word]).slice(0, this.view.top);
      best.reverse().forEach((r, k) => {
        const rank = best.length - k, text = `${rank}  ${short(weights[word][r])}`, frame = this.frames[r];
        const mark = { fill: "none", stroke: colour, "stroke-width": rank === 1 ? 3 : 1.6, "data-rank": rank };
        svg("rect", this.marks, { ...inside(frame, 1), ...mark, "data-marked": r });
        const wide = 7 * text.length, limit = this.data.size[1] * (WIDE / this.data.size[0]) - 16;
        const spot = { x: clamp(frame.x, 0, WIDE - wide), y: clamp(frame.y - 16, 0, limit) }; // above the box
        while (taken.some((t) => Math.abs(t.x - spot.x) < 56 && Math.abs(t.y - spot.y) < 16) && spot.y < limit) spot.y += 4;
        taken.push(spot);
        svg("rect", labels, { ...spot, width: wide, height: 16, fill: colour });
        svg("text", labels, { x: spot.x + 4, y: spot.y + 12.5, fill: "#111", "xml:space": "preserve" }, text);
      });
    }
    if (region !== null)
      svg("rect", this.marks, { ...inside(this.frames[region], 1), fill: "none", stroke: "#fff", "stroke-width": 2.5, "stroke-dasharray": "7 3" });
    this.marks.append(labels); // above all boxes
  }

  drawTrueBoxes(words) {
    this.trueBoxes.replaceChildren();
    if (!this.view.truth) return;
    const scale = WIDE / this.data.size[0];
    for (const [a, b, c, d] of words.flatMap((word) => this.data.true_boxes[word])) {
      const frame = { x: a * scale, y: b * scale, width: (c - a) * scale, height: (d - b) * scale };
      svg("rect", this.trueBoxes, { ...frame, stroke: "#fff", "stroke-width": 5, "data-true": "" });
      svg("rect", this.trueBoxes, { ...frame, stroke: this.data.palette.right });
    }
  }

  drawCross(active, region) {
    const { cell, across, y0 } = this.layout, tall = this.data.words.length * ROW;
    this.cross.replaceChildren();
    for (const word of active)
      svg("rect", this.cross, { x: LABELS, y: y0 + word * ROW, width: across, height: ROW, stroke: this.view.colour(word) });
    if (region !== null) svg("rect", this.cross, { x: LABELS + region * cell, y: y0, width: cell, height: tall });
    this.labels.forEach((labels, l) => labels.forEach((label) => label.setAttribute("font-weight", active.includes(l) ? "bold" : "normal")));
  }

  write(active, direction, region) {
    const lines = active.map((word) => [this.view.colour(word), this.data.words[word], this.ofWord(word, direction)]);
    if (region !== null) lines.push(["#999", `region ${region}`, this.regionFacts(region)]);
    this.facts.replaceChildren();
    for (const [colour, what, text] of lines) {
      const line = html("span", this.facts, { style: "display: block" });
      html("i", line).style.background = colour;
      html("b", line, {}, what);
      line.append(` ${text}. `);
    }
    if (!lines.length) this.facts.textContent = "Point at a word or a region. A click or Enter pins a word, Escape clears.";
  }

  ofWord(word, direction) {
    const weights = this.weights(direction)[word], best = order(weights)[0];
    const parts = [`region ${best} (${short(weights[best])})`];
    if (direction.direction === "t2i") parts.push(...this.query(word, direction));
    else if (this.view.truth) parts.push("regions are the queries: point at one for its precision");
    return parts.join(" · ");
  }

  regionFacts(region) {
    const direction = this.view.direction(this.method, "region"), values = this.ofRegion(region);
    const words = order(values).slice(0, 3).map((l) => `${this.data.words[l]} (${short(values[l])})`);
    return [words.join(", "), ...(direction.direction === "i2t" ? this.query(region, direction) : [])].join(" · ");
  }

  /** Return the numbers of one query: contribution, pooling weight, temperature and quality. */
  query(k, direction) {
    const { step, truth } = this.view, contribution = direction.contributions[k];
    const parts = [`contribution ${contribution < 0 ? "−" : "+"}${Math.abs(contribution).toFixed(3)}`];
    if (direction.pooling.length) parts.push(`β ${short(at(direction.pooling, step)[k])}`);
    parts.push(`λ ${at(direction.temperature, step)[k].toFixed(1)}`);
    if (truth && direction.quality.length) {
      const quality = direction.quality[Math.min(Math.round(step), direction.quality.length - 1)][k];
      const [p, r, f] = quality || [];
      parts.push(quality ? `precision ${p.toFixed(2)}, recall ${r.toFixed(2)}, F1 ${f.toFixed(2)}` : "no relevant key");
    }
    return parts;
  }

  tip(active, word, region) {
    if (region === null) return "";
    const weights = this.weights(this.view.direction(this.method, word === null ? "region" : "word"));
    const words = word !== null ? [word] : active.length ? active : order(this.ofRegion(region)).slice(0, 3);
    const lines = words.map((l) => `${this.data.words[l]}: ${weights[l][region].toFixed(4)}`);
    return [`region ${region}`, ...lines].join("\n");
  }
}

function inside({ x, y, width, height }, by) {
  return { x: x + by, y: y + by, width: Math.max(width - 2 * by, 1), height: Math.max(height - 2 * by, 1) };
}

/** Return the scale of bars on a length: the position of zero, and start and length of a bar. */
function spread(values, length) {
  const low = Math.min(0, ...values), high = Math.max(0, ...values), unit = length / (high - low || 1);
  return { zero: -low * unit, bar: (v) => [(Math.min(v, 0) - low) * unit, Math.abs(v) * unit] };
}

function bar(root, frame, name, value, colour) {
  const node = svg("rect", root, { ...frame, fill: colour, class: "bar", "data-of": name, "data-value": value });
  svg("title", node, {}, `${name} ${value}`);
}

const render = renderer((records, el, before, source) => {
  if (!records.words) return null;
  const options = before && { top: before.top, truth: before.truth };
  return new Explorer({ ...records, start: { ...records.start, ...options } }, el, source);
});

export default { render };
