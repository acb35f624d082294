// Checks that the documentation speaks of things that exist: `npm run docs:check`. Relative links
// and their headings resolve, every `npm run` names a script, and every dependency of package.json
// has its section in docs/dependencies.md. Links to other hosts are not followed.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Library {
  /** Path from the root to text, for every Markdown file. */
  readonly pages: ReadonlyMap<string, string>;
  readonly exists: (path: string) => boolean;
  readonly scripts: readonly string[];
  readonly dependencies: readonly string[];
}

const DEPENDENCIES_PAGE = 'docs/dependencies.md';

/** Text without fenced code and inline code, whose brackets are not links. */
function prose(text: string): string {
  return text.replace(/^\s*```[\s\S]*?^\s*```/gm, '').replace(/`[^`\n]*`/g, '');
}

/** The anchor that a heading gets where these pages are read. */
export function anchorOf(heading: string): string {
  const kept = heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '');
  return kept.trim().replace(/\s/g, '-');
}

function anchorsOf(text: string): Set<string> {
  const headings = text.replace(/^\s*```[\s\S]*?^\s*```/gm, '').matchAll(/^#{1,6}\s+(.+?)\s*$/gm);
  return new Set([...headings].map((match) => anchorOf(match[1] ?? '')));
}

function checkLink(library: Library, page: string, link: string): string | null {
  if (/^[a-z]+:/i.test(link)) return null;
  const [file = '', anchor] = link.split('#');
  const path = file === '' ? page : normalize(join(dirname(page), file));
  if (!library.exists(path)) return `${page}: ${link}: no such file`;
  const target = library.pages.get(path);
  if (anchor === undefined || target === undefined) return null;
  return anchorsOf(target).has(anchor) ? null : `${page}: ${link}: no such heading`;
}

/** Every complaint, one line each. */
export function checkDocs(library: Library): string[] {
  const complaints: string[] = [];
  for (const [page, text] of library.pages) {
    for (const match of prose(text).matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)) {
      const complaint = checkLink(library, page, match[1] ?? '');
      if (complaint !== null) complaints.push(complaint);
    }
    for (const match of text.matchAll(/\bnpm run ([a-z][a-z0-9:-]*)/g)) {
      const script = match[1] ?? '';
      if (!library.scripts.includes(script)) {
        complaints.push(`${page}: npm run ${script}: no such script in package.json`);
      }
    }
  }
  const described = library.pages.get(DEPENDENCIES_PAGE) ?? '';
  for (const name of library.dependencies) {
    if (
      !described.split('\n').some((line) => line.startsWith('|') && line.includes(`\`${name}\``))
    ) {
      complaints.push(`${DEPENDENCIES_PAGE}: ${name} of package.json has no row`);
    }
  }
  return complaints;
}

interface Manifest {
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
}

export function readLibrary(root: string): Library {
  const flags = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '*.md'];
  const listed = execFileSync('git', flags, { cwd: root, encoding: 'utf8' }).split('\0');
  const paths = listed.filter((path) => path !== '' && existsSync(join(root, path)));
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
  return {
    pages: new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')])),
    exists: (path) => existsSync(join(root, path)),
    scripts: Object.keys(manifest.scripts),
    dependencies: [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)],
  };
}

function main(): void {
  const complaints = checkDocs(readLibrary(process.cwd()));
  for (const complaint of complaints) console.log(complaint);
  console.log(complaints.length === 0 ? 'docs agree' : `${complaints.length} complaints`);
  process.exitCode = complaints.length === 0 ? 0 : 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main();
