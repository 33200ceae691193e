// Which language the visitor reads, decided before anything else of the page runs; and the words in it.

window.zooWords = (() => {
  const LANGUAGES = /* our names and gradio's, from zoo/ui/words */ {};
  const KEY = "zoo-language";
  const ATTRIBUTES = ["aria-label", "alt", "title"];

  /** What the browser keeps; one that keeps nothing asks each time. */
  function kept() {
    try {
      return window.localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  /** zh-TW, zh-HK and zh-Hant-… read traditional characters, other Chinese simplified ones. */
  function known(tag) {
    const name = String(tag || "").toLowerCase();
    if (/^zh\b/.test(name)) return /hant|tw|hk|mo/.test(name) ? "zh-Hant" : "zh-Hans";
    return /^en\b/.test(name) ? "en" : null;
  }

  const asked = new URL(window.location.href).searchParams.get("lang");
  const language = [asked, kept(), ...(navigator.languages || [])].map(known).find(Boolean) || "en";
  const locale = LANGUAGES[language];
  if (known(asked)) keep(language);

  // Gradio asks the browser for its language when it starts, and offers no other way to choose one.
  Object.defineProperty(navigator, "language", { get: () => locale });
  Object.defineProperty(navigator, "languages", { get: () => [locale] });
  document.documentElement.lang = locale;

  function keep(chosen) {
    try {
      window.localStorage.setItem(KEY, chosen);
    } catch {
      // The address says it until the page is left.
    }
  }

  const words = () => window.gradio_config?.i18n_translations?.[locale] ?? {};

  /** What is said under a key, {…} filled in. */
  function say(key, values = {}) {
    return (words()[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
  }

  /** What a built-in plugin says of itself; anybody else's text stays as it is. */
  const own = (text) => words()[`own.${text}`] ?? text;

  /** A text of the server's: one of the page's, as {say, with}, or one that stays as it is. */
  const told = (text) => (text && text.say ? say(text.say, text.with) : text);

  /** What a method is called: {title, phrases} of zoo/ui/methods.py. The title is English. */
  function method({ title, phrases }) {
    if (language === "en" || !phrases?.length) return title;
    const said = ([text, value]) => {
      if (!value) return own(text);
      return text === "steps" ? say("methods.steps", { n: value }) : `${own(text)} ${value}`;
    };
    return phrases.map((part) => part.map(said).join(say("methods.comma"))).join(" + ");
  }

  // ---- HTML of the server's -------------------------------------------------------------------------------------

  function translate(element) {
    for (const attribute of [null, ...ATTRIBUTES]) {
      const mark = attribute ? `data-say-${attribute}` : "data-say";
      const found = element.matches(`[${mark}]`) ? [element] : [];
      for (const one of [...found, ...element.querySelectorAll(`[${mark}]`)]) {
        const given = one.getAttribute(mark);
        const text = given.startsWith("{") ? told(JSON.parse(given)) : say(given);
        if (attribute) one.setAttribute(attribute, text);
        else one.textContent = text;
        one.removeAttribute(mark);
      }
    }
    for (const link of element.querySelectorAll(".zoo-language a")) if (link.lang === language) link.setAttribute("aria-current", "true");
  }

  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) if (node.nodeType === Node.ELEMENT_NODE) translate(node);
  }).observe(document, { childList: true, subtree: true });

  // ---- the switch -----------------------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".zoo-language a");
    if (!link) return;
    event.preventDefault();
    window.dispatchEvent(new Event("zoo-language")); // whoever holds something unsaved can keep it
    const url = new URL(window.location.href);
    url.searchParams.set("lang", link.lang);
    window.location.assign(url);
  });

  return { language, say, own, told, method };
})();
