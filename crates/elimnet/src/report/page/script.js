"use strict";
(() => {
  const tip = document.getElementById("tip");
  let active = null;

  // With this script the titles of points become our own tips, at once and also for keys and fingers.
  for (const title of document.querySelectorAll(".chart title")) {
    const point = title.parentElement;
    if (point.classList.contains("point")) {
      point.setAttribute("aria-label", title.textContent);
      point.setAttribute("role", "img");
    }
    title.remove();
  }

  const hide = () => {
    if (active) active.classList.remove("active");
    active = null;
    tip.classList.remove("shown");
  };

  const show = (point) => {
    if (point === active) return;
    hide();
    active = point;
    point.classList.add("active");
    tip.textContent = point.getAttribute("aria-label");
    tip.classList.add("shown");
    const at = point.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const left = (at.left + at.right - size.width) / 2;
    const above = at.top - size.height - 8;
    tip.style.left = Math.max(6, Math.min(left, document.documentElement.clientWidth - size.width - 6)) + "px";
    tip.style.top = (above < 6 ? at.bottom + 8 : above) + "px";
  };

  const points = (chart) => Array.from(chart.querySelectorAll(".point")).filter((point) => !point.closest(".off"));

  const nearest = (chart, x, y) => {
    let best = null;
    let least = 28;
    for (const point of points(chart)) {
      const at = point.getBoundingClientRect();
      const distance = Math.hypot((at.left + at.right) / 2 - x, (at.top + at.bottom) / 2 - y);
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  };

  for (const chart of document.querySelectorAll("svg.chart")) {
    chart.setAttribute("tabindex", "0");
    const point = (event) => {
      const found = nearest(chart, event.clientX, event.clientY);
      if (found) show(found); else hide();
    };
    chart.addEventListener("pointermove", point);
    chart.addEventListener("pointerdown", point);
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
      const all = points(chart);
      if (event.key === "Escape") hide();
      if (!(event.key in steps) || all.length === 0) return;
      event.preventDefault();
      const index = all.indexOf(active);
      const next = index < 0 ? 0 : (index + steps[event.key] + all.length) % all.length;
      show(all[next]);
    });
  }
  addEventListener("scroll", hide, { passive: true });

  for (const button of document.querySelectorAll("[data-toggles]")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      const series = button.closest("figure").querySelectorAll(`[data-series="${button.dataset.toggles}"]`);
      for (const group of series) group.classList.toggle("off", !on);
    });
  }

  const value = (row, column) => {
    const cell = row.cells[column];
    if (!("value" in cell.dataset)) return cell.textContent;
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };

  // What is not known goes last, whichever way.
  const order = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, undefined, { numeric: true });
    return Number.isNaN(a) || Number.isNaN(b) ? Number.isNaN(a) - Number.isNaN(b) : a - b;
  };

  const sort = (header) => {
    const body = header.closest("table").tBodies[0];
    const rows = Array.from(body.rows);
    const column = header.cellIndex;
    const numeric = rows.some((row) => "value" in row.cells[column].dataset);
    const before = header.getAttribute("aria-sort");
    const direction = before === "none" ? (numeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = rows.map((row) => [value(row, column), row]);
    keyed.sort(([a], [b]) => (Number.isNaN(a) || Number.isNaN(b) ? order(a, b) : sign * order(a, b)));
    body.append(...keyed.map(([, row]) => row));
    for (const other of header.parentElement.cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", direction);
  };

  for (const button of document.querySelectorAll("th[aria-sort] button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }
})();
