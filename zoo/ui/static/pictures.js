// Reading the pictures: their size, the difference to a reference, and a lens over all cells at once.

const GAIN = 4; // differences are shown this many times larger
const reading = { reference: "off", pixels: new Map() };

function buildTools() {
  reading.tools = h("div", { class: "z-tools", role: "group", "aria-label": t("view") });
  reading.size = h("input", { type: "range", id: "size", min: 0, max: 2, step: 1, value: 1, oninput: () => setSize() });
  reading.select = h("select", { id: "difference", onchange: () => setReference(reading.select.value) });
  reading.lens = h("button", { type: "button", id: "magnifier", class: "z-tool", "aria-pressed": false, title: t("magnifier_note"), onclick: toggleLens, onkeydown: moveLens }, icon("lens"), t("magnifier"));
  reading.ab = h("button", { type: "button", id: "ab", class: "z-tool", onclick: () => openSlider() }, icon("halves"), t("ab"));
  reading.note = h("p", { class: "z-small z-tool-note", hidden: true });
  reading.tools.append(
    h("label", { class: "z-inline" }, h("span", {}, t("size")), reading.size),
    h("label", { class: "z-inline" }, h("span", {}, t("difference")), reading.select),
    reading.lens,
    reading.ab,
  );
  fillSelect(reading.select, [["off", t("difference_off")]], "off");
  return [reading.tools, reading.note];
}

function setSize() {
  grid.element.dataset.size = ["small", "middle", "large"][reading.size.value];
}

/** Another run: nothing of the last one's reading holds. */
function forgetReading() {
  reading.pixels.clear();
  if (reading.reference !== "off") {
    reading.reference = "off";
    reading.note.hidden = true;
  }
  forgetWays();
}

/** Offer the finished cells as references, and show what is chosen. */
function updateReading() {
  const done = current.cells.map((cell, index) => [cell, index]).filter(([cell]) => cell.status === "done");
  const options = [["off", t("difference_off")], ...done.map(([cell, index]) => [String(index), `${index + 1} · ${cell.title}`])];
  if (reading.select.options.length !== options.length) fillSelect(reading.select, options, reading.reference);
  reading.ab.disabled = done.length < 1;
  if (reading.reference !== "off") showDifferences();
}

function setReference(value) {
  reading.reference = value;
  reading.note.hidden = value === "off";
  reading.note.textContent = value === "off" ? "" : t("difference_note", { gain: GAIN });
  if (value !== "off") {
    showFinished();
    return showDifferences();
  }
  for (const view of grid.views) {
    view.reading.hidden = true;
    for (const tile of view.tiles) tile.frame.hidden = true;
  }
}

async function showDifferences() {
  const asked = reading.reference;
  const reference = Number(asked);
  for (const view of grid.views) {
    const finished = current.cells[view.index].status === "done";
    view.reading.hidden = !finished;
    if (!finished) continue;
    let sum = 0;
    for (const [i, tile] of view.tiles.entries()) {
      const [one, other] = await Promise.all([pixelsOf(view.index, i), pixelsOf(reference, i)]);
      if (reading.reference !== asked) return;
      if (!one || !other || one.width !== other.width) continue;
      sum += drawDifference(tile.frame, one, other);
    }
    const rms = Math.sqrt(sum / view.tiles.length);
    view.reading.textContent = view.index === reference ? t("difference_self") : `Δ ${rms.toFixed(3)}`;
  }
}

/** Draw |a − b| × GAIN, and return the mean square of a − b in [0, 1]. */
function drawDifference(canvas, one, other) {
  canvas.width = one.width;
  canvas.height = one.height;
  const drawn = new ImageData(one.width, one.height);
  let sum = 0;
  for (let i = 0; i < one.data.length; i++) {
    const difference = one.data[i] - other.data[i];
    const opaque = i % 4 === 3;
    if (!opaque) sum += (difference / 255) ** 2;
    drawn.data[i] = opaque ? 255 : Math.abs(difference) * GAIN;
  }
  canvas.getContext("2d").putImageData(drawn, 0, 0);
  canvas.hidden = false;
  return sum / (one.width * one.height * 3);
}

/** The mean square difference of two finished cells over all seeds; NaN while one is missing. */
async function meanSquare(index, reference) {
  let sum = 0;
  const count = current.comparison.seeds.length;
  for (let i = 0; i < count; i++) {
    const [one, other] = await Promise.all([pixelsOf(index, i), pixelsOf(reference, i)]);
    if (!one || !other || one.data.length !== other.data.length) return NaN;
    let square = 0;
    for (let j = 0; j < one.data.length; j++) if (j % 4 !== 3) square += ((one.data[j] - other.data[j]) / 255) ** 2;
    sum += square / (one.width * one.height * 3);
  }
  return sum / count;
}

/** The pixels of a finished picture; null if there is none. */
async function pixelsOf(index, i) {
  const source = current.cells[index]?.status === "done" ? current.cells[index].images[i] : null;
  if (!source) return null;
  const key = `${index}.${i}`;
  const known = reading.pixels.get(key);
  if (known && known.source === source) return known.pixels;
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = h("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  reading.pixels.set(key, { source, pixels });
  return pixels;
}

// ---- the lens ---------------------------------------------------------------------------------------------------

const lens = { x: 0.5, y: 0.5 };
const isMagnified = () => grid.element.classList.contains("z-magnified");

function toggleLens() {
  const on = !isMagnified();
  reading.lens.setAttribute("aria-pressed", on);
  grid.element.classList.toggle("z-magnified", on);
  setLens(0.5, 0.5);
}

/** Enlarge around this point of every picture, in shares of its size. */
function setLens(x, y) {
  lens.x = Math.min(1, Math.max(0, x));
  lens.y = Math.min(1, Math.max(0, y));
  grid.element.style.setProperty("--lens-x", `${100 * lens.x}%`);
  grid.element.style.setProperty("--lens-y", `${100 * lens.y}%`);
}

function moveLens(event) {
  const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
  if (!by || !isMagnified()) return;
  event.preventDefault();
  setLens(lens.x + by[0], lens.y + by[1]);
}

/** The lens goes where a mouse points and where a finger is put or drawn. */
function followPointer() {
  const follow = (event) => {
    const tile = event.target.closest?.(".zoo-tile");
    if (!tile || !isMagnified()) return;
    const box = tile.getBoundingClientRect();
    setLens((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  grid.element.addEventListener("pointerdown", follow);
  grid.element.addEventListener("pointermove", follow);
}
