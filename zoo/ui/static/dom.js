// Elements, words and icons. All scripts of this folder share one scope; gradio gives `element`, `props` and `server`.

const OWN = ["title", "summary", "help"];
const catalogue = JSON.parse(props.catalogue, (key, value) => (OWN.includes(key) && typeof value === "string" ? zooWords.own(value) : value));
const root = element.querySelector("#zoo");

/** A word or sentence of the section "page" in zoo/ui/words, with {…} filled in. */
const t = (key, values) => zooWords.say(`page.${key}`, values);

/**
 * An element. Attributes beginning with "on" are listeners; what is null is left out, and so is what is false but for
 * `aria-…` and `data-…`, which say so. Text is always text, never markup.
 */
function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (/^(aria|data)-/.test(name)) made.setAttribute(name, String(value));
    else if (value === false) continue;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat());
  return made;
}

const ICONS = {
  grip: "M6 3.5h.01M6 8h.01M6 12.5h.01M10 3.5h.01M10 8h.01M10 12.5h.01",
  adjust: "M1.5 4.5h7M12.5 4.5h2M8.5 4.5a2 2 0 1 0 4 0a2 2 0 1 0-4 0M1.5 11.5h2M7.5 11.5h7M3.5 11.5a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  remove: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  grid: "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z",
  swap: "M2.5 5.5h10l-2.5-2.5M13.5 10.5h-10l2.5 2.5",
  lens: "M2.5 7a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0M10.5 10.5l3.5 3.5",
  halves: "M2.5 3h11v10h-11zM8 1.5v13",
  play: "M5 3l8 5-8 5z",
  stop: "M4.5 4.5h7v7h-7z",
  retry: "M13 8a5 5 0 1 1-1.6-3.7M13 1.5v3.2h-3.2",
  side: "M2 3h12v10H2zM6.5 3v10",
};

function icon(name) {
  const drawn = svg("path", { d: ICONS[name] });
  return svg("svg", { viewBox: "0 0 16 16", class: "z-icon", "aria-hidden": "true" }, drawn);
}

/** A button that shows an icon, and says its label to those who cannot see it. */
function iconButton(name, label, onclick, more = {}) {
  return h("button", { type: "button", class: "z-icon-button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

function fillSelect(select, options, value) {
  select.replaceChildren(...options.map(([key, text]) => h("option", { value: key }, text)));
  select.value = value;
  if (select.selectedIndex < 0 && options.length) select.selectedIndex = 0;
}

/** A number as short as it can be read. */
function short(number) {
  if (!Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  if (size !== 0 && (size < 0.001 || size >= 1e5)) return number.toExponential(1);
  return String(Number(number.toPrecision(3)));
}

/** The call, once nobody has asked for it again for so many milliseconds. */
function later(call, milliseconds) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), milliseconds);
  };
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
