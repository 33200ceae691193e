// The whole: the question on top, methods beside it, cells and what reads them in the place that is left.

const FORM = "zoo-form"; // kept for as long as the tab is open
const methods = buildCards();
const side = h("button", { type: "button", id: "side", class: "z-tool", "aria-expanded": true, onclick: toggleSide }, icon("side"), h("span", {}, t("hide_form")));

root.append(
  buildForm(),
  h(
    "div",
    { class: "z-body" },
    methods,
    h("section", { class: "z-results", "aria-label": t("compare") }, buildStatus(), buildTools(), buildGrid(), status.notices, buildScrub(), buildCharts(), buildShare()),
  ),
  buildSlider(),
);
reading.tools.prepend(side);
if (window.innerWidth < 900) toggleSide(); // pictures first, where there is room for one thing at a time
setSize();
followPointer();
document.title = zooWords.say("site.title");
window.addEventListener("zoo-language", keepForm);
begin();

/** What is there at first: a run or a comparison that the address names, else an example made earlier. */
async function begin() {
  const parameters = new URL(window.location.href).searchParams;
  const code = parameters.get("c");
  const given = code ? unpacked(code) : null;
  if (given) fillForm(given);
  if (code && !given) showProblem(t("link_broken"));
  status.text.textContent = t("empty");
  const run = parameters.get("run");
  const opened = run ? await openRun(run) : false;
  if (!opened && !given) showWelcome();
  const unsaved = keptForm();
  if (unsaved) fillForm(unsaved);
  root.dataset.ready = "true";
  modelChosen();
}

/** The form, as it was when another language was chosen. */
function keptForm() {
  try {
    const code = window.sessionStorage.getItem(FORM);
    window.sessionStorage.removeItem(FORM);
    return code && unpacked(code);
  } catch {
    return null;
  }
}

function keepForm() {
  try {
    window.sessionStorage.setItem(FORM, packed());
  } catch {
    // A browser that keeps nothing forgets what was typed and not yet run.
  }
}

function showWelcome() {
  const { welcome } = catalogue;
  if (!welcome || !catalogue.models.some((model) => model.name === welcome.comparison.model)) return;
  const { model, prompt, seeds } = welcome.comparison;
  fillForm({ model, prompt, seeds, cards: welcome.cards });
  showExamples(welcome.examples);
  apply({ ...welcome, version: 0, state: "ended", status: t("welcome"), problem: status.problem.textContent, notices: [] });
}

function toggleSide() {
  const hidden = root.classList.toggle("z-wide");
  side.setAttribute("aria-expanded", !hidden);
  side.lastChild.textContent = t(hidden ? "show_form" : "hide_form");
}
