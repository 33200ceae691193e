// What is asked: model, prompt, seeds and the rest, above everything else. The methods are in cards.js.

const form = { built: null, presets: null };

function buildForm() {
  const models = catalogue.models.map((model) => [model.name, model.title]);
  const model = h("select", { id: "model", onchange: () => modelChosen() });
  fillSelect(model, models, models[0]?.[0]);
  const prompt = h("input", { id: "prompt", type: "text", maxlength: 1000, autocomplete: "off", placeholder: t("prompt_hint") });
  const seeds = h("input", { id: "seeds", type: "text", maxlength: 200, value: "0..1", autocomplete: "off" });
  const negative = h("input", { id: "negative", type: "text", maxlength: 1000, autocomplete: "off" });
  const alone = h("input", { id: "alone", type: "checkbox" });
  const metrics = catalogue.metrics.map((metric) =>
    h("label", { class: "z-tick", title: metric.summary || null }, h("input", { type: "checkbox", value: metric.name }), metric.title),
  );
  const compare = h("button", { id: "compare", type: "submit", class: "z-primary" }, t("compare"));
  const cancel = h("button", { id: "cancel", type: "button", class: "z-quiet", hidden: true, onclick: () => stopRun() }, t("cancel"));
  const examples = h("div", { class: "z-chips", id: "examples", role: "group", "aria-label": t("examples") });
  const presets = h("fieldset", { class: "z-chips", id: "presets", "aria-label": t("presets") });
  const about = h("p", { class: "z-small", id: "about-model" });
  form.built = { model, prompt, seeds, negative, alone, metrics, compare, cancel, examples, presets, about };

  const more = h(
    "details",
    { id: "more", class: "z-more" },
    h("summary", {}, t("more")),
    h(
      "div",
      { class: "z-more-fields" },
      field(t("negative"), negative, t("negative_hint")),
      h("label", { class: "z-tick" }, alone, h("span", {}, t("alone"), h("small", {}, t("alone_hint")))),
      h("fieldset", { id: "metrics" }, h("legend", {}, t("metrics"), h("small", {}, " " + t("metrics_hint"))), metrics),
    ),
  );
  return h(
    "form",
    {
      class: "z-ask",
      onsubmit: (event) => {
        event.preventDefault();
        startRun();
      },
    },
    h(
      "div",
      { class: "z-question" },
      h("div", { class: "z-model" }, field(t("model"), model), about),
      h("div", { class: "z-prompt" }, field(t("prompt"), prompt), examples),
      field(t("seeds"), seeds, t("seeds_hint"), "z-seeds"),
      h("div", { class: "z-actions" }, compare, cancel),
    ),
    h("div", { class: "z-foot" }, h("div", { class: "z-start" }, h("span", { class: "z-start-label" }, t("presets")), presets), more),
  );
}

function field(label, control, hint, extra = "") {
  return h("label", { class: `z-field ${extra}` }, h("span", {}, label), control, hint ? h("small", {}, hint) : null);
}

/** The form as the server reads it (zoo/ui/request.py, Asked). */
function asked() {
  const { model, prompt, seeds, negative, alone, metrics } = form.built;
  return {
    model: model.value,
    prompt: prompt.value.trim(),
    negative: negative.value.trim(),
    seeds: seeds.value.trim(),
    alone: alone.checked,
    metrics: metrics.map((tick) => tick.firstChild).filter((box) => box.checked).map((box) => box.value),
    cards: chosenCards(),
    pictures: chosenPictures(),
  };
}

/** Put a comparison into the form; what it does not name stays. */
function fillForm(given) {
  const { model, prompt, seeds, negative, alone, metrics } = form.built;
  if (given.model !== undefined && catalogue.models.some((known) => known.name === given.model)) model.value = given.model;
  if (given.prompt !== undefined) prompt.value = given.prompt;
  if (given.negative !== undefined) negative.value = given.negative;
  if (given.seeds !== undefined) seeds.value = Array.isArray(given.seeds) ? seedsText(given.seeds) : given.seeds;
  if (given.alone !== undefined) alone.checked = Boolean(given.alone);
  if (given.metrics !== undefined) for (const tick of metrics) tick.firstChild.checked = given.metrics.includes(tick.firstChild.value);
  if (given.cards !== undefined) setCards(given.cards);
}

/** Seeds as people write them: 0..3,7. */
function seedsText(seeds) {
  const pieces = [];
  for (const seed of seeds) {
    const last = pieces.at(-1);
    if (last && seed === last[1] + 1) last[1] = seed;
    else pieces.push([seed, seed]);
  }
  return pieces.map(([first, last]) => (first === last ? `${first}` : `${first}..${last}`)).join(",");
}

/** Show what is known of the chosen model, at once, and what only the server knows when it says so. */
async function modelChosen() {
  const name = form.built.model.value;
  const about = catalogue.models.find((model) => model.name === name);
  form.built.about.textContent = about ? about.summary : "";
  showPresets(null);
  const before = form.examples || [];
  let facts = { examples: [], presets: [], problem: "" };
  try {
    facts = await ask("model_facts", { model: name });
  } catch {
    // The page works without examples; what is wrong with the model is said when it is compared.
  }
  if (form.built.model.value !== name) return;
  if (facts.problem) form.built.about.replaceChildren(h("span", { class: "z-bad" }, zooWords.told(facts.problem)));
  showPresets(facts.presets);
  showExamples(facts.examples);
  // In place of nothing, or of another model's example; never in place of what somebody wrote.
  const text = form.built.prompt.value;
  if (facts.examples.length && (!text || (before.includes(text) && !facts.examples.includes(text)))) {
    form.built.prompt.value = facts.examples[0];
  }
}

function showExamples(examples) {
  form.examples = examples;
  form.built.examples.replaceChildren(
    ...examples.map((example) =>
      h("button", { type: "button", class: "z-chip", onclick: () => (form.built.prompt.value = example) }, example),
    ),
  );
}

/** The presets that the model can run; those that need nothing special, while that is not known. */
function showPresets(possible) {
  const plain = catalogue.presets.filter((preset) => preset.plain);
  const shown = possible === null ? plain : catalogue.presets.filter((preset) => possible.includes(preset.name));
  form.built.presets.replaceChildren(
    ...shown.map((preset) =>
      h(
        "button",
        {
          type: "button",
          class: "z-chip",
          title: zooWords.say(`presets.${preset.name}_why`),
          onclick: async () => {
            fillForm({ cards: preset.cards, seeds: preset.seeds, metrics: [...new Set([...asked().metrics, ...preset.metrics])] });
            await drawExamples().catch((error) => showProblem(error.message));
            startRun();
          },
        },
        zooWords.say(`presets.${preset.name}`),
      ),
    ),
  );
}

/** Compare, Cancel and the presets, which compare at once, as a run is under way or not. */
function showBusy(busy) {
  form.built.compare.disabled = busy;
  form.built.presets.disabled = busy;
  form.built.cancel.hidden = !busy;
  form.built.cancel.disabled = false;
}
