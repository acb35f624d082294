// Tests against foreign programs say what they need and skip where it is absent - visibly: the
// name and the remedy are printed, `npm test` lists the tests, and under CI absence is a failure.
//
//   describe.runIf(requires('redis-server', 'redis-cli'))('the Redis door', () => { ... });
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where the remedy is not simply the package of the same name. */
const PACKAGES: Record<string, string> = {
  'redis-cli': 'redis-tools',
  'redis-benchmark': 'redis-tools',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  promtool: 'prometheus',
  script: 'bsdutils',
  timeout: 'coreutils',
  busybox: 'busybox-static',
  'qemu-system-x86_64': 'qemu-system-x86',
  ldd: 'libc-bin',
  nbdinfo: 'libnbd-bin',
  nbdcopy: 'libnbd-bin',
  nbdsh: 'python3-libnbd',
  nbdfuse: 'libnbd-bin',
  'mkfs.ext4': 'e2fsprogs',
  mke2fs: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  fusermount3: 'fuse3',
};

function isProgram(name: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  // Administrators' programs are often installed but not on a user's path.
  return [...folders, '/usr/sbin', '/sbin'].some((folder) => canUse(join(folder, name), 'run'));
}

function canUse(path: string, how: 'run' | 'readWrite'): boolean {
  try {
    accessSync(path, how === 'run' ? constants.X_OK : constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * True when every program is installed. Where one is missing: false after a printed notice, or,
 * when the environment says CI=true, an error that fails the test file. CI installs them all.
 */
export function requires(...programs: string[]): boolean {
  const missing = programs.filter((name) => !isProgram(name));
  if (missing.length === 0) return true;
  const packages = [...new Set(missing.map((name) => PACKAGES[name] ?? name))];
  const notice =
    `needs ${missing.join(', ')}, which this machine does not have; ` +
    `on Debian: apt-get install ${packages.join(' ')}`;
  if (process.env['CI'] === 'true') throw new Error(notice);
  process.stderr.write(`skipping a test: ${notice}\n`);
  return false;
}

/**
 * True when this process may read and write every path: devices such as /dev/fuse, or cgroup
 * folders. A right is the machine's to give, so even CI only skips without it.
 */
export function requiresAccess(...paths: string[]): boolean {
  const missing = paths.filter((path) => !canUse(path, 'readWrite'));
  for (const path of missing) {
    process.stderr.write(`skipping a test: needs read and write access to ${path}\n`);
  }
  return missing.length === 0;
}
