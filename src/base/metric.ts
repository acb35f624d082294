/** One metric as Prometheus understands it, whoever counted it and however it is shown. */

import type { HistogramCounts } from './histogram.js';

export type Metric = PlainMetric | HistogramMetric;

export interface PlainMetric {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly samples: readonly MetricSample[];
}

export interface HistogramMetric {
  readonly name: string;
  readonly kind: 'histogram';
  readonly help: string;
  readonly samples: readonly HistogramSample[];
}

export type Labels = Readonly<Record<string, string>>;

export interface MetricSample {
  readonly labels: Labels;
  readonly value: number;
}

export interface HistogramSample extends HistogramCounts {
  readonly labels: Labels;
}

export function gauge(
  name: string,
  help: string,
  samples: number | readonly MetricSample[],
): Metric {
  return { name, kind: 'gauge', help, samples: samplesOf(samples) };
}

/** Its name ends in `_total`. */
export function counter(
  name: string,
  help: string,
  samples: number | readonly MetricSample[],
): Metric {
  return { name, kind: 'counter', help, samples: samplesOf(samples) };
}

export function histogram(name: string, help: string, samples: readonly HistogramSample[]): Metric {
  return { name, kind: 'histogram', help, samples };
}

function samplesOf(samples: number | readonly MetricSample[]): readonly MetricSample[] {
  return typeof samples === 'number' ? [{ labels: {}, value: samples }] : samples;
}

/** `camelCase` as labels and names are written. */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
