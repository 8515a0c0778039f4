(() => {
  "use strict";
  // Everything here improves a page that is readable without it: sorting, filters, copies, tooltips, a view to share.
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const make = (tag, props, ...children) => {
    const element = Object.assign(document.createElement(tag), props);
    element.append(...children);
    return element;
  };
  const root = document.documentElement;
  root.classList.add("js");

  // The view is kept in the address: #section&table.sort=2d&table.filter=vit&theme=dark&open=a,b
  let anchor = "";
  let state = new Map();
  const read = () => {
    const parts = location.hash.slice(1).split("&").filter(Boolean);
    anchor = decode(parts.find((part) => !part.includes("=")) || "");
    const pairs = parts.filter((part) => part.includes("=")).map((part) => part.split("="));
    return new Map(pairs.map(([key, ...value]) => [decode(key), decode(value.join("="))]));
  };
  const decode = (text) => {
    try { return decodeURIComponent(text); } catch { return text; }
  };
  const encode = encodeURIComponent;
  const write = () => {
    const pairs = [...state].map((pair) => pair.map(encode).join("="));
    history.replaceState(null, "", "#" + [encode(anchor), ...pairs].filter(Boolean).join("&"));
  };
  const keep = (key, value) => {
    if ((state.get(key) || "") === value) return;
    if (value) state.set(key, value); else state.delete(key);
    write();
  };

  // Theme
  const themes = ["", "dark", "light"];
  const theme = make("button", { className: "act" });
  const paint = () => {
    const name = themes.find((one) => one === state.get("theme")) || "";
    if (name) root.dataset.theme = name; else delete root.dataset.theme;
    theme.textContent = `Theme: ${name || "as the system"}`;
  };
  theme.onclick = () => {
    keep("theme", themes[(themes.indexOf(state.get("theme") || "") + 1) % 3]);
    paint();
  };
  all("nav")[0].append(theme);

  // Tables
  const words = (cell) => cell.textContent.trim();
  const numbers = (cell) => (cell.dataset.v || "").split(" ").filter(Boolean);
  // A name that a spreadsheet would run as a formula gets an apostrophe, as in `--format csv`
  const safe = (text) => (/^'*[=+\-@\t\r]/.test(text) && isNaN(Number(text)) ? `'${text}` : text);
  const quote = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csv = (table) => {
    const rows = all("tbody tr:not([hidden])", table).map((row) => [...row.cells]);
    const lines = [[], ...rows.map(() => [])];
    all("thead th", table).forEach((head, column) => {
      const ends = rows.some((row) => numbers(row[column]).length === 3) ? ["", " low", " high"] : [""];
      lines[0].push(...ends.map((end) => words(head) + end));
      rows.forEach((row, k) => {
        const values = ends.length > 1 ? numbers(row[column]) : [words(row[column])];
        lines[k + 1].push(...ends.map((_, place) => values[place] ?? ""));
      });
    });
    return lines.map((line) => line.map(safe).map(quote).join(",")).join("\n") + "\n";
  };
  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); } catch {
      const area = make("textarea", { value: text, className: "unseen" });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const copier = (table) => {
    const button = make("button", { className: "act", textContent: "Copy as CSV" });
    button.onclick = async () => {
      await copy(csv(table));
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy as CSV"), 1500);
    };
    return button;
  };
  // A cell's number: the attribute where it says more than the text
  const value = (cell) => (cell.dataset.v ? parseFloat(cell.dataset.v) : Number(words(cell) || NaN));
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (isNaN(x) && isNaN(y)) return words(a).localeCompare(words(b), "en", { numeric: true });
    return x - y;
  };
  const sort = (table, column, down) => {
    const body = table.tBodies[0];
    const isNumeric = (row) => !isNaN(value(row.cells[column]));
    const mixed = column >= 0 && all("tr", body).some(isNumeric);
    const sign = down ? -1 : 1;
    const order = all("tr", body).sort((a, b) => {
      if (column < 0) return a.place - b.place;
      // Cells without a number go last in a column of numbers, whichever way it is sorted.
      if (mixed && isNumeric(a) !== isNumeric(b)) return isNumeric(a) ? -1 : 1;
      return sign * compare(a.cells[column], b.cells[column]) || a.place - b.place;
    });
    body.append(...order);
    all("thead th", table).forEach((head, k) => {
      if (k === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  const restores = [];
  const dress = (block) => {
    const table = all("table", block)[0];
    const rows = all("tbody tr", table);
    rows.forEach((row, place) => { row.place = place; row.words = words(row).toLowerCase(); });
    const [sorting, filtering] = [`${block.id}.sort`, `${block.id}.filter`];
    const tools = make("div", { className: "tools" });
    const count = make("output", {});
    const input = make("input", { type: "search", placeholder: "Filter rows", autocomplete: "off", spellcheck: false });
    input.setAttribute("aria-label", `Filter rows of ${words(all("h3", block)[0])}`);
    const filter = () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row) => { row.hidden = !wanted.every((word) => row.words.includes(word)); });
      const shown = rows.filter((row) => !row.hidden).length;
      const whole = `${rows.length} row${rows.length === 1 ? "" : "s"}`;
      count.textContent = shown < rows.length ? `${shown} of ${whole}` : whole;
    };
    input.oninput = () => { filter(); keep(filtering, input.value); };
    all("thead th", table).forEach((head, column) => {
      if (!words(head)) return;
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.append(button);
      button.onclick = () => {
        const [before, text] = [state.get(sorting), rows.some((row) => !isNaN(value(row.cells[column]))) ? "da" : "ad"];
        // The first way, the other way, and back to the order of the board.
        const next = before === column + text[0] ? column + text[1] : before === column + text[1] ? "" : column + text[0];
        keep(sorting, next);
        again();
      };
    });
    const again = () => {
      const [, column, way] = /^(\d+)([ad])$/.exec(state.get(sorting) || "") || [0, -1, ""];
      sort(table, column < table.tHead.rows[0].cells.length ? +column : -1, way === "d");
      input.value = state.get(filtering) || "";
      filter();
    };
    if (rows.length > 5) tools.append(input);
    tools.append(count, copier(table));
    all("h3", block)[0].after(tools);
    restores.push(again);
  };
  all(".table").forEach(dress);
  all(".data").forEach((block) => {
    all("summary", block)[0].after(make("div", { className: "tools" }, copier(all("table", block)[0])));
  });

  // Folded parts
  const folds = all("details[id]");
  const listed = () => folds.filter((fold) => fold.open).map((fold) => fold.id).join(",");
  const unfold = () => {
    if (!state.has("open")) return;
    const open = state.get("open").split(",");
    folds.forEach((fold) => { fold.open = open.includes(fold.id); });
  };
  addEventListener("beforeprint", () => all(".notes").forEach((fold) => { fold.open = true; }));

  // Tooltips
  const tip = make("div", { id: "tip", role: "tooltip", hidden: true });
  document.body.append(tip);
  all(".plot [tabindex] > title").forEach((title) => {
    const mark = title.parentNode;
    mark.dataset.tip = title.textContent;
    mark.setAttribute("aria-label", title.textContent);
    title.remove();  // or the browser's own tooltip would cover this one
  });
  const show = (event) => {
    const target = event.target.closest ? event.target.closest("[data-tip]") : null;
    tip.hidden = !target;
    if (!target) return;
    tip.textContent = target.dataset.tip;
    const [box, own] = [target.getBoundingClientRect(), tip.getBoundingClientRect()];
    const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), innerWidth - own.width - 8);
    tip.style.left = `${left}px`;
    tip.style.top = `${box.top > own.height + 12 ? box.top - own.height - 8 : box.bottom + 8}px`;
  };
  for (const name of ["mouseover", "focusin"]) addEventListener(name, show);
  const hide = () => { tip.hidden = true; };
  addEventListener("focusout", hide);
  addEventListener("scroll", hide, { capture: true, passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // Folded panels: any two beside each other
  all(".plot").forEach((plot) => {
    const panels = all("details .panels svg", plot);
    if (panels.length < 2) return;
    const names = panels.map((panel) => words(all("title", panel)[0]).replace(/^[^,]*, /, ""));
    const sides = ["First row to compare", "Second row to compare"].map((label, start) => {
      const pick = make("select", {}, ...names.map((name) => new Option(name)));
      const place = make("div", {});
      const draw = () => {
        const copied = panels[pick.selectedIndex].cloneNode(true);
        all("[id]", copied).forEach((part) => part.removeAttribute("id"));
        copied.removeAttribute("aria-labelledby");
        copied.setAttribute("aria-label", names[pick.selectedIndex]);
        place.replaceChildren(copied);
      };
      pick.setAttribute("aria-label", label);
      pick.selectedIndex = start;
      pick.onchange = draw;
      draw();
      return make("div", {}, pick, place);
    });
    all("details", plot)[0].before(make("div", { className: "pair" }, ...sides));
  });

  // Charts: Tab reaches the first mark of each, arrows the others
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  all(".plot").forEach((plot) => {
    const marks = all("[data-tip]", plot);
    marks.forEach((mark, place) => { mark.tabIndex = place ? -1 : 0; });
    plot.addEventListener("keydown", (event) => {
      const place = marks.indexOf(event.target);
      const next = marks[place + steps[event.key]];
      if (place < 0 || !next) return;
      event.preventDefault();
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });

  // Contents: the section in view
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      const link = links.get(target.id);
      if (!link || !isIntersecting) continue;
      for (const other of links.values()) other.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  all("section[id]").forEach((section) => seen.observe(section));

  const restore = () => {
    paint();
    unfold();
    for (const again of restores) again();
    reach();
  };
  const reach = () => {
    const target = document.getElementById(anchor);
    if (!target) return;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", () => {
    const next = read();
    if (next.size) { state = next; restore(); } else { write(); reach(); }  // a link changes the place alone
  });
  state = read();
  restore();
  folds.forEach((fold) => fold.addEventListener("toggle", () => keep("open", listed())));
})();
