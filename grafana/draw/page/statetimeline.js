// States over time: a band for each line, as long as it was so.

import { widthOf } from "./axes.js";
import { faded } from "./colours.js";
import { element } from "./element.js";
import { clock, shown } from "./format.js";
import { shadeOf } from "./stat.js";

const BELOW = 20; // pixels for the times

export function statetimeline(place, panel, { lines, span }) {
  const names = Math.min(Math.max(...lines.map(({ name }) => widthOf(name))) + 16, place.clientWidth / 3);
  const width = place.clientWidth - names - 16;
  const height = (place.clientHeight - BELOW) / lines.length;
  const thick = height * (panel.options.rowHeight ?? 0.9);
  const x = (at) => names + (width * (at - span.start)) / (span.end - span.start);
  lines.forEach(({ name, points, config, question }, row) => {
    const top = row * height + (height - thick) / 2;
    const band = (style, className, text) => {
      const sizes = { top: `${top}px`, height: `${thick}px`, lineHeight: `${thick}px` };
      place.append(element("div", { className: `band ${className}`, style: { ...sizes, ...style } }, text));
    };
    band({ left: 0, width: `${names}px` }, "name", name);
    const seen = points.map(([at, value]) => [Math.max(at, span.start), value]);
    for (const { from, until, value } of stretches(seen, question.step)) {
      const long = x(Math.min(until, span.end)) - x(from);
      const text = shown(value, config);
      const background = faded(shadeOf(value, config), (config.custom?.fillOpacity ?? 70) / 100);
      const fits = long > widthOf(text) + 12;
      band({ left: `${x(from)}px`, width: `${long}px`, background }, "", fits ? text : "");
    }
  });
  for (let n = 0; n <= 4; n++) {
    const at = span.start + ((span.end - span.start) * (n + 0.5)) / 5;
    place.append(element("div", { className: "times", style: { left: `${x(at)}px` } }, clock(at)));
  }
}

/** Times in which the value stayed the same. step: seconds that the last one lasts. */
function stretches(points, step) {
  const found = [];
  for (const [at, value] of points) {
    const last = found.at(-1);
    if (last && last.value === value && at - last.until < 2 * step) last.until = at;
    else {
      if (last && at - last.until < 2 * step) last.until = at;
      found.push({ from: at, until: at + step, value });
    }
  }
  return found;
}
