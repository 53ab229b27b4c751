// A table that is wider than the page scrolls inside its frame, which the keyboard reaches too.
// Any other frame does not scroll, so that the head of a long table stays in sight.
const FRAMES = ".table-scroll, .pst-scrollable-table-container";

function frameTables() {
  for (const table of document.querySelectorAll("article table")) {
    if (!table.closest(FRAMES)) {
      const frame = document.createElement("div");
      frame.className = "table-scroll";
      table.replaceWith(frame);
      frame.appendChild(table);
    }
    measureFrame(table.closest(FRAMES));
  }
}

function measureFrame(frame) {
  const table = frame.querySelector("table");
  const tooWide = () => frame.scrollWidth > frame.clientWidth;
  frame.classList.remove("wide", "fits");
  table.classList.remove("dense", "tight");
  if (tooWide()) table.classList.add("dense");
  if (tooWide() && frame.scrollWidth < 1.15 * frame.clientWidth) table.classList.add("tight");
  const wide = tooWide();
  frame.classList.add(wide ? "wide" : "fits");
  const caption = frame.closest("figure")?.querySelector("figcaption")?.textContent || "Table";
  for (const [name, value] of [
    ["tabindex", "0"],
    ["role", "region"],
    ["aria-label", `${caption.slice(0, 80)}, scrolls sideways`],
  ]) {
    if (wide) frame.setAttribute(name, value);
    else frame.removeAttribute(name);
  }
}

// On a phone a row is a card: the name of a column stands before each value.
const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell", TH: "cell" };

function makeCards() {
  for (const table of document.querySelectorAll("article table")) {
    const heads = table.tHead?.rows.length === 1 ? [...table.tHead.rows[0].cells] : [];
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    const plain = (row) =>
      row.cells.length === heads.length && [...row.cells].every((c) => c.rowSpan * c.colSpan === 1);
    if (heads.length < 2 || !rows.every(plain)) continue;
    const labels = heads.map((head) => textOf(head));
    for (const row of rows) {
      [...row.cells].forEach((cell, c) => (cell.dataset.label = labels[c]));
    }
    table.classList.add("cards");
    // other kinds of boxes would take the meaning of a table from its parts
    for (const part of [table, ...table.querySelectorAll("thead, tbody, tr, td, th")]) {
      part.setAttribute("role", part.closest("thead") && part.tagName === "TH" ? "columnheader" : ROLES[part.tagName]);
    }
  }
}

// --- tables of numbers: sorted by a click on a header, copied as CSV or LaTeX -------------------

const MISSING = new Set(["", "–", "—", "NaN", "<NA>"]);
// A number at the start of a cell, as in "340.8 [331.0, 350.2] ± 8.1"; no date, version or "1K".
const NUMBER =
  /^[\s(<>≤≥≈~±]*([+−-]?)\s*((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(e[+-]?\d+)?(?![\w-]|\.\d)/i;
const WORDS = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const SAID_MS = 1000;

function numberOf(text) {
  const found = NUMBER.exec(text);
  if (!found) return null;
  const [, sign, digits, exponent = ""] = found;
  return parseFloat(sign.replace("−", "-") + digits.replaceAll(",", "") + exponent);
}

function textOf(cell) {
  if (!cell) return "";
  const copy = cell.cloneNode(true);
  copy.querySelectorAll(".note-link").forEach((link) => link.remove());
  return copy.textContent.replace(/\s+/g, " ").trim();
}

// The cells of some rows as lines of equal columns: one that spans several stands in each.
function gridOf(rows) {
  const lines = rows.map(() => []);
  rows.forEach((row, r) => {
    let c = 0;
    for (const cell of row.cells) {
      while (lines[r][c]) c += 1;
      for (let down = 0; down < cell.rowSpan && r + down < rows.length; down += 1) {
        for (let right = 0; right < cell.colSpan; right += 1) lines[r + down][c + right] = cell;
      }
      c += cell.colSpan;
    }
  });
  return lines;
}

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", () => act(made));
  return made;
}

class DataTable {
  constructor(table) {
    this.table = table;
    this.head = table.tHead ? gridOf([...table.tHead.rows]) : [];
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    const cells = gridOf(rows);
    const width = Math.max(0, ...[...this.head, ...cells].map((line) => line.length));
    this.columns = [...Array(width).keys()];
    this.labels = this.columns.map((c) =>
      [...new Set(this.head.map((line) => textOf(line[c])))].filter(Boolean).join(" ")
    );
    this.printed = rows.map((row, r) => ({
      row,
      cells: cells[r],
      texts: this.columns.map((c) => textOf(cells[r][c])),
    }));
    this.shown = this.printed;
    this.groups = this.labels[0] === "" ? this.groupsOf() : [];
    this.numeric = this.columns.map((c) => this.isNumeric(c));
  }

  // A first column without a name says a group once, above the rows that belong to it. Rows that
  // are moved have to say it themselves.
  groupsOf() {
    let last = "";
    return this.printed.map(({ texts }) => (last = texts[0] || last));
  }

  isNumeric(column) {
    const full = this.printed.map(({ texts }) => texts[column]).filter((t) => !MISSING.has(t));
    return full.filter((t) => numberOf(t) !== null).length * 2 > full.length;
  }

  get sortable() {
    const plain = this.printed.every(
      ({ row }) => [...row.cells].every((cell) => cell.rowSpan === 1 && cell.colSpan === 1)
    );
    return plain && this.head.length > 0 && this.printed.length > 1;
  }

  addButtons() {
    this.headers = this.columns.map((c) => {
      const own = this.head.map((line) => line[c]).filter((cell) => cell && cell.colSpan === 1);
      return own.findLast((cell) => textOf(cell)) || own.at(-1);
    });
    this.headers.forEach((header, c) => {
      if (!header) return;
      const made = button("", () => this.sortBy(c));
      made.className = "table-sort";
      made.append(...header.childNodes);
      if (!this.labels[c]) made.setAttribute("aria-label", `column ${c + 1}`);
      header.setAttribute("aria-sort", "none");
      header.append(made);
    });
  }

  sortBy(column) {
    const down = this.headers[column].getAttribute("aria-sort") === "ascending";
    this.show(this.sorted(column, down ? -1 : 1), column, down ? "descending" : "ascending");
  }

  sorted(column, sign) {
    const numeric = this.numeric[column];
    const keys = new Map(
      this.printed.map((line, r) => {
        const text = (column === 0 && this.groups[r]) || line.texts[column];
        const number = numeric ? numberOf(text) : null;
        const rank = MISSING.has(text) ? 2 : numeric && number === null ? 1 : 0;
        return [line, { text, number, rank }];
      })
    );
    return [...this.printed].sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a.rank !== b.rank) return a.rank - b.rank; // what is missing stays last, either way
      if (a.number !== null && b.number !== null) return sign * (a.number - b.number) || 0;
      return sign * WORDS.compare(a.text, b.text);
    });
  }

  show(lines, column, direction) {
    this.shown = lines;
    this.printed.forEach(({ cells, texts }, r) => {
      if (this.groups[r] && !texts[0]) cells[0].textContent = direction ? this.groups[r] : "";
    });
    this.headers.forEach((header, c) => {
      header?.setAttribute("aria-sort", c === column ? direction : "none");
    });
    for (const { row } of lines) row.parentNode.append(row);
    this.reset.hidden = !direction;
  }

  addTools() {
    const bar = document.createElement("div");
    bar.className = "table-tools";
    this.reset = button("Original order", () => {
      this.show(this.printed);
      this.headers.find(Boolean)?.querySelector("button").focus();
    });
    this.reset.hidden = true;
    bar.append(
      ...this.switchOfColumns(),
      this.reset,
      button("Copy CSV", (made) => copyAndSay(this.csv(), made)),
      button("Copy LaTeX", (made) => copyAndSay(this.latex(), made))
    );
    const frame = this.table.closest("figure .table-scroll") || this.table.closest(".table-scroll");
    (frame || this.table).after(bar);
  }

  // A switch for the columns and intervals that are not shown at first; nothing where all are.
  switchOfColumns() {
    const columns = this.table.tHead?.querySelectorAll(".more").length || 0;
    const intervals = this.table.querySelector(".interval") !== null;
    if (!columns && !intervals) return [];
    const what = [columns && "all columns", intervals && "intervals"].filter(Boolean).join(", ");
    const made = button(`Show ${what}`, () => {
      const folded = this.table.classList.toggle("folded");
      made.setAttribute("aria-pressed", String(!folded));
      measureFrame(this.table.closest(FRAMES));
    });
    made.className = "table-more";
    made.setAttribute("aria-pressed", "false");
    this.table.classList.add("folded");
    return [made];
  }

  csv() {
    const quoted = (text) => (/[",]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const body = this.shown.map((line) => {
      const group = this.groups[this.printed.indexOf(line)];
      return line.texts.map((t, c) => (MISSING.has(t) ? (c === 0 && group) || "" : t));
    });
    const lines = this.head.length ? [this.labels, ...body] : body;
    return lines.map((line) => line.map(quoted).join(",") + "\n").join("");
  }

  latex() {
    const row = (texts) => {
      const line = texts.map(latexOf).join(" & ");
      // After the \\ of the row before, a bracket or a star would be read as its option.
      return `${/^[[*]/.test(line) ? "{}" : ""}${line} \\\\`;
    };
    const caption = this.table.closest("figure")?.querySelector("figcaption") || this.table.caption;
    return [
      ...(textOf(caption) ? [`% ${textOf(caption)}`] : []),
      `\\begin{tabular}{${this.numeric.map((is) => (is ? "r" : "l")).join("")}}`,
      "\\toprule",
      ...(this.head.length ? [row(this.labels), "\\midrule"] : []),
      ...this.shown.map(({ cells }) => row(this.columns.map((c) => textOf(cells[c])))),
      "\\bottomrule",
      "\\end{tabular}\n",
    ].join("\n");
  }
}

const LATEX = {
  "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
  "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", "–": "--", "—": "---",
  "±": "$\\pm$", "−": "$-$", "×": "$\\times$", "≤": "$\\le$", "≥": "$\\ge$", "≈": "$\\approx$",
  "→": "$\\to$", "∞": "$\\infty$", "λ": "$\\lambda$", "…": "\\ldots{}",
};

function latexOf(text) {
  return text.replace(/[\\~^<>|–—±−×≤≥≈→∞λ…]|[&%$#_{}]/g, (sign) => LATEX[sign] || `\\${sign}`);
}

async function copyAndSay(text, made) {
  const label = made.dataset.label || (made.dataset.label = made.textContent);
  made.textContent = (await copied(text)) ? "Copied" : "Copying failed";
  window.setTimeout(() => (made.textContent = label), SAID_MS);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedFromField(text); // pages opened from disk may have no clipboard, or be refused it
  }
}

function copiedFromField(text) {
  const before = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  field.className = "table-copy";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus({ preventScroll: true });
  return done;
}

function equipTables() {
  for (const element of document.querySelectorAll("table.dataframe")) {
    const table = new DataTable(element);
    if (!table.printed.length) continue;
    if (table.sortable) table.addButtons();
    table.addTools();
  }
}

// --- notes of cells: the mouse has the title; keys and fingers see it below the cell ------------

function showNotes() {
  const bubble = document.createElement("div");
  bubble.className = "note-shown";
  bubble.setAttribute("aria-hidden", "true"); // the cell's own label says it to screen readers
  let noted = null;
  const place = () => {
    if (!noted) return;
    const cell = noted.getBoundingClientRect();
    const left = Math.min(cell.left, window.innerWidth - bubble.offsetWidth - 8);
    const below = cell.bottom + bubble.offsetHeight + 12 < window.innerHeight;
    bubble.style.left = `${Math.max(8, left)}px`;
    bubble.style.top = `${below ? cell.bottom + 6 : cell.top - bubble.offsetHeight - 6}px`;
  };
  const show = (note) => {
    noted = note;
    bubble.remove();
    if (!note) return;
    bubble.textContent = note.title;
    document.body.append(bubble);
    place();
  };
  const noteOf = (event) => event.target.closest?.(".note") || null;
  for (const kind of ["focusin", "click"]) {
    document.addEventListener(kind, (event) => show(noteOf(event)));
  }
  document.addEventListener("focusout", () => show(null));
  document.addEventListener("keydown", (event) => event.key === "Escape" && show(null));
  window.addEventListener("scroll", place, { capture: true, passive: true });
  window.addEventListener("resize", place);
}

// A link to something inside a folded part opens it.
function unfoldTarget() {
  const target = document.getElementById(window.location.hash.slice(1));
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) {
    fold.open = true;
  }
  if (target?.closest("details")) target.scrollIntoView();
}

document.addEventListener("DOMContentLoaded", () => {
  makeCards();
  equipTables();
  frameTables();
  window.addEventListener("resize", () => document.querySelectorAll(FRAMES).forEach(measureFrame));
  showNotes();
  unfoldTarget();
  window.addEventListener("hashchange", unfoldTarget);
  window.addEventListener("beforeprint", () => { // what was not scrolled to is on paper, too
    for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
  });
});
