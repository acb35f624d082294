import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { anchorOf, checkDocs, readLibrary } from './docs-check.js';

function complaints(text: string): string[] {
  const pages = new Map([
    ['README.md', text],
    ['docs/guide.md', '# The guide\n\n## First steps, twice\n'],
    ['docs/dependencies.md', '| `koffi` | system calls |\n'],
  ]);
  const exists = (path: string) => pages.has(path);
  return checkDocs({ pages, exists, scripts: ['ok'], dependencies: ['koffi'] });
}

describe('the documentation check', () => {
  it('accepts what exists', () => {
    const text = 'See [it](docs/guide.md#first-steps-twice), `[not](a-link)`; npm run ok.';
    expect(complaints(text)).toEqual([]);
  });

  it.each([
    ['[a](docs/gone.md)', 'no such file'],
    ['[a](docs/guide.md#gone)', 'no such heading'],
    ['npm run gone', 'no such script'],
  ])('refuses %s', (text, complaint) => {
    expect(complaints(text)).toEqual([expect.stringContaining(complaint)]);
  });

  it('refuses a dependency without a row', () => {
    const library = { pages: new Map(), exists: () => true, scripts: [], dependencies: ['zod'] };
    expect(checkDocs(library)).toEqual([expect.stringContaining('zod')]);
  });

  it('makes anchors as the readers of these pages do', () => {
    expect(anchorOf('What `npm test` runs')).toBe('what-npm-test-runs');
  });

  it('accepts this repository', () => {
    expect(checkDocs(readLibrary(join(import.meta.dirname, '..')))).toEqual([]);
  });
});
