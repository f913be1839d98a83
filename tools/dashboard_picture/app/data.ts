// From what Prometheus answered to what Grafana's components draw, as Grafana itself does it.

import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  createDataFrame,
  FieldConfigOptionsRegistry,
  FieldType,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
  type DataFrame,
  type DataTransformerConfig,
  type FieldConfigPropertyItem,
  type FieldConfigSource,
  type GrafanaTheme2,
  type ReduceDataOptions,
} from "@grafana/data";
import type { TableCellHeight, VizLegendOptions, VizTextDisplayOptions } from "@grafana/schema";
import type {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
} from "@grafana/ui";
import { lastValueFrom } from "rxjs";

export interface Series {
  refId: string;
  format: "time_series" | "table" | "heatmap";
  name: string;
  labels: Record<string, string>;
  step: number;
  times: number[];
  values: (number | null)[];
}

/** Of those of the kinds of panel, what their components are given. */
export interface Options {
  reduceOptions: ReduceDataOptions;
  colorMode: BigValueColorMode;
  graphMode: BigValueGraphMode;
  justifyMode: BigValueJustifyMode;
  text: VizTextDisplayOptions;
  textMode: BigValueTextMode;
  legend: VizLegendOptions;
  cellHeight: TableCellHeight;
}

export interface Panel {
  id: number;
  type: "stat" | "state-timeline" | "table" | "timeseries";
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  options: Options;
  fieldConfig: FieldConfigSource;
  transformations?: DataTransformerConfig[];
  frames: Series[];
}

export interface Picture {
  from: number;
  to: number;
  title: string;
  chosen: string[];
  panels: Panel[];
}

// Those that the dashboards use.
const { mergeTransformer, sortByTransformer, limitTransformer, organizeFieldsTransformer } =
  standardTransformers;
standardTransformersRegistry.setInit(() =>
  [mergeTransformer, sortByTransformer, limitTransformer, organizeFieldsTransformer].map(
    (transformation) => ({
      ...transformation,
      transformation: () => Promise.resolve(transformation),
      editor: () => null,
      imageDark: "",
      imageLight: "",
    }),
  ),
);

/** Return a panel's data, transformed, and with its field options and their overrides. */
export async function framesOf(panel: Panel, theme: GrafanaTheme2): Promise<DataFrame[]> {
  const table = panel.frames.some((series) => series.format === "table");
  const asked = table ? tables(panel.frames) : panel.frames.map(graph);
  const data = await lastValueFrom(transformDataFrame(panel.transformations ?? [], asked));
  const fieldConfig = withLowestStep(panel.fieldConfig);
  const frames = applyFieldOverrides({
    data,
    fieldConfig,
    fieldConfigRegistry: registry(fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
  });
  cacheFieldDisplayNames(frames);
  return frames;
}

function graph({ refId, name, labels, step, times, values }: Series): DataFrame {
  return createDataFrame({
    refId,
    fields: [
      { name: "Time", type: FieldType.time, values: times, config: { interval: step } },
      {
        name: "Value",
        type: FieldType.number,
        values,
        labels,
        config: { displayNameFromDS: name },
      },
    ],
  });
}

/** Give a table for each query: the time, each label, and the value. */
function tables(all: Series[]): DataFrame[] {
  return [...Map.groupBy(all, (series) => series.refId)].map(([refId, rows]) => {
    const labels = [...new Set(rows.flatMap((row) => Object.keys(row.labels)))].sort();
    const values = rows.map((row) => row.values[0]);
    return createDataFrame({
      refId,
      fields: [
        { name: "Time", type: FieldType.time, values: rows.map((row) => row.times[0]) },
        ...labels.map((label) => ({
          name: label,
          type: FieldType.string,
          values: rows.map((row) => row.labels[label]),
        })),
        { name: `Value #${refId}`, type: FieldType.number, values },
      ],
    });
  });
}

/** JSON has no -Infinity: the first threshold is null there. */
function withLowestStep(config: FieldConfigSource): FieldConfigSource {
  const steps = config.defaults.thresholds?.steps ?? [];
  return {
    ...config,
    defaults: {
      ...config.defaults,
      thresholds: {
        ...config.defaults.thresholds!,
        steps: steps.map((step) => ({ ...step, value: step.value ?? -Infinity })),
      },
    },
  };
}

/** Have every field option known that the panel uses: the editors are in Grafana's application. */
function registry({ defaults, overrides }: FieldConfigSource): FieldConfigOptionsRegistry {
  const ids = new Set([
    ...Object.keys(defaults).filter((id) => id !== "custom"),
    ...Object.keys(defaults.custom ?? {}).map((id) => `custom.${id}`),
    ...overrides.flatMap((override) => override.properties.map((property) => property.id)),
  ]);
  return new FieldConfigOptionsRegistry(() =>
    [...ids].map((id): FieldConfigPropertyItem => ({
      id,
      name: id,
      path: id.replace("custom.", ""),
      isCustom: id.startsWith("custom."),
      process: identityOverrideProcessor,
      shouldApply: () => true,
      editor: () => null,
      override: () => null,
    })),
  );
}
