// The picture, the matrix and the numbers of one method in the explorer; explorer.js creates it.

/** One method: its picture, its matrix with the shares of the score, and a line of numbers. */
class Panel {
  constructor(view, method, place, parent) {
    Object.assign(this, { view, method, data: view.data });
    this.box = html("section", parent, { class: "panel" });
    this.box.setAttribute("aria-label", method.name);
    const title = html("p", this.box, { class: "title" });
    html("i", title).style.background = method.colour;
    title.append(this.title());
    const folded = this.data.start?.folded, views = html("div", this.box, { class: folded ? "views folded" : "views" });
    this.boxes = this.data.boxes || cells(this.data.regions, this.data.size);
    this.drawPicture(views, `${view.name}-${place}`);
    if (folded) this.facts = html("p", views, { class: "facts" }); // beside the picture
    this.scroll = html("div", folded ? this.fold(views) : views, { class: "scroll", tabindex: 0, role: "group" });
    this.scroll.setAttribute("aria-label", `Matrix of words and regions, ${method.name}`);
    if (!folded) this.facts = html("p", this.box, { class: "facts" });
    this.wide = 0; // of the matrix on the page, in pixels; zero while it is not shown
    this.sizes = new ResizeObserver(([entry]) => {
      const wide = Math.round(entry.contentRect.width), changed = wide !== this.wide;
      this.wide = wide;
      if (changed && this.matrix) this.view.stepped();
    });
    this.sizes.observe(this.scroll);
  }

  /** Return a folded part below the picture, for the matrix. */
  fold(views) {
    const fold = html("details", views, { class: "fold" });
    html("summary", fold, {}, "All weights, and the words' shares of the score");
    return fold;
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
    const [fill, opacity] = this.data.palette.veil;
    this.veil = svg("rect", root, { ...full, fill, "fill-opacity": opacity, mask: `url(#${name})` });
    const lines = svg("g", root, { fill: "none", stroke: "#fff", "stroke-width": 0.8 });
    for (const frame of this.frames) svg("rect", lines, frame);
    this.lines = lines;
    this.trueBoxes = svg("g", root, { fill: "none", "stroke-width": 2.5 });
    this.marks = svg("g", root, { "font-size": 12.5, "pointer-events": "none" });
    const hits = svg("g", root, { class: "hits", fill: "transparent" });
    const area = this.frames.map((f) => f.width * f.height); // small ones above large ones
    for (const r of order(area)) {
      const hit = svg("rect", hits, { ...this.frames[r], "data-region": r, role: "button", tabindex: -1, "aria-pressed": "false" });
      hit.setAttribute("aria-label", `region ${r}`);
    }
    hits.firstChild?.setAttribute("tabindex", 0);
    this.hits = [...hits.children];
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
    for (const hit of this.hits) hit.setAttribute("aria-pressed", String(Number(hit.dataset.region) === view.held));
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
