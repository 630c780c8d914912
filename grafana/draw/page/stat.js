// Tiles: what is so now, big and coloured.

import { colour, threshold } from "./colours.js";
import { configured, reduced } from "./data.js";
import { element } from "./element.js";
import { mapped, shown } from "./format.js";
import { widthOf } from "./axes.js";

const SMALL = 12; // pixels, as widthOf measures

export function stat(place, panel, { lines }) {
  const { reduceOptions, textMode = "auto", colorMode = "value", orientation = "auto" } = panel.options;
  const [calculation = "lastNotNull"] = reduceOptions?.calcs ?? [];
  const values = lines.map((line) => ({ ...line, value: reduced(line, calculation) }));
  if (!values.length) values.push({ name: "", value: null, config: configured(panel, "", "") });
  const { clientWidth: width, clientHeight: height } = place;
  const down = orientation === "auto" ? height > width : orientation === "horizontal";
  const named = textMode === "value_and_name" || (textMode === "auto" && values.length > 1);
  const size = { width: down ? width : width / values.length, height: down ? height / values.length : height };
  const tiles = values.map((each) => tile(each, named, colorMode, size, down));
  place.append(element("div", { className: `tiles ${down ? "down" : ""}` }, ...tiles));
}

function tile({ name, value, config }, named, colorMode, { width, height }, down) {
  const shade = shadeOf(value, config);
  const text = value === null && !mapped(null, config.mappings) ? (config.noValue ?? "No data") : shown(value, config);
  const room = { text: down ? width * 0.45 : width - 16, name: down ? width * 0.45 : width - 16 };
  const big = Math.min(fitting(text, room.text), height * (named && !down ? 0.4 : 0.6), 54);
  const little = Math.min(fitting(name, room.name), height * 0.25, 20, big);
  const children = [element("div", { style: { fontSize: `${big}px` } }, text)];
  if (named) children.unshift(element("div", { style: { fontSize: `${little}px` } }, name));
  const style = colorMode.startsWith("background")
    ? { background: `linear-gradient(120deg, ${shade}, color-mix(in srgb, ${shade}, black 25%))` }
    : { color: shade };
  return element("div", { className: "tile", style }, ...children);
}

const fitting = (text, room) => (SMALL * room * 0.9) / Math.max(widthOf(text), 1);

/** The colour that a value has by its mapping, its field's own colour, or its thresholds. */
export function shadeOf(value, config) {
  const own = mapped(value, config.mappings)?.color;
  if (own) return colour(own);
  if (config.color?.mode === "fixed") return colour(config.color.fixedColor);
  return threshold(config.thresholds, value ?? -Infinity);
}
