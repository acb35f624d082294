import { describe, expect, it } from 'vitest';
import { type Chart, chartSvg, type Curve, type Look } from './chart.js';
import { BACKGROUNDS, COLOURS, contrast, INK } from './palette.js';
import { COLUMN_WIDTH, legendOf, pictureSvg } from './picture.js';
import { element, escaped, widthOf } from './svg.js';

const LOOK: Look = { colour: COLOURS[0], marker: 'circle', line: 'solid' };
const curve = (name: string, more: Partial<Curve> = {}): Curve => ({
  name,
  look: LOOK,
  x: [1, 10, 100],
  y: [5, 6, 7],
  ...more,
});
const chart = (curves: Curve[], more: Partial<Chart> = {}): Chart => ({
  title: 'read',
  x: { title: 'clients', scale: 'log10' },
  y: { title: 'latency (us)', scale: 'linear', include: 0 },
  curves,
  ...more,
});
const BOX = { x: 0, y: 0, width: 400, height: 260 };
/** Places of all markers that are circles. */
const circles = (svg: string) =>
  [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map((m) => [
    Number(m[1]),
    Number(m[2]),
  ]);
const texts = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map((m) => m[1]);

describe('colours', () => {
  it.each([INK, ...COLOURS])('%s can be seen on light and on dark pages', (colour) => {
    for (const background of BACKGROUNDS) {
      expect(contrast(colour, background)).toBeGreaterThanOrEqual(3);
    }
  });

  it('knows contrast as it is defined', () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21);
    expect(contrast('#777777', '#ffffff')).toBeCloseTo(4.48, 2);
  });
});

describe('elements', () => {
  it('escapes words, and leaves attributes without value out', () => {
    expect(escaped('a < b & "c"')).toBe('a &lt; b &amp; &quot;c&quot;');
    expect(element('a', { b: '"', c: undefined, d: 1 / 3 })).toBe('<a b="&quot;" d="0.33"/>');
  });
});

describe('a chart', () => {
  it('puts points where their values are', () => {
    const [first, middle, last] = circles(chartSvg(chart([curve('a')]), BOX)) as [number, number][];
    expect((middle?.[0] ?? 0) - (first?.[0] ?? 0)).toBeCloseTo(
      (last?.[0] ?? 0) - (middle?.[0] ?? 0),
    );
    expect(last?.[1]).toBeLessThan(first?.[1] as number);
    for (const [x, y] of [first, middle, last] as [number, number][]) {
      expect(x).toBeGreaterThan(0);
      expect(x).toBeLessThan(BOX.width);
      expect(y).toBeGreaterThan(0);
      expect(y).toBeLessThan(BOX.height);
    }
  });

  it('draws the spread as a band, and none where there is none', () => {
    const spread = { low: [4, 5, 6], high: [6, 7, 8] };
    expect(chartSvg(chart([curve('a', spread)]), BOX)).toMatch(/fill-opacity="0.16"/);
    expect(chartSvg(chart([curve('a')]), BOX)).not.toMatch(/fill-opacity="0.16"/);
  });

  it('says its axes with units', () => {
    expect(texts(chartSvg(chart([curve('a')]), BOX))).toEqual(
      expect.arrayContaining(['read', 'clients', 'latency (us)', '0', '10', '100']),
    );
  });

  it('leaves out what a logarithmic axis cannot show', () => {
    const y = { title: 'latency (us)', scale: 'log10' } as const;
    const svg = chartSvg(chart([curve('a', { y: [0, 6, 7] })], { y }), BOX);
    expect(circles(svg).length).toBe(2);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });

  it('draws bars in bands of labels, each with its whisker, none upon another', () => {
    const x = { title: 'access', scale: 'labels', labels: ['hit', 'first touch', 'miss'] } as const;
    const bars = (name: string) => curve(name, { x: [0, 1, 2], low: [4, 5, 6], high: [6, 7, 8] });
    const svg = chartSvg(chart([bars('a'), bars('b')], { x }), BOX);
    const found = [...svg.matchAll(/<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g)];
    const places = found.map((m) => [Number(m[1]), Number(m[1]) + Number(m[2])] as const);
    expect(places.length).toBe(6);
    const sorted = [...places].sort((a, b) => a[0] - b[0]);
    for (const [i, [, end]] of sorted.slice(0, -1).entries()) {
      expect(sorted[i + 1]?.[0]).toBeGreaterThanOrEqual(end);
    }
    expect(texts(svg)).toEqual(expect.arrayContaining(['hit', 'first touch', 'miss']));
  });
});

describe('a legend', () => {
  it('names every curve once, inside of its column, and none upon another', () => {
    const names = ['Memrack over udp, median', 'Memrack over tcp, median', 'RDMA', 'Clio', 'x & y'];
    const charts = [chart(names.map((name) => curve(name))), chart([curve('RDMA')])];
    const entries = legendOf(charts);
    expect(entries.map(({ name }) => name)).toEqual(names);
    for (const [i, one] of entries.entries()) {
      const end = one.x + 28 + widthOf(one.name, 11.5);
      expect(end).toBeLessThanOrEqual(COLUMN_WIDTH);
      const next = entries[i + 1];
      if (next !== undefined && next.y === one.y) expect(next.x).toBeGreaterThanOrEqual(end);
    }
  });
});

describe('a picture', () => {
  it('is one SVG with a title and with text as text, the same each time', () => {
    const columns = [
      { heading: 'measured', charts: [chart([curve('a <b>')]), chart([curve('c')])] },
      { heading: 'models', charts: [chart([curve('RDMA')])] },
      { heading: 'nothing', charts: [] },
    ];
    const svg = pictureSvg({ title: 'Latency & clients', columns });
    expect(svg).toMatch(/^<svg [^>]*viewBox="0 0 900 /);
    expect(svg).toContain('<title>Latency &amp; clients</title>');
    expect(texts(svg)).toEqual(expect.arrayContaining(['measured', 'models', 'a &lt;b&gt;']));
    expect(texts(svg)).not.toContain('nothing');
    expect(pictureSvg({ title: 'Latency & clients', columns })).toBe(svg);
  });
});
