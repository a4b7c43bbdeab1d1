// The charts of rate and latency, and their current figures in words.

import uPlot from "uplot";
import { byId } from "./dom.ts";
import { duration, number } from "./format.ts";
import { type Figures, SPAN } from "./seconds.ts";

/** Draws the figures of the last {@link SPAN} seconds. */
export class Charts {
  readonly #rate = chart("rate-chart", {
    scale: { range: (_chart, _min, max) => [0, Math.max(4, Math.ceil(max * 1.1))] },
    axis: {
      incrs: [1, 10, 100, 1e3, 1e4, 1e5].flatMap((power) => [power, 2 * power, 5 * power]),
      values: labels(number),
    },
    series: [
      {
        fill: colour("--accent"),
        width: 0,
        paths: uPlot.paths.bars!({ size: [0.7], align: 1 }),
        points: { show: false },
      },
    ],
  });
  readonly #latency = chart("latency-chart", {
    // Pauses and lost connections take seconds, everything else milliseconds.
    scale: { distr: 3, range: (_chart, _min, max) => [1, 10 ** Math.max(3, Math.ceil(Math.log10(max)))] },
    axis: { splits: (_chart, _axis, _min, max) => powersOfTen(max), values: labels(duration) },
    series: [
      { stroke: colour("--maximum"), width: 1.5, dash: [4, 3], points: { show: true, size: 4, filter: isolated } },
      { stroke: colour("--accent"), width: 2, points: { show: true, size: 4, filter: isolated } },
    ],
  });

  show({ at, records, median, maximum }: Figures): void {
    this.#rate.setData([at, records]);
    this.#latency.setData([at, maximum.map(atLeastOne), median.map(atLeastOne)]);
    const recent = records.slice(-RECENT).filter((value) => value !== null);
    if (!recent.length) return;
    const rate = recent.reduce((sum, value) => sum + value, 0) / recent.length;
    byId("rate").textContent = `${number(rate)} per second`;
    byId("median").textContent = `median ${latest(median)}`;
    byId("maximum").textContent = `maximum ${latest(maximum)}`;
  }
}

interface Kind {
  scale: uPlot.Scale;
  axis: uPlot.Axis;
  series: uPlot.Series[];
}

/** A chart as wide as its element, in the colours of the page. */
function chart(id: string, { scale, axis, series }: Kind): uPlot {
  const element = byId(id);
  const shared: uPlot.Axis = {
    stroke: colour("--secondary"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  const drawn = new uPlot(
    {
      width: element.clientWidth,
      height: HEIGHT,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: [-SPAN, 0] }, y: scale },
      axes: [
        {
          ...shared,
          size: 30,
          gap: 8,
          splits: () => [-60, -30, 0],
          values: labels((at) => (at ? `${-at} s ago` : "now")),
        },
        { ...shared, size: 52, ...axis },
      ],
      series: [{}, ...series],
    },
    [[], ...series.map(() => [])],
    element,
  );
  new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT })).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.redraw());
  return drawn;
}

/** The latency of the last second with records, if that was recently. */
function latest(latencies: (number | null)[]): string {
  const last = latencies.slice(-RECENT).findLast((value) => value !== null);
  return typeof last === "number" ? duration(last) : "unknown";
}

/** A colour of page.css, read whenever the chart is drawn. */
function colour(variable: string): () => string {
  return () => getComputedStyle(document.documentElement).getPropertyValue(variable);
}

/** Points without neighbours, which no line shows. */
function isolated(chart: uPlot, series: number): number[] {
  const values = chart.data[series]!;
  return [...values.keys()].filter(
    (index) => values[index] != null && values[index - 1] == null && values[index + 1] == null,
  );
}

function labels(format: (value: number) => string): uPlot.Axis.DynamicValues {
  return (_chart, splits) => splits.map(format);
}

function powersOfTen(max: number): number[] {
  return Array.from({ length: Math.round(Math.log10(max)) + 1 }, (_, power) => 10 ** power);
}

/** The logarithmic scale begins at 1 ms. If the clocks differ, latencies can even be negative. */
function atLeastOne(value: number | null): number | null {
  return value === null ? null : Math.max(1, value);
}

/** Seconds behind the figures in words. */
const RECENT = 5;
/** Pixels. */
const HEIGHT = 160;
