// The figures of a report, drawn by Plotly when they come into view. render/plots.py describes their values.
//
// One legend hides a technique in all of them. The card of a point is text of ours, so a name is never markup; what
// Plotly itself shows (axes, labels) has been escaped.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const element = document.getElementById("page-data");
  const page = element && JSON.parse(element.textContent);
  if (!page || !Object.keys(page.plots).length) return;
  if (!window.Plotly) {
    document.querySelector(".note.script").hidden = false;
    return;
  }
  const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset", scrollZoom: false };
  const COLOR = /color$/i;
  const SHAPES = {
    circle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", square: "M-4-4H4V4H-4Z", "triangle-up": "M0-5L5 4H-5Z",
    diamond: "M0-5.5L5.5 0L0 5.5L-5.5 0Z", "triangle-down": "M0 5L5-4H-5Z",
    cross: "M-2-5H2V-2H5V2H2V5H-2V2H-5V-2H-2Z", x: "M-4.5-2.5L-2.5-4.5L0-2L2.5-4.5L4.5-2.5L2 0L4.5 2.5L2.5 4.5L0 2L-2.5 4.5L-4.5 2.5L-2 0Z",
  };
  const SMALL = new Set(["triangle-up", "triangle-down"]); // beside a square of the same width
  const STROKES = { solid: "none", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4" };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const coarse = matchMedia("(pointer: coarse)");
  const hidden = new Set(); // indices of techniques
  const drawn = new Map(); // box -> panel

  // ---- Colors
  const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const colorOf = (look) => (dark.matches ? look.dark : look.color);
  const pale = (color, share) => color + Math.round(255 * share).toString(16).padStart(2, "0");
  const scaleOf = (reversed) => {
    const colors = [...(dark.matches ? page.darkScale : page.scale)];
    if (reversed) colors.reverse();
    return colors.map((color, index) => [index / (colors.length - 1), color]);
  };

  function themed(value, key = "") {
    if (typeof value === "string") return COLOR.test(key) && value[0] === "@" ? theme(value.slice(1)) : value;
    if (Array.isArray(value)) return typeof value[0] === "object" ? value.map((one) => themed(one)) : value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, themed(one, name)]));
  }

  // A trace with the look that it shares; its trials step up and down around their row, so that few points are hidden.
  function whole({ as, ...own }) {
    const trace = { ...page.looks[as], ...own };
    if (!trace.y && trace.spread !== undefined) {
      trace.y = trace.x.map((_, index) => trace.spread + 0.12 + 0.16 * Math.sin(2.4 * index));
    }
    if (trace.from) trace.trial = trace.x.map((_, index) => own.trial + index);
    return trace;
  }

  // A line through all techniques means nothing while one of them is hidden.
  const isShown = (trace) => !hidden.has(trace.technique) && !(hidden.size && whole(trace).together);

  function dressed(trace) {
    const { technique, open, hover, trial, rows, columns, ends, digits, reversed, within, from, spread, together, ...own } = whole(trace);
    const look = page.techniques[technique];
    const color = look ? colorOf(look) : theme("text");
    const edge = open ? { color, width: 1.7 } : { color: theme("page"), width: 0.6 };
    const fill = open ? theme("page") : color;
    const silent = hover === undefined && trial === undefined && !rows; // it must not hide a point below it
    const base = { type: "scatter", hoverinfo: silent ? "skip" : "none", showlegend: false, visible: isShown(trace) };
    const result = { ...base, ...themed(own) };
    if (own.type === "heatmap") return { ...result, colorscale: scaleOf(reversed) };
    if (own.type !== "bar") {
      result.line = { color, dash: look ? look.dash : "solid", width: 1.7, ...result.line };
      const marker = { color: fill, symbol: look ? look.symbol : "circle", size: 7, line: edge };
      result.marker = { ...marker, ...result.marker };
      if (SMALL.has(result.marker.symbol)) result.marker.size *= 1.3;
    } else result.marker = { color, ...result.marker };
    if (own.fill) result.fillcolor = pale(color, 0.17);
    for (const bars of ["error_x", "error_y"]) if (own[bars]) result[bars] = { color, width: 0, symmetric: false, ...own[bars] };
    if (own.text) result.textfont = { color, size: 12, ...result.textfont };
    return result;
  }

  // A title on as many lines as the box needs; Plotly would cut it.
  function fitted(title, pixels) {
    const lines = [""];
    for (const word of title.split(" ")) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (longer.length * 8 <= pixels || !lines.at(-1)) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines.join("<br>");
  }

  function layoutOf(panel, width) {
    const axis = {
      color: theme("gray"), gridcolor: theme("line"), zeroline: false, automargin: true, ticks: "outside", ticklen: 3,
      tickcolor: theme("line"), linecolor: theme("line"), fixedrange: coarse.matches, minor: { showgrid: false },
    };
    const own = themed(panel.layout);
    const axes = Object.fromEntries(["xaxis", "yaxis"].map((name) => [name, { ...axis, ...own[name] }]));
    const title = axes.xaxis.title;
    if (title?.text) axes.xaxis.title = { ...title, text: fitted(title.text, width - 90) };
    const font = { family: "inherit", size: 12, color: theme("text") };
    return {
      paper_bgcolor: "transparent", plot_bgcolor: "transparent", font, showlegend: false, hovermode: "closest",
      margin: { l: 12, r: 12, t: 8, b: 12 }, hoverdistance: 25, dragmode: coarse.matches ? false : "zoom",
      ...own, ...axes, height: panel.height,
    };
  }

  function draw(box, panel) {
    const first = !drawn.has(box);
    drawn.set(box, panel);
    Plotly.react(box, panel.data.map(dressed), layoutOf(panel, box.clientWidth), CONFIG);
    if (!first) return;
    box.on("plotly_hover", (event) => show(drawn.get(box), event));
    box.on("plotly_unhover", leave);
    box.on("plotly_click", (event) => {
      show(drawn.get(box), event);
      choose(drawn.get(box), event.points[0]);
    });
  }

  // ---- Boxes for panels
  function make(tag, name, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function boxFor(panel) {
    const frame = make("div", "panel");
    frame.append(make("strong", "", panel.title), make("div", "plot"));
    frame.lastChild.style.height = `${panel.height}px`;
    return frame;
  }

  const choosers = [];
  function build(figure) {
    const plot = page.plots[figure.dataset.plot];
    if (plot.panels.length) {
      const panels = make("div", plot.panels.length > 1 ? "panels" : "panels chosen");
      for (const panel of plot.panels) {
        const frame = boxFor(panel);
        panels.append(frame);
        waiting.set(frame, () => draw(frame.lastChild, panel));
      }
      figure.insertBefore(panels, figure.firstChild);
    }
    for (const detail of plot.details) buildDetail(figure, detail);
    figure.classList.add("drawn");
  }

  function buildDetail(figure, detail) {
    const chooser = make("label", "chooser", `One ${detail.choose}: `);
    const select = make("select");
    const wait = Boolean(figure.querySelector(".panels")); // an overview is enough until somebody chooses
    if (wait) select.append(new Option("choose", ""));
    detail.panels.forEach((panel, index) => select.append(new Option(panel.title, index)));
    chooser.append(select);
    const panels = make("div", "panels chosen");
    const frame = boxFor(detail.panels[0]);
    panels.append(frame);
    figure.append(chooser, panels);
    const shown = () => {
      frame.hidden = select.value === "";
      if (frame.hidden) return;
      const panel = detail.panels[select.value];
      frame.firstChild.textContent = "";
      frame.lastChild.style.height = `${panel.height}px`;
      draw(frame.lastChild, panel);
    };
    select.addEventListener("change", shown);
    choosers.push({ kind: detail.choose, select, shown, figure });
    frame.hidden = wait;
    if (!wait) waiting.set(frame, shown);
  }

  // A cell of a heat map chooses its technique and its workload below it.
  function choose(panel, point) {
    const trace = whole(panel.data[point.curveNumber]);
    if (!trace.rows) return;
    const [row, column] = point.pointNumber;
    for (const { kind, select, shown } of choosers) {
      const wanted = { technique: trace.rows[row], workload: trace.columns[column] }[kind];
      const option = [...select.options].find((one) => one.text === wanted);
      if (option) {
        select.value = option.value;
        shown();
      }
    }
  }

  // ---- The card of a point
  const card = make("div", "card");
  card.hidden = true;
  card.setAttribute("role", "status");
  document.body.append(card);
  let leaving = 0;
  const leave = () => (leaving = setTimeout(() => (card.hidden = true), 350));
  card.addEventListener("pointerenter", () => clearTimeout(leaving));
  card.addEventListener("pointerleave", leave);
  addEventListener("keydown", (event) => event.key === "Escape" && (card.hidden = true));

  addEventListener("hashchange", () => (card.hidden = true));

  function at(values, number) {
    if (Array.isArray(number)) return values?.[number[0]]?.[number[1]];
    return Array.isArray(values) ? values[number] : values;
  }

  function show(panel, event) {
    const point = event.points[0];
    const trace = whole(panel.data[point.curveNumber]);
    const trial = at(trace.trial, point.pointNumber);
    const text = trace.rows ? cellText : trial === undefined ? () => at(trace.hover, point.pointNumber) : trialText;
    const said = text(trial ?? trace, point.pointNumber);
    if (!said) return;
    clearTimeout(leaving);
    const name = page.techniques[trace.technique]?.name;
    const where = trial === undefined && trace.within ? `${panel.title}\n` : "";
    card.replaceChildren(...(name ? [make("strong", "", name), document.createTextNode(`\n${where}${said}`)] : [where + said]));
    if (trial !== undefined) card.append(...linksOf(trial));
    card.hidden = false;
    const { pageX, pageY } = event.event.touches?.[0] ?? event.event;
    const room = document.documentElement.clientWidth - card.offsetWidth - 12;
    card.style.left = `${Math.max(8, Math.min(pageX + 12, room))}px`;
    card.style.top = `${pageY + 14}px`;
  }

  function trialText(number) {
    const { workload, seed, score, ended, setting } = page.trials;
    const at = page.workloads[workload[number]];
    const where = setting.length ? `, ${setting[number]}` : "";
    const end = ended[number] ? `, ${ended[number]}` : "";
    return `${at.name}, ${page.repeated} ${seed[number]}${where}\n${at.unit}: ${score[number] ?? "–"}${end}`;
  }

  function cellText(trace, [row, column]) {
    const signed = (value) =>
      value === null ? "–" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(trace.digits)}`;
    const span = trace.ends.map((values) => signed(values[row][column])).join(", ");
    const value = trace.z[row][column] === null ? "no pairs" : `${signed(trace.z[row][column])} [${span}]`;
    return `${trace.rows[row]}\n${trace.columns[column]}\n${value}`;
  }

  function linksOf(number) {
    const links = [];
    const to = (href, text) => {
      const link = make("a", "", text);
      link.href = href;
      links.push(link);
    };
    if (document.getElementById(`trial-${number}`)) to(`#trial-${number}`, "its row");
    const run = page.trials.runs[number];
    if (/^https?:\/\//.test(run)) to(run, "its run in the tracker");
    else if (run) links.push(document.createTextNode(`run ${run}`));
    return links.length ? [document.createElement("br"), ...links] : [];
  }

  // ---- The legend
  function swatch(look) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "swatch");
    svg.setAttribute("viewBox", "0 0 26 14");
    const line = document.createElementNS(svg.namespaceURI, "path");
    const shape = document.createElementNS(svg.namespaceURI, "path");
    line.setAttribute("d", "M0 7H26");
    line.setAttribute("stroke-dasharray", STROKES[look.dash]);
    shape.setAttribute("d", SHAPES[look.symbol]);
    shape.setAttribute("transform", "translate(13 7)");
    for (const part of [line, shape]) part.setAttribute("stroke", colorOf(look));
    line.setAttribute("stroke-width", "2");
    shape.setAttribute("fill", colorOf(look));
    svg.append(line, shape);
    return svg;
  }

  function toggle(index, alone) {
    const others = page.techniques.map((_, other) => other).filter((other) => other !== index);
    if (!alone) hidden.has(index) ? hidden.delete(index) : hidden.add(index);
    else {
      const already = !hidden.has(index) && others.every((other) => hidden.has(other));
      hidden.clear();
      if (!already) others.forEach((other) => hidden.add(other));
    }
    for (const [box, panel] of drawn) {
      Plotly.restyle(box, { visible: panel.data.map(isShown) });
    }
    writeLegend();
  }

  const legend = document.querySelector(".legend");
  function writeLegend() {
    const focused = [...legend.children].indexOf(document.activeElement);
    const buttons = page.techniques.map((look, index) => {
      const button = make("button");
      button.type = "button";
      button.title = `${look.name}: click to hide or show it in all figures; with Shift, to show it alone`;
      button.setAttribute("aria-pressed", String(!hidden.has(index)));
      button.append(swatch(look), make("span", "", look.name));
      button.addEventListener("click", (event) => toggle(index, event.shiftKey));
      return button;
    });
    legend.replaceChildren(make("p", "", "In all figures"), ...buttons);
    legend.hidden = false;
    if (focused >= 0) legend.children[focused].focus();
  }

  // ---- Start
  const waiting = new Map(); // frame -> how it is drawn
  for (const figure of document.querySelectorAll("figure[data-plot]")) build(figure);
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        waiting.get(target)();
      }
    },
    { rootMargin: "400px" },
  );
  for (const frame of waiting.keys()) seen.observe(frame);
  if (page.techniques.length > 1) writeLegend();
  const redraw = () => {
    for (const [box, panel] of drawn) draw(box, panel);
    if (page.techniques.length > 1) writeLegend();
  };
  for (const medium of [dark, narrow]) medium.addEventListener("change", redraw);
});
