// Shared code of the modules of this folder; itm_book.explorer.in_page puts it before each of them. A
// module defines `render` with `renderer`; pages without a kernel call `mount`, anywidget `render`.
// All text of a dataset goes through textContent.

const NAMESPACE = "http://www.w3.org/2000/svg";
const FONT = "system-ui, sans-serif";

/** Return the style that every module builds on; `name` is the class of its root. */
const ground = (name) => `
.${name} { --ink: #22262b; --soft: #5b6770; --card: #fcfcfa; --line: #d5d2ca; --lit: 232 162 0;
  container-type: inline-size; position: relative; margin: 0.6rem 0; padding: 0.8rem; border: 1px solid
  var(--line); border-radius: 8px; background: var(--card); color: var(--ink); text-align: left;
  font: 15px/1.45 system-ui, sans-serif; white-space: normal; overflow-wrap: anywhere; }
.${name}.dark { --ink: #e3e8eb; --soft: #a3afb7; --card: #1a2227; --line: #37444c; --lit: 240 166 78;
  color-scheme: dark; }
.${name} * { box-sizing: border-box; }
.${name} p { margin: 0; }
.${name} button { padding: 0.15em 0.5em; border: 1px solid var(--line); border-radius: 5px;
  background: none; color: inherit; font: inherit; cursor: pointer; }
.${name} button:hover { border-color: currentColor; }
.${name} :focus-visible { outline: 2px solid rgb(var(--lit)); outline-offset: 1px; }
.${name} .title { font-size: 14px; font-weight: 600; color: var(--ink); font-family: inherit; }
.${name} .title i { display: inline-block; width: 0.75em; height: 0.75em; margin-right: 0.45em; border-radius: 2px; }
.${name} svg { display: block; width: 100%; height: auto; max-width: none; }
@media (pointer: coarse) {
  .${name} :is(button, select, input) { min-height: 32px; }
  .${name} summary { padding: 6px 0; }
  .${name} input[type="checkbox"] { width: 22px; min-height: 22px; }
}
.${name} .live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
html[data-theme] .bd-content div.cell_output .text_html:has(.${name}) { padding: 0 !important; background: none !important; }
`;

function svg(tag, parent, attributes = {}, text = "") {
  const node = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return parent ? parent.appendChild(node) : node;
}

function html(tag, parent, attributes = {}, text = "") {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return parent ? parent.appendChild(node) : node;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const total = (values) => values.reduce((a, b) => a + b, 0);
const largest = (values) => values.reduce((a, b) => Math.max(a, b), 0);
const short = (value) => (Math.abs(value) >= 0.0995 ? value.toFixed(2) : value.toFixed(3));
const order = (values) => values.map((_, k) => k).sort((a, b) => values[b] - values[a] || a - b);

/** Return boxes for regions without boxes: a grid in the order of the file. */
function cells(count, [wide, tall]) {
  const across = Math.ceil(Math.sqrt(count)), rows = Math.ceil(count / across);
  const [w, h] = [wide / across, tall / rows];
  return Array.from({ length: count }, (_, r) => {
    const [x, y] = [(r % across) * w, Math.floor(r / across) * h];
    return [x, y, x + w, y + h];
  });
}

/** Move the focus within a group by the arrow keys, Home and End; return the new node, if any. */
function rove(e, group) {
  const now = group.indexOf(e.target), last = group.length - 1;
  const goal = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1, Home: 0, End: last };
  if (!(e.key in goal)) return undefined;
  e.preventDefault();
  const next = group[(goal[e.key] + group.length) % group.length];
  for (const node of group) node.setAttribute("tabindex", node === next ? 0 : -1);
  next.focus();
  return next;
}

/** Follow the colour theme of the page, the book's or JupyterLab's setting, else the system's, until `disconnect`. */
function followTheme(root) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const book = document.documentElement.dataset.theme, lab = document.body.dataset.jpThemeLight;
    const code = /vscode-(dark|high-contrast)\b/.test(document.body.className);
    const dark = book ? book === "dark" : lab ? lab === "false" : code || system.matches;
    root.classList.toggle("dark", dark);
  };
  const watch = new MutationObserver(follow);
  for (const node of [document.documentElement, document.body])
    watch.observe(node, { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] });
  system.addEventListener?.("change", follow);
  follow();
  return {
    disconnect() {
      watch.disconnect();
      system.removeEventListener?.("change", follow);
    },
  };
}

/** Draw the part of a static page that `in_page.part` wrote under this name. */
function mount(kind, name) {
  const text = (what) => document.querySelector(`[data-${kind}-${what}="${name}"]`).textContent;
  for (const el of document.querySelectorAll(`[data-${kind}="${name}"]:not([data-ready])`)) {
    el.dataset.ready = "";
    el.replaceChildren();
    const source = text("module").replace(/\nmount\("[\w-]+", "[\w-]+"\);\s*$/, "");
    const model = { records: JSON.parse(text("records")), _esm: source };
    render({ model: { get: (key) => model[key], on() {}, off() {} }, el });
  }
}

/** What is shown where nothing can be drawn: why. */
class Problem {
  constructor(text, el) {
    const root = html("div", el, { class: "itm-problem" });
    html("style", root, {}, `${ground("itm-problem")} .itm-problem { border-left: 3px solid rgb(var(--lit)); }`);
    html("p", root, { role: "alert" }, text);
    this.watch = followTheme(root);
  }

  leave() {
    this.watch.disconnect();
  }
}

/**
 * Return anywidget's `render`: draws the model's records with `make`, or their `problem`, again when they change.
 * `make` gets the last view that was no problem: it has what the reader chose.
 */
function renderer(make) {
  return ({ model, el }) => {
    let view = null, before = null;
    const draw = () => {
      view?.leave();
      el.replaceChildren();
      const records = model.get("records");
      if (records.problem) view = new Problem(records.problem, el);
      else before = view = make(records, el, before, model.get("_esm"));
    };
    model.on("change:records", draw);
    draw();
    return () => {
      model.off("change:records", draw);
      view?.leave();
    };
  };
}
