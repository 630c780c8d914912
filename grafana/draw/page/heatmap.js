// How observations spread over a histogram's buckets.

import uPlot from "uplot";
import { chart, timeAxis, valueAxis, widthOf } from "./axes.js";
import { heat } from "./colours.js";
import { element } from "./element.js";
import { format } from "./format.js";

const SCALE = 16; // pixels for the colours' scale

export function heatmap(place, panel, { lines, dots, span }) {
  const { unit } = panel.options.yAxis ?? {};
  const buckets = cumulated(lines);
  const texts = buckets.map(({ bound }) => format(bound, { unit }));
  const most = Math.max(...buckets.flatMap(({ cells }) => cells.map(([, count]) => count)), 1e-9);
  const box = element("div", { style: { height: `${place.clientHeight - 8 - SCALE}px` } });
  place.append(box, scale(most));
  const rows = buckets.length;
  const { step } = lines[0].question;
  new uPlot(
    chart(box, {
      scales: { x: { time: true, range: [span.start, span.end] }, y: { range: [0, rows] } },
      axes: [
        timeAxis,
        {
          ...valueAxis({}),
          splits: () => buckets.map((_, row) => row + 1).filter((row) => rows < 9 || row % 2),
          values: (_, splits) => splits.map((row) => texts[row - 1]),
          size: () => Math.max(...texts.map(widthOf)) + 14,
        },
      ],
      series: [{}, { show: false }],
      hooks: {
        draw: [
          (plot) => cells(plot, buckets, step, most),
          (plot) => spots(plot, buckets, dots),
        ],
      },
    }),
    [[span.start, span.end], [0, rows]],
    box,
  );
}

/** The buckets from the lowest bound up, each without what is in those below. */
function cumulated(lines) {
  const sorted = lines
    .map((line) => ({ bound: Number(line.labels.le.replace("+Inf", "Infinity")), points: line.points }))
    .sort((one, other) => one.bound - other.bound);
  let below = new Map();
  return sorted.map(({ bound, points }) => {
    const cells = points.map(([at, value]) => [at, Math.max(0, value - (below.get(at) ?? 0))]);
    below = new Map(points);
    return { bound, cells };
  });
}

function cells({ ctx, bbox, valToPos }, buckets, step, most) {
  buckets.forEach((bucket, row) => {
    const top = valToPos(row + 1, "y", true);
    const height = valToPos(row, "y", true) - top;
    for (const [at, count] of bucket.cells) {
      if (count <= 1e-9) continue;
      const left = Math.max(valToPos(at - step, "x", true), bbox.left);
      ctx.fillStyle = heat(count / most);
      ctx.fillRect(left, top, Math.max(valToPos(at, "x", true) - left - 1, 1), height - 1);
    }
  });
}

/** Single observations, as high in their bucket as they are in its bounds. */
function spots({ ctx, valToPos }, buckets, dots) {
  ctx.fillStyle = "rgba(255, 0, 255, 0.7)";
  for (const [at, value] of dots) {
    const row = buckets.findIndex(({ bound }) => value <= bound);
    const [low, high] = [buckets[row - 1]?.bound ?? 0, buckets[row].bound];
    const share = Number.isFinite(high) ? (value - low) / (high - low) : 0.5;
    ctx.fillRect(valToPos(at, "x", true) - 3, valToPos(row + share, "y", true) - 3, 6, 6);
  }
}

function scale(most) {
  const shades = [0, 0.2, 0.4, 0.6, 0.8, 1].map(heat).join(", ");
  const bar = element("div", { style: { background: `linear-gradient(90deg, ${shades})` } });
  return element("div", { className: "scale" }, "0", bar, format(most, { unit: "none" }));
}
