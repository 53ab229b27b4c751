// A choice of pair and of one or two methods above the explorer of them; explorer.js creates it.

class Menu {
  constructor(data, el, source) {
    Object.assign(this, { data, el, source, pair: data.shown, start: data.start, pins: null });
    this.methods = data.pairs[0].methods.length > 1 ? [0, 1] : [0];
    this.show();
  }

  /** Draw the explorer of the chosen pair and methods in the place of the last one. */
  show() {
    const pair = this.data.pairs[this.pair], methods = [...new Set(this.methods)].map((k) => pair.methods[k]);
    this.view?.leave();
    this.el.replaceChildren();
    const start = { ...this.start, pins: this.pins || pair.pins };
    this.view = new Explorer({ ...pair, methods, start }, this.el, this.source, this);
  }

  draw(root) {
    const row = html("div", root, { class: "menu", role: "group", "aria-label": "Photograph and methods" });
    const names = this.data.pairs[0].methods.map((method) => method.name);
    const captions = this.data.pairs.map((pair) => `${pair.image}: ${pair.caption}`);
    this.choice(row, "pair", captions, this.pair, (k) => Object.assign(this, { pair: k, pins: null }));
    this.methods.forEach((method, slot) => {
      this.choice(row, slot ? "beside" : "method", names, method, (k) => {
        this.methods[slot] = k;
        this.pins = this.view.pins.filter((word) => word !== null);
      });
    });
  }

  choice(row, name, options, chosen, choose) {
    const select = html("select", html("label", row, {}, name), { "data-choice": name });
    options.forEach((text, k) => html("option", select, { value: k }, text));
    select.value = chosen;
    select.addEventListener("change", () => {
      choose(Number(select.value));
      this.start = { ...this.start, top: this.view.top };
      this.show();
      this.el.querySelector(`[data-choice="${name}"]`).focus();
    });
  }

  leave() {
    this.view.leave();
  }
}
