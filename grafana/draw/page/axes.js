// What all charts share: their axes' looks, and the size of the place that they have.

import { clock, format } from "./format.js";

const FONT = '12px Inter, "Liberation Sans", sans-serif';
const TEXT = "#ccccdc";
const GRID = "rgba(240, 250, 255, 0.09)";

const measuring = document.createElement("canvas").getContext("2d");
measuring.font = FONT;
export const widthOf = (text) => Math.ceil(measuring.measureText(text).width);

export const timeAxis = {
  stroke: TEXT,
  font: FONT,
  grid: { stroke: GRID, width: 1 },
  ticks: { stroke: GRID, width: 1, size: 4 },
  size: 28,
  space: 70,
  values: (_, times) => times.map((at) => (at % 60 ? clock(at) : clock(at).slice(0, 5))),
};

const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** The axis of values, as wide as its longest text. */
export function valueAxis(config) {
  const text = (value) => format(value, config).replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "");
  const label = config.custom?.axisLabel;
  return {
    stroke: TEXT,
    font: FONT,
    grid: { stroke: GRID, width: 1 },
    ticks: { show: false },
    gap: 8,
    space: 32,
    ...(config.unit === "bytes" && { incrs: BINARY }),
    ...(label && { label, labelSize: 20, labelFont: FONT, labelGap: 2 }),
    size: (_, texts) => Math.max(30, ...(texts ?? []).map((text) => widthOf(text) + 14)),
    values: (_, splits) => splits.map(text),
  };
}

/** uPlot's options for a chart that fills its place, without legend and pointer. */
export function chart(place, options) {
  return {
    width: place.clientWidth,
    height: place.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 8, 0, 0],
    ...options,
  };
}
