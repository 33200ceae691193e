// Where the cells stand: cards of one method side by side, a table for each card that stands for a grid.

const grid = { element: null, views: [] };

function buildGrid() {
  grid.element = h("div", { id: "zoo-grid" });
  return grid.element;
}

/** Lay out a run's blocks (zoo/ui/runs.py, blocks_of) with a place for every picture, before there is one. */
function layOut(blocks, cells, seeds) {
  grid.views = [];
  const parts = [];
  const columns = Math.max(1, ...blocks.map((block) => block.columns?.values.length ?? 0));
  let plain = null;
  for (const block of blocks) {
    if (block.cells.length === 1 && !block.columns && !block.rows) {
      if (!plain) parts.push((plain = h("div", { class: "zoo-grid", "data-count": countClass(seeds.length) })));
      const index = block.cells[0];
      plain.append(place(index, seeds, cells[index]));
    } else {
      plain = null;
      parts.push(table(block, cells, seeds, columns));
    }
  }
  grid.element.replaceChildren(...parts);
  for (const list of grid.element.querySelectorAll("div.zoo-grid")) list.style.setProperty("--cells", list.children.length);
}

function place(index, seeds, cell, corner = cell) {
  const view = buildCell(index, seeds, corner);
  grid.views[index] = view;
  return view.element;
}

/** Rows and columns with what varies along them written at the margins. */
function table(block, cells, seeds, columns) {
  const across = block.columns?.values ?? [""];
  const down = block.rows?.values ?? [""];
  const head = h("div", { class: "z-table-head" }, h("h3", {}, block.title));
  const made = h("div", { class: "z-table", role: "group", "aria-label": block.title, "data-rows": Boolean(block.rows), "data-count": countClass(seeds.length) });
  made.style.setProperty("--columns", columns);
  if (block.columns) {
    if (block.rows) made.append(h("span", { class: "z-axis-corner" }));
    across.forEach((value) => made.append(h("span", { class: "z-axis" }, h("small", {}, zooWords.own(block.columns.title)), ` ${value}`)));
    for (let i = across.length; i < columns; i++) made.append(h("span"));
  }
  down.forEach((value, row) => {
    if (block.rows) made.append(h("span", { class: "z-axis z-axis-row" }, h("small", {}, zooWords.own(block.rows.title)), ` ${value}`));
    across.forEach((_, column) => {
      const index = block.cells[row * across.length + column];
      made.append(place(index, seeds, cells[index], null));
    });
    for (let i = across.length; i < columns; i++) made.append(h("span"));
  });
  return h("section", { class: "z-block" }, head, made);
}
