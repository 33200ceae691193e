// Back along the way: all cells at the same noise level, step, NFE or time, as states or as predicted pictures.

const END = 1000; // the slider's right end: the finished pictures
const PLAY_SECONDS = 4;
const scrub = { ways: new Map(), loading: null, playing: false };

function buildScrub() {
  scrub.range = h("input", { type: "range", id: "scrub", min: 0, max: END, value: END, "aria-label": t("scrub_position"), onpointerdown: loadWays, onfocus: loadWays, oninput: () => (stopPlaying(), showWays()) });
  scrub.play = h("button", { type: "button", class: "z-icon-button z-play", "aria-label": t("scrub_play"), title: t("scrub_play"), onclick: play }, icon("play"));
  scrub.by = h("select", { id: "scrub-by", onchange: showWays });
  scrub.kind = h("select", { id: "scrub-kind", onchange: showWays });
  fillSelect(scrub.by, ["noise", "steps", "nfe", "time"].map((by) => [by, t(`scrub_${by}`)]), "noise");
  fillSelect(scrub.kind, [["x0", t("scrub_x0")], ["x_t", t("scrub_xt")]], "x0");
  scrub.note = h("p", { class: "z-small", id: "scrub-note", "aria-live": "polite" });
  scrub.element = h(
    "div",
    { class: "z-scrub", role: "group", "aria-label": t("scrub") },
    h("span", { class: "z-scrub-label" }, t("scrub")),
    scrub.play,
    scrub.range,
    h("label", { class: "z-inline" }, h("span", {}, t("scrub_show")), scrub.kind),
    h("label", { class: "z-inline" }, h("span", {}, t("scrub_by")), scrub.by),
    scrub.note,
  );
  updateScrub();
  return scrub.element;
}

const wayCells = () => current.cells.map((cell, index) => [cell, index]).filter(([cell]) => cell.way);

/** The slider can be used once a run has ended that kept ways. */
function updateScrub() {
  const usable = current.state === "ended" && wayCells().length > 0;
  for (const control of [scrub.range, scrub.play, scrub.by, scrub.kind]) control.disabled = !usable;
  if (!current.id) scrub.note.textContent = t("own_first");
  if (Number(scrub.range.value) < END) showWays();
}

function forgetWays() {
  scrub.ways.clear();
  scrub.loading = null;
  stopPlaying();
  scrub.range.value = END;
  scrub.note.textContent = "";
}

function dropWay(index) {
  scrub.ways.delete(index);
  scrub.loading = null;
}

/** Fetch what the server kept of every cell's way, once. */
function loadWays() {
  scrub.loading ??= (async () => {
    const id = current.id;
    scrub.note.textContent = t("scrub_loading");
    for (const [, index] of wayCells()) {
      if (scrub.ways.has(index)) continue;
      try {
        const way = await ask("cell_way", { id, cell: index });
        const [x0, x_t] = await Promise.all([picture(way.x0), picture(way.x_t)]);
        if (current.id !== id) return;
        scrub.ways.set(index, { ...way, sprites: { x0, x_t } });
      } catch {
        // A cell whose way is not kept shows its finished picture.
      }
    }
    showWays();
  })();
  return scrub.loading;
}

async function picture(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

/** The finished pictures again. */
function showFinished() {
  stopPlaying();
  scrub.range.value = END;
  showWays();
}

function showWays() {
  const place = Number(scrub.range.value) / END;
  const by = scrub.by.value;
  if (place >= 1 || !scrub.ways.size) {
    if (scrub.ways.size) scrub.note.textContent = "";
    if (reading.reference !== "off") return;
    for (const view of grid.views) clearFrames(view);
    return;
  }
  if (reading.reference !== "off") {
    reading.select.value = "off";
    setReference("off");
  }
  const value = axisValue(by, place);
  scrub.note.textContent = t(`scrub_${by}_note`, { value: by === "noise" || by === "time" ? value.toFixed(2) : Math.round(value) });
  scrub.range.setAttribute("aria-valuetext", scrub.note.textContent);
  for (const view of grid.views) {
    const way = scrub.ways.get(view.index);
    const frame = way && frameAt(way, current.cells[view.index], by, value);
    if (frame === undefined || frame === null) clearFrames(view, way ? t("scrub_finished") : t("scrub_none"));
    else drawFrame(view, way, frame);
  }
}

const stepOf = (way, cell, frame) => Math.max(1, Math.round((frame.nfe * way.steps) / Math.max(1, nfeOf(cell))));

/** The axis that all cells share: where on it the slider stands. */
function axisValue(by, place) {
  const ways = [...scrub.ways.entries()];
  if (by === "noise") {
    // Evenly in the angle of alpha = cos, sigma = sin: on the log-SNR itself half the slider would be noise.
    const angles = ways.flatMap(([, way]) => way.frames.map((frame) => Math.atan(Math.exp(-frame.log_snr / 2))));
    const [first, last] = [Math.max(...angles), Math.min(...angles)];
    return -2 * Math.log(Math.tan(first + place * (last - first)));
  }
  const top = (index, way) => ({ steps: way.steps, nfe: nfeOf(current.cells[index]), time: current.cells[index].seconds })[by];
  const most = Math.max(...ways.map(([index, way]) => top(index, way)));
  const value = place * most;
  return by === "time" ? value : Math.max(1, value);
}

/** The last frame up to a value of the axis; null if the cell has ended by then. */
function frameAt(way, cell, by, value) {
  const slack = 1e-6 + Math.abs(value) * 1e-6;
  if (by === "steps" && Math.round(value) >= way.steps) return null;
  if (by === "nfe" && Math.round(value) >= nfeOf(cell)) return null;
  if (by === "time" && value >= cell.seconds) return null;
  const at = {
    noise: (frame) => frame.log_snr <= value + slack,
    steps: (frame) => stepOf(way, cell, frame) <= Math.round(value),
    nfe: (frame) => frame.nfe <= Math.round(value),
    time: (frame) => frame.seconds <= value + slack,
  }[by];
  return Math.max(0, way.frames.findLastIndex(at));
}

function drawFrame(view, way, row) {
  const sprite = way.sprites[scrub.kind.value];
  view.tiles.forEach((tile, column) => {
    if (column >= way.images) {
      tile.frame.hidden = true;
      return;
    }
    tile.frame.width = way.width;
    tile.frame.height = way.height;
    tile.frame.getContext("2d").drawImage(sprite, column * way.width, row * way.height, way.width, way.height, 0, 0, way.width, way.height);
    tile.frame.hidden = false;
  });
  const cell = current.cells[view.index];
  const frame = way.frames[row];
  view.reading.hidden = false;
  view.reading.textContent = `${t("step_of", { step: stepOf(way, cell, frame), steps: way.steps })} · log-SNR ${frame.log_snr.toFixed(1)}`;
}

function clearFrames(view, said = "") {
  for (const tile of view.tiles) tile.frame.hidden = true;
  view.reading.textContent = said;
  view.reading.hidden = !said;
}

async function play() {
  if (scrub.playing) return stopPlaying();
  scrub.playing = true;
  showPlaying();
  await loadWays();
  let begun = performance.now();
  if (Number(scrub.range.value) < END) begun -= (Number(scrub.range.value) / END) * PLAY_SECONDS * 1000;
  const tick = (now) => {
    if (!scrub.playing) return;
    const place = Math.min(END, ((now - begun) / (PLAY_SECONDS * 1000)) * END);
    scrub.range.value = place;
    showWays();
    if (place >= END) stopPlaying();
    else requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function stopPlaying() {
  scrub.playing = false;
  showPlaying();
}

function showPlaying() {
  const text = t(scrub.playing ? "scrub_stop" : "scrub_play");
  label(scrub.play, text);
  scrub.play.replaceChildren(icon(scrub.playing ? "stop" : "play"));
}
