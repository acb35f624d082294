// Installs and builds what is missing, and nothing else. Plain JavaScript: it runs in a fresh
// clone, before there is a compiler. `npm start`, `npm test` and `npm run build` all begin here.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUILD_INFO = join(ROOT, 'node_modules/.cache/typescript');

/** The compiler projects that emit: name, configuration, output folder, source folder. */
const PROJECTS = {
  build: { config: 'tsconfig.build.json', out: 'dist', source: 'src' },
  bench: { config: 'tsconfig.bench.json', out: 'dist-bench', source: '.' },
  tools: { config: 'tsconfig.tools.json', out: 'dist-tools', source: 'tools' },
};

/** Where messages go: standard output belongs to the program that is prepared for. */
function say(/** @type {string} */ line) {
  process.stderr.write(`memrack: ${line}\n`);
}

function readLock(/** @type {string} */ path) {
  return JSON.parse(readFileSync(path, 'utf8')).packages;
}

/** True when node_modules holds the locked version of every package this platform can use. */
export function isInstalled() {
  const present = join(ROOT, 'node_modules/.package-lock.json');
  if (!existsSync(present)) return false;
  const wanted = readLock(join(ROOT, 'package-lock.json'));
  const found = readLock(present);
  return Object.keys(wanted).every(
    (path) => path === '' || wanted[path].optional || found[path]?.version === wanted[path].version,
  );
}

export function install() {
  if (isInstalled()) return true;
  // npm would empty the folder that the link leads to, for everybody who works with it.
  if (lstatSync(join(ROOT, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()) {
    say('node_modules is a link, and lacks packages: run `npm ci` where it leads to, or remove it');
    return false;
  }
  say('installing packages (npm ci), a minute or less ...');
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  if (npm.status !== 0) say('npm ci failed: see the lines above; is a package registry reachable?');
  return npm.status === 0;
}

/** All files below a folder, as paths; an absent folder has none. */
function walk(/** @type {string} */ folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Removes output whose source is gone, so that a deleted module cannot go on working here. */
function removeLeftovers(/** @type {{ out: string, source: string }} */ { out, source }) {
  for (const file of walk(join(ROOT, out))) {
    const stem = file.replace(/(\.d\.ts|\.js|\.js\.map)$/, '');
    if (stem === file) continue;
    const origin = join(ROOT, source, relative(join(ROOT, out), `${stem}.ts`));
    if (!existsSync(origin)) rmSync(file);
  }
}

/** Compiles one project; incremental, so a second call costs seconds. False when it has errors. */
export function compile(/** @type {keyof typeof PROJECTS} */ name) {
  const project = PROJECTS[name];
  const notes = join(BUILD_INFO, `${name}.tsbuildinfo`);
  // The compiler trusts its notes over the folder: with the output gone the notes must go too.
  if (!existsSync(join(ROOT, project.out))) rmSync(notes, { force: true });
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  const tsc = spawnSync(process.execPath, [compiler, '-p', project.config], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  // What has errors is emitted all the same: the notes would make it pass for built.
  if (tsc.status !== 0) rmSync(notes, { force: true });
  removeLeftovers(project);
  if (name === 'build') linkCommand();
  return tsc.status === 0;
}

/** Makes `npx memrack` work in a checkout: npm links commands of packages, not of the root. */
function linkCommand() {
  const command = join(ROOT, 'dist/cli/main.js');
  if (!existsSync(command)) return;
  chmodSync(command, 0o755);
  const link = join(ROOT, 'node_modules/.bin/memrack');
  rmSync(link, { force: true });
  symlinkSync(relative(dirname(link), command), link);
}

/** True when any source is newer than the last successful build. */
function isStale() {
  const notes = join(BUILD_INFO, 'build.tsbuildinfo');
  if (!existsSync(notes) || !existsSync(join(ROOT, 'dist'))) return true;
  const builtMs = statSync(notes).mtimeMs;
  const inputs = [...walk(join(ROOT, 'src')), join(ROOT, 'tsconfig.build.json')];
  return inputs.some((file) => statSync(file).mtimeMs > builtMs);
}

/** Everything a program of dist/ needs. False when it could not be had. */
export function prepare() {
  if (!install()) return false;
  if (!isStale()) return true;
  say('building ...');
  const built = compile('build');
  if (!built) say('the build failed: see the lines above');
  return built;
}

function main() {
  const names = process.argv.slice(2);
  if (names.length === 0) return prepare();
  for (const name of names) {
    if (!(name in PROJECTS)) {
      say(`no project "${name}"; there are: ${Object.keys(PROJECTS).join(', ')}`);
      return false;
    }
  }
  const known = /** @type {(keyof typeof PROJECTS)[]} */ (names);
  return install() && known.map(compile).every(Boolean);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main() ? 0 : 1;
