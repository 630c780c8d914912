// A table: a row for each set of labels, a column for each query.

import { configured } from "./data.js";
import { element } from "./element.js";
import { shown } from "./format.js";
import { shadeOf } from "./stat.js";

const HEAD = 36; // pixels, and so is a row

export function table(place, panel, { lines }) {
  const rows = merged(lines);
  let columns = [...new Set(rows.flatMap(Object.keys))];
  for (const { id, options } of panel.transformations ?? []) {
    if (id === "merge" || id === "labelsToFields") continue; // merged above
    if (id !== "organize") throw new Error(`the transformation ${id} can't be drawn yet`);
    const { excludeByName = {}, indexByName = {}, renameByName = {} } = options;
    columns = columns.filter((name) => !excludeByName[name]);
    columns.sort((one, other) => (indexByName[one] ?? 99) - (indexByName[other] ?? 99));
    columns = columns.map((name) => ({ name, title: renameByName[name] || name }));
  }
  columns = columns.map((column) => (column.name ? column : { name: column, title: column }));
  for (const column of columns) column.config = configured(panel, column.title, "");
  for (const by of (panel.options.sortBy ?? []).toReversed()) sort(rows, columns, by);
  const fitting = Math.floor(place.clientHeight / HEAD) - 1;
  const head = columns.map((column) => {
    const { width } = column.config.custom ?? {};
    return element("th", { className: align(rows, column), style: width ? { width: `${width}px` } : {} }, column.title);
  });
  const body = rows.slice(0, fitting).map((row) =>
    element("tr", {}, ...columns.map((column) => cell(row[column.name], column, align(rows, column)))),
  );
  place.append(element("table", { className: "cells" }, element("tr", {}, ...head), ...body));
}

/** The lines' last values, those with the same labels in one row. */
function merged(lines) {
  const rows = new Map();
  const single = new Set(lines.map((line) => line.question.ref)).size < 2;
  for (const { labels, points, question } of lines) {
    const key = JSON.stringify(Object.entries(labels).sort());
    if (!rows.has(key)) rows.set(key, { ...labels });
    rows.get(key)[single ? "Value" : `Value #${question.ref}`] = points.at(-1)[1];
  }
  return [...rows.values()];
}

/** Those that are equal by it keep their order. */
function sort(rows, columns, { displayName, desc }) {
  const { name } = columns.find(({ title }) => title === displayName) ?? {};
  const order = (row) => row[name] ?? -Infinity;
  rows.sort((one, other) => ((order(one) > order(other)) - (order(one) < order(other))) * (desc ? -1 : 1));
}

const align = (rows, { name }) => (rows.some((row) => typeof row[name] === "number") ? "" : "word");

function cell(value, { config }, className) {
  if (value === undefined) return element("td", { className }, config.noValue ?? "");
  const { type } = config.custom?.cellOptions ?? {};
  const style = {};
  if (type === "color-text") style.color = shadeOf(value, config);
  if (type === "color-background") style.background = shadeOf(value, config);
  if (config.links?.length) style.textDecoration = "underline";
  return element("td", { className, style }, shown(value, config));
}
