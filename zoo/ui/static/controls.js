// The controls of a card: which sampler, which conditioners, and what zoo/ui/controls.py says of their parameters.

function showControls(card) {
  // Made anew only when the parts' names or the swept parameters differ, so that a slider under the finger stays.
  const shape = JSON.stringify([card.parts.map((part) => part.name), sweptNames(card), card.swap]);
  if (card.shape !== shape) {
    const focused = card.controls.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    card.shape = shape;
    card.setters = [];
    card.controls.replaceChildren(...card.parts.flatMap((part, place) => partControls(card, part, place)), addConditioner(card));
    if (focused) card.controls.querySelector(`[data-place="${CSS.escape(focused)}"]`)?.focus();
  }
  for (const set of card.setters) set();
}

function spec(card, place) {
  const name = card.parts[place].name;
  return (place ? catalogue.conditioners : catalogue.samplers).find((known) => known.name === name);
}

const isSwept = (value) => /,|\.\./.test(value);

/** The parameters of a card that have several values, as "part.parameter". */
function sweptNames(card) {
  const sweepable = (place, name) => {
    const control = spec(card, place)?.controls.find((known) => known.name === name);
    return control && !["text", "picture"].includes(control.kind);
  };
  return card.parts.flatMap((part, place) =>
    part.params.filter(([name, value]) => isSwept(value) && sweepable(place, name)).map(([name]) => `${place}.${name}`),
  );
}

function partControls(card, part, place) {
  const known = spec(card, place);
  const head = place
    ? h(
        "div",
        { class: "z-part-head" },
        h("h4", {}, known ? known.title : part.name),
        iconButton("remove", t("remove_conditioner", { title: known ? known.title : part.name }), () => {
          card.parts.splice(place, 1);
          partsChanged(card);
          showCard(card);
        }),
      )
    : samplerChoice(card);
  const about = known?.summary ? h("p", { class: "z-small" }, known.summary) : null;
  const rows = (known?.controls || []).map((control) => controlRow(card, place, control));
  const swap = place === 0 && sweptNames(card).length
    ? h(
        "button",
        {
          type: "button",
          class: "z-quiet z-swap",
          "aria-pressed": card.swap,
          onclick: () => {
            card.swap = !card.swap;
            readCard(card);
          },
        },
        icon("swap"),
        t("swap"),
      )
    : null;
  return [head, about, ...rows, swap].filter(Boolean);
}

function samplerChoice(card) {
  const select = h("select", {
    class: "z-sampler",
    "data-place": "sampler",
    onchange: () => {
      const chosen = catalogue.samplers.find((sampler) => sampler.name === select.value);
      const steps = card.parts[0].params.filter(([name]) => name === "steps" && chosen.controls.some((c) => c.name === "steps"));
      card.parts[0] = { name: chosen.name, params: steps };
      partsChanged(card);
      showCard(card);
    },
  });
  fillSelect(select, catalogue.samplers.map((sampler) => [sampler.name, `${sampler.title} (${sampler.name})`]), card.parts[0].name);
  card.setters.push(() => (select.value = card.parts[0].name));
  return field(t("sampler"), select);
}

function addConditioner(card) {
  const unused = catalogue.conditioners.filter((known) => !card.parts.slice(1).some((part) => part.name === known.name));
  if (!unused.length) return "";
  const select = h("select", {
    class: "z-add-conditioner",
    "data-place": "conditioner",
    "aria-label": t("add_conditioner"),
    title: t("conditioner_order"),
    onchange: () => {
      const scale = unused.find((known) => known.name === select.value).controls.find((control) => control.name === "scale");
      card.parts.push({ name: select.value, params: scale ? [["scale", scale.default]] : [] });
      partsChanged(card);
      showCard(card);
    },
  });
  fillSelect(select, [["", t("add_conditioner")], ...unused.map((known) => [known.name, known.title])], "");
  return select;
}

/** A parameter's label, control, and the button that makes a grid of it. */
function controlRow(card, place, control) {
  const key = `${place}.${control.name}`;
  const swept = sweptNames(card).includes(key);
  const id = `z-${cards.items.indexOf(card)}-${place}-${control.name}`;
  const input = swept ? listInput(card, place, control) : valueInput(card, place, control);
  const problem = h("p", { class: "z-card-note z-bad", id: `${id}-problem` });
  const first = input.matches("input, select") ? input : input.querySelector("input");
  first.id = id;
  first.setAttribute("aria-describedby", `${id}-problem`);
  card.setters.push(() => {
    problem.textContent = card.problems[key] || "";
    first.setAttribute("aria-invalid", key in card.problems);
  });
  const grid =
    control.kind === "text" || control.kind === "picture"
      ? null
      : h(
          "button",
          {
            type: "button",
            class: "z-grid-button",
            "aria-pressed": swept,
            "data-place": `${key}.grid`,
            title: t(swept ? "unsweep" : "sweep", { title: control.title }),
            "aria-label": t(swept ? "unsweep" : "sweep", { title: control.title }),
            onclick: () => {
              const current = valueOf(card, place, control);
              setValue(card, place, control, swept ? current.split(/,|\.\./)[0] : severalValues(control, current), true);
              showCard(card);
            },
          },
          icon("grid"),
          t("sweep_short"),
        );
  return h(
    "div",
    { class: "z-control" },
    h("div", { class: "z-control-head" }, h("label", { for: id, title: control.help || null }, control.title), grid),
    input,
    control.help ? h("p", { class: "z-small" }, control.help) : null,
    problem,
  );
}

const valueOf = (card, place, control) =>
  card.parts[place].params.find(([name]) => name === control.name)?.[1] ?? control.default;

/** Say a value in the line, unless it is the default and was never said. */
function setValue(card, place, control, value, always = false) {
  const params = card.parts[place].params;
  const said = params.find(([name]) => name === control.name);
  if (said) said[1] = value;
  else if (always || value !== control.default) params.push([control.name, value]);
  partsChanged(card);
}

/** Values to begin a grid with, around the present one. */
function severalValues(control, current) {
  if (control.kind === "choice") return control.choices.join(",");
  if (control.kind === "switch") return "false,true";
  const value = Number(current) || 0;
  const low = control.min ?? -Infinity;
  const high = control.max ?? Infinity;
  let values = low >= 0 && high <= 1 ? [0, 0.5, 1] : value ? [value / 2, value, value * 2] : [0, 1, 2];
  if (control.whole) values = values.map(Math.round);
  values = values.map((v) => Math.min(high, Math.max(low, v)));
  return [...new Set(values.map((v) => String(Number(v.toPrecision(6)))))].join(",");
}

function listInput(card, place, control) {
  const input = h("input", {
    type: "text",
    class: "z-values",
    spellcheck: "false",
    "data-place": `${place}.${control.name}`,
    oninput: () => {
      if (isSwept(input.value)) setValue(card, place, control, input.value.replaceAll(" ", ""));
    },
  });
  card.setters.push(() => document.activeElement !== input && (input.value = valueOf(card, place, control)));
  return input;
}

function valueInput(card, place, control) {
  const given = (value) => setValue(card, place, control, String(value));
  const at = { "data-place": `${place}.${control.name}` };
  if (control.kind === "choice") {
    const select = h("select", { ...at, onchange: () => given(select.value) });
    fillSelect(select, control.choices.map((choice) => [choice, choice]), control.default);
    card.setters.push(() => (select.value = valueOf(card, place, control)));
    return select;
  }
  if (control.kind === "picture") return pictureInput(card, place, control);
  if (control.kind === "switch") {
    const box = h("input", { ...at, type: "checkbox", onchange: () => given(box.checked) });
    card.setters.push(() => (box.checked = valueOf(card, place, control) === "true"));
    return box;
  }
  const numeric = control.kind !== "text";
  const number = h("input", {
    ...at,
    type: numeric ? "number" : "text",
    class: control.kind === "slider" ? "z-number" : null,
    min: control.min ?? null,
    max: control.max ?? null,
    step: numeric ? (control.whole ? 1 : "any") : null,
    oninput: () => number.value !== "" && given(number.value),
  });
  card.setters.push(() => document.activeElement !== number && (number.value = valueOf(card, place, control)));
  if (control.kind !== "slider") return number;
  const { toPlace, toValue } = sliderScale(control);
  const range = h("input", {
    type: "range",
    min: 0,
    max: 1000,
    "aria-label": control.title,
    "data-place": `${place}.${control.name}.range`,
    oninput: () => {
      number.value = toValue(Number(range.value));
      given(number.value);
    },
  });
  card.setters.push(() => document.activeElement !== range && (range.value = toPlace(Number(valueOf(card, place, control)))));
  return h("div", { class: "z-slider" }, number, range);
}

/** Between a slider's 1001 places and the values; steps of wide ranges lie densely where the values are small. */
function sliderScale({ min, max, step, whole, logarithmic }) {
  const rounded = (value) => Number((min + Math.round((value - min) / step) * step).toPrecision(10));
  const bend = logarithmic ? Math.log : (v) => v;
  const unbend = logarithmic ? Math.exp : (v) => v;
  const [low, high] = [bend(min), bend(max)];
  return {
    toPlace: (value) => Math.round((1000 * (bend(Math.min(max, Math.max(min, value))) - low)) / (high - low)),
    toValue: (place) => {
      const value = unbend(low + (place / 1000) * (high - low));
      return String(whole ? Math.round(value) : rounded(value));
    },
  };
}
