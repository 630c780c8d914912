// What Prometheus answers, as lines with names and looks.

async function asked(plan, path, parameters) {
  const url = `${plan.prometheus}/api/v1/${path}?${new URLSearchParams(parameters)}`;
  const answer = await (await fetch(url)).json();
  if (answer.status !== "success") throw new Error(answer.error);
  if (answer.warnings?.length) throw new Error(answer.warnings.join("; "));
  return answer.data;
}

/** The lines that a question has for its answer: labels, and [time, value] pairs. */
export async function ask(plan, question) {
  const { start, end } = plan.span;
  const { expr, step } = question;
  if (question.instant) {
    const data = await asked(plan, "query", { query: expr, time: end });
    const one = (each) => ({ labels: each.metric, points: [pair(each.value)], question });
    return data.resultType === "scalar" ? [one({ metric: {}, value: data.result })] : data.result.map(one);
  }
  // Grafana begins at a multiple of the step.
  const from = Math.floor(start / step) * step;
  const { result } = await asked(plan, "query_range", { query: expr, start: from, end, step });
  return result.map((each) => ({ labels: each.metric, points: each.values.map(pair), question }));
}

const pair = ([at, value]) => [Number(at), Number(value)];

/** Single observations behind a query, a telling few of them: [time, value] pairs. */
export async function exemplars(plan, question) {
  const { start, end } = plan.span;
  const data = await asked(plan, "query_exemplars", { query: question.expr, start, end });
  const all = data.flatMap((each) => each.exemplars.map((one) => pair([one.timestamp, one.value])));
  return sampled(all, question.step);
}

/** Of each step the highest, and what lies two standard deviations below the last one taken. */
function sampled(all, step) {
  const mean = all.reduce((sum, [, value]) => sum + value, 0) / all.length;
  const apart = 2 * Math.sqrt(all.reduce((sum, [, value]) => sum + (value - mean) ** 2, 0) / all.length);
  const lowest = new Map(); // of each step, so far
  return all
    .toSorted(([, one], [, other]) => other - one)
    .filter(([at, value]) => {
      const slot = Math.floor(at / step);
      if (lowest.has(slot) && lowest.get(slot) - value < apart) return false;
      lowest.set(slot, value);
      return true;
    });
}

/** The times at which a vertical line stands. */
export async function events(plan, annotation) {
  const { start, end } = plan.span;
  const step = Math.max(1, Math.min(60, (end - start) / 60));
  const { result } = await asked(plan, "query_range", { query: annotation.expr, start, end, step });
  return result.map((each) => pair(each.values[0])[0]);
}

/** Names and looks for the lines of a panel's queries. */
export function dressed(panel, lines) {
  for (const line of lines) line.name = named(line, lines);
  for (const line of lines) line.config = configured(panel, line.name, line.question.ref, line.points);
  return lines;
}

function named(line, lines) {
  const { legend } = line.question;
  if (legend && legend !== "__auto") {
    return legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => line.labels[label] ?? "");
  }
  const labels = Object.entries(line.labels).filter(([label]) => label !== "__name__");
  const telling = labels.filter(([label, value]) => lines.some((other) => other.labels[label] !== value));
  if (telling.length === 1) return telling[0][1];
  const shown = (telling.length ? telling : labels).map(([label, value]) => `${label}="${value}"`);
  return shown.length ? `{${shown.join(", ")}}` : line.question.expr;
}

/** A field's settings: the panel's, and what is said of fields with that name, query or values. */
export function configured(panel, name, ref, points = []) {
  const config = structuredClone(panel.fieldConfig?.defaults ?? {});
  for (const { matcher, properties } of panel.fieldConfig?.overrides ?? []) {
    if (!matches(matcher, name, ref, points)) continue;
    for (const { id, value } of properties) {
      const path = id.split(".");
      const last = path.pop();
      path.reduce((place, key) => (place[key] ??= {}), config)[last] = value;
    }
  }
  return config;
}

function matches({ id, options }, name, ref, points) {
  if (id === "byName") return options === name;
  if (id === "byFrameRefID") return options === ref;
  if (id === "byRegexp") return new RegExp(options.replace(/^\/(.*)\/$/, "$1")).test(name);
  if (id === "byValue" && options.reducer === "allIsZero") return points.every(([, value]) => value === 0);
  throw new Error(`an override ${id} can't be drawn yet`);
}

const REDUCERS = {
  lastNotNull: (values) => values.at(-1),
  last: (values) => values.at(-1),
  max: (values) => Math.max(...values),
  min: (values) => Math.min(...values),
  mean: (values) => values.reduce((sum, value) => sum + value, 0) / values.length,
  sum: (values) => values.reduce((sum, value) => sum + value, 0),
};
const TITLES = { lastNotNull: "Last *", last: "Last", max: "Max", min: "Min", mean: "Mean", sum: "Total" };

/** One number for a line; null when there is none. */
export function reduced(line, calculation) {
  const reduce = REDUCERS[calculation];
  if (!reduce) throw new Error(`the calculation ${calculation} can't be drawn yet`);
  const values = line.points.map(([, value]) => value).filter((value) => !Number.isNaN(value));
  return values.length ? reduce(values) : null;
}

export const calculationTitle = (calculation) => TITLES[calculation];
