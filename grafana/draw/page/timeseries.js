// Lines over time, stacked or not, with thresholds, exemplars and events.

import uPlot from "uplot";
import { chart, timeAxis, valueAxis } from "./axes.js";
import { classic, colour, faded, threshold } from "./colours.js";
import { calculationTitle, reduced } from "./data.js";
import { element } from "./element.js";
import { format } from "./format.js";

const ROW = 22; // pixels of a legend's line
const MOST = 0.35; // of the panel's height may be its legend
const NARROW = 0.6; // of its width, if the legend stands beside the chart

export function timeseries(place, panel, { lines: all, dots, events, span }) {
  all.forEach((line, number) => (line.colour = lineColour(line, number)));
  const lines = all.filter((line) => !line.config.custom?.hideFrom?.viz);
  const { columns, bands } = stacked(lines, times(all));
  const box = beside(place, panel.options.legend ?? {}, lines);
  const { defaults } = panel.fieldConfig;
  new uPlot(
    chart(box, {
      scales: {
        x: { time: true, range: [span.start, span.end] },
        y: { range: (_, least, most) => reach(least, most, defaults) },
      },
      axes: [timeAxis, valueAxis(defaults)],
      series: [{}, ...lines.map(strokes)],
      bands,
      hooks: {
        drawAxes: [(plot) => verticals(plot, events)],
        draw: [
          (plot) => horizontals(plot, panel.fieldConfig.defaults),
          (plot) => diamonds(plot, dots),
        ],
      },
    }),
    columns,
    box,
  );
}

/** Puts the legend where it belongs, and returns the box that is left for the chart. */
function beside(place, options, lines) {
  const legend = legendOf(options, lines);
  const box = element("div");
  place.append(box, legend.shown);
  if (options.placement === "right") {
    const wide = Math.min(options.width ?? Infinity, place.clientWidth * NARROW);
    place.classList.add("across");
    Object.assign(legend.shown.style, { flex: `none`, width: `${wide}px` });
    Object.assign(box.style, { flex: 1, minWidth: 0, height: "100%" });
  } else {
    const high = Math.min(legend.rows * ROW, place.clientHeight * MOST);
    box.style.height = `${place.clientHeight - 8 - high}px`;
    legend.shown.style.height = `${high}px`;
  }
  return box;
}

function lineColour({ config, points }, number) {
  const { mode = "palette-classic", fixedColor } = config.color ?? {};
  if (mode === "fixed") return colour(fixedColor);
  if (mode === "thresholds") return threshold(config.thresholds, points.at(-1)[1]);
  return classic(number);
}

/** Every moment that a line has a value for. */
function times(lines) {
  const all = new Set(lines.flatMap((line) => line.points.map(([at]) => at)));
  return [...all].sort((one, other) => one - other);
}

/** uPlot's columns; those of one stack are added up, each band filled down to the one below. */
function stacked(lines, moments) {
  const below = new Map(); // of each stack the last column so far, and its number
  const bands = [];
  const columns = lines.map((line, index) => {
    const values = new Map(line.points);
    const { mode = "none", group = "A" } = line.config.custom?.stacking ?? {};
    const own = moments.map((at) => values.get(at) ?? null).map((v) => (Number.isNaN(v) ? null : v));
    if (mode === "none") return own;
    const under = below.get(group);
    const sums = own.map((value, n) => (value ?? 0) + (under?.sums[n] ?? 0));
    if (under) bands.push({ series: [index + 1, under.index], fill: fillOf(line) });
    line.stackedOn = under !== undefined;
    below.set(group, { sums, index: index + 1 });
    return sums;
  });
  return { columns: [moments, ...columns], bands };
}

const fillOf = (line) => faded(line.colour, (line.config.custom?.fillOpacity ?? 0) / 100);

function strokes(line) {
  const { lineWidth = 1, lineStyle, spanNulls, showPoints } = line.config.custom ?? {};
  return {
    stroke: line.colour,
    width: lineWidth,
    dash: lineStyle?.fill === "dash" ? lineStyle.dash : undefined,
    fill: line.stackedOn ? undefined : fillOf(line),
    spanGaps: Boolean(spanNulls),
    points: { show: showPoints !== "never" && line.points.length < 2 },
  };
}

/** The range of values on the axis. */
function reach(least, most, { min, max }) {
  const [low, high] = uPlot.rangeNum(Math.min(least ?? 0, min ?? Infinity), most || 1, 0.1, true);
  return [min ?? low, max ?? high];
}

function drawn(plot, draw) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  draw(ctx, bbox);
  ctx.restore();
}

function stroke(ctx, from, to) {
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
}

function horizontals(plot, { thresholds, custom }) {
  if (!/line|dashed/.test(custom?.thresholdsStyle?.mode ?? "off")) return;
  drawn(plot, (ctx, box) => {
    for (const { value, color } of thresholds.steps) {
      if (value === null) continue;
      const y = plot.valToPos(value, "y", true);
      ctx.setLineDash(custom.thresholdsStyle.mode === "dashed" ? [10, 10] : []);
      ctx.strokeStyle = colour(color);
      stroke(ctx, [box.left, y], [box.left + box.width, y]);
    }
  });
}

function verticals(plot, events) {
  drawn(plot, (ctx, box) => {
    for (const { at, shade } of events) {
      ctx.setLineDash([4, 4]);
      ctx.strokeStyle = colour(shade);
      const x = plot.valToPos(at, "x", true);
      stroke(ctx, [x, box.top], [x, box.top + box.height]);
    }
  });
}

function diamonds(plot, dots) {
  drawn(plot, (ctx) => {
    ctx.fillStyle = "#5794F2";
    for (const [at, value] of dots) {
      const [x, y] = [plot.valToPos(at, "x", true), plot.valToPos(value, "y", true)];
      ctx.beginPath();
      for (const [right, down] of [[0, -4], [4, 0], [0, 4], [-4, 0]]) ctx.lineTo(x + right, y + down);
      ctx.fill();
    }
  });
}

/** What stands below the chart, and how many lines high it wants to be. */
function legendOf({ showLegend = true, displayMode = "list", calcs = [], sortBy, sortDesc }, lines) {
  if (!showLegend) return { shown: element("div"), rows: 0 };
  const label = (line) => [element("span", { className: "dash", style: { background: line.colour } }), line.name];
  if (displayMode === "list") {
    const entries = lines.map((line) => element("span", {}, ...label(line)));
    return { shown: element("div", { className: "legend line" }, ...entries), rows: 1 };
  }
  const head = ["Name", ...calcs.map(calculationTitle)].map((title) => element("th", {}, title));
  head[0].style.textAlign = "left";
  const body = sorted(lines, calcs.find((calc) => calculationTitle(calc) === sortBy), sortDesc).map((line) =>
    element(
      "tr",
      {},
      element("td", {}, ...label(line)),
      ...calcs.map((calc) => element("td", {}, format(reduced(line, calc), line.config))),
    ),
  );
  const shown = element("table", {}, element("tr", {}, ...head), ...body);
  return { shown: element("div", { className: "legend" }, shown), rows: lines.length + 1 };
}

function sorted(lines, calculation, descending) {
  if (!calculation) return lines;
  const value = (line) => reduced(line, calculation) ?? -Infinity;
  return lines.toSorted((one, other) => (value(one) - value(other)) * (descending ? -1 : 1));
}
