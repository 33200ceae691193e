// A picture turning into noise. props.value is {times, rows, …} of zoo/ui/forward.py.

const stage = element.querySelector('.zoo-forward'), slider = stage.querySelector('.zoo-scrubber');
const button = stage.querySelector('.zoo-play');
const say = (key, values) => zooWords.say(`forward.${key}`, values);
let timer = 0;

function show(k) {
  const {times, rows} = props.value;
  slider.value = k;
  const level = `t = ${times[k]}`;
  stage.querySelector('.zoo-level').textContent = level;
  slider.setAttribute('aria-valuetext', level);
  const number = (value, places) => value.toFixed(places).replace(/^-(?=0\.0*$)/, '').replace('-', '−');
  [...stage.querySelector('.zoo-schedules').children].forEach((box, r) => {
    const row = rows[r];
    box.querySelectorAll('.zoo-sprite').forEach((sprite) => {
      sprite.style.backgroundPosition = `${100 * k / (times.length - 1)}% 0`;
      sprite.setAttribute('aria-label', say('alt', {t: times[k], schedule: row.name, way: say(sprite.dataset.way)}));
    });
    box.querySelector('.zoo-count').textContent = say('steps', {n: times[k] + 1});
    const abar = row.abar[k] < 1e-3 ? row.abar[k].toExponential(0).replace('-', '−') : row.abar[k].toFixed(3);
    box.querySelector('.zoo-facts').textContent = say('facts', {t: times[k], abar, snr: number(row.snr[k], 1)});
    box.querySelector('.zoo-left').textContent = say('left', {mean: number(row.mean[k], 3), std: number(row.std[k], 3)});
  });
  const mark = stage.querySelector('.zoo-mark'), width = 590;
  const x = 40 + width * times[k] / times[times.length - 1];
  mark.setAttribute('x1', x);
  mark.setAttribute('x2', x);
}

function play(on) {
  clearInterval(timer);
  timer = 0;
  button.textContent = say(on ? 'pause' : 'play');
  if (!on) return;
  if (Number(slider.value) >= Number(slider.max)) show(0);
  timer = setInterval(() => {
    show(Number(slider.value) + 1);
    if (Number(slider.value) >= Number(slider.max)) play(false);
  }, 180);
}

function node(tag, name, text) {
  const made = document.createElement(tag);
  made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function arrive() {
  if (!props.value || !props.value.rows) return;
  const {times, rows} = props.value;
  stage.hidden = false;
  stage.querySelector('.zoo-schedules').replaceChildren(...rows.map((row, r) => {
    const box = node('article', `zoo-schedule zoo-curve-${r}`);
    box.append(node('h3', '', row.name));
    const pair = node('div', 'zoo-pair');
    for (const way of ['direct', 'stepped']) {
      const figure = node('figure', ''), sprite = node('div', 'zoo-sprite');
      sprite.setAttribute('role', 'img');
      sprite.dataset.way = way;
      sprite.style.backgroundImage = `url(${row[way]})`;
      sprite.style.backgroundSize = `${100 * times.length}% 100%`;
      const caption = node('figcaption', '', say(way));
      if (way === 'stepped') caption.append(' · ', node('span', 'zoo-count'));
      figure.append(sprite, caption);
      pair.append(figure);
    }
    box.append(pair, node('p', 'zoo-facts'), node('p', 'zoo-left'));
    return box;
  }));
  const before = Number(slider.value);
  show(before || Math.round(times.length / 3));
}

button.addEventListener('click', () => play(!timer));
slider.addEventListener('input', () => {
  play(false);
  show(Number(slider.value));
});
watch('value', arrive);
arrive();
