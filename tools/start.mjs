// `npm start`: installs and builds what is missing, then runs the rack and its main job in the
// foreground. All arguments pass through: `npm start -- --once`.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { prepare, ROOT } from './prepare.mjs';

const entry = join(ROOT, 'dist/apps/start.js');

// A build with type errors still emits; a half-built rack must not be started from it.
if (!prepare()) {
  process.exitCode = 1;
} else if (!existsSync(entry)) {
  process.stderr.write(`memrack: ${entry} is missing after the build; is src/apps/start.ts?\n`);
  process.exitCode = 1;
} else {
  // In this process: the rack ends with it, however it ends.
  await import(pathToFileURL(entry).href);
}
