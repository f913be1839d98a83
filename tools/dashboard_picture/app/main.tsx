// Draws the dashboard's panels with Grafana's component library; only the rows are drawn here.

import {
  createTheme,
  dateTime,
  getFieldDisplayValues,
  ThemeContext,
  type DataFrame,
  type TimeRange,
} from "@grafana/data";
import { BigValue, GlobalStyles, PanelChrome, TimeSeries, useTheme2 } from "@grafana/ui";
import library from "@grafana/ui/package.json";
import { TableNG } from "@grafana/ui/unstable";
import type { ReactElement } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import { framesOf, type Panel, type Picture, type Row } from "./data";

// Grafana's grid.
const COLUMNS = 24;
const CELL_HEIGHT = 30;
const GAP = 8;
const MARGIN = 16;

type Data = Map<number, DataFrame[]>; // by the panel's id

interface Props {
  panel: Panel;
  frames: DataFrame[];
  width: number;
  height: number;
  timeRange: TimeRange;
}

function Stat({ panel, frames, width, height }: Props): ReactElement {
  const theme = useTheme2();
  const { reduceOptions, colorMode, graphMode, justifyMode, textMode } = panel.options;
  const [shown] = getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig,
    reduceOptions,
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
  });
  const options = { colorMode, graphMode, justifyMode, textMode };
  return <BigValue {...{ ...options, width, height, theme }} value={shown.display} />;
}

const VISUALIZATIONS: Record<Panel["type"], (props: Props) => ReactElement> = {
  stat: Stat,
  table: ({ panel, frames, ...size }) => (
    <TableNG {...size} cellHeight={panel.options.cellHeight} data={frames[0]} />
  ),
  timeseries: ({ panel, ...props }) => (
    <TimeSeries {...props} legend={panel.options.legend} timeZone="utc" />
  ),
};

function place({ x, y, w, h }: Panel["gridPos"], top: number, full: number) {
  const column = (full + GAP) / COLUMNS;
  return {
    left: x * column,
    top: (y - top) * (CELL_HEIGHT + GAP),
    width: w * column - GAP,
    height: h * (CELL_HEIGHT + GAP) - GAP,
  };
}

interface RowProps {
  row: Row;
  data: Data;
  timeRange: TimeRange;
}

function DashboardRow({ row, data, timeRange }: RowProps): ReactElement {
  const theme = useTheme2();
  const top = Math.min(...row.panels.map((panel) => panel.gridPos.y));
  const places = row.panels.map((panel) => place(panel.gridPos, top, innerWidth - 2 * MARGIN));
  const height = Math.max(...places.map((one) => one.top + one.height));
  return (
    <section>
      <h2 style={{ ...theme.typography.h5, margin: `${2 * GAP}px 0 ${GAP}px` }}>
        {row.title}
        <small style={{ ...theme.typography.bodySmall, color: theme.colors.text.secondary }}>
          {" · "}instance: {row.chosen.join(", ") || "all"}
        </small>
      </h2>
      <div style={{ position: "relative", height, marginBottom: GAP }}>
        {row.panels.map((panel, i) => {
          const Visualization = VISUALIZATIONS[panel.type];
          const { title, description } = panel;
          const { width, height } = places[i];
          return (
            <div key={panel.id} style={{ position: "absolute", ...places[i] }}>
              <PanelChrome {...{ title, description, width, height }}>
                {(width: number, height: number) => (
                  <Visualization
                    {...{ panel, width, height, timeRange, frames: data.get(panel.id)! }}
                  />
                )}
              </PanelChrome>
            </div>
          );
        })}
      </div>
    </section>
  );
}

function Dashboard({ picture, data }: { picture: Picture; data: Data }): ReactElement {
  const theme = useTheme2();
  const [from, to] = [dateTime(picture.from), dateTime(picture.to)];
  const timeRange = { from, to, raw: { from, to } };
  const background = theme.colors.background.canvas;
  return (
    <main style={{ padding: `1px ${MARGIN}px ${GAP}px`, background }}>
      {picture.rows.map((row) => (
        <DashboardRow key={row.title} {...{ row, data, timeRange }} />
      ))}
      <footer style={{ ...theme.typography.bodySmall, color: theme.colors.text.secondary }}>
        Panels of grafana/dashboards/qsticky.json, drawn by Grafana&rsquo;s component library{" "}
        {library.version} from a real run&rsquo;s data
      </footer>
    </main>
  );
}

const mode = new URLSearchParams(location.search).get("mode") === "dark" ? "dark" : "light";
const theme = createTheme({ colors: { mode } });
const root = createRoot(document.getElementById("root")!);
const show = (content?: ReactElement) =>
  root.render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {content}
    </ThemeContext.Provider>,
  );
flushSync(show); // which declares the font: graphs are drawn on canvas, once
await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 1em Inter`)));

const picture: Picture = await (await fetch("data.json")).json();
const data: Data = new Map();
for (const panel of picture.rows.flatMap((row) => row.panels)) {
  data.set(panel.id, await framesOf(panel, theme));
}
show(<Dashboard {...{ picture, data }} />);
