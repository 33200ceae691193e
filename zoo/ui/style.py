"""How the page looks: gradio's own theme on local fonts, and a style sheet for the cells.

Colours come from the theme's variables, which follow the visitor's light or dark mode.
"""

from __future__ import annotations

import gradio as gr

from zoo.ui import learn, moves

SANS = ["ui-sans-serif", "system-ui", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> gr.themes.Base:
    """Fonts that every machine has, so that the page asks no other host for any."""
    return gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        spacing_size="sm",
        font=SANS,
        font_mono=MONO,
    ).set(  # the theme's own shades have less contrast than small print needs
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
    )


_PAGE = """
#zoo-head h1 { font-size: 1.4rem; font-weight: 650; margin: 0; }
#zoo-head p { margin: 0; color: var(--body-text-color-subdued); }
.zoo-small { margin: 0; font-size: .82rem; color: var(--body-text-color-subdued); }
.zoo-heading { margin: .4rem 0 0; font-size: .9rem; font-weight: 600; }

.gradio-container .html-container { padding: 0; }
#zoo-columns { align-items: flex-start; gap: 28px; }
#zoo-form { gap: 10px; }
#problem:not(:has(p)), #notices:not(:has(p)) { display: none; }
@media (min-width: 900px) {
  #zoo-columns { flex-wrap: nowrap; }
  #zoo-form { flex: 0 0 380px !important; }
  #zoo-results { flex: 1 1 0 !important; position: sticky; top: 12px; }
}
@media (max-width: 899px) { #zoo-columns { flex-direction: column; } #zoo-form, #zoo-results { width: 100%; } }
#zoo-actions { position: sticky; bottom: 0; z-index: 5; padding: 8px 0; background: var(--body-background-fill); }

.zoo-method { gap: 4px; }
.zoo-method > .column:not(:has(*)) { display: none; }
.zoo-line { flex-wrap: nowrap; align-items: center; gap: 2px; }
.zoo-line > * { flex: 0 0 auto; }
.zoo-line > .zoo-text { flex: 1 1 0; }
.zoo-text input, .zoo-text textarea { font-family: var(--font-mono); font-size: .84rem; padding: 6px 8px; }
.zoo-line > .zoo-tick { width: 24px; border: 0; padding: 0; background: none; box-shadow: none; overflow: visible; }
.zoo-tick .label-text { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
/* The words stay for those who cannot see the icons. */
.zoo-line > .zoo-icon { width: 28px; height: 32px; padding: 0; font-size: 0; background: none; border: 0;
  box-shadow: none; }
.zoo-line > .zoo-icon:hover { background: var(--background-fill-secondary); }
.zoo-icon::before { content: ""; display: block; width: 15px; height: 15px; margin: auto;
  background: var(--body-text-color-subdued); mask: var(--icon) center / contain no-repeat; }
.zoo-icon:hover::before { background: var(--body-text-color); }
.zoo-adjust { --icon: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='black' stroke-width='1.6' stroke-linecap='round'%3E%3Cpath d='M1 4h8M13 4h2M1 12h2M7 12h8'/%3E%3Ccircle cx='11' cy='4' r='2'/%3E%3Ccircle cx='5' cy='12' r='2'/%3E%3C/svg%3E"); }
.zoo-copy { --icon: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='black' stroke-width='1.6'%3E%3Crect x='5' y='5' width='9.5' height='9.5' rx='1.5'/%3E%3Cpath d='M11 2.5V1.5H1.5V11h1'/%3E%3C/svg%3E"); }
.zoo-remove { --icon: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='black' stroke-width='1.8' stroke-linecap='round'%3E%3Cpath d='M3 3l10 10M13 3L3 13'/%3E%3C/svg%3E"); }
.zoo-line-problem:empty, .zoo-line-problem:not(:has(p)) { display: none; }
#zoo-form .zoo-controls { min-width: 0 !important; width: calc(100% - 11px); box-sizing: border-box; gap: 6px; padding: 4px 0 12px 12px; margin-left: 11px; border-left: 2px solid var(--border-color-primary); }

#examples { min-height: 62px; }
#examples .gallery { gap: 4px; }
#examples button { font-size: .8rem; padding: 2px 8px; }

.zoo-problem, .zoo-notice { margin: 0 0 6px; padding: 8px 12px; border-radius: 8px; border-left: 4px solid;
  background: var(--background-fill-secondary); white-space: pre-line; overflow-wrap: anywhere; font-size: .9rem; }
.zoo-problem { border-color: #dc2626; }
.zoo-notice { border-color: #d97706; }
.zoo-summary { display: flex; align-items: baseline; flex-wrap: wrap; gap: 4px 24px; justify-content: space-between; margin: 0;
  font-size: .9rem; color: var(--body-text-color-subdued); }

.zoo-grid { display: grid; gap: 12px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(184px, calc(50% - 6px)), 1fr)); }
.zoo-grid:has([data-count=few]) { grid-template-columns: repeat(auto-fill, minmax(min(272px, 100%), 1fr)); }
.zoo-grid:has([data-count=many]) { grid-template-columns: 1fr; }
.zoo-cell { min-width: 0; border: 1px solid var(--border-color-primary); border-radius: 10px; padding: 10px;
  background: var(--background-fill-primary); }
.zoo-cell header { height: 5.4rem; overflow: hidden; }
[data-count=few] header { height: 3.9rem; }
[data-count=many] header { height: auto; margin-bottom: 6px; }
.zoo-cell h3 { margin: 0; font-size: .88rem; line-height: 1.25; font-weight: 600; display: -webkit-box;
  -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.zoo-noise { font-size: .8rem; }
.zoo-cell code, .zoo-noise code { display: inline-block; line-height: 1.3; border: 0; font-family: var(--font-mono); font-size: .74rem; background: none; padding: 0;
  color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.zoo-pictures { position: relative; display: grid; gap: 6px; }
[data-count=few] .zoo-pictures { grid-template-columns: 1fr 1fr; }
[data-count=many] .zoo-pictures { grid-template-columns: repeat(auto-fill, minmax(108px, 1fr)); }
.zoo-pictures figure { margin: 0; }
.zoo-tile { aspect-ratio: 1; display: grid; place-items: center; overflow: hidden; border-radius: 4px;
  background: var(--background-fill-secondary); }
/* Whole multiples of the picture's own size where the browser can, so that all its pixels are equally large. */
.zoo-tile img { width: 100%; width: max(var(--px), round(down, 100%, var(--px))); max-width: 100%;
  image-rendering: pixelated; margin: 0; }
[data-state=running] .zoo-tile img, [data-state=cancelled] .zoo-tile img, [data-state=failed] .zoo-tile img {
  opacity: .8; }
.zoo-cell figcaption { font-size: .7rem; text-align: center; color: var(--body-text-color-subdued); }
[data-count=one] figcaption { display: none; }
.zoo-why { position: absolute; inset: 0; margin: 0; padding: 10px; overflow: auto; font-size: .8rem;
  background: color-mix(in srgb, var(--background-fill-secondary) 88%, transparent); overflow-wrap: anywhere; }
.zoo-bar { height: 3px; margin: 8px 0 6px; border-radius: 2px; background: var(--background-fill-secondary); }
.zoo-bar i { display: block; height: 100%; border-radius: 2px; background: var(--color-accent); }
[data-state=done] .zoo-bar i { background: #16a34a; }
[data-state=failed] .zoo-bar i { background: #dc2626; }
[data-state=cancelled] .zoo-bar i { background: var(--body-text-color-subdued); }
.zoo-cell footer { display: flex; flex-wrap: wrap; gap: 0 10px; font-size: .8rem; font-variant-numeric: tabular-nums;
  min-height: 3.9em; align-content: flex-start; }
.zoo-cell footer small { flex-basis: 100%; color: var(--body-text-color-subdued); font-size: .7rem; }
.zoo-state { flex-basis: 100%; }
.zoo-nfe { font-weight: 600; }
.zoo-scores { margin: 6px 0 0; font-size: .78rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.zoo-scores dt { color: var(--body-text-color-subdued); }
.zoo-scores dd { margin: 0 0 2px; }
.zoo-cell pre, .zoo-plugins pre { max-height: 16rem; overflow: auto; font-size: .7rem; white-space: pre; }
.zoo-cell details { font-size: .78rem; }

@media (max-width: 640px) {
  .gradio-container .app, .gradio-container main { padding: 12px !important; }
  [data-count=few] .zoo-pictures { grid-template-columns: repeat(auto-fit, minmax(68px, 1fr)); }
  .zoo-cell header { height: 6.2rem; }
  .zoo-cell[data-count=few] header, .zoo-cell[data-count=many] header { height: auto; margin-bottom: 6px; }
}

.zoo-plugins { overflow-x: auto; }
.zoo-plugins table { width: 100%; border-collapse: collapse; font-size: .88rem; }
.zoo-plugins th, .zoo-plugins td { text-align: left; vertical-align: top; padding: 6px 10px; border: 0;
  border-bottom: 1px solid var(--border-color-primary); }
.zoo-plugins small { color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.zoo-plugin-state[data-state=loaded] { color: #16a34a; }
.zoo-plugin-state:not([data-state=loaded]) { color: #dc2626; font-weight: 600; }
.zoo-plugin-error td { white-space: pre-line; overflow-wrap: anywhere; }
"""

CSS = _PAGE + moves.CSS + learn.CSS
