// Draws a dashboard's panels with Grafana's component library; only the timeline is drawn here.

import {
  createTheme,
  dateTime,
  getFieldDisplayName,
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
import { framesOf, type Panel, type Picture } from "./data";

// Grafana's grid.
const COLUMNS = 24;
const CELL_HEIGHT = 30;
const GAP = 8;
const MARGIN = 16;
const NARROW = 769;

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
  const { reduceOptions, colorMode, graphMode, justifyMode, text, textMode } = panel.options;
  const shown = getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig,
    reduceOptions,
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
  });
  const options = { colorMode, graphMode, justifyMode, text, textMode };
  const each = width / shown.length;
  return (
    <div style={{ display: "flex" }}>
      {shown.map(({ display }, i) => (
        <BigValue key={i} {...{ ...options, height, theme }} width={each} value={display} />
      ))}
    </div>
  );
}

/** Grafana keeps its state timeline to itself: a plain one, with the panel's own colours. */
function StateTimeline({ frames, width, height, timeRange }: Props): ReactElement {
  const theme = useTheme2();
  const names = width < 500 ? 110 : 150;
  const axis = 22;
  const row = (height - axis) / frames.length;
  const [from, to] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const x = (time: number) => names + ((time - from) / (to - from)) * (width - names);
  const font = { ...theme.typography.bodySmall, fill: theme.colors.text.primary };
  const ticks = [1, 2, 3].map((n) => from + ((to - from) * n) / 4);
  return (
    <svg width={width} height={height}>
      {frames.map(({ fields: [time, value] }, i) => {
        const step = time.config.interval!;
        const points = time.values.map((at: number, n: number) => ({ at, value: value.values[n] }));
        const states = points.filter(
          (point, n) => !n || point.value !== points[n - 1].value || point.at - points[n - 1].at > step,
        );
        return (
          <g key={i} transform={`translate(0 ${i * row})`}>
            <text {...{ style: font }} x={0} y={row / 2 + 4}>
              {getFieldDisplayName(value, frames[i], frames)}
            </text>
            {states.map((state, n) => {
              const next = states[n + 1]?.at ?? Infinity;
              const last = points.findLast((point) => point.at < next)!.at;
              const shown = value.display!(state.value);
              const [left, right] = [x(Math.max(from, state.at)), x(Math.min(to, last + step))];
              return (
                <g key={n}>
                  <rect
                    {...{ x: left, y: row * 0.08, width: Math.max(1, right - left) }}
                    {...{ height: row * 0.84, fill: shown.color, fillOpacity: 0.8 }}
                  />
                  {right - left > 7 * shown.text.length + 8 && (
                    <text
                      style={{ ...font, fill: theme.colors.getContrastText(shown.color!) }}
                      {...{ x: left + 6, y: row / 2 + 4 }}
                    >
                      {shown.text}
                    </text>
                  )}
                </g>
              );
            })}
          </g>
        );
      })}
      {ticks.map((at) => (
        <text
          {...{ key: at, x: x(at), y: height - 5, textAnchor: "middle" }}
          style={{ ...font, fill: theme.colors.text.secondary }}
        >
          {dateTime(at).utc().format("HH:mm:ss")}
        </text>
      ))}
    </svg>
  );
}

const VISUALIZATIONS: Record<Panel["type"], (props: Props) => ReactElement> = {
  stat: Stat,
  "state-timeline": StateTimeline,
  table: ({ panel, frames, ...size }) => (
    <TableNG {...size} cellHeight={panel.options.cellHeight} data={frames[0]} />
  ),
  timeseries: ({ panel, ...props }) => (
    <TimeSeries {...props} legend={panel.options.legend} timeZone="utc" />
  ),
};

/** Where panels are, and as on a phone, one below the other, where there is no room. */
function places(panels: Panel[], full: number) {
  const column = (full + GAP) / COLUMNS;
  const pixels = (cells: number) => cells * (CELL_HEIGHT + GAP);
  let below = 0;
  return panels.map(({ gridPos: { x, y, w, h } }) => {
    const size = { height: pixels(h) - GAP };
    if (innerWidth >= NARROW) {
      return { ...size, left: x * column, top: pixels(y), width: w * column - GAP };
    }
    below += pixels(h);
    return { ...size, left: 0, top: below - pixels(h), width: full };
  });
}

function Dashboard({ picture, data }: { picture: Picture; data: Data }): ReactElement {
  const theme = useTheme2();
  const [from, to] = [dateTime(picture.from), dateTime(picture.to)];
  const timeRange = { from, to, raw: { from, to } };
  const background = theme.colors.background.canvas;
  const all = places(picture.panels, innerWidth - 2 * MARGIN);
  const height = Math.max(...all.map((one) => one.top + one.height));
  return (
    <main style={{ padding: `1px ${MARGIN}px ${GAP}px`, background }}>
      <h2 style={{ ...theme.typography.h5, margin: `${2 * GAP}px 0 ${GAP}px` }}>
        {picture.title}
        <small style={{ ...theme.typography.bodySmall, color: theme.colors.text.secondary }}>
          {" · "}instance: {picture.chosen.join(", ") || "all"}
        </small>
      </h2>
      <div style={{ position: "relative", height, marginBottom: GAP }}>
        {picture.panels.map((panel, i) => {
          const Visualization = VISUALIZATIONS[panel.type];
          const { title, description } = panel;
          const { width, height } = all[i];
          return (
            <div key={panel.id} style={{ position: "absolute", ...all[i] }}>
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
      <footer style={{ ...theme.typography.bodySmall, color: theme.colors.text.secondary }}>
        Panels of grafana/dashboards, drawn by Grafana&rsquo;s component library {library.version}{" "}
        from a real run&rsquo;s data; the timeline is drawn without it
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
for (const panel of picture.panels) {
  data.set(panel.id, await framesOf(panel, theme));
}
show(<Dashboard {...{ picture, data }} />);
