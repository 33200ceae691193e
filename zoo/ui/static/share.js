// Keeping and sharing: files, links, code; and the way back from a picture or a link to the comparison.

const share = {};
const LONGEST_LINK = 6000;
const LARGEST_FILE = 32 * 1024 * 1024;

function buildShare() {
  const button = (id, text, onclick, hint) => h("button", { type: "button", id, class: "z-quiet", title: hint, onclick }, text);
  share.files = [
    button("save-png", t("png"), () => download("png"), t("png_hint")),
    button("download", t("zip"), () => download("zip")),
    button("save-report", t("report"), () => download("report")),
  ];
  share.why = h("span", { class: "z-small", id: "share-note" });
  share.said = h("span", { class: "z-small", role: "status" });
  share.file = h("input", { type: "file", accept: ".png,.json,image/png,application/json", hidden: true, onchange: () => share.file.files[0] && restore(share.file.files[0]) });
  share.text = h("textarea", { readonly: true, rows: 12, "aria-label": t("share") });
  share.dialog = h(
    "dialog",
    { class: "z-dialog", "aria-label": t("share"), onclick: (event) => event.target === share.dialog && share.dialog.close() },
    h("div", { class: "z-dialog-body" }, h("div", { class: "z-dialog-head" }, h("h3", {}, t("share")), iconButton("remove", t("close"), () => share.dialog.close())), share.text),
  );
  share.element = h(
    "section",
    { class: "z-share", "aria-label": t("share") },
    h("h3", {}, t("share")),
    share.files,
    share.why,
    button("copy-link", t("link"), copyLink, t("link_hint")),
    button("copy-python", t("python"), () => copyCode("python")),
    button("copy-command", t("command"), () => copyCode("command")),
    button("restore", t("restore"), () => share.file.click(), t("drop")),
    share.said,
    share.file,
    share.dialog,
  );
  share.drop = h("div", { class: "z-drop", hidden: true }, t("drop"));
  root.append(share.drop);
  acceptDrops();
  updateShare();
  return share.element;
}

/** Files can be had of a run that has ended with something to show. */
function updateShare() {
  const usable = Boolean(current.id) && current.state === "ended";
  for (const button of share.files) button.disabled = !usable;
  share.why.textContent = current.id ? "" : t("own_first");
}

async function download(kind) {
  try {
    const file = await ask("export_run", { id: current.id, kind });
    const bytes = Uint8Array.from(atob(file.base64), (character) => character.charCodeAt(0));
    save(new Blob([bytes], { type: file.type }), file.name);
  } catch (error) {
    showProblem(error.message);
  }
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name, hidden: true });
  root.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

async function copyCode(kind) {
  showProblem("");
  try {
    copy((await ask("as_code", asked()))[kind]);
  } catch (error) {
    showProblem(error.message);
  }
}

/** Into the clipboard; where the browser does not let a page do that, into a field to copy from. */
async function copy(content) {
  try {
    await navigator.clipboard.writeText(content);
    share.said.textContent = t("copied");
    setTimeout(() => (share.said.textContent = ""), 2500);
  } catch {
    share.text.value = content;
    share.dialog.showModal();
    share.text.select();
  }
}

// ---- links ------------------------------------------------------------------------------------------------------

const LINK_VERSION = 1;

/** The form in the address, as ?c=…: JSON with short names, in the alphabet of addresses. */
function packed() {
  const { model, prompt, negative, seeds, alone, metrics, cards: lines } = asked();
  const compact = { v: LINK_VERSION, m: model, p: prompt, n: negative || undefined, s: seeds, a: alone || undefined };
  compact.k = metrics.length ? metrics : undefined;
  compact.c = lines.map(({ line, swap }) => (swap ? [line, 1] : line));
  const bytes = new TextEncoder().encode(JSON.stringify(compact));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** What a link holds, as fillForm takes it; null for what is no comparison. The server checks every value again. */
function unpacked(code) {
  if (code.length > LONGEST_LINK) return null;
  try {
    const bytes = Uint8Array.from(atob(code.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
    const compact = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    const lines = compact.c.map((entry) => (Array.isArray(entry) ? { line: String(entry[0]), swap: Boolean(entry[1]) } : { line: String(entry) }));
    if (compact.v !== LINK_VERSION || !lines.length) return null;
    const metrics = Array.isArray(compact.k) ? compact.k.map(String) : [];
    return { model: String(compact.m), prompt: String(compact.p ?? ""), negative: String(compact.n ?? ""), seeds: String(compact.s ?? "0"), alone: Boolean(compact.a), metrics, cards: lines };
  } catch {
    return null;
  }
}

function copyLink() {
  showProblem("");
  const code = packed();
  if (code.length > LONGEST_LINK) return showProblem(t("link_long"));
  const url = new URL(window.location.href);
  url.search = "";
  url.hash = "";
  url.searchParams.set("c", code);
  copy(url.href);
}

// ---- back from a file -------------------------------------------------------------------------------------------

/** The comparison that a picture or a comparison.json of the zoo holds, into the form. */
async function restore(file) {
  share.file.value = "";
  const comparison = file.size <= LARGEST_FILE ? comparisonIn(new Uint8Array(await file.arrayBuffer())) : null;
  if (!comparison || !Array.isArray(comparison.cells)) return showProblem(t("drop_failed", { name: file.name }));
  const { model, prompt, negative, seeds, timing, metrics, cells, record } = comparison;
  try {
    const { cards: kept } = await ask("restore_cards", { cells: cells.map(String), cards: record?.cards });
    fillForm({ model, prompt, negative, seeds, alone: timing === "alone", metrics: metrics || [], cards: kept });
    const most = catalogue.most_cards;
    showProblem(kept.length > most ? t("restored_some", { name: file.name, most, n: kept.length }) : "");
    status.text.textContent = t("restored", { name: file.name });
  } catch (error) {
    showProblem(error.message);
  }
}

function comparisonIn(bytes) {
  const decoder = new TextDecoder();
  try {
    const signature = [137, 80, 78, 71, 13, 10, 26, 10];
    if (!signature.every((byte, i) => bytes[i] === byte)) return JSON.parse(decoder.decode(bytes));
    const view = new DataView(bytes.buffer);
    for (let at = 8; at + 12 <= bytes.length; ) {
      const length = view.getUint32(at);
      const chunk = bytes.subarray(at + 8, at + 8 + length);
      if (decoder.decode(bytes.subarray(at + 4, at + 8)) === "iTXt") {
        // keyword, 0, compressed?, method, language, 0, translated keyword, 0, text
        const ends = [...chunk.keys()].filter((i) => chunk[i] === 0);
        const keyword = decoder.decode(chunk.subarray(0, ends[0]));
        const language = chunk.indexOf(0, ends[0] + 3);
        const translated = chunk.indexOf(0, language + 1);
        if (keyword === "comparison" && chunk[ends[0] + 1] === 0) return JSON.parse(decoder.decode(chunk.subarray(translated + 1)));
      }
      at += 12 + length;
    }
  } catch {
    // Not JSON, or cut off.
  }
  return null;
}

function acceptDrops() {
  // A field for files takes what is dropped on it by itself.
  const isForUs = (event) =>
    event.dataTransfer?.types.includes("Files") && root.checkVisibility() && !event.target.closest?.("input[type=file]");
  document.addEventListener("dragover", (event) => {
    share.drop.hidden = !isForUs(event);
    if (!share.drop.hidden) event.preventDefault();
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && (share.drop.hidden = true));
  document.addEventListener("drop", (event) => {
    share.drop.hidden = true;
    if (!isForUs(event)) return;
    event.preventDefault();
    restore(event.dataTransfer.files[0]);
  });
}
