/** Text of SVG elements: attributes and content escaped, numbers no longer than they need be. */

export type Attributes = Readonly<Record<string, string | number | undefined>>;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

export function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? character);
}

/** To a hundredth of a pixel, so that a picture drawn again differs only where the data does. */
export function pixels(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** `content` is SVG already: text goes through `escaped` first. Attributes without value go. */
export function element(name: string, attributes: Attributes, content = ''): string {
  let head = `<${name}`;
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined) continue;
    head += ` ${key}="${typeof value === 'number' ? pixels(value) : escaped(value)}"`;
  }
  return content === '' ? `${head}/>` : `${head}>${content}</${name}>`;
}

export interface TextOptions {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly size?: number;
  readonly fill: string;
  readonly weight?: 'bold';
}

export function text(x: number, y: number, words: string, options: TextOptions): string {
  const { anchor = 'start', size = 12, fill, weight } = options;
  const attributes = { x, y, fill, 'font-size': size, 'font-weight': weight };
  return element('text', { ...attributes, 'text-anchor': anchor }, escaped(words));
}

/**
 * About how wide text is in the sans-serif fonts that readers have: rather more than less, because
 * what is laid out by it must not overlap.
 */
export function widthOf(words: string, size = 12): number {
  return words.length * size * 0.6;
}
