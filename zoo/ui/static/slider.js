// A/B: two cells on the same spot, and a slider between them.

const slider = {};

function buildSlider() {
  slider.a = h("select", { id: "ab-a", onchange: showSlider });
  slider.b = h("select", { id: "ab-b", onchange: showSlider });
  slider.seed = h("select", { id: "ab-seed", onchange: showSlider });
  slider.left = h("img", { class: "z-ab-left" });
  slider.right = h("img", { class: "z-ab-right" });
  slider.edge = h("i", { class: "z-ab-edge", "aria-hidden": "true" });
  slider.range = h("input", { type: "range", id: "ab-range", min: 0, max: 100, value: 50, "aria-label": t("ab_slider"), oninput: moveEdge });
  slider.stage = h("div", { class: "z-ab-stage", onpointerdown: dragEdge }, slider.right, slider.left, slider.edge);
  slider.dialog = h(
    "dialog",
    { class: "z-dialog", "aria-label": t("ab_title"), onclick: (event) => event.target === slider.dialog && slider.dialog.close() },
    h(
      "div",
      { class: "z-dialog-body" },
      h("div", { class: "z-dialog-head" }, h("h3", {}, t("ab_title")), iconButton("remove", t("close"), () => slider.dialog.close())),
      h("div", { class: "z-ab-choice" }, field(t("ab_a"), slider.a), field(t("ab_b"), slider.b), field(t("ab_seed"), slider.seed, null, "z-seeds")),
      slider.stage,
      slider.range,
    ),
  );
  return slider.dialog;
}

/** Open with a cell as A (the first finished one by default), and another as B. */
function openSlider(a, seed = 0) {
  const done = current.cells.map((cell, index) => [String(index), `${index + 1} · ${cell.title}`, cell]).filter(([, , cell]) => cell.status === "done");
  if (!done.length) return;
  const before = { a: slider.a.value, b: slider.b.value };
  const options = done.map(([value, text]) => [value, text]);
  const first = a !== undefined && done.some(([value]) => value === String(a)) ? String(a) : before.a || options[0][0];
  fillSelect(slider.a, options, first);
  const fallback = options.map(([value]) => value).findLast((value) => value !== slider.a.value) ?? options[0][0];
  fillSelect(slider.b, options, before.b && before.b !== slider.a.value ? before.b : fallback);
  fillSelect(slider.seed, current.comparison.seeds.map((s, i) => [String(i), t("seed", { seed: s })]), String(seed));
  showSlider();
  if (!slider.dialog.open) slider.dialog.showModal();
  slider.range.focus();
}

function showSlider() {
  for (const [choice, img] of [[slider.a, slider.left], [slider.b, slider.right]]) {
    const cell = current.cells[choice.value];
    const i = Number(slider.seed.value);
    if (!cell) continue;
    img.src = cell.images[i];
    img.alt = t("picture_alt", { title: cell.title, seed: current.comparison.seeds[i] });
  }
  moveEdge();
}

function moveEdge() {
  slider.stage.style.setProperty("--edge", `${slider.range.value}%`);
}

function dragEdge(event) {
  event.preventDefault();
  const move = (moved) => {
    const box = slider.stage.getBoundingClientRect();
    slider.range.value = (100 * (moved.clientX - box.left)) / box.width;
    moveEdge();
  };
  move(event);
  slider.stage.setPointerCapture(event.pointerId);
  slider.stage.addEventListener("pointermove", move);
  const end = () => slider.stage.removeEventListener("pointermove", move);
  slider.stage.addEventListener("pointerup", end, { once: true });
  slider.stage.addEventListener("pointercancel", end, { once: true });
}
