// One cell: built once, then only what changed is written, so that nothing flickers and nothing jumps.

/**
 * A cell of the grid.
 *
 * @param index  its place in the run
 * @param seeds  one picture each
 * @param corner what stands under it: {title, line}, or null in a table, whose margins say it
 */
function buildCell(index, seeds, corner) {
  const view = { index, seeds, tiles: [], shown: null };
  for (const seed of seeds) {
    const img = h("img", { alt: "", decoding: "sync", hidden: true, draggable: "false" });
    const frame = h("canvas", { class: "z-frame", hidden: true, "aria-hidden": "true" });
    const button = h("button", { type: "button", class: "zoo-tile", tabindex: "-1", onclick: () => isMagnified() || openSlider(index, view.seeds.indexOf(seed)) }, img, frame);
    const caption = h("figcaption", {}, t("seed", { seed }));
    view.tiles.push({ seed, img, frame, button, caption });
  }
  view.why = h("div", { class: "zoo-why", hidden: true });
  view.fill = h("i");
  // What control networks got comes with the first news; its place is kept from the beginning.
  view.maps = h("div", { class: "zoo-maps", hidden: !/\bimage=[0-9a-f]{16}/.test(current.cells[index].line) });
  view.bar = h("div", { class: "zoo-bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": current.cells[index].title }, view.fill);
  view.state = h("span", { class: "zoo-state" });
  view.nfe = h("span", { class: "zoo-nfe" });
  view.time = h("span", { class: "zoo-time" });
  view.retry = h("button", { type: "button", class: "zoo-retry z-quiet", hidden: true, onclick: () => retryCell(index) }, icon("retry"), h("span"));
  view.scores = h("dl", { class: "zoo-scores" });
  view.trace = h("pre");
  view.details = h("details", { class: "zoo-traceback", hidden: true }, h("summary", {}, t("traceback")), view.trace);
  view.reading = h("span", { class: "zoo-reading", hidden: true });
  view.element = h(
    "article",
    { class: "zoo-cell", "data-count": countClass(seeds.length) },
    h(
      "div",
      { class: "zoo-pictures" },
      view.tiles.map((tile) => h("figure", {}, tile.button, tile.caption)),
      view.why,
    ),
    view.bar,
    view.maps,
    corner ? h("header", {}, h("b", { class: "z-number-badge" }, index + 1), h("h3", { title: corner.line }, corner.title)) : null,
    h("footer", {}, view.state, view.nfe, view.time, view.reading, view.retry),
    view.scores,
    view.details,
  );
  return view;
}

const countClass = (count) => (count === 1 ? "one" : count <= 4 ? "few" : "many");

/** Show what became of a cell; `cell` as zoo/ui/runs.py sends it. */
function showCell(view, cell) {
  view.shown = cell;
  view.element.dataset.state = cell.status;
  view.element.setAttribute("aria-label", `${cell.title}: ${t(cell.status)}`);
  view.element.setAttribute("aria-busy", cell.status === "running");
  cell.images.forEach((source, i) => showPicture(view.tiles[i], source, cell));
  if (!cell.images.length) for (const tile of view.tiles) tile.img.hidden = true;
  for (const tile of view.tiles) tile.button.tabIndex = cell.status === "done" ? 0 : -1;
  showProgress(view, cell);
  showWhy(view, cell);
  showScores(view, cell);
  view.retry.hidden = !(["failed", "cancelled"].includes(cell.status) && mayChange());
  view.retry.lastChild.textContent = t(cell.status === "failed" ? "retry" : "run_again");
  showMaps(view, cell);
  view.details.hidden = !cell.traceback;
  if (view.trace.textContent !== cell.traceback) view.trace.textContent = cell.traceback;
}

function showPicture(tile, source, cell) {
  if (tile.img.src !== source) tile.img.src = source;
  tile.img.hidden = false;
  const finished = cell.status === "done";
  tile.img.alt = t(finished ? "picture_alt" : "preview_alt", { title: cell.title, seed: tile.seed });
  tile.button.setAttribute("aria-label", finished ? `${t("ab")}: ${tile.img.alt}` : tile.img.alt);
  tile.img.onload = () => {
    // Small pictures are enlarged by a whole factor, so that all their pixels are equally large.
    tile.button.style.setProperty("--px", tile.img.naturalWidth < 64 ? `${tile.img.naturalWidth}px` : "1px");
  };
}

function showMaps(view, cell) {
  const maps = Object.entries(cell.maps);
  if (!maps.length || view.maps.childElementCount === maps.length) return;
  view.maps.hidden = false;
  view.maps.replaceChildren(
    ...maps.map(([name, uri]) => h("figure", {}, h("img", { src: uri, alt: t("control_map", { name }) }), h("figcaption", {}, t("control_map", { name })))),
  );
}

function showProgress(view, cell) {
  const running = cell.status === "running";
  const share = cell.status === "done" ? 1 : cell.steps ? cell.step / cell.steps : 0;
  view.fill.style.transform = `scaleX(${share})`;
  view.bar.setAttribute("aria-valuenow", Math.round(100 * share));
  view.state.textContent = running ? t("step_of", cell) : t(cell.status);
  const nfe = nfeOf(cell);
  const known = nfe > 0;
  const decoded = cell.nfe.decoder ? ` + ${t("decodings", { n: cell.nfe.decoder })}` : "";
  view.nfe.textContent = known ? `${nfe} NFE${decoded}` : "";
  view.nfe.title = Object.entries(cell.nfe).map(([role, count]) => `${role} ${count}`).join(", ");
  view.time.textContent = known ? `${cell.seconds.toFixed(2)} s` : "";
  view.time.title = t(current.comparison?.timing === "alone" ? "alone_time" : "shared");
}

/** Why there are no finished pictures, over the place where they would be. */
function showWhy(view, cell) {
  const said = { failed: "failed_why", na: "na_why" }[cell.status];
  view.why.hidden = !said;
  if (!said) return;
  view.why.replaceChildren(h("b", {}, t(said)), " ", cell.error);
  view.why.setAttribute("role", cell.status === "failed" ? "alert" : "note");
}

const scoresOf = new Map(); // metric → how many scores it gives, one until it has given more

function showScores(view, cell) {
  keepPlaces(cell.metrics);
  view.scores.replaceChildren(
    ...cell.metrics.map((score) => {
      const n = score.n ? ` (n = ${score.n})` : "";
      return h("div", { title: `${score.label} ${score.text}${n}` }, h("dt", {}, score.label), h("dd", {}, score.text));
    }),
  );
}

/** Under every cell, a line for each score that will come. */
function keepPlaces(scores) {
  let lines = 0;
  for (const name of current.comparison.metrics) {
    const given = scores.filter((score) => score.name === name || score.name.startsWith(`${name}.`)).length;
    scoresOf.set(name, Math.max(1, given, scoresOf.get(name) ?? 1));
    lines += scoresOf.get(name);
  }
  grid.element.style.setProperty("--lines", lines);
}

/** Evaluations that the sampler asked for; decoding the sample is told apart. */
const nfeOf = (cell) => Object.entries(cell.nfe).reduce((sum, [role, count]) => sum + (role === "decoder" ? 0 : count), 0);
