// Pictures that methods follow: uploaded or drawn, named by their content, and sent with whatever names them.

const uploads = new Map(); // name → data URI
const EXAMPLE = "example"; // stands in presets for a picture that is drawn when they are chosen
const LONGEST_SIDE = 1024;

/** The pictures that the ticked cards name. */
function chosenPictures() {
  const lines = chosenCards().map((card) => card.line);
  return Object.fromEntries([...uploads].filter(([name]) => lines.some((line) => line.includes(name))));
}

function pictureInput(card, place, control) {
  const shown = h("img", { class: "z-upload", alt: "", hidden: true });
  const file = h("input", {
    type: "file",
    accept: "image/*",
    "data-place": `${place}.${control.name}`,
    onchange: async () => {
      if (!file.files[0]) return;
      try {
        const { name, uri } = await ask("keep_picture", { uri: await reduced(file.files[0]) });
        uploads.set(name, uri);
        setValue(card, place, control, name);
      } catch (error) {
        card.problem = error.message;
      }
      showCard(card);
    },
  });
  let drawn = 0;
  const draw = h(
    "button",
    {
      type: "button",
      class: "z-quiet",
      title: t("draw_example_hint"),
      "data-place": `${place}.${control.name}.draw`,
      onclick: async () => {
        await drawExample(card, place, control, drawn++).catch((error) => (card.problem = error.message));
        showCard(card);
      },
    },
    t("draw_example"),
  );
  card.setters.push(() => {
    const uri = uploads.get(valueOf(card, place, control));
    shown.hidden = !uri;
    if (uri) shown.src = uri;
  });
  return h("div", { class: "z-picture-input" }, file, draw, shown);
}

/** Let the server draw what this part of a card may follow: a picture as the prompt has it, or a map itself. */
async function drawExample(card, place, control, seed) {
  const others = spec(card, place).controls;
  const annotator = others.find((known) => known.name === "annotator");
  const isMap = others.find((known) => known.name === "map");
  const { name, uri, map } = await ask("draw_example", {
    model: form.built.model.value,
    prompt: form.built.prompt.value,
    control: annotator ? valueOf(card, place, annotator) : "",
    seed,
  });
  uploads.set(name, uri);
  setValue(card, place, control, name);
  if (isMap) setValue(card, place, isMap, String(map));
}

/** Draw the pictures that the cards of a preset leave open. */
async function drawExamples() {
  for (const card of cards.items) {
    for (const place of card.parts.keys()) {
      for (const control of spec(card, place)?.controls ?? []) {
        if (control.kind === "picture" && valueOf(card, place, control) === EXAMPLE) await drawExample(card, place, control, 0);
      }
    }
  }
}

/** A picture as a data URI, upright and no larger than what is kept; one that the browser cannot read goes as it is. */
async function reduced(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const share = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    if (share === 1 && file.size < 4e6) return await uriOf(file);
    const canvas = h("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * share));
    canvas.height = Math.max(1, Math.round(bitmap.height * share));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/png");
  } catch {
    return uriOf(file);
  }
}

function uriOf(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
