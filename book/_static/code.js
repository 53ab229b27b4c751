// One switch for the code of a page: hidden at first, later as the reader left it. It is loaded before
// the page is drawn, so that nothing moves. Without JavaScript all code is shown.
(() => {
  const KEPT = "itm-code"; // in the browser's storage, which a page opened from disk may not have
  const root = document.documentElement;

  function kept(state) {
    try {
      return state ? localStorage.setItem(KEPT, state) : localStorage.getItem(KEPT);
    } catch {
      return null;
    }
  }

  function addSwitch() {
    const bar = document.querySelector(".article-header-buttons");
    if (!bar || !document.querySelector(".cell.tag_foldable > .cell_input")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm code-switch";
    const label = () => (button.textContent = root.classList.contains("code-folded") ? "Show code" : "Hide code");
    button.addEventListener("click", () => {
      const seen = document.elementFromPoint(root.clientWidth / 2, root.clientHeight / 2);
      const before = seen?.getBoundingClientRect().top;
      kept(root.classList.toggle("code-folded") ? "hidden" : "shown");
      label();
      // what the reader looks at stays where it is
      if (seen?.getClientRects().length) window.scrollBy(0, seen.getBoundingClientRect().top - before);
    });
    label();
    bar.prepend(button);
  }

  root.classList.toggle("code-folded", kept() !== "shown");
  document.addEventListener("DOMContentLoaded", addSwitch);
})();
