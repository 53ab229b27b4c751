// Draws the equations of a page with KaTeX. Sphinx writes each of them as TeX into an element of the
// class "math", and loads this script on the pages that have one.
(() => {
  const folder = new URL("vendor/katex/", document.currentScript.src);
  const TEX = /^\s*\\([([])([\s\S]*)\\[)\]]\s*$/; // \( inline \) or \[ display \]

  function draw(element) {
    for (const node of [...element.childNodes]) {
      const found = node.nodeType === Node.TEXT_NODE && TEX.exec(node.data);
      if (!found) continue; // the number of an equation, or white space
      const place = document.createElement("span");
      node.replaceWith(place);
      katex.render(found[2], place, { displayMode: found[1] === "[", throwOnError: false });
    }
  }

  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("katex.min.css", folder);
  const program = document.createElement("script");
  program.src = new URL("katex.min.js", folder);
  window.equationsDrawn = new Promise((done) => {
    program.addEventListener("load", () => {
      document.querySelectorAll(".math").forEach(draw);
      done();
    });
  });
  document.head.append(style, program);
})();
