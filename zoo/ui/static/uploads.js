// Pictures that methods follow: uploaded, named by their content, and sent with whatever names them.

const uploads = new Map(); // name → data URI
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
  card.setters.push(() => {
    const uri = uploads.get(valueOf(card, place, control));
    shown.hidden = !uri;
    if (uri) shown.src = uri;
  });
  return h("div", { class: "z-picture-input" }, file, shown);
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
