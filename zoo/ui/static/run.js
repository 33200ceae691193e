// A run: begun, looked at until it has ended, found again by its id in the address.

const current = { id: null, key: null, version: 0, state: "none", cells: [], blocks: [], comparison: null };
const WAIT = 120; // milliseconds between looks
const WAIT_HIDDEN = 2000;

const mayChange = () => Boolean(current.id && current.key && current.state === "ended");
const cancelledCells = () => current.cells.filter((cell) => cell.status === "cancelled");
const doneCells = () => current.cells.filter((cell) => cell.status === "done");

async function startRun() {
  if (form.built.compare.disabled) return;
  showProblem("");
  showBusy(true);
  status.text.textContent = t("queued");
  try {
    const news = await ask("start_run", asked());
    rememberKey(news.id, news.key);
    Object.assign(current, { id: news.id, key: news.key, version: 0 });
    setAddress({ run: news.id, c: null });
    apply(news);
    toCells();
    follow(news.id);
  } catch (error) {
    showBusy(false);
    status.text.textContent = "";
    showProblem(error.message);
  }
}

async function stopRun() {
  form.built.cancel.disabled = true;
  status.text.textContent = t("cancelling");
  try {
    await ask("stop_run", { id: current.id, key: current.key });
  } catch (error) {
    form.built.cancel.disabled = false;
    showProblem(error.message);
  }
}

async function retryCell(index) {
  showProblem("");
  try {
    await ask("retry_cell", { id: current.id, key: current.key, cell: index });
    dropWay(index);
    showBusy(true);
    current.state = "waiting";
    follow(current.id);
  } catch (error) {
    showProblem(error.message);
  }
}

async function continueRun() {
  showProblem("");
  try {
    await ask("continue_run", { id: current.id, key: current.key });
    cancelledCells().forEach((cell) => dropWay(current.cells.indexOf(cell)));
    showBusy(true);
    current.state = "waiting";
    showContinue();
    follow(current.id);
  } catch (error) {
    showProblem(error.message);
  }
}

/** Open a run that was begun before, here or elsewhere; its address stays unless the run is gone. */
async function openRun(id) {
  const before = current.id;
  status.text.textContent = t("opened");
  try {
    const news = await askUntilReached("look_at", { id, since: 0 }, () => current.id === before);
    if (!news) return true; // another was begun meanwhile
    Object.assign(current, { id, key: knownKey(id), version: 0 });
    for (const [name, uri] of Object.entries(news.pictures)) uploads.set(name, uri);
    const { model, prompt, negative, seeds, timing, metrics } = news.comparison;
    fillForm({ model, prompt, negative, seeds, metrics, alone: timing === "alone", cards: news.blocks.map(({ line, swap }) => ({ line, swap })) });
    apply(news);
    if (news.state !== "ended") {
      showBusy(Boolean(current.key));
      follow(id);
    }
    return true;
  } catch (error) {
    if (error.gone) setAddress({ run: null });
    showProblem(error.message);
    return false;
  }
}

/** Look again and again until the run has ended. */
async function follow(id) {
  const wanted = () => current.id === id;
  try {
    while (wanted()) {
      const news = await askUntilReached("look_at", { id, since: current.version }, wanted);
      if (news) apply(news);
      if (!news || current.state === "ended") break;
      await pause(document.hidden ? WAIT_HIDDEN : WAIT);
    }
  } catch (error) {
    if (wanted()) showProblem(error.message);
  }
  if (wanted()) showBusy(false);
}

/** What the server answers once it can be reached; null as soon as that is not wanted any more. */
async function askUntilReached(name, data, wanted) {
  for (let patience = 500; wanted(); patience = Math.min(8000, patience * 2)) {
    try {
      const reply = await ask(name, data);
      return wanted() ? reply : null;
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      status.text.textContent = t("lost");
      await pause(patience);
    }
  }
  return null;
}

/** Take over what is new; the grid is laid out when the run is. */
function apply(news) {
  const ended = news.state === "ended" && current.state !== "ended";
  sayInLanguage(news);
  Object.assign(current, { version: news.version, state: news.state, noise: news.noise, seconds: news.seconds });
  if (news.comparison) {
    current.comparison = news.comparison;
    current.blocks = news.blocks;
    current.cells = Object.values(news.cells);
    for (const [name, uri] of Object.entries(news.pictures)) uploads.set(name, uri);
    forgetReading();
    layOut(current.blocks, current.cells, current.comparison.seeds);
  }
  for (const [index, cell] of Object.entries(news.cells)) {
    current.cells[index] = cell;
    showCell(grid.views[index], cell);
  }
  if (ended) grid.views.forEach((view) => showCell(view, current.cells[view.index])); // retrying is possible now
  const said = zooWords.told(news.status);
  if (status.text.textContent !== said) status.text.textContent = said;
  status.noise.hidden = !news.noise;
  status.hash.textContent = news.noise;
  status.seconds.textContent = t("seconds_are", { what: t(current.comparison.timing === "alone" ? "alone_time" : "shared") });
  showProblem(zooWords.told(news.problem));
  showNotices(news.notices.map(zooWords.told));
  showContinue();
  if (Object.keys(news.cells).length || ended) cellsChanged();
}

/** Methods in the visitor's words; the server names them in English. */
function sayInLanguage({ blocks = [], cells }) {
  for (const named of [...blocks, ...Object.values(cells)]) named.title = zooWords.method(named);
}

/** Everything that reads the cells, when some of them have changed. */
function cellsChanged() {
  updateReading();
  updateScrub();
  updateCharts();
  updateShare();
}

// ---- what is said of the whole --------------------------------------------------------------------------------

const status = {};

function buildStatus() {
  status.problem = h("div", { id: "problem", role: "alert" });
  status.notices = h("div", { id: "notices", role: "status" });
  status.text = h("span", { id: "status", role: "status" });
  status.hash = h("code");
  status.seconds = h("span");
  status.noise = h("span", { class: "zoo-noise", hidden: true }, t("same_noise"), " ", status.hash, " · ", status.seconds);
  status.more = h("button", { type: "button", id: "continue", class: "z-quiet", hidden: true, title: t("continue_hint"), onclick: continueRun });
  return [status.problem, h("p", { class: "zoo-summary" }, status.text, status.more, status.noise)];
}

/** A run that was cancelled, or whose server was ended, can go on. */
function showContinue() {
  const missing = cancelledCells().length;
  status.more.hidden = !(missing && mayChange());
  status.more.textContent = t("continue_run", { n: missing });
}

function showProblem(message) {
  if (status.problem.textContent === message) return;
  status.problem.replaceChildren(...(message ? [h("p", { class: "zoo-problem" }, message)] : []));
}

function showNotices(lines) {
  if (status.notices.textContent === lines.join("")) return;
  status.notices.replaceChildren(...lines.map((line) => h("p", { class: "zoo-notice" }, line)));
}

// ---- the address and the keys ---------------------------------------------------------------------------------

/** Set or (null) remove parameters of the address, without leaving the page. */
function setAddress(parameters) {
  const url = new URL(window.location.href);
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  window.history.replaceState(null, "", url);
}

const KEYS = "zoo-keys";
const MOST_KEYS = 50;

/** The keys to cancel and retry this browser's own runs; without storage they are known until the page is left. */
function keys() {
  try {
    return JSON.parse(window.localStorage.getItem(KEYS)) || {};
  } catch {
    return {};
  }
}

function rememberKey(id, key) {
  try {
    const kept = Object.entries(keys()).slice(1 - MOST_KEYS);
    window.localStorage.setItem(KEYS, JSON.stringify(Object.fromEntries([...kept, [id, key]])));
  } catch {
    // A browser that keeps nothing: cancelling works until the page is left.
  }
}

const knownKey = (id) => keys()[id] ?? null;

/** On a narrow screen the cells are below the form: go there once something runs. */
function toCells() {
  const top = grid.element.getBoundingClientRect().top;
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (top > window.innerHeight * 0.6) grid.element.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
}
