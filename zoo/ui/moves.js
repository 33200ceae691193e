// The stage of "See how it moves": every method's samples over the exact density of the mixture.
// `element`, `props` and `watch` are gradio's; props.value is what zoo/ui/moves.py sends.

const GRID = 72;          // pixels of the density, each way
const ARROWS = 13;        // arrows of the score, each way
const SECONDS = 5;        // from noise to data
const calm = window.matchMedia('(prefers-reduced-motion: reduce)');

const say = (key, values) => zooWords.say(`moves.${key}`, values);
let data = null, position = 1, playing = 0, followed = -1;
const shown = {score: true, solution: true, x0: false};

// ---- the mixture, in closed form -------------------------------------------------------------------------------

function rotate(basis, x, y, back) {
  if (!basis) return [x, y];
  const [[a, b], [c, d]] = basis;
  return back ? [a * x + c * y, b * x + d * y] : [a * x + b * y, c * x + d * y];
}

// log p(x_t) and its gradient, of one class or (null) of the whole mixture, at x_t = alpha x_0 + sigma eps.
function density(mixture, x, y, alpha, sigma, only) {
  const [u, v] = rotate(mixture.basis, x, y, false);
  const terms = [];
  let top = -Infinity;
  for (let k = 0; k < mixture.means.length; k++) {
    if (only !== null && k !== only) continue;
    const [m, n] = mixture.means[k], [p, q] = mixture.variances[k];
    const vu = alpha * alpha * p + sigma * sigma, vv = alpha * alpha * q + sigma * sigma;
    const du = u - alpha * m, dv = v - alpha * n;
    const log = -0.5 * (du * du / vu + dv * dv / vv + Math.log(vu * vv)) - Math.log(2 * Math.PI)
      + (only === null ? mixture.logWeights[k] : 0);
    terms.push([log, -du / vu, -dv / vv]);
    top = Math.max(top, log);
  }
  let sum = 0, gu = 0, gv = 0;
  for (const [log, a, b] of terms) {
    const weight = Math.exp(log - top);
    sum += weight; gu += weight * a; gv += weight * b;
  }
  const [gx, gy] = rotate(mixture.basis, gu / sum, gv / sum, true);
  return {log: top + Math.log(sum), gx, gy};
}

// What the network is asked for: sum of weight · score, and the density whose score that is.
function field(terms, x, y, alpha, sigma) {
  let log = 0, gx = 0, gy = 0;
  for (const {weight, only} of terms) {
    const one = density(data.mixture, x, y, alpha, sigma, only);
    log += weight * one.log; gx += weight * one.gx; gy += weight * one.gy;
  }
  return {log, gx, gy};
}

// ---- noise levels: position 1 is noise, 0 is data --------------------------------------------------------------

const levelAt = (at) => ({alpha: Math.cos(at * Math.PI / 2), sigma: Math.sin(at * Math.PI / 2)});

// Where a path is at a position: straight between the levels that the method visited.
function along(path, at) {
  const {at: places, states} = path;
  let i = 0;
  while (i < places.length - 1 && places[i + 1] > at) i++;
  if (i === places.length - 1) return {i, points: states[i]};
  const share = Math.min(1, Math.max(0, (places[i] - at) / (places[i] - places[i + 1])));
  return {i, points: states[i].map(([x, y], n) => {
    const [a, b] = states[i + 1][n];
    return [x + share * (a - x), y + share * (b - y)];
  })};
}

// ---- drawing ---------------------------------------------------------------------------------------------------

const colour = (name) => getComputedStyle(element.querySelector('.zoo-stage')).getPropertyValue(name).trim();
const rgb = (name) => colour(name).split(' ').map(Number);
const heat = new Map();

function backdrop(panel, alpha, sigma, palette) {
  const key = JSON.stringify(panel.terms);
  if (heat.has(key)) return heat.get(key);
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = GRID;
  const image = new ImageData(GRID, GRID);
  const logs = new Float64Array(GRID * GRID);
  let top = -Infinity;
  for (let row = 0; row < GRID; row++) for (let column = 0; column < GRID; column++) {
    const x = ((column + 0.5) / GRID * 2 - 1) * data.span, y = (1 - (row + 0.5) / GRID * 2) * data.span;
    const log = field(panel.terms, x, y, alpha, sigma).log;
    logs[row * GRID + column] = log;
    top = Math.max(top, log);
  }
  for (let i = 0; i < logs.length; i++) {
    const ink = Math.sqrt(Math.exp(logs[i] - top));
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = palette.paper[c] + (palette.ink[c] - palette.paper[c]) * ink;
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
  heat.set(key, canvas);
  return canvas;
}

function arrows(context, panel, alpha, sigma, place) {
  context.beginPath();
  const pitch = 2 * data.span / ARROWS;
  for (let row = 0; row < ARROWS; row++) for (let column = 0; column < ARROWS; column++) {
    const x = (column + 0.5) * pitch - data.span, y = (row + 0.5) * pitch - data.span;
    const {gx, gy} = field(panel.terms, x, y, alpha, sigma);
    const size = Math.hypot(gx, gy);
    if (!(size > 1e-6)) continue;
    const length = 0.92 * pitch * size / (size + 1.5);  // compressed: it grows without bound near the data
    const ux = gx / size, uy = gy / size, hx = x + length * ux / 2, hy = y + length * uy / 2, tip = 0.3 * length;
    context.moveTo(...place(x - length * ux / 2, y - length * uy / 2));
    context.lineTo(...place(hx, hy));
    context.moveTo(...place(hx - tip * (ux - 0.6 * uy), hy - tip * (uy + 0.6 * ux)));
    context.lineTo(...place(hx, hy));
    context.lineTo(...place(hx - tip * (ux + 0.6 * uy), hy - tip * (uy - 0.6 * ux)));
  }
  context.stroke();
}

function trail(context, path, at, only, place) {
  const {i, points} = along(path, at);
  context.beginPath();
  for (let n = 0; n < points.length; n++) {
    if (only >= 0 && n !== only) continue;
    context.moveTo(...place(...path.states[0][n]));
    for (let k = 1; k <= i; k++) context.lineTo(...place(...path.states[k][n]));
    context.lineTo(...place(...points[n]));
  }
  context.stroke();
  return {i, points};
}

function draw(panel, palette) {
  if (!panel.path) return;
  const canvas = panel.canvas, context = canvas.getContext('2d');
  const scale = window.devicePixelRatio || 1, side = canvas.clientWidth;
  if (!side) return;
  if (canvas.width !== Math.round(side * scale)) canvas.width = canvas.height = Math.round(side * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  const {alpha, sigma} = levelAt(position);
  const unit = side / (2 * data.span);
  const place = (x, y) => [(x + data.span) * unit, (data.span - y) * unit];
  context.imageSmoothingEnabled = true;
  context.drawImage(backdrop(panel, alpha, sigma, palette), 0, 0, side, side);
  context.lineCap = context.lineJoin = 'round';
  if (shown.score) {
    context.strokeStyle = palette.arrow;
    context.lineWidth = side > 240 ? 1 : 0.7;
    arrows(context, panel, alpha, sigma, place);
  }
  if (shown.solution && panel.solution) {
    context.strokeStyle = palette.solution;
    context.lineWidth = side > 240 ? 3.6 : 2.6;  // a rail: what keeps to it covers its middle
    context.globalAlpha = followed < 0 ? 0.5 : 0.9;
    trail(context, panel.solution, position, followed, place);
  }
  context.strokeStyle = palette.path;
  context.globalAlpha = followed < 0 ? (panel.path.states.length > 30 && !panel.solution ? 0.4 : 0.75) : 0.12;
  context.lineWidth = side > 240 ? 1.3 : 1;
  const {i, points} = trail(context, panel.path, position, -1, place);
  context.globalAlpha = 1;
  if (followed >= 0) {
    context.lineWidth = 2.2;
    trail(context, panel.path, position, followed, place);
    context.fillStyle = palette.path;
    for (let k = 0; k <= i; k++) dot(context, place(...panel.path.states[k][followed]), 2.6);
  }
  const answer = panel.x0[Math.min(i, panel.x0.length - 1)];
  if (shown.x0) {
    context.strokeStyle = palette.x0;
    context.lineWidth = 1.2;
    for (let n = 0; n < points.length; n++) {
      if (followed >= 0 && n !== followed) continue;
      context.setLineDash([2, 4]);
      context.beginPath();
      context.moveTo(...place(...points[n]));
      context.lineTo(...place(...answer[n]));
      context.stroke();
      context.setLineDash([]);
      context.beginPath();
      context.arc(...place(...answer[n]), 3.4, 0, 7);
      context.stroke();
    }
  }
  points.forEach((point, n) => {
    context.globalAlpha = followed < 0 || n === followed ? 1 : 0.3;
    context.fillStyle = palette.path;
    context.strokeStyle = palette.rim;
    context.lineWidth = 1.2;
    dot(context, place(...point), side > 240 ? 3.6 : 2.8);
    context.stroke();
  });
  context.globalAlpha = 1;
  const asked = panel.asked.filter((at) => at >= position - 1e-9).length;
  panel.count.textContent = say('asked', {k: asked, n: panel.asked.length});
}

function dot(context, [x, y], radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}

function redraw() {
  if (!data) return;
  heat.clear();
  const palette = {paper: rgb('--zoo-paper'), ink: rgb('--zoo-ink'), arrow: colour('--zoo-arrow'),
    solution: colour('--zoo-solution'), path: colour('--zoo-path'), rim: colour('--zoo-rim'), x0: colour('--zoo-x0')};
  data.panels.forEach((panel) => draw(panel, palette));
  const {alpha, sigma} = levelAt(position);
  let i = 0;
  while (i < data.times.length - 1 && data.times[i + 1] <= position) i++;
  const snr = sigma < 1e-9 ? '∞' : (2 * Math.log(alpha / sigma)).toFixed(1).replace('-', '−');
  const text = position <= 0 ? say('clean') : say('level', {t: i, alpha: alpha.toFixed(2), sigma: sigma.toFixed(2), snr});
  element.querySelector('.zoo-level').textContent = text;
  const scrubber = element.querySelector('.zoo-scrubber');
  scrubber.value = 1 - position;
  scrubber.setAttribute('aria-valuetext', text);
  element.querySelectorAll('.zoo-now').forEach((line) => { line.style.left = `${100 * (1 - position)}%`; });
}

// ---- the transport ---------------------------------------------------------------------------------------------

function play(on) {
  cancelAnimationFrame(playing);
  playing = 0;
  const button = element.querySelector('.zoo-play');
  button.textContent = say(on ? 'pause' : 'play');
  button.dataset.playing = on;
  if (!on) return;
  if (position <= 0) position = 1;
  let before = performance.now();
  const tick = (now) => {
    position = Math.max(0, position - (now - before) / 1000 / SECONDS);
    before = now;
    redraw();
    if (position > 0) playing = requestAnimationFrame(tick); else play(false);
  };
  playing = requestAnimationFrame(tick);
}

function follow(n) {
  followed = n;
  element.querySelector('.zoo-follow').value = String(n);
  redraw();
}

function nearest(panel, event) {
  const box = panel.canvas.getBoundingClientRect(), unit = box.width / (2 * data.span);
  const x = (event.clientX - box.left) / unit - data.span, y = data.span - (event.clientY - box.top) / unit;
  let best = -1, closest = 0.35;
  along(panel.path, position).points.forEach(([a, b], n) => {
    const distance = Math.hypot(a - x, b - y);
    if (distance < closest) [best, closest] = [n, distance];
  });
  return best;
}

// ---- the panels ------------------------------------------------------------------------------------------------

function node(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function build() {
  const panels = element.querySelector('.zoo-panels'), rows = element.querySelector('.zoo-rows');
  panels.replaceChildren();
  rows.replaceChildren();
  data.panels.forEach((panel, number) => {
    const box = node('article', 'zoo-panel');
    box.dataset.state = panel.status;
    const head = node('header');
    panel.title = zooWords.method(panel);
    const title = node('h3', '', panel.title);
    const wide = node('button', 'zoo-wide', '⤢');
    wide.type = 'button';
    wide.setAttribute('aria-label', `${say('enlarge')}: ${panel.title}`);
    wide.setAttribute('aria-pressed', 'false');
    wide.addEventListener('click', () => {
      wide.setAttribute('aria-pressed', String(box.classList.toggle('zoo-is-wide')));
      redraw();
    });
    head.append(title, node('code', '', panel.method), wide);
    box.append(head);
    if (panel.path) {
      panel.canvas = node('canvas');
      panel.canvas.setAttribute('role', 'img');
      const facts = panel.facts.map((fact) => fact.map(zooWords.told));
      const told = [panel.cost, ...facts.map(([name, value]) => `${name}: ${value}`)].join(', ');
      panel.canvas.setAttribute('aria-label', say('alt', {title: panel.title, n: data.seeds.length, facts: told}));
      panel.canvas.addEventListener('click', (event) => {
        const n = nearest(panel, event);
        follow(n === followed ? -1 : n);
      });
      panel.count = node('span', 'zoo-asked');
      const list = node('dl');
      facts.forEach(([name, value, title]) => {
        const label = node('dt', '', name), text = node('dd', '', value);
        label.title = text.title = title;
        list.append(label, text);
      });
      const foot = node('footer');
      foot.append(node('b', '', panel.cost), panel.count, list);
      box.append(panel.canvas, foot);
      const row = node('div', 'zoo-row');
      row.append(node('span', 'zoo-row-name', panel.method));
      const track = node('div', 'zoo-track');
      panel.asked.forEach((at) => {
        const tick = node('i');
        tick.style.left = `${100 * (1 - at)}%`;
        track.append(tick);
      });
      track.append(node('u', 'zoo-now'));
      row.append(track);
      rows.append(row);
    } else {
      box.append(node('p', 'zoo-panel-why', panel.error));
    }
    panels.append(box);
  });
  const select = element.querySelector('.zoo-follow');
  select.replaceChildren();
  [-1, ...data.seeds.keys()].forEach((n) => {
    const option = node('option', '', n < 0 ? say('everyPoint') : say('seed', {seed: data.seeds[n]}));
    option.value = n;
    select.append(option);
  });
  if (followed >= data.seeds.length) followed = -1;
  select.value = String(followed);
}

function arrive() {
  const first = !data;
  if (!props.value || !props.value.panels) return;
  data = JSON.parse(JSON.stringify(props.value));
  element.querySelector('.zoo-stage').hidden = false;
  build();
  if (first) position = calm.matches ? 0 : 1;
  redraw();
  play(first && !calm.matches);
}

element.querySelector('.zoo-play').addEventListener('click', () => play(!playing));
element.querySelector('.zoo-scrubber').addEventListener('input', (event) => {
  play(false);
  position = 1 - Number(event.target.value);
  redraw();
});
element.querySelector('.zoo-follow').addEventListener('change', (event) => follow(Number(event.target.value)));
element.querySelectorAll('.zoo-shown input').forEach((box) => box.addEventListener('change', () => {
  shown[box.name] = box.checked;
  redraw();
}));
new ResizeObserver(redraw).observe(element.querySelector('.zoo-panels'));
new MutationObserver(redraw).observe(document.body, {attributes: true, attributeFilter: ['class']});
element.zoo = {density, seek: (at) => { play(false); position = at; redraw(); }, data: () => data};
watch('value', arrive);
arrive();
