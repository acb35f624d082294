import { describe, expect, it } from 'vitest';
import { parseFigures } from './main.js';
import { MEASUREMENTS } from './measured.js';
import { figuresPage, tableOf, wrapped } from './page.js';
import { drawn, HEADINGS, pictureFile, pictureOf } from './pictures.js';
import { isProvisional, type MeasuredFigures, merged, recordText } from './record.js';
import { type Figure, FIGURE_AXES, FIGURES, type FigureName, type Series } from './series.js';
import { WORDS } from './words.js';

const axesOf = (name: FigureName) => FIGURE_AXES.find((one) => one.name === name) as Figure;

const curve = (more: Partial<Series> = {}): Series => ({
  figure: '4.4',
  panel: 'read',
  system: 'Memrack over udp, median',
  kind: 'measured',
  x: [1, 10, 1000],
  y: [9, 10, 12.3456],
  yLow: [8, 9, 11],
  yHigh: [10, 11, 14],
  xUnit: 'processes',
  yUnit: 'us',
  ...more,
});

const measured = (more: Partial<MeasuredFigures> = {}): MeasuredFigures => ({
  figures: ['4.4'],
  at: '2026-01-02T03:04:05.678Z',
  commit: 'abc',
  rounds: 5,
  busyBefore: 0.01,
  machine: { cores: 2 },
  series: [curve()],
  ...more,
});

describe('what is kept', () => {
  it('is read as it was written, to five digits', () => {
    const all = [measured(), measured({ figures: ['4.10', '4.11'], series: [] })];
    const read = JSON.parse(recordText(all)) as MeasuredFigures[];
    expect(read[0]?.series[0]?.y).toEqual([9, 10, 12.346]);
    expect(recordText(read)).toBe(recordText(all));
  });

  it('is replaced by figure, in the order of figures', () => {
    const earlier = [measured({ commit: 'old' }), measured({ figures: ['4.12'] })];
    const fresh = [measured({ commit: 'new' }), measured({ figures: ['4.5'] })];
    const all = merged(earlier, fresh);
    expect(all.map(({ figures, commit }) => [figures[0], commit])).toEqual([
      ['4.4', 'new'],
      ['4.5', 'abc'],
      ['4.12', 'abc'],
    ]);
  });

  it('is provisional after few rounds or beside much other work', () => {
    expect(isProvisional(measured())).toBe(false);
    expect(isProvisional(measured({ rounds: 4 }))).toBe(true);
    expect(isProvisional(measured({ busyBefore: 0.5 }))).toBe(true);
  });
});

describe('a picture', () => {
  it('has what was measured beside the rest, with one colour for one thing', () => {
    const all = [
      curve(),
      curve({ system: 'Memrack over udp, p99' }),
      curve({ system: 'RDMA', kind: 'model' }),
      curve({ system: 'Memrack over udp', kind: 'simulated' }),
      curve({ system: 'Memrack over udp, protocol alone', kind: 'simulated', panel: 'write' }),
      curve({ figure: '4.5', panel: 'pages' }),
    ];
    const [mine, others] = pictureOf(axesOf('4.4'), all).columns;
    expect([mine?.heading, others?.heading]).toEqual(Object.values(HEADINGS));
    const [median, p99, simulated] = mine?.charts[0]?.curves ?? [];
    expect([median?.look.isHollow, p99?.look.isHollow]).toEqual([false, true]);
    expect(mine?.charts[0]?.curves.length).toBe(3);
    expect(others?.charts.map(({ title }) => title)).toEqual(['read', 'write']);
    expect(simulated?.look.colour).toBe(median?.look.colour);
    expect(p99?.look.colour).toBe(median?.look.colour);
    expect(others?.charts[0]?.curves[0]?.look.colour).not.toBe(median?.look.colour);
    expect(simulated?.look.line).toBe('dashed');
  });

  it('is drawn for every figure, of one curve in each panel', () => {
    for (const figure of FIGURE_AXES) {
      const all = figure.panels.map(({ name, xUnit, yUnit }) =>
        curve({ figure: figure.name, panel: name, xUnit, yUnit, x: [0, 1, 2] }),
      );
      const svg = drawn(figure, all);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
      for (const { name } of figure.panels) expect(svg).toContain(`>${name}<`);
    }
  });
});

describe('the page', () => {
  it('has words for every figure, and measures every one', () => {
    expect(Object.keys(WORDS).sort()).toEqual([...FIGURES].sort());
    const run = MEASUREMENTS.flatMap(({ figures }) => figures);
    expect([...run].sort()).toEqual([...FIGURES].sort());
  });

  it('links the picture, and says what is provisional', () => {
    const parts = { others: [], words: (name: FigureName) => WORDS[name] };
    const page = figuresPage({ ...parts, measured: [measured({ rounds: 2 })] });
    expect(page).toContain(`(figures/${pictureFile('4.4')})`);
    expect(page).toContain('| 4.4 | 2026-01-02T03:04Z | abc | 2 | 1 % | provisional |');
    expect(page).toContain('**Provisional**: 2 rounds, while others took 1 % of the processors.');
    expect(page).not.toContain('## 4.5');
    expect(figuresPage({ ...parts, measured: [measured()] })).not.toMatch(/\bprovisional \|/);
    const unmeasured = figuresPage({ ...parts, measured: [], others: [curve({ kind: 'model' })] });
    expect(unmeasured).toContain('**Not measured yet**');
    const tooLong = page.split('\n').filter((line) => line.length > 100 && !line.startsWith('|'));
    expect(tooLong).toEqual([]);
  });

  it('tells points of curves, and quantiles of a distribution', () => {
    expect(tableOf(axesOf('4.4'), [curve()])).toContain(
      '| Memrack over udp, median | measured | 9 (8 to 10) | 10 (9 to 11) | 12.3 (11 to 14) |',
    );
    const distribution = curve({ figure: '4.7', x: [7, 8, 30], y: [0.5, 0.9, 0.99] });
    expect(tableOf(axesOf('4.7'), [distribution])).toContain('| 7 | 8 | 30 |  |  |');
  });

  it('breaks lines at words', () => {
    const words = Array.from({ length: 60 }, (_, i) => `word${i}`).join(' ');
    const lines = wrapped(words, '  ').split('\n');
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(100);
    expect(lines.map((line) => line.trim()).join(' ')).toBe(words);
  });
});

describe('the command line', () => {
  it('takes figures, rounds and what to do', () => {
    expect(parseFigures(['--only', '4.4,4.13', '--rounds', '3', '--docs'])).toEqual({
      only: ['4.4', '4.13'],
      rounds: 3,
      keep: true,
      docs: true,
      redraw: false,
    });
    expect(parseFigures([]).only).toEqual(FIGURES);
  });

  it.each([['--only', '4.9'], ['--rounds', '0'], ['all']])('refuses %s %s', (...argv) => {
    expect(() => parseFigures(argv)).toThrow();
  });
});
