// Sphinx shows an excerpt of each page found by fetching it, which browsers forbid for pages
// opened from disk. There the search lists titles and headings alone.
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// A wide table scrolls inside its frame; let the keyboard reach it too.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table")) {
    if (!table.closest(".pst-scrollable-table-container, .cell_output")) {
      const frame = document.createElement("div");
      frame.className = "table-scroll";
      table.replaceWith(frame);
      frame.appendChild(table);
    }
    const frame = table.closest(".table-scroll, .pst-scrollable-table-container, .cell_output");
    if (frame.scrollWidth > frame.clientWidth) {
      frame.tabIndex = 0;
      frame.setAttribute("role", "region");
      frame.setAttribute("aria-label", "Table, scrolls sideways");
    }
  }
});
