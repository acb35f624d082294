// `npm test`: installs and builds what is missing, runs every ring of tests, closes with one line
// `N passed, N failed, N skipped`. Exit code 1 when anything failed.
//
//   npm test                      everything
//   npm test -- redo-log          files whose name contains redo-log
//   npm test -- --only unit,e2e   some rings; all other arguments go to vitest
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, install, ROOT } from './prepare.mjs';

const RINGS = ['unit', 'e2e', 'conformance'];

/**
 * @typedef {{ passed: number, failed: number, skipped: number, skippedNames: string[] }} Counts
 */

/** Runs one ring; a ring that dies without a report counts as one failure. @returns {Counts} */
function runRing(/** @type {string} */ ring, /** @type {string[]} */ rest) {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-test-'));
  const reportPath = join(folder, 'report.json');
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const output = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportPath}`];
  const args = [vitest, 'run', '--project', ring, '--passWithNoTests', ...output, ...rest];
  const run = spawnSync(process.execPath, args, {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  try {
    return count(JSON.parse(readFileSync(reportPath, 'utf8')), run.status === 0);
  } catch {
    // Without any matching file vitest may write no report at all.
    return { passed: 0, failed: run.status === 0 ? 0 : 1, skipped: 0, skippedNames: [] };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @typedef {{ status: string, fullName: string }} Assertion
 * @typedef {{ status: string, assertionResults: Assertion[] }} FileResult
 */

/** @returns {Counts} */
function count(/** @type {{ testResults: FileResult[] }} */ report, /** @type {boolean} */ clean) {
  const counts = { passed: 0, failed: 0, skipped: 0, skippedNames: /** @type {string[]} */ ([]) };
  for (const file of report.testResults) {
    const failedBefore = counts.failed;
    for (const test of file.assertionResults) {
      if (test.status === 'passed') counts.passed += 1;
      else if (test.status === 'failed') counts.failed += 1;
      else {
        counts.skipped += 1;
        counts.skippedNames.push(test.fullName);
      }
    }
    // A file that failed outside its tests (import, hook) has no failed test to show for it.
    if (file.status === 'failed' && counts.failed === failedBefore) counts.failed += 1;
  }
  // An error outside every file (an unhandled rejection) fails the run and no test.
  if (!clean && counts.failed === 0) counts.failed = 1;
  return counts;
}

function readArguments() {
  const rest = process.argv.slice(2);
  const at = rest.indexOf('--only');
  if (at === -1) return { rings: RINGS, rest };
  const rings = (rest.splice(at, 2)[1] ?? '').split(',');
  const unknown = rings.filter((ring) => !RINGS.includes(ring));
  if (unknown.length > 0) {
    process.stderr.write(`no test ring "${unknown.join(', ')}"; there are: ${RINGS.join(', ')}\n`);
    process.exit(2);
  }
  return { rings, rest };
}

function main() {
  const { rings, rest } = readArguments();
  const total = { passed: 0, failed: 0, skipped: 0 };
  if (!install()) {
    total.failed = 1;
  } else {
    if (!compile('build')) {
      process.stderr.write('memrack: the build has errors (above); testing what there is\n');
      total.failed += 1;
    }
    for (const ring of rings) {
      const counts = runRing(ring, rest);
      total.passed += counts.passed;
      total.failed += counts.failed;
      total.skipped += counts.skipped;
      for (const name of counts.skippedNames) process.stdout.write(`skipped: [${ring}] ${name}\n`);
    }
  }
  if (rest.length > 0 && total.passed + total.failed + total.skipped === 0) {
    process.stderr.write(`memrack: no test matches ${rest.join(' ')}\n`);
    total.failed = 1;
  }
  process.stdout.write(
    `${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`,
  );
  process.exitCode = total.failed === 0 ? 0 : 1;
}

main();
