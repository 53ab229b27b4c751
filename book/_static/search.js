// The page of the search: what it shows of a page that was found.

// Sphinx fetches each page found to show an excerpt, which browsers forbid for pages opened from
// disk. There the search lists titles and headings alone.
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// An excerpt is of the text of a page: without its menus, its code and the TeX of its equations.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const textOf = Search.htmlToText;
  Search.htmlToText = (page, anchor) => {
    const article = new DOMParser().parseFromString(page, "text/html").querySelector("article");
    if (!article) return textOf(page, anchor);
    article.querySelectorAll(".cell_input, .math").forEach((part) => part.remove());
    article.setAttribute("role", "main"); // where Sphinx looks for text
    return textOf(article.outerHTML, anchor);
  };
});
