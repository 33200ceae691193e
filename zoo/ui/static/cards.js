// The methods: cards that can be ticked, moved, duplicated and removed. A card's line is the method; its title, its
// parts and what is wrong with it come from the server (zoo/ui/catalogue.py, card).

const cards = { list: null, add: null, items: [] };

function buildCards() {
  cards.list = h("ol", { class: "z-cards", id: "methods" });
  cards.add = h("button", { type: "button", id: "add-method", class: "z-quiet z-add", onclick: addCard }, icon("plus"), t("add_method"));
  setCards(catalogue.cards);
  return h("section", { class: "z-methods", "aria-label": t("methods") }, cards.list, cards.add);
}

/** Replace all cards; entries are the server's cards, or just {line, swap}, which are then read. */
function setCards(entries) {
  cards.items = entries.slice(0, catalogue.most_cards).map(newCard);
  drawList();
}

function newCard(entry) {
  const card = { line: "", swap: false, title: "", phrases: [], parts: [], cells: 1, columns: null, rows: null, problem: "", problems: {}, on: true, open: false, ...structuredClone(entry) };
  card.title ||= card.line;
  buildCard(card);
  card.read = later(() => readCard(card), 120);
  if (!card.parts.length && card.line) readCard(card);
  return card;
}

/** The cards that are ticked, as the server reads them. */
function chosenCards() {
  return cards.items.filter((card) => card.on && card.line.trim()).map((card) => ({ line: card.line, swap: card.swap }));
}

function drawList() {
  cards.list.replaceChildren(...cards.items.map((card) => card.element));
  cards.items.forEach(showCard);
  cards.add.disabled = cards.items.length >= catalogue.most_cards;
}

function buildCard(card) {
  card.grip = iconButton("grip", "", null, { class: "z-icon-button z-grip", onkeydown: (event) => moveByKey(event, card) });
  card.tick = h("input", { type: "checkbox", checked: card.on, onchange: () => ((card.on = card.tick.checked), showCard(card)) });
  card.name = h("button", { type: "button", class: "z-card-name", onclick: () => toggle(card) });
  card.adjust = iconButton("adjust", "", () => toggle(card), { class: "z-icon-button z-adjust" });
  card.copy = iconButton("copy", "", () => duplicate(card), { class: "z-icon-button z-copy" });
  card.remove = iconButton("remove", "", () => removeCard(card), { class: "z-icon-button z-remove" });
  card.text = h("input", {
    type: "text",
    class: "z-line",
    maxlength: 2000,
    spellcheck: "false",
    autocomplete: "off",
    placeholder: t("method_line_hint"),
    value: card.line,
    oninput: () => {
      card.line = card.text.value;
      card.parts = partsOf(card.line) ?? card.parts; // or a control moved at once would write the old line again
      card.read();
    },
    onkeydown: (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        readCard(card);
      }
    },
  });
  card.note = h("p", { class: "z-card-note" });
  card.controls = h("div", { class: "z-controls", hidden: true });
  card.element = h(
    "li",
    { class: "z-card" },
    h("div", { class: "z-card-head" }, card.grip, card.tick, card.name, card.adjust, card.copy, card.remove),
    card.text,
    card.note,
    card.controls,
  );
  makeDraggable(card);
}

/** Bring what is shown of a card up to date; controls only if they are open and others are needed. */
function showCard(card) {
  const n = cards.items.indexOf(card) + 1;
  if (!n) return;
  card.element.id = `method-${n}`;
  card.element.dataset.on = card.on;
  label(card.grip, t("move", { n }));
  label(card.tick, t("include", { n }));
  label(card.adjust, t("adjust", { n }));
  label(card.copy, t("duplicate", { n }));
  label(card.remove, t("remove", { n }));
  label(card.text, t("method_line", { n }));
  card.name.textContent = zooWords.method(card);
  card.adjust.setAttribute("aria-expanded", card.open);
  card.name.setAttribute("aria-expanded", card.open);
  if (document.activeElement !== card.text) card.text.value = card.line;
  card.text.setAttribute("aria-invalid", Boolean(card.problem));
  card.note.textContent = card.problem || gridNote(card);
  card.note.className = card.problem ? "z-card-note z-bad" : "z-card-note";
  card.note.setAttribute("role", card.problem ? "alert" : "none");
  card.controls.hidden = !card.open;
  if (card.open) showControls(card);
}

function gridNote(card) {
  const axes = [card.columns && t("across", { title: zooWords.own(card.columns.title) }), card.rows && t("down", { title: zooWords.own(card.rows.title) })];
  const said = axes.filter(Boolean).join(", ");
  return said ? t("grid_of", { n: card.cells, axes: said }) : "";
}

function label(control, text) {
  control.setAttribute("aria-label", text);
  control.title = text;
}

/** Ask the server what a line means; an answer that comes too late is not taken. */
async function readCard(card) {
  const line = card.line;
  try {
    const read = await ask("read_card", { line, swap: card.swap });
    if (card.line !== line) return;
    // Parts that cannot be read now are kept, so that the controls do not vanish under a half-typed line.
    if (!read.parts.length) delete read.parts;
    Object.assign(card, read);
  } catch (error) {
    card.problem = error.message;
  }
  showCard(card);
}

/** The line that a card's parts make, as zoo/method.py writes it. */
function lineOf(parts) {
  const quoted = (value) => (/^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'"'"'`)}'`);
  return parts.map((part) => [part.name, ...part.params.map(([name, value]) => `${name}=${quoted(value)}`)].join(" ")).join(" | ");
}

/** The parts of a line without quotes; null for any other, which only the server reads. */
function partsOf(line) {
  if (/['"\\]/.test(line)) return null;
  const parts = line.split("|").map((part) => part.trim().split(/\s+/));
  if (!parts.every(([name, ...settings]) => name && settings.every((setting) => /^\w+=/.test(setting)))) return null;
  const pair = (setting) => [setting.slice(0, setting.indexOf("=")), setting.slice(setting.indexOf("=") + 1)];
  return parts.map(([name, ...settings]) => ({ name, params: settings.map(pair) }));
}

/** The parts of a card were changed by its controls: write the line, and read it. */
function partsChanged(card) {
  card.line = lineOf(card.parts);
  card.text.value = card.line;
  card.read();
}

function toggle(card) {
  card.open = !card.open;
  showCard(card);
}

function addCard() {
  const first = catalogue.samplers[0];
  insert(newCard({ line: defaultLine(first), open: true }), cards.items.length);
}

/** A line for a sampler newly chosen; its number of steps is said, being what people look for first. */
function defaultLine(sampler) {
  const steps = sampler.controls.find((control) => control.name === "steps");
  return steps ? `${sampler.name} steps=${Math.min(20, steps.default)}` : sampler.name;
}

function duplicate(card) {
  if (cards.items.length >= catalogue.most_cards) return;
  const { line, swap, title, phrases, parts, cells, columns, rows, problem, problems, on, open } = card;
  insert(newCard({ line, swap, title, phrases, parts, cells, columns, rows, problem, problems, on, open }), cards.items.indexOf(card) + 1);
}

function insert(card, place) {
  cards.items.splice(place, 0, card);
  drawList();
  card.name.focus();
}

function removeCard(card) {
  const place = cards.items.indexOf(card);
  cards.items.splice(place, 1);
  drawList();
  (cards.items[Math.min(place, cards.items.length - 1)]?.remove ?? cards.add).focus();
}

function moveTo(card, place) {
  const from = cards.items.indexOf(card);
  if (place < 0 || place >= cards.items.length || place === from) return;
  cards.items.splice(from, 1);
  cards.items.splice(place, 0, card);
  drawList();
}

function moveByKey(event, card) {
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  moveTo(card, cards.items.indexOf(card) + by);
  card.grip.focus();
}

/** Dragging by the grip; where the pointer is, there the card goes at once. */
function makeDraggable(card) {
  card.grip.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    card.grip.focus();
    const follow = (moved) => {
      const over = cards.items.findIndex((other) => {
        const box = other.element.getBoundingClientRect();
        return moved.clientY >= box.top && moved.clientY <= box.bottom;
      });
      if (over >= 0 && staysUnder(moved.clientY, card, over)) moveTo(card, over);
    };
    const end = () => {
      document.removeEventListener("pointermove", follow);
      card.element.classList.remove("z-dragged");
    };
    card.element.classList.add("z-dragged");
    document.addEventListener("pointermove", follow);
    document.addEventListener("pointerup", end, { once: true });
    document.addEventListener("pointercancel", end, { once: true });
  });
}

/** Whether the pointer will be over the card once that has this place; else it and a taller one would swap for ever. */
function staysUnder(y, card, place) {
  const { height } = card.element.getBoundingClientRect();
  const other = cards.items[place].element.getBoundingClientRect();
  return place > cards.items.indexOf(card) ? y >= other.bottom - height : y <= other.top + height;
}
