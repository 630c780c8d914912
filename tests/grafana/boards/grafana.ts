// The type of a dashboard, put together from what @grafana/schema says of its parts, and turned
// into what stands in JSON: the words of an enumeration instead of its names.
import type * as schema from "@grafana/schema";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.d.ts";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts";
import type * as timeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen.d.ts";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen.d.ts";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts";

type Written<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends object
      ? { [K in keyof T]: Written<T[K]> }
      : T;

// Prometheus' own fields: they are in the package of that data source, not in the schema.
interface Query extends schema.DataQuery {
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
  exemplar: boolean;
  format?: "table" | "heatmap";
}
interface Event extends schema.AnnotationQuery {
  expr: string;
  step: string;
  titleFormat: string;
  textFormat: string;
}

interface Defaults<Custom> extends Omit<schema.FieldConfig, "custom"> {
  custom?: Partial<Custom>;
}
interface Panel<Kind, Options, Custom = never>
  extends Omit<schema.Panel, "type" | "options" | "targets" | "fieldConfig"> {
  type: Kind;
  options: Options;
  targets: Query[];
  fieldConfig: Omit<schema.FieldConfigSource, "defaults"> & { defaults: Defaults<Custom> };
}

interface Dashboard extends Omit<schema.Dashboard, "panels" | "annotations"> {
  panels: Array<
    | schema.RowPanel
    | Panel<"heatmap", heatmap.Options, heatmap.FieldConfig>
    | Panel<"stat", stat.Options>
    | Panel<"state-timeline", timeline.Options, timeline.FieldConfig>
    | Panel<"table", table.Options, table.FieldConfig>
    | Panel<"timeseries", timeseries.Options, timeseries.FieldConfig>
  >;
  annotations: { list: Event[] };
}

export type Board = Written<Dashboard>;
