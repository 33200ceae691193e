// Frames to leaf through: a large one, a slider, and all of them small. props.value is {frames, caption, pixels}.

const book = element.querySelector('.zoo-book'), page = book.querySelector('.zoo-book-page');
const slider = book.querySelector('.zoo-scrubber'), strip = book.querySelector('.zoo-book-strip');

function open(k) {
  const frame = props.value.frames[k];
  page.src = frame.src;
  page.alt = zooWords.told(frame.alt);
  slider.value = k;
  slider.setAttribute('aria-valuetext', page.alt);
  [...strip.children].forEach((button, i) => button.setAttribute('aria-current', String(i === k)));
}

function arrive() {
  if (!props.value || !props.value.frames) return;
  const {frames, caption, pixels} = props.value;
  book.hidden = false;
  page.style.setProperty('--px', `${pixels}px`);
  slider.max = frames.length - 1;
  strip.replaceChildren(...frames.map((frame, k) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('aria-label', zooWords.told(frame.alt));
    const image = document.createElement('img');
    image.src = frame.src;
    image.alt = '';
    button.append(image);
    button.addEventListener('click', () => open(k));
    return button;
  }));
  book.querySelector('.zoo-said').textContent = zooWords.told(caption);
  open(0);
}

slider.addEventListener('input', () => open(Number(slider.value)));
watch('value', arrive);
arrive();
