// Interactive search results: the best images of a sentence with their most important regions, the
// best captions of an image with their most important words. The numbers are those of
// itm_book.search.searcher; this file only sums and draws them. drawing.js is always loaded before it.

const WIDE = 160, WIDER = 270; // units across a picture, whatever its pixels; of a page's own pictures
const SHOWN = 3; // outlined regions, listed words
const UNKNOWN = "not in the vocabulary";

const STYLE = `${ground("itm-gallery")}
.itm-gallery { --right: var(--green); }
.itm-gallery.dark { --right: color-mix(in srgb, var(--green) 50%, white); }
.itm-gallery .queries { display: flex; flex-wrap: wrap; gap: 0.35rem; margin-bottom: 0.8rem; }
.itm-gallery .queries button { max-width: 100%; text-align: left; font-size: 13px; color: var(--soft); }
.itm-gallery .queries svg { width: 62px; border-radius: 3px; }
.itm-gallery .queries [aria-selected="true"] { color: var(--ink); border-color: rgb(var(--lit)); box-shadow: inset 0 -3px rgb(var(--lit)); }
.itm-gallery .words { display: flex; flex-wrap: wrap; gap: 2px; }
.itm-gallery .query { font-size: 17px; margin-bottom: 0.2rem; }
.itm-gallery .words button { border-color: transparent; padding: 0 0.25em; border-radius: 3px; }
.itm-gallery .words .unknown { border: 1px dashed var(--soft); text-decoration: line-through; }
.itm-gallery .words .on { outline: 2px solid currentColor; outline-offset: -1px; }
.itm-gallery section { margin-top: 0.9rem; }
.itm-gallery ol { display: grid; gap: 0.7rem; margin: 0.4rem 0 0; padding: 0; list-style: none; }
.itm-gallery .images ol { grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); }
.itm-gallery .captions .both { display: grid; gap: 0.8rem; align-items: start; margin-top: 0.4rem; }
.itm-gallery .captions ol { margin: 0; }
.itm-gallery li { min-width: 0; margin: 0; padding: 0.4rem; border: 1px solid var(--line); border-radius: 6px; }
.itm-gallery li.right { border: 2px solid var(--right); }
.itm-gallery .head { display: flex; flex-wrap: wrap; gap: 0 0.5em; font-size: 13px; font-variant-numeric: tabular-nums; }
.itm-gallery .head b:last-child { margin-left: auto; }
.itm-gallery .belongs { color: var(--right); font-weight: 600; }
.itm-gallery .picture { margin: 0.3rem 0; border-radius: 3px; }
.itm-gallery .captions .both > .picture { position: sticky; top: 0.5rem; z-index: 1; max-width: 9rem; margin: 0; }
.itm-gallery .bar { height: 13px; margin: 0.3rem 0 0.2rem; overflow: visible; }
.itm-gallery .bar [data-word] { cursor: pointer; }
.itm-gallery :is(.facts, .missing) { font-size: 12.5px; color: var(--soft); font-variant-numeric: tabular-nums; }
.itm-gallery .images .facts { min-height: 2.9em; }
.itm-gallery .name { font-size: 12.5px; }
@container (min-width: 620px) { .itm-gallery .captions .both { grid-template-columns: minmax(0, 2fr) minmax(0, 5fr); }
  .itm-gallery .captions .both > .picture { max-width: 22rem; } }
`;

/** A picture with outlined regions. */
class Picture {
  constructor(parent, image, lit, units = WIDE) {
    const [wide, tall] = image.size, scale = units / wide;
    Object.assign(this, { lit, units, scale, tall: tall * scale, boxes: image.boxes || cells(image.regions, image.size) });
    const view = { class: "picture", viewBox: `0 0 ${units} ${this.tall}`, role: "img", "font-family": FONT };
    this.root = svg("svg", parent, { ...view, "aria-label": `image ${image.id}` });
    const full = { width: units, height: this.tall };
    if (image.picture) svg("image", this.root, { ...full, href: image.picture, preserveAspectRatio: "none" });
    else {
      svg("rect", this.root, { ...full, fill: "currentColor", "fill-opacity": 0.12 });
      const middle = { x: units / 2, y: this.tall / 2, "text-anchor": "middle", fill: "currentColor", "font-size": 14 };
      svg("text", this.root, middle, image.id);
    }
    this.marks = svg("g", this.root, { "font-size": 12, "font-weight": 600 });
  }

  /** Outline regions: `[region, text, strength]`, the strongest first. */
  show(marks) {
    this.marks.replaceChildren();
    const labels = this.labels(marks);
    for (const [region, text, strength] of [...marks].reverse()) {
      const [a, b, c, d] = this.boxes[region].map((v) => v * this.scale), opacity = 0.3 + 0.7 * strength;
      const box = { x: a + 1, y: b + 1, width: Math.max(c - a - 2, 1), height: Math.max(d - b - 2, 1), fill: "none" };
      const group = svg("g", this.marks, { opacity: opacity.toFixed(3), "data-marked": region, "data-strength": strength.toFixed(4) });
      svg("rect", group, { ...box, stroke: "#111", "stroke-width": 4 });
      svg("rect", group, { ...box, stroke: this.lit, "stroke-width": 2.5 });
      const label = labels.pop();
      svg("rect", group, { ...label, fill: this.lit });
      svg("text", group, { x: label.x + 3, y: label.y + 11.5, fill: "#111" }, text);
    }
  }

  /** Return a place for each label: above its region or in its corner, or next to another label. */
  labels(marks) {
    const taken = [], height = 15;
    for (const [region, text] of marks) {
      const [a, b] = this.boxes[region].map((v) => v * this.scale), width = 7.2 * text.length + 9;
      const spot = { x: clamp(a, 0, this.units - width), y: clamp(b < height ? b : b - height, 0, this.tall - height), width, height };
      const overlaps = (label) => Math.abs(label.x - spot.x) < width && Math.abs(label.y - spot.y) < height;
      while (taken.some(overlaps) && spot.x < this.units - 2 * width) spot.x += width;
      taken.push(spot);
    }
    return taken;
  }
}

/** One result: rank, mark and score, its words or its picture, and the bar of its score. */
class Hit {
  constructor(view, method, hit, rank, parent) {
    Object.assign(this, { view, hit, method });
    this.words = hit.evidence.map(total);
    this.regions = hit.evidence[0].map((_, r) => total(hit.evidence.map((row) => row[r])));
    this.root = html("li", parent, { class: hit.right ? "right" : "", "data-rank": rank });
    const head = html("div", this.root, { class: "head" });
    html("b", head, {}, `${rank}.`);
    if (hit.right !== null) html("span", head, hit.right ? { class: "belongs" } : {}, hit.right ? "✓ right" : "other");
    html("b", head, { title: `score ${hit.score}` }, hit.score.toFixed(3));
    if (view.target === "images") {
      const image = view.data.images[hit.image];
      this.picture = new Picture(this.root, image, view.data.palette.lit, view.data.named ? WIDER : WIDE);
      if (view.data.named) html("p", this.root, { class: "name" }, image.id);
    } else this.buttons = view.drawWords(this.root, hit.words, hit.unknown, this);
    this.drawBar();
    this.facts = html("p", this.root, { class: "facts" });
  }

  /** Draw the score as the contributions of its words, negative ones to the left of zero. */
  drawBar() {
    const { low, high } = this.method, unit = 100 / (high - low || 1), ends = { true: 0, false: 0 };
    const label = `score ${this.hit.score.toFixed(3)}, the sum of its words and a remainder`;
    this.bar = svg("svg", this.root, { class: "bar", role: "img", "aria-label": label });
    const contributions = [...this.words, this.hit.remainder];
    this.parts = contributions.map((value, k) => {
      const from = value < 0 ? ends.false + value : ends.true, isRemainder = k === this.words.length;
      ends[value >= 0] += value;
      const box = { x: `${(from - low) * unit}%`, width: `${Math.abs(value) * unit}%`, height: 13, "data-value": value };
      const style = { fill: this.method.colour, "fill-opacity": isRemainder ? 0.12 : k % 2 ? 0.6 : 0.9, stroke: "var(--card)" };
      const part = svg("rect", this.bar, { ...box, ...style, ...(isRemainder ? { stroke: this.method.colour, "stroke-dasharray": "3 2" } : { "data-word": k }) });
      svg("title", part, {}, `${isRemainder ? "remainder" : this.hit.words[k]} ${value.toFixed(4)}`);
      return part;
    });
    svg("rect", this.bar, { x: `${-low * unit}%`, y: -2, width: 1, height: 17, fill: "currentColor" });
  }

  /** Return the region with the largest contribution of a word; null where there is none. */
  regionOf(word) {
    const sizes = this.hit.evidence[word].map(Math.abs), best = order(sizes)[0];
    return sizes[best] ? best : null;
  }

  /** Return the regions to outline: that of a word, or those with the largest contributions. */
  marks(word) {
    if (word !== null) {
      const region = this.regionOf(word);
      return region === null ? [] : [[region, short(this.words[word]), 1]];
    }
    if (this.view.data.named) return this.wordMarks();
    const best = order(this.regions).filter((r) => this.regions[r] > 0).slice(0, SHOWN);
    return best.map((r, k) => [r, String(k + 1), this.regions[r] / this.regions[best[0]]]);
  }

  /** Return the regions of the content words with the largest contributions, labelled by them. */
  wordMarks() {
    const { content, words } = this.hit, some = content.length ? content : words.map((_, k) => k);
    const best = some.filter((k) => this.words[k] > 0).sort((a, b) => this.words[b] - this.words[a]).slice(0, SHOWN);
    const marks = new Map();
    for (const k of best) {
      const region = this.regionOf(k), known = marks.get(region);
      if (known) known[1] += ` ${words[k]}`;
      else marks.set(region, [region, words[k], this.words[k] / this.words[best[0]]]);
    }
    return [...marks.values()];
  }

  update(word) {
    this.picture?.show(this.marks(word));
    this.parts.forEach((part, k) => part.setAttribute("fill", k === word ? this.view.data.palette.lit : this.method.colour));
    const labelled = ([what, value]) => `${what} ${short(value)}`, { words, remainder } = this.hit, most = largest(this.words);
    const chosen = word !== null ? [word] : order(this.words).slice(0, SHOWN).filter((k) => this.words[k] > 0);
    const parts = chosen.map((k) => labelled([words[k], this.words[k]]));
    const region = word === null ? null : this.regionOf(word);
    if (region !== null) parts.push(`by region ${region}`);
    if (!chosen.length) parts.push("no word contributes by itself");
    this.facts.textContent = [...parts, labelled(["remainder", remainder])].join(" · ");
    this.buttons?.forEach((button, k) => {
      const light = most > 0 ? Math.max(this.words[k], 0) / most : 0;
      button.style.background = `rgb(var(--lit) / ${(0.7 * light).toFixed(3)})`;
      button.classList.toggle("on", k === word);
    });
  }
}

class Gallery {
  constructor(data, el, chosen = 0) {
    const name = `itm-gallery-${Math.random().toString(36).slice(2, 9)}`; // of the results; its tabs refer to it
    Object.assign(this, { data, target: data.target, name });
    this.root = html("div", el, { class: "itm-gallery", role: "group", "aria-label": "Search results" });
    this.root.style.setProperty("--green", data.palette?.right);
    html("style", this.root, {}, STYLE);
    this.watch = followTheme(this.root);
    if (!data.queries?.length) return;
    if (data.queries.length > 1) this.drawQueries();
    this.body = html("div", this.root, { class: data.target });
    if (this.tabs) {
      this.body.setAttribute("role", "tabpanel");
      this.body.id = this.name;
    }
    this.status = html("div", this.root, { class: "live", role: "status", "aria-live": "polite" });
    this.listen();
    this.show(chosen < data.queries.length ? chosen : 0);
  }

  leave() {
    this.watch.disconnect();
    clearTimeout(this.saying);
  }

  drawQueries() {
    const row = html("div", this.root, { class: "queries", role: "tablist", "aria-label": "Queries" });
    this.tabs = this.data.queries.map((query, k) => {
      const named = { id: `${this.name}-${k}`, "aria-controls": this.name };
      const tab = html("button", row, { type: "button", role: "tab", "data-query": k, ...named });
      if (this.target === "images") tab.textContent = query.query;
      else new Picture(tab, this.data.images[query.image], this.data.palette.lit);
      tab.addEventListener("click", () => this.show(k));
      return tab;
    });
  }

  /** Draw a row of words that can be pointed at; `hit` is the result that they belong to. */
  drawWords(parent, words, unknown, hit) {
    const row = html("div", parent, { class: hit ? "words" : "words query", role: "group" });
    row.setAttribute("aria-label", `${words.join(" ")}: arrow keys move, Enter holds a word, Escape lets go`);
    return words.map((word, k) => {
      const button = html("button", row, { type: "button", "data-word": k, "aria-pressed": "false" }, word);
      button.tabIndex = k === 0 ? 0 : -1;
      if (!unknown[k]) return button;
      button.className = "unknown";
      button.title = UNKNOWN;
      button.setAttribute("aria-label", `${word}, ${UNKNOWN}`);
      return button;
    });
  }

  show(chosen) {
    const query = this.data.queries[chosen];
    Object.assign(this, { chosen, query, word: null, held: null, hit: null });
    this.tabs?.forEach((tab, k) => {
      tab.setAttribute("aria-selected", String(k === chosen));
      tab.tabIndex = k === chosen ? 0 : -1;
    });
    if (this.tabs) this.body.setAttribute("aria-labelledby", this.tabs[chosen].id);
    this.body.replaceChildren();
    this.sentence = null;
    if (this.target === "images") {
      const { words, unknown } = query.methods[0].hits[0];
      this.sentence = this.drawWords(this.body, words, unknown, null);
      const missing = words.filter((_, k) => unknown[k]);
      if (missing.length) html("p", this.body, { class: "missing" }, `${UNKNOWN}: ${missing.join(", ")}. All such words have the same vector in the method.`);
    }
    this.sections = query.methods.map((method) => this.drawMethod(method));
    this.update();
  }

  drawMethod(method) {
    const box = html("section", this.body), title = html("p", box, { class: "title" });
    html("i", title).style.background = method.colour;
    const what = this.target === "images" ? "image" : "caption", place = `at rank ${method.rank} of ${method.of}`;
    if (this.data.named) title.append(`${method.name}: the best ${method.hits.length} of ${method.of}`);
    else title.append(`${method.name}: ${method.rank === null ? `no relevant item is known among ${method.of}` : `the first right ${what} ${place}`}`);
    const parent = html("div", box, { class: "both" });
    const picture = this.target === "images" ? null : new Picture(parent, this.data.images[this.query.image], this.data.palette.lit);
    const list = html("ol", parent), section = { picture, hits: [] };
    const sides = method.hits.map((hit) => [...hit.evidence.map(total), hit.remainder]);
    const ends = { low: Math.min(...sides.map((s) => total(s.filter((v) => v < 0)))), high: Math.max(...sides.map((s) => total(s.filter((v) => v > 0)))) };
    section.hits = method.hits.map((hit, k) => new Hit(this, { ...method, ...ends }, hit, k + 1, list));
    return section;
  }

  /** Return the result that an element belongs to; null for the words of the sentence. */
  owner(node) {
    return this.sections.flatMap((s) => s.hits).find((hit) => hit.root.contains(node)) || null;
  }

  listen() {
    const word = (e) => e.target.closest?.("[data-word]")?.dataset.word;
    const point = (e) => {
      const inside = e.target.closest?.("li"), k = word(e);
      if (k !== undefined || inside) this.focus(k === undefined ? null : Number(k), this.owner(e.target));
    };
    this.body.addEventListener("pointerover", point);
    this.body.addEventListener("pointerleave", () => this.focus(null, null));
    this.body.addEventListener("focusin", (e) => e.target.matches(":focus-visible") && point(e));
    this.body.addEventListener("focusout", () => this.focus(null, null));
    this.body.addEventListener("click", (e) => {
      const k = word(e);
      if (k !== undefined) this.hold(Number(k), this.owner(e.target));
    });
    this.root.addEventListener("keydown", (e) => {
      if (e.key === "Escape") return this.hold(null, null);
      if (!e.target.matches?.("[data-word], [data-query]")) return undefined;
      const next = rove(e, [...e.target.parentNode.children]);
      return next?.dataset.query === undefined ? undefined : this.show(Number(next.dataset.query));
    });
  }

  focus(word, hit) {
    Object.assign(this, { word, hit });
    this.update();
  }

  hold(word, hit) {
    const again = this.held && this.held.word === word && this.held.hit === hit;
    this.held = word === null || again ? null : { word, hit };
    this.update();
  }

  /** Highlight a word: of the sentence in all results, of a caption in that result. */
  update() {
    const { word, hit } = this.word === null && this.held ? this.held : this;
    const everywhere = this.target === "images";
    for (const section of this.sections) {
      for (const other of section.hits) other.update(everywhere || other === hit ? word : null);
      const shown = section.hits.includes(hit) ? hit : section.hits[0];
      section.picture?.show(shown.marks(shown === hit ? word : null));
      for (const other of section.hits) other.root.classList.toggle("shown", !everywhere && other === shown);
    }
    const buttons = [...(this.sentence || []), ...this.sections.flatMap((s) => s.hits.flatMap((h) => h.buttons || []))];
    this.sentence?.forEach((button, k) => button.classList.toggle("on", k === word));
    for (const button of buttons) {
      const held = this.held?.word === Number(button.dataset.word) && (everywhere || this.held.hit === this.owner(button));
      button.setAttribute("aria-pressed", String(Boolean(held)));
    }
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (this.status.textContent = word === null ? "" : this.spoken(hit)), 150);
  }

  spoken(hit) {
    const hits = hit ? [hit] : this.sections.flatMap((s) => s.hits);
    return hits.map(({ root, facts }) => `${root.dataset.rank}: ${facts.textContent}`).join("; ");
  }
}

const render = renderer((records, el, before) => new Gallery(records, el, before?.chosen));

export default { render };
