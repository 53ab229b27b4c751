// A choice of pair and of one or two methods above the explorer of them; explorer.js creates it.

const NO_METHOD = -1;

class Menu {
  constructor(data, el, source) {
    Object.assign(this, { data, el, source, pair: data.shown, start: data.start, pins: null });
    this.methods = [0, NO_METHOD]; // the second one is drawn beside the first
    this.show();
  }

  /** Draw the explorer of the chosen pair and methods in the place of the last one. */
  show() {
    const pair = this.data.pairs[this.pair], chosen = [...new Set(this.methods)].filter((k) => k !== NO_METHOD);
    this.view?.leave();
    this.el.replaceChildren();
    const start = { ...this.start, pins: this.pins || pair.pins };
    const methods = chosen.map((k) => pair.methods[k]);
    this.view = new Explorer({ ...pair, methods, start }, this.el, this.source, this);
  }

  draw(root) {
    const row = html("div", root, { class: "menu", role: "group", "aria-label": "Pair and methods" });
    const names = this.data.pairs[0].methods.map((method, k) => [k, method.name]);
    this.choice(row, "pair", this.groups(), this.pair, (k) => Object.assign(this, { pair: k, pins: null }));
    if (names.length < 2) return;
    ["method", "beside"].forEach((name, slot) => {
      const options = slot ? [[NO_METHOD, "no other method"], ...names] : names;
      this.choice(row, name, [["", options]], this.methods[slot], (k) => {
        this.methods[slot] = k;
        this.pins = this.view.pins.filter((word) => word !== null);
      });
    });
  }

  /** Return the pairs by the name of their group, in the order of the data. */
  groups() {
    const groups = new Map();
    this.data.pairs.forEach((pair, k) => {
      const group = pair.group || "";
      groups.set(group, [...(groups.get(group) || []), [k, `${pair.image}: ${pair.caption}`]]);
    });
    return [...groups];
  }

  choice(row, name, groups, chosen, choose) {
    const select = html("select", html("label", row, {}, name), { "data-choice": name });
    for (const [group, options] of groups) {
      const parent = group ? html("optgroup", select, { label: group }) : select;
      for (const [value, text] of options) html("option", parent, { value }, text);
    }
    select.value = chosen;
    select.addEventListener("change", () => {
      choose(Number(select.value));
      this.start = { ...this.start, top: this.view.top, truth: this.view.truth };
      this.show();
      this.el.querySelector(`[data-choice="${name}"]`).focus();
    });
  }

  leave() {
    this.view.leave();
  }
}
