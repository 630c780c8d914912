// A dashboard, drawn from its JSON and what a Prometheus answers to its queries.
//
// plan.json says all: the dashboard, its questions with their variables filled in, the time
// that is looked at, and Prometheus' address. What was drawn, and what could not be, stands in
// `report` when the promise `drawn` is done.

import { ask, dressed, events, exemplars } from "./data.js";
import { element } from "./element.js";
import { clock, mapped } from "./format.js";
import { heatmap } from "./heatmap.js";
import { stat } from "./stat.js";
import { statetimeline } from "./statetimeline.js";
import { table } from "./table.js";
import { timeseries } from "./timeseries.js";

const DRAWERS = { heatmap, stat, "state-timeline": statetimeline, table, timeseries };
const [ROW, GAP, COLUMNS] = [30, 8, 24]; // Grafana's grid, in pixels

window.drawn = draw();

async function draw() {
  await document.fonts.ready;
  const plan = await (await fetch("plan.json")).json();
  const { dashboard, span } = plan;
  document.querySelector("header").append(...heading(plan));
  const main = document.querySelector("main");
  const drawable = { ...plan, events: await happened(plan) };
  const report = await Promise.all(dashboard.panels.map((panel) => placed(main, panel, drawable)));
  main.style.height = `${Math.max(...dashboard.panels.map(({ gridPos: at }) => at.y + at.h)) * (ROW + GAP)}px`;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return report.filter(Boolean);
}

function heading({ dashboard, values, span }) {
  const chosen = dashboard.templating.list
    .filter(({ hide, type }) => !hide && type !== "datasource")
    .map(({ name, label, includeAll }) =>
      element("span", { className: "choice" }, element("b", {}, label || name), element("span", {}, includeAll ? "All" : values[name][0])),
    );
  const time = `${clock(span.start)} to ${clock(span.end)} UTC`;
  return [element("h1", {}, dashboard.title), ...chosen, element("span", { className: "choice" }, element("b", {}, time))];
}

async function happened(plan) {
  const found = await Promise.all(
    plan.annotations.map(async (annotation) =>
      (await events(plan, annotation)).map((at) => ({ at, shade: annotation.colour })),
    ),
  );
  return found.flat();
}

/** Draws a panel where it belongs; returns what came of it, nothing for a row's heading. */
async function placed(main, panel, plan) {
  const { x, y, w, h } = panel.gridPos;
  const column = (main.clientWidth + GAP) / COLUMNS;
  const style = {
    left: `${x * column}px`,
    top: `${y * (ROW + GAP)}px`,
    width: `${w * column - GAP}px`,
    height: `${h * (ROW + GAP) - GAP}px`,
  };
  if (panel.type === "row") {
    main.append(element("div", { className: "row", style }, panel.title));
    return undefined;
  }
  const content = element("div", { className: "content" });
  const title = element("h2", {}, panel.title);
  if (panel.description) title.append(element("i", {}, "i"));
  if (panel.links?.length) title.append(element("a", {}, "↗"));
  main.append(element("section", { className: "panel", style }, title, content));
  const told = { id: panel.id, title: panel.title, type: panel.type };
  try {
    return { ...told, ...(await filled(content, panel, plan)) };
  } catch (error) {
    content.replaceChildren(element("div", { className: "empty failed" }, error.message));
    return { ...told, state: "failed", reason: error.message };
  }
}

async function filled(content, panel, plan) {
  const draw = DRAWERS[panel.type];
  if (!draw) throw new Error(`a ${panel.type} can't be drawn yet`);
  const questions = plan.questions.filter((question) => question.panel === panel.id);
  const answers = await Promise.all(questions.map((question) => ask(plan, question)));
  const lines = dressed(panel, answers.flat());
  const dots = (await Promise.all(questions.filter((q) => q.exemplars).map((q) => exemplars(plan, q)))).flat();
  const empty = lines.length === 0;
  const words = panel.type === "stat" && mapped(null, panel.fieldConfig?.defaults?.mappings);
  const none = panel.fieldConfig?.defaults?.noValue ?? "No data";
  if (empty && !words) content.append(element("div", { className: "empty" }, none));
  else draw(content, panel, { lines, dots, events: plan.events, span: plan.span });
  return { state: empty ? "empty" : "drawn" };
}
