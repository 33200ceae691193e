// What it cost and how good it is: a plot that fills as cells finish, and a table to sort and take along.

const charts = { sort: { column: 0, down: false }, picked: null };
const PLOT = { height: 280, left: 52, right: 16, top: 14, bottom: 44 };

function buildCharts() {
  charts.x = h("select", { id: "plot-x", onchange: drawPlot });
  charts.y = h("select", { id: "plot-y", onchange: () => ((charts.picked = charts.y.value), drawPlot()) });
  fillSelect(charts.x, [["nfe", t("plot_nfe")], ["seconds", t("plot_seconds")]], "nfe");
  charts.plot = h("div", { class: "z-plot" });
  charts.note = h("p", { class: "z-small" });
  charts.table = h("div", { class: "z-scroll" });
  charts.element = h(
    "section",
    { class: "z-charts", hidden: true },
    h(
      "div",
      { class: "z-panel" },
      h("div", { class: "z-panel-head" }, h("h3", {}, t("plot")), h("label", { class: "z-inline" }, h("span", {}, t("plot_y")), charts.y), h("label", { class: "z-inline" }, h("span", {}, t("plot_x")), charts.x)),
      charts.plot,
      charts.note,
    ),
    h("div", { class: "z-panel" }, h("div", { class: "z-panel-head" }, h("h3", {}, t("table")), h("button", { type: "button", id: "csv", class: "z-quiet", onclick: saveCsv }, t("csv"))), charts.table),
  );
  return charts.element;
}

function updateCharts() {
  charts.element.hidden = !current.cells.length;
  const names = metricNames();
  const reference = likelyReference();
  const options = names.map((name) => [`metric:${name}`, name]);
  if (reference !== null) options.push(["difference", t("plot_difference", { title: current.cells[reference].title })]);
  // A metric as soon as there is one, unless somebody picked something else.
  const chosen = options.some(([value]) => value === charts.picked) ? charts.picked : options[0]?.[0];
  fillSelect(charts.y, options, chosen);
  drawPlot();
  drawTable();
}

const metricNames = () => [...new Set(current.cells.flatMap((cell) => cell.metrics.filter((m) => m.value !== null).map((m) => m.label)))];

/** What pictures are held against: the chosen reference, else the dearest finished cell, one without fresh noise if any. */
function likelyReference() {
  if (reading.reference !== "off") return Number(reading.reference);
  let best = null;
  current.cells.forEach((cell, index) => {
    if (cell.status !== "done") return;
    const than = current.cells[best];
    if (best === null || (than.stochastic && !cell.stochastic)) best = index;
    else if (than.stochastic === cell.stochastic && nfeOf(cell) > nfeOf(than)) best = index;
  });
  return best;
}

// ---- the plot ---------------------------------------------------------------------------------------------------

let plotted = 0;

async function drawPlot() {
  const mine = ++plotted;
  const reference = likelyReference();
  const difference = charts.y.value === "difference";
  charts.note.textContent = difference ? t("plot_difference_note") : "";
  const points = [];
  for (const [index, cell] of current.cells.entries()) {
    if (cell.status !== "done") continue;
    const x = charts.x.value === "nfe" ? nfeOf(cell) : cell.seconds;
    let y = cell.metrics.find((metric) => `metric:${metric.label}` === charts.y.value)?.value ?? NaN;
    if (difference) y = index === reference ? NaN : Math.sqrt(await meanSquare(index, reference));
    if (mine !== plotted) return; // a newer drawing has begun
    if (Number.isFinite(x) && Number.isFinite(y)) points.push({ index, x, y, title: cell.title });
  }
  charts.plot.replaceChildren(points.length ? plotOf(points) : h("p", { class: "z-empty" }, t("plot_empty")));
}

function plotOf(points) {
  const { height, left, right, top, bottom } = PLOT;
  const width = Math.max(280, charts.plot.clientWidth || 560); // as many units as pixels, so that words keep their size
  const x = scale(points.map((p) => p.x), left, width - right, true);
  const y = scale(points.map((p) => p.y), height - bottom, top, false);
  const made = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("plot") });
  for (const value of y.ticks) {
    made.append(svg("line", { x1: left, x2: width - right, y1: y.at(value), y2: y.at(value), class: "z-rule" }), text(left - 8, y.at(value) + 4, short(value), "end"));
  }
  for (const value of x.ticks) made.append(text(x.at(value), height - bottom + 20, short(value), "middle"));
  made.append(text((left + width - right) / 2, height - 6, charts.x.selectedOptions[0].text, "middle"));
  for (const row of current.blocks.flatMap(rowsOf)) {
    const line = points.filter((p) => row.includes(p.index)).sort((a, b) => a.x - b.x);
    if (line.length > 1) made.append(svg("polyline", { points: line.map((p) => `${x.at(p.x)},${y.at(p.y)}`).join(" "), class: "z-line-plot" }));
  }
  for (const point of points) {
    const name = svg("title");
    name.textContent = `${point.index + 1} · ${point.title}: ${short(point.x)}, ${short(point.y)}`;
    made.append(svg("g", { class: "z-point" }, svg("circle", { cx: x.at(point.x), cy: y.at(point.y), r: 9 }), text(x.at(point.x), y.at(point.y) + 4, point.index + 1, "middle"), name));
  }
  return made;
}

/** The cells of a block that differ in what runs across only, in lists. */
function rowsOf(block) {
  const across = block.columns?.values.length ?? 1;
  const rows = block.rows?.values.length ?? 1;
  return Array.from({ length: rows }, (_, row) => block.cells.slice(row * across, (row + 1) * across));
}

function text(x, y, content, anchor) {
  const made = svg("text", { x, y, "text-anchor": anchor });
  made.textContent = content;
  return made;
}

/** A linear axis, or a logarithmic one where the values span more than a factor of twenty; with a few round ticks. */
function scale(values, from, to, mayBend) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const bent = mayBend && low > 0 && high / low > 20;
  if (!bent) {
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    [low, high] = [mayBend ? Math.max(0, low - room) : low - room, high + room];
  } else [low, high] = [low / 1.3, high * 1.3];
  const bend = bent ? Math.log : (v) => v;
  const at = (value) => from + ((bend(value) - bend(low)) / (bend(high) - bend(low))) * (to - from);
  return { at, ticks: bent ? powers(low, high) : round(low, high) };
}

function round(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) ticks.push(Number(value.toPrecision(10)));
  return ticks;
}

function powers(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const k of [1, 2, 5]) if (k * 10 ** power >= low && k * 10 ** power <= high) ticks.push(k * 10 ** power);
  }
  return ticks;
}

// ---- the table --------------------------------------------------------------------------------------------------

/** Column titles, and a row of values for every cell. */
function tableOf() {
  const names = [...new Set(current.cells.flatMap((cell) => cell.metrics.map((metric) => metric.label)))];
  const columns = ["#", t("table_method"), t("table_state"), "NFE", "s", ...names];
  const rows = current.cells.map((cell, index) => [
    index + 1,
    cell.line,
    t(cell.status),
    nfeOf(cell) || null,
    nfeOf(cell) ? cell.seconds : null,
    ...names.map((name) => cell.metrics.find((metric) => metric.label === name)?.value ?? null),
  ]);
  return { columns, rows };
}

function drawTable() {
  const { columns, rows } = tableOf();
  const { column, down } = charts.sort;
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  rows.sort((a, b) => {
    if (a[column] === null || b[column] === null) return (a[column] === null) - (b[column] === null);
    return order(a[column], b[column]) * (down ? -1 : 1);
  });
  const head = columns.map((title, i) =>
    h(
      "th",
      { scope: "col", "aria-sort": i === column ? (down ? "descending" : "ascending") : "none" },
      h("button", { type: "button", onclick: () => sortBy(i) }, title),
    ),
  );
  const focused = [...charts.table.querySelectorAll("th button")].indexOf(document.activeElement);
  const body = rows.map((row) => h("tr", {}, row.map((value, i) => h("td", { class: typeof value === "number" ? "z-figure" : null }, shownValue(value, i)))));
  charts.table.replaceChildren(h("table", { id: "table" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
  if (focused >= 0) charts.table.querySelectorAll("th button")[focused]?.focus();
}

function shownValue(value, column) {
  if (value === null) return "–";
  if (typeof value !== "number") return value;
  return column === 4 ? value.toFixed(2) : Number.isInteger(value) ? String(value) : short(value);
}

function sortBy(column) {
  charts.sort = { column, down: charts.sort.column === column && !charts.sort.down };
  drawTable();
}

function saveCsv() {
  const { columns, rows } = tableOf();
  const quoted = (value) => {
    const written = value === null ? "" : String(value);
    // A cell that begins like a formula would be run by spreadsheets.
    const safe = typeof value === "string" && /^[=+\-@\t]/.test(written) ? `'${written}` : written;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [columns, ...rows].map((row) => row.map(quoted).join(","));
  save(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }), "comparison.csv");
}
