/**
 * Colours for pictures without a background of their own, which are read on white pages and on dark
 * ones: of middling lightness, so that each stands out from both. Curves differ by marker and dash
 * as well, for readers who see colours otherwise.
 */

/** Of pages on which the pictures are read: light and dark. */
export const BACKGROUNDS = ['#ffffff', '#0d1117'] as const;

/** Axes, ticks and words. */
export const INK = '#76808c';
/** Lines of the grid: hardly there. */
export const GRID = '#76808c';
export const GRID_OPACITY = 0.22;

/** Told apart also by lightness where two are neighbours. */
export const COLOURS = [
  '#2f7fd6',
  '#d9680f',
  '#2a9152',
  '#b04fc9',
  '#d64550',
  '#13909a',
  '#a07a10',
  '#8273e0',
  '#c2478b',
  '#6f8a1e',
] as const;

export const MARKERS = ['circle', 'square', 'triangle', 'diamond', 'cross'] as const;

export type Marker = (typeof MARKERS)[number];

function channel(hex: string, at: number): number {
  const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
}

function luminance(hex: string): number {
  return 0.2126 * channel(hex, 1) + 0.7152 * channel(hex, 3) + 0.0722 * channel(hex, 5);
}

/** Of two colours `#rrggbb`, from 1 to 21, as the guidelines for accessible pages define it. */
export function contrast(one: string, other: string): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
